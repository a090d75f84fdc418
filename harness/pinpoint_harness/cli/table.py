"""`pinpoint table`: stored runs and published rows, for a terminal or a paper."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..reports.tables import HIDDEN
from .choice_options import choice_options, words
from .options import home_options, radii_option, registry_of
from .scoring_options import exclude_option, read_part

if TYPE_CHECKING:
    from ..home import Home
    from ..plugins import Registry
    from ..reports.tables import Format
    from ..reports.tables.choice import Choice
    from ..running import Run
    from ..types import DatasetInfo


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
@click.option("--runs", metavar="RUN,...", help="Only these runs, named as everywhere.")
@choice_options(hide=HIDDEN)
@click.option("--intervals/--no-intervals", default=True, show_default=True, help="Print 95 % intervals.")
@click.option("--compact", is_flag=True, help="Short names and half-widths, for one column of a paper.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "latex", "csv", "html"]),
    default="text",
    show_default=True,
    help="What to print; text is as wide as the terminal.",
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
    runs: str | None,
    choice: Choice,
    intervals: bool,
    compact: bool,
    form: Format,
    home: Home,
) -> None:
    """Print a table of every stored run of DATASET, the best first.

    DATASET may be the name that --as gave a table of your own. Rows are ranked only within one protocol
    and one truth, and over the full dataset; oracle and partial rows,
    and all rows of a table with --exclude, are marked and never ranked.

    \b
    Examples:
      pinpoint table yfcc4k --sort 25km --hide oracles
      pinpoint table yfcc4k --mean-over seed --columns 1km,25km,geoscore
      pinpoint table yfcc4k --published --format latex --compact --no-intervals
    """
    from ..reports.tables import render
    from ..reports.tables.measured import measured_rows
    from ..reports.tables.published import read_published

    info = _info_of(registry_of(ctx), dataset, home.runs)
    rows = measured_rows(
        home.runs,
        dataset,
        protocol=protocol,
        mix_protocols=mix_protocols,
        admin=admin,
        letters=compare,
        radii_km=choice.radii_km(radii_km),
        part=None if exclude is None else read_part(exclude),
        choose=lambda stored: choice.among(_named(stored, words(runs), home)),
        mean_over=choice.mean_over,
    )
    if published or published_files:
        rows += choice.published(read_published(dataset, extra=published_files, total=info.expected_rows))
    if not rows:
        raise UsageError(
            f"there is nothing to put in a table of '{dataset}'",
            found=f"no finished run under '{home.runs}'",
            fix=f"pinpoint run METHOD {dataset}, or add --published",
        )
    text = render(
        choice.renamed(rows),
        choice.metrics(_usual(radii_km, compact or form == "text")),
        form,
        title=info.title,
        intervals=intervals,
        notes=info.notes,
        mix_protocols=mix_protocols,
        sort=choice.order,
        hide=choice.hide,
        compact=compact,
        width=terminal_width(),
        styled=has_style(),
    )
    click.echo(text, nl=not text.endswith("\n"))


def _usual(radii_km: Sequence[float], compact: bool) -> list[str]:
    """The metrics of a table where none are chosen: without distances where there is little room."""
    from ..evaluation import ADMIN_METRICS, metric_names

    names = metric_names(radii_km)
    distances = ("mean_km", "median_km")
    return [*(name for name in names if not (compact and name in distances)), *ADMIN_METRICS]


def _named(stored: list[Run], names: Sequence[str], home: Home) -> list[Run]:
    """Those of the stored runs that are named; UsageError for one of another dataset."""
    from ..running import find_run

    if not names:
        return stored
    folders = {run.folder.resolve(): run for run in stored}
    chosen = []
    for name in names:
        folder = find_run(name, home.runs).folder.resolve()
        if folder not in folders:
            raise UsageError(f"--runs: '{name}' is a run of another dataset", found=str(folder))
        chosen.append(folders[folder])
    return list(dict.fromkeys(chosen))


def terminal_width() -> int:
    """Columns of the terminal (or of $COLUMNS); 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def has_style() -> bool:
    """Whether stdout is a terminal that may be written to in bold; $NO_COLOR (no-color.org) says no."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _info_of(registry: Registry, dataset: str, root: Path) -> DatasetInfo:
    """What a dataset is, also one that only runs know, by the name that `--as` gave it."""
    from ..running import iter_runs

    run = None if dataset in registry.datasets else next(iter_runs(root, dataset), None)
    if run is None:
        return registry.dataset(dataset).info
    info = registry.dataset(run.registered_dataset).info
    return replace(info, title=f"{dataset}: {info.title}")
