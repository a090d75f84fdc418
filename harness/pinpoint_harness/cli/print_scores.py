"""Scores of one run, as text or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..console import visible
from .options import aligned, print_facts, print_json

if TYPE_CHECKING:
    from ..evaluation import Estimate, Scores
    from ..running import Run


def print_report(
    run: Run, scores: Sequence[Scores], as_json: bool, asked: Mapping[str, Any] | None = None
) -> None:
    """What a run scores under each protocol, with counts and intervals, after what it was asked."""
    if as_json:
        print_json({**report_facts(run, scores), **({"asked": dict(asked)} if asked else {})})
        return
    marks = [
        mark
        for mark in ("oracle" if run.oracle else "", f"partial: {run.partial}" if run.partial else "")
        if mark
    ]
    click.echo(f"{run.title} on {run.dataset}" + (f"  [{'; '.join(marks)}]" if marks else ""))
    if asked:
        given = ", ".join(f"{name}={value}" for name, value in asked["parameters"].items())
        print_facts({**asked, "parameters": given}, as_json=False)
    for note in run.record["notes"]:
        click.echo(f"note: {visible(note)}")
    for item in scores:
        click.echo()
        _print_scores(item)
    click.echo(f"\nrun: {run.folder}")


def report_facts(run: Run, scores: Sequence[Scores]) -> dict[str, Any]:
    """The same as one object of JSON."""
    return {
        "run": str(run.folder),
        "key": run.key,
        "label": run.label,
        "dataset": run.dataset,
        "oracle": run.oracle,
        "partial": run.partial,
        "notes": run.record["notes"],
        "scores": [item.to_dict() for item in scores],
    }


def _print_scores(scores: Scores) -> None:
    rows = [
        [name, _number(name, item.value), _interval(name, item), _hits(name, item)]
        for name, item in scores.estimates.items()
    ]
    headers = [scores.protocol, "value", "95 % interval", "hits"]
    click.echo(aligned(rows, headers, colalign=("left", "right", "right", "right")))
    if (nll := scores.estimates.get("nll")) is not None and nll.value is not None:
        click.echo(_other_units(nll.value))
    counts = ", ".join(f"{word} {count}" for word, count in scores.counts.items() if count or word == "ok")
    click.echo(f"rows: {counts}")
    if scores.part:
        click.echo(f"partial: {scores.part}")
    click.echo(f"intervals: cluster bootstrap, {scores.clusters}")
    if scores.present is not None:
        second = ", ".join(f"{name} {_number(name, item.value)}" for name, item in scores.present.items())
        click.echo(
            f"over the {scores.present_rows} present (id list {scores.present_ids_sha256[:8]}): {second}"
        )


def _other_units(nll: float) -> str:
    from ..evaluation.distributions import bits_per_dimension, per_km2

    return (
        f"nll: {per_km2(nll):.2f} nats/km2; {bits_per_dimension(nll):.2f} bits per dimension, as PLONK has it"
    )


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} {_unit(name)}".rstrip()


def _unit(name: str) -> str:
    if name == "nll":
        return "nats/sr"
    return "%" if _is_share(name) else "km" if name.endswith("_km") else ""


def _is_share(name: str) -> bool:
    return name.startswith(("acc_", "recall_"))


def _interval(name: str, item: Estimate) -> str:
    if item.low is None or item.high is None:
        return "-"
    return f"{item.low:.2f} to {item.high:.2f}"


def _hits(name: str, item: Estimate) -> Any:
    if not _is_share(name):
        return f"n = {item.n}" if name in ("mean_km", "nll") else ""
    return f"{round(item.value * item.n / 100)} of {item.n}" if item.value is not None else "-"


def run_heading(run: Run) -> dict[str, Any]:
    return {"run": str(run.folder), "key": run.key, "label": run.label, "dataset": run.dataset}


def print_title(run: Run, protocol: str, rows: int, clusters: str) -> None:
    marks = "".join(f"  [{mark}]" for mark in ("oracle" * run.oracle, run.partial) if mark)
    click.echo(f"{run.title} on {run.dataset}{marks}")
    click.echo(f"{protocol}, {rows:,} photos, {clusters}")


def print_table(headers: list[str], rows: list[list[str]]) -> None:
    align = ("left", *["right"] * (len(headers) - 1))
    click.echo("\n" + aligned(rows, headers, colalign=align))


def with_interval(found: Estimate, form: str) -> str:
    return f"{format_number(found.value, form)} ({format_interval(found, form)})"


def format_interval(found: Estimate, form: str) -> str:
    if found.low is None or found.high is None:
        return "-"
    return f"{found.low:{form}} to {found.high:{form}}"


def format_number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
