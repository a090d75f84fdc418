"""`pinpoint results`: reading what runs have stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .breakdown import breakdown
from .calibration import calibration
from .clean import removal_options, remove_named
from .options import home_options, json_option, print_listing
from .plot import plot
from .print_scores import print_report
from .verify import finished_folders, one_or_all, print_damage

if TYPE_CHECKING:
    from ..home import Home


@click.group()
def results() -> None:
    """List runs, check, show and remove them; worst answers, pictures, calibration and breakdowns."""


results.add_command(plot)
results.add_command(calibration)
results.add_command(breakdown)


@results.command("list")
@click.option("--dataset", help="Only the runs of this dataset.")
@home_options(runs="--out")
@json_option
def list_runs(dataset: str | None, home: Home, as_json: bool) -> None:
    """List every finished run.

    \b
    Example:
      pinpoint results list --dataset yfcc4k
    """
    from ..running import iter_runs

    root = home.runs
    rows = [
        {
            "key": run.key if as_json else run.key[:8],
            "dataset": run.dataset,
            "method": run.title,
            "rows": run.record["counts"]["total"],
            "ok": run.record["counts"]["ok"],
            "kind": "oracle" if run.oracle else "partial" if run.partial else "full",
            "finished": run.finished_at()[:19],
        }
        for run in iter_runs(root, dataset)
    ]
    print_listing(rows, as_json, f"no finished run under '{root}'")


@results.command("show")
@click.argument("run")
@home_options(runs="--out")
@json_option
def show_run(run: str, home: Home, as_json: bool) -> None:
    """Show what a run was asked, what came out, and its stored scores.

    \b
    Example:
      pinpoint results show constant@yfcc4k
    """
    from ..api import read_run
    from ..evaluation import ADMIN_PRESETS, PROTOCOLS, score_run
    from ..reports.tables.measured import scored_by

    found = read_run(run, home=home)
    names = scored_by(found, [*PROTOCOLS, *ADMIN_PRESETS]) or [found.record["dataset"]["default_protocol"]]
    print_report(found, [score_run(found, name) for name in names], as_json)


@results.command("worst")
@click.argument("run")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@home_options(runs="--out")
@json_option
def worst_answers(run: str, count: int, home: Home, as_json: bool) -> None:
    """List the answers farthest from the truth (WGS84), photos without an answer first.

    \b
    Example:
      pinpoint results worst constant@yfcc4k -n 20
    """
    from ..api import read_run

    frame = read_run(run, home=home).predictions()
    ranked = frame.sort_values("error_km", ascending=False, na_position="first", kind="stable").head(count)
    rows = [
        {
            "id": row["id"],
            "error_km": round(row["error_km"], 1) if row["status"] == "ok" else None,
            "truth": f"{row['latitude']:.4f}, {row['longitude']:.4f}",
            "answer": f"{row['predicted_latitude']:.4f}, {row['predicted_longitude']:.4f}"
            if row["status"] == "ok"
            else None,
            "status": row["status"],
        }
        for row in ranked.to_dict("records")
    ]
    print_listing(rows, as_json, "the run has no rows")


@results.command("rm")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@removal_options
@home_options()
def remove_runs(runs: Sequence[str], home: Home, yes: bool, dry_run: bool) -> None:
    """Remove RUNs, finished or not, after showing how big they are and asking.

    \b
    Example:
      pinpoint results rm constant@yfcc4k --dry-run
    """
    from ..running import find_run

    remove_named(
        runs, home.runs, lambda name: find_run(name, home.runs).folder, kind="run", yes=yes, dry_run=dry_run
    )


@results.command("verify")
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Check every finished run.")
@home_options()
@json_option
def verify_runs(run: str | None, every: bool, home: Home, as_json: bool) -> None:
    """Check that the files of RUN are those that were written, by their sha256; exit code 1 if not.

    Scores lie outside: they are measured again where they are missing.

    \b
    Example:
      pinpoint results verify --all
    """
    from ..api import read_run

    one_or_all("run", run, every)
    folders = finished_folders(home.runs) if run is None else [read_run(run, home=home).folder]
    print_damage(folders, as_json)
