"""`pinpoint runs`: reading what runs have stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import click

from .breakdown import breakdown
from .calibration import calibration
from .clean import removal_options, remove_named
from .explain import explain
from .export import export
from .options import home_options, json_option, print_listing
from .print_scores import print_report
from .verify import one_or_all, print_damage

if TYPE_CHECKING:
    from ..home import Home
    from ..running import Run
    from ..running.run import DamagedRun


@click.group()
def runs() -> None:
    """List runs, check, show and remove them; worst answers, pictures, calibration and breakdowns."""


runs.add_command(calibration)
runs.add_command(breakdown)
runs.add_command(explain)
runs.add_command(export)


@runs.command("list")
@click.option("--dataset", help="Only the runs of this dataset.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(["name", "geoscore", "finished"]),
    default="name",
    show_default=True,
    help="By dataset and method, by GeoScore within a dataset (best first), or the newest first.",
)
@home_options(runs="--out")
@json_option
def list_runs(dataset: str | None, order: str, home: Home, as_json: bool) -> None:
    """List every finished run with its scores, as far as it was scored by its dataset's own protocol.

    Damaged ones are listed as such; `pinpoint runs verify` reads all files whole.

    \b
    Example:
      pinpoint runs list --dataset yfcc4k --sort geoscore
    """
    from ..running import survey_runs

    runs, damaged = survey_runs(home.runs, dataset)
    rows = [_listed(run) for run in runs]
    if not as_json:
        rows = [_shortened(row, name) for row, name in zip(rows, _short_names(runs), strict=True)]
    for one in damaged:
        rows.append(dict.fromkeys(_COLUMNS, None) | _damaged(one, as_json))
        click.echo(f"damaged: '{one.folder}': {one.found}", err=True)
    if order == "finished":
        rows.sort(key=lambda row: row["finished"] or "", reverse=True)
    elif order == "geoscore":
        rows.sort(key=lambda row: (row["dataset"], -float(row["geoscore"] or -1)))
    shown = rows if as_json else [{name: value or "-" for name, value in row.items()} for row in rows]
    print_listing(shown, as_json, f"no finished run under '{home.runs}'")


_COLUMNS = ("key", "dataset", "method", "acc_25km", "geoscore", "rows", "ok", "kind", "finished")


def _damaged(run: DamagedRun, whole: bool) -> dict[str, Any]:
    key, label, dataset = run.folder.name, *(parent.name for parent in run.folder.parents[:2])
    return {"key": key if whole else key[:8], "dataset": dataset, "method": label, "kind": "damaged"}


def _listed(run: Run) -> dict[str, Any]:
    from ..evaluation import score_run
    from ..reports.tables.measured import scored_by

    protocol = run.record["dataset"]["default_protocol"]
    estimates = score_run(run, protocol).estimates if scored_by(run, [protocol]) else {}
    metrics = ("acc_25km", "geoscore")
    return {
        "key": run.key,
        "dataset": run.dataset,
        "method": run.title,
        **{name: estimates[name].value if name in estimates else None for name in metrics},
        "rows": run.record["counts"]["total"],
        "ok": run.record["counts"]["ok"],
        "kind": "oracle" if run.oracle else "partial" if run.partial else "full",
        "finished": run.finished_at()[:19],
    }


def _shortened(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    near, points = row["acc_25km"], row["geoscore"]
    return {
        **row,
        "key": row["key"][:8],
        "method": name,
        "acc_25km": None if near is None else f"{near:.1f}",
        "geoscore": None if points is None else f"{points:.0f}",
        "rows": f"{row['rows']}",
        "ok": f"{row['ok']}",
    }


def _short_names(runs: Sequence[Run]) -> list[str]:
    """Short names, of which no two runs of one dataset share one."""
    from ..reports.tables.names import short_names

    names: dict[Run, str] = {}
    for dataset in {run.dataset for run in runs}:
        mine = [run for run in runs if run.dataset == dataset]
        names |= zip(mine, short_names(mine), strict=True)
    return [names[run] for run in runs]


@runs.command("show")
@click.argument("run")
@home_options(runs="--out")
@json_option
def show_run(run: str, home: Home, as_json: bool) -> None:
    """Show what a run was asked, what came out, and its stored scores.

    \b
    Example:
      pinpoint runs show constant@yfcc4k
    """
    from ..api import read_run
    from ..evaluation import ADMIN_PRESETS, DISTRIBUTIONS, PROTOCOLS, score_run
    from ..reports.tables.measured import scored_by

    found = read_run(run, home=home)
    names = scored_by(found, [*PROTOCOLS, *ADMIN_PRESETS, *DISTRIBUTIONS]) or [
        found.record["dataset"]["default_protocol"]
    ]
    print_report(found, [score_run(found, name) for name in names], as_json, _asked(found))


def _asked(run: Run) -> dict[str, Any]:
    """What a run was asked: method, parameters, photos, galleries, machine."""
    from ..running import remake_command

    record, spec = run.record, run.record["recipe"]
    given = {name: value for name, value in record["parameters"].items() if value is not None}
    return {
        "method": f"{record['method']['name']} (of {record['method']['origin']})",
        "parameters": given,
        "seed": spec.get("seed"),
        "photos": run.partial or f"all {record['dataset']['rows']:,}",
        "truth": f"{run.registered_dataset}, sha256 {spec['dataset_hash'][:16]}",
        "galleries": [f"{one.name} by {one.backbone}" for one in run.galleries],
        "device": " ".join(str(spec[name]) for name in ("device", "dtype") if spec.get(name)),
        "finished": run.finished_at()[:19],
        "command": remake_command(record, run.root),
    }


@runs.command("worst")
@click.argument("run")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@home_options(runs="--out")
@json_option
def worst_answers(run: str, count: int, home: Home, as_json: bool) -> None:
    """List the answers farthest from the truth (WGS84), photos without an answer first.

    \b
    Example:
      pinpoint runs worst constant@yfcc4k -n 20
    """
    from ..api import read_run

    frame = read_run(run, home=home).predictions()
    ranked = frame.sort_values("error_km", ascending=False, na_position="first", kind="stable").head(count)
    numbers = ["latitude", "longitude", "predicted_latitude", "predicted_longitude"]
    rows = [
        {
            "id": row["id"],
            "error_km": None if row["status"] != "ok" else float(row["error_km"]),
            **{name: None if isnan(row[name]) else float(row[name]) for name in numbers},
            "status": row["status"],
        }
        for row in ranked.to_dict("records")
    ]
    print_listing(rows if as_json else [_in_words(row) for row in rows], as_json, "the run has no rows")


def _in_words(row: Mapping[str, Any]) -> dict[str, str]:
    def place(prefix: str) -> str:
        latitude, longitude = (row[f"{prefix}{name}"] for name in ("latitude", "longitude"))
        return "-" if latitude is None else f"{latitude:.4f}, {longitude:.4f}"

    return {
        "id": row["id"],
        "error_km": "-" if row["error_km"] is None else f"{row['error_km']:.1f}",
        "truth": place(""),
        "answer": place("predicted_"),
        "status": row["status"],
    }


@runs.command("rm")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@removal_options
@home_options()
def remove_runs(runs: Sequence[str], home: Home, yes: bool, dry_run: bool) -> None:
    """Remove RUNs, finished or not, after showing how big they are and asking.

    \b
    Example:
      pinpoint runs rm constant@yfcc4k --dry-run
    """
    from ..running import find_run

    remove_named(
        runs, home.runs, lambda name: find_run(name, home.runs).folder, kind="run", yes=yes, dry_run=dry_run
    )


@runs.command("verify")
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Check every finished run.")
@home_options()
@json_option
def verify_runs(run: str | None, every: bool, home: Home, as_json: bool) -> None:
    """Check that the files of RUN are those that were written, by their sha256; exit code 1 if not.

    The log of sessions, to which later commands add, has a checksum in each line. Scores, also those kept
    below the home, say of which answers they are; what is damaged or of others is measured again when it is
    asked for.

    \b
    Example:
      pinpoint runs verify --all
    """
    from ..api import read_run
    from ..artifacts import finished_folders
    from ..evaluation.score_files import damaged_scores
    from ..running import Run

    one_or_all("run", run, every)
    folders = finished_folders(home.runs) if run is None else [read_run(run, home=home).folder]
    print_damage(folders, as_json, lambda folder: damaged_scores(Run(folder)))
