"""`pinpoint runs breakdown`: where a run is good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..types import DataLocation
from .options import (
    gallery_data_option,
    home_options,
    json_option,
    location_options,
    overwrite_option,
    print_json,
    protocol_option,
    radii_option,
    registry_of,
)
from .print_scores import format_number, print_table, print_title, run_heading, with_interval

if TYPE_CHECKING:
    from ..evaluation.breakdown import Breakdown, Slice
    from ..home import Home
    from ..running import Run
    from ..types import Floats


@click.command()
@click.argument("run")
@click.option(
    "--by",
    required=True,
    metavar="WHAT",
    help="country, continent, area (cells of equal area), density, author, or a column of the truth.",
)
@click.option(
    "--gallery",
    metavar="NAME|FILE",
    help="For density: a dataset, several separated by commas, or any table of coordinates "
    "[default: what RUN's method opened].",
)
@gallery_data_option
@click.option(
    "--bins", type=click.IntRange(2, 100), default=5, show_default=True, help="Bins of a column of numbers."
)
@location_options()
@protocol_option
@radii_option
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=40, show_default=True, help="Slices to print."
)
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write every slice and figure into this CSV.",
)
@overwrite_option
@home_options(runs="--out")
@json_option
@click.pass_context
def breakdown(
    ctx: click.Context,
    run: str,
    by: str,
    gallery: str | None,
    gallery_data: Path | None,
    bins: int,
    location: DataLocation,
    protocol: str | None,
    radii_km: Sequence[float] | None,
    count: int,
    table: Path | None,
    overwrite: bool,
    home: Home,
    as_json: bool,
) -> None:
    """Score slices of RUN's dataset, each with its interval, and test them against the rest.

    The balanced accuracy is the mean of the slices', with an interval from draws of photographers in each.

    A country is the truth's own, or that of the nearest city (extra `admin`). Slices of fewer than
    ten effective photographers are marked, and neither tested nor ranked.

    \b
    Examples:
      pinpoint runs breakdown my-model@osv5m --by country --csv countries.csv
      pinpoint runs breakdown my-model@yfcc4k --by density --gallery coordinates.csv
    """
    from ..api import read_run
    from ..artifacts import write_new
    from ..evaluation.breakdown import break_down_run

    found = read_run(run, home=home)
    measured = break_down_run(
        found,
        by,
        truth=lambda: registry_of(ctx).open_dataset(found.registered_dataset, location).truth(),
        gallery=lambda: _gallery(ctx, found, gallery, gallery_data),
        bins=bins,
        protocol=protocol,
        radii_km=radii_km,
    )
    if table is not None:
        write_new(table, measured.to_frame().to_csv(index=False).encode(), overwrite)
    if as_json:
        print_json({**run_heading(found), **measured.to_dict()})
    else:
        _print_breakdown(found, measured, count)
        if table is not None:
            click.echo(f"\ntable: {table}")


def _gallery(ctx: click.Context, run: Run, gallery: str | None, data: Path | None) -> Floats:
    """The points of the gallery that was named, else of those that the run's method opened."""
    import numpy as np

    from ..evaluation.slices import opened_points
    from ..readers import open_gallery

    if gallery is not None:
        return open_gallery(registry_of(ctx), gallery, data)
    return np.concatenate(list(opened_points(run, registry_of(ctx), data).values()))


def _print_breakdown(run: Run, found: Breakdown, count: int) -> None:
    print_title(run, found.protocol, found.whole.n, found.clusters)
    click.echo(f"by {found.by}: {found.source}")
    metrics = [name for name in found.whole.estimates if name.startswith("acc_")]
    shown = found.slices[:count]
    print_table(
        ["slice", "photos", "effective", *metrics, "mean km", "median km"],
        [_line(one, metrics) for one in (found.whole, *shown)],
    )
    balanced = ", ".join(f"{name} {with_interval(one, '.1f')}" for name, one in found.balanced.items())
    click.echo(f"balanced, every {found.by} counting alike: {balanced}")
    if len(shown) < len(found.slices):
        click.echo(f"and {len(found.slices) - len(shown):,} more slices: -n, --csv or --json show them")
    few = sum(one.few for one in found.slices)
    if few:
        click.echo(
            f"few: {few:,} of {len(found.slices):,} slices have fewer than ten effective clusters; "
            "neither tested nor ranked"
        )
    if found.tested:
        click.echo(
            f"+ -: better or worse than the rest of the dataset at 5 %, corrected for all {found.tested:,} "
            f"slices and {len(metrics)} radii tested;\nwithout a mark a slice may stand out by chance alone"
        )
    _print_extremes(found, metrics)


def _print_extremes(found: Breakdown, metrics: list[str]) -> None:
    lines = []
    for metric in metrics:
        if (pair := found.extremes(metric)) is not None:
            cells = [f"{one.name}: {_accuracy(one, metric)}" for one in pair]
            lines.append([metric, *cells])
    if lines:
        print_table(["", "best", "worst"], lines)


def _line(one: Slice, metrics: list[str]) -> list[str]:
    return [
        one.name + (" (few)" if one.few else ""),
        f"{one.n:,}",
        f"{one.effective:.1f}",
        *(_accuracy(one, metric) for metric in metrics),
        *(format_number(one.estimates[metric].value, ".0f") for metric in ("mean_km", "median_km")),
    ]


def _accuracy(one: Slice, metric: str) -> str:
    mark = one.against_rest[metric].mark if metric in one.against_rest else ""
    return with_interval(one.estimates[metric], ".1f") + (f" {mark}" if mark else "")
