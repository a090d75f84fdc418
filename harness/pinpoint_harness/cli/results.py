"""`pinpoint results` and `pinpoint table`: reading what runs have stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .breakdown import breakdown
from .calibration import calibration
from .clean import removal_options, remove_named
from .options import home_options, json_option, print_listing, radii_option, registry_of
from .plot import plot
from .print_scores import print_report
from .scoring_options import exclude_option, read_part
from .verify import finished_folders, one_or_all, print_damage

if TYPE_CHECKING:
    from ..home import Home
    from ..plugins import Registry
    from ..reports.tables import Format
    from ..types import DatasetInfo


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

    Scores lie outside: they are measured again where they are missing or damaged.

    \b
    Example:
      pinpoint results verify --all
    """
    from ..api import read_run

    one_or_all("run", run, every)
    folders = finished_folders(home.runs) if run is None else [read_run(run, home=home).folder]
    print_damage(folders, as_json)


def _info_of(registry: Registry, dataset: str, root: Path) -> DatasetInfo:
    """What a dataset is, also one that only runs know, by the name that `--as` gave it."""
    from ..running import iter_runs

    run = None if dataset in registry.datasets else next(iter_runs(root, dataset), None)
    if run is None:
        return registry.dataset(dataset).info
    info = registry.dataset(run.registered_dataset).info
    return replace(info, title=f"{dataset}: {info.title}")


@click.command()
@click.argument("dataset")
@click.option("--published", is_flag=True, help="Add the rows of the literature, in a block of their own.")
@click.option(
    "--published-file",
    "published_files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Add rows of your own in the columns of the published files.",
)
@click.option("--protocol", metavar="NAME", help="Measure every run by this protocol.")
@click.option("--mix-protocols", is_flag=True, help="Show runs of different protocols, a block for each.")
@click.option("--admin", metavar="NAME", help="Add country, region, area and city accuracy by this preset.")
@click.option("--compare", is_flag=True, help="Add letters: full runs that share one cannot be told apart.")
@exclude_option
@radii_option
@click.option("--intervals/--no-intervals", default=True, show_default=True, help="Print 95 % intervals.")
@click.option(
    "--format", "form", type=click.Choice(["md", "latex", "csv", "html"]), default="md", show_default=True
)
@home_options(runs="--out")
@click.pass_context
def table(
    ctx: click.Context,
    dataset: str,
    published: bool,
    published_files: Sequence[Path],
    protocol: str | None,
    mix_protocols: bool,
    admin: str | None,
    compare: bool,
    exclude: str | None,
    radii_km: Sequence[float],
    intervals: bool,
    form: Format,
    home: Home,
) -> None:
    """Print a paper-style table of every stored run of DATASET.

    DATASET may be the name that --as gave a table of your own. Rows are ranked only within one protocol
    and one truth, and over the full dataset; oracle and partial rows,
    and all rows of a table with --exclude, are marked and never ranked.

    \b
    Example:
      pinpoint table yfcc4k --published --format latex
    """
    from ..evaluation import ADMIN_METRICS, metric_names
    from ..reports.tables import render
    from ..reports.tables.measured import measured_rows
    from ..reports.tables.published import read_published

    root = home.runs
    info = _info_of(registry_of(ctx), dataset, root)
    rows = measured_rows(
        root,
        dataset,
        protocol=protocol,
        mix_protocols=mix_protocols,
        admin=admin,
        letters=compare,
        radii_km=radii_km,
        part=None if exclude is None else read_part(exclude),
    )
    if published or published_files:
        rows += read_published(dataset, extra=published_files, total=info.expected_rows)
    if not rows:
        raise UsageError(
            f"there is nothing to put in a table of '{dataset}'",
            found=f"no finished run under '{root}'",
            fix=f"pinpoint run METHOD {dataset}, or add --published",
        )
    text = render(
        rows,
        [*metric_names(radii_km), *ADMIN_METRICS],
        form,
        title=info.title,
        intervals=intervals,
        notes=info.notes,
        mix_protocols=mix_protocols,
    )
    click.echo(text, nl=not text.endswith("\n"))
