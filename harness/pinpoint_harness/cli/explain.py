"""`pinpoint results calibration` and `breakdown`: how far a run's confidence goes, where it is good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..types import DataLocation
from .options import (
    gallery_data_option,
    json_option,
    location_options,
    out_option,
    print_json,
    protocol_option,
    radii_option,
    registry_of,
)

if TYPE_CHECKING:
    from ..breakdowns import Breakdown, Slice
    from ..calibration import Calibration, Reliability
    from ..intervals import Estimate
    from ..runs import Run
    from ..types import Floats

_SHOWN_COVERAGE = (10.0, 25.0, 50.0, 75.0, 100.0)


@click.command()
@click.argument("run")
@protocol_option
@radii_option
@click.option(
    "--bins", type=click.IntRange(2, 100), default=10, show_default=True, help="Bins of confidence."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw reliability and risk-coverage into this PNG.",
)
@out_option
@json_option
def calibration(
    run: str,
    protocol: str | None,
    radii_km: Sequence[float],
    bins: int,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say whether RUN is as sure as it is right, and whether its surest answers are its best.

    The first needs probabilities, stated for the radii or of candidates, the second any confidence. A
    photo without an answer is a miss of confidence 0.

    \b
    Example:
      pinpoint results calibration my-model@yfcc4k --plot calibration.png
    """
    from ..api import read_run
    from ..artifacts import write_atomic
    from ..calibration import calibrate

    found = read_run(run, out)
    measured = calibrate(found, protocol=protocol, radii_km=radii_km, bins=bins)
    if as_json:
        print_json({**_heading(found), **measured.to_dict()})
    else:
        _print_calibration(found, measured)
    if plot is not None:
        from ..calibration.chart import draw_calibration

        write_atomic(plot, draw_calibration(measured, f"{found.title} on {found.dataset}"))
        if not as_json:
            click.echo(f"\nplot: {plot}")


@click.command()
@click.argument("run")
@click.option(
    "--by",
    required=True,
    metavar="WHAT",
    help="country, continent, density, author, or a column of the truth.",
)
@click.option(
    "--gallery",
    metavar="NAME|FILE",
    help="For density: a dataset, several separated by commas, or any table of coordinates.",
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
@out_option
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
    radii_km: Sequence[float],
    count: int,
    table: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score slices of RUN's dataset, each with its interval, and test them against the rest.

    A country is the truth's own, or that of the nearest city (extra `admin`). Slices of fewer than
    ten effective photographers are marked, and neither tested nor ranked.

    \b
    Examples:
      pinpoint results breakdown my-model@osv5m --by country --csv countries.csv
      pinpoint results breakdown my-model@yfcc4k --by density --gallery coordinates.csv
    """
    from ..api import read_run
    from ..artifacts import write_atomic
    from ..breakdowns import break_down_run

    found = read_run(run, out)
    measured = break_down_run(
        found,
        by,
        truth=lambda: registry_of(ctx).open_dataset(found.dataset, location).truth(),
        gallery=lambda: _gallery(ctx, gallery, gallery_data),
        bins=bins,
        protocol=protocol,
        radii_km=radii_km,
    )
    if table is not None:
        write_atomic(table, measured.to_frame().to_csv(index=False).encode())
    if as_json:
        print_json({**_heading(found), **measured.to_dict()})
    else:
        _print_breakdown(found, measured, count)
        if table is not None:
            click.echo(f"\ntable: {table}")


def _gallery(ctx: click.Context, gallery: str | None, data: Path | None) -> Floats:
    from ..coordinates import open_gallery

    if gallery is None:
        raise UsageError("density is that of which gallery?", fix="add --gallery NAME|FILE")
    return open_gallery(registry_of(ctx), gallery, data)


def _heading(run: Run) -> dict[str, Any]:
    return {"run": str(run.folder), "key": run.key, "label": run.label, "dataset": run.dataset}


def _print_title(run: Run, protocol: str, rows: int, clusters: str) -> None:
    marks = "".join(f"  [{mark}]" for mark in ("oracle" * run.oracle, run.partial) if mark)
    click.echo(f"{run.title} on {run.dataset}{marks}")
    click.echo(f"{protocol}, {rows:,} photos, {clusters}")


def _print_calibration(run: Run, found: Calibration) -> None:
    _print_title(run, found.protocol, found.rows, found.clusters)
    for note in found.notes:
        click.echo(f"note: {note}")
    if found.reliability:
        _print_reliability(found)
    _print_risk(found)


def _print_reliability(found: Calibration) -> None:
    _print_table(
        [
            "radius",
            "over-confident by",
            "ECE",
            "by chance (at most)",
            "RMS, debiased",
            "Brier",
            "of base rate",
        ],
        [
            [
                f"{one.radius_km:g} km",
                _with_interval(one.overconfidence, "+.1f"),
                f"{one.ece:.1f}{'' if one.calibrated else ' *'}",
                f"{one.ece_by_chance:.1f} ({one.ece_chance_limit:.1f})",
                f"{one.rms_debiased:.1f}",
                _with_interval(one.brier, ".3f"),
                f"{one.brier_of_base_rate:.3f}",
            ]
            for one in found.reliability
        ],
    )
    click.echo(
        "percentage points with 95 % intervals; Brier from 0 to 1, the least is best\n"
        "ECE is never 0: chance parts confidence from hits; a calibrated method would have `by chance`,\n"
        "and more than `at most` once in twenty times, marked *; RMS is less what chance explains"
    )
    for one in found.reliability:
        _print_bins(one)


def _print_bins(found: Reliability) -> None:
    _print_table(
        [f"within {found.radius_km:g} km", "confidence", "right", "95 % interval", "photos"],
        [
            [
                f"{one.lowest:.1f} to {one.highest:.1f}",
                f"{one.confidence:.1f}",
                _number(one.hit_share.value, ".1f"),
                _interval(one.hit_share, ".1f"),
                f"{one.n:,}",
            ]
            for one in found.bins
        ],
    )


def _print_risk(found: Calibration) -> None:
    shown = [found.risk[0].coverage.index(percent) for percent in _SHOWN_COVERAGE]
    _print_table(
        ["radius", *(f"{percent:g} %" for percent in _SHOWN_COVERAGE), "AURC", "excess", "best", "any order"],
        [
            [
                f"{one.radius_km:g} km",
                *(f"{one.risk[index]:.1f}" for index in shown),
                _with_interval(one.aurc, ".1f"),
                _with_interval(one.excess, ".1f"),
                f"{one.oracle:.1f}",
                f"{one.unordered:.1f}",
            ]
            for one in found.risk
        ],
    )
    click.echo(f"share of answers outside the radius, %, if only the surest are given (by {found.ranking});")
    click.echo(
        "AURC is its mean over all shares given; excess is over the best order; ties count as their mean"
    )


def _print_breakdown(run: Run, found: Breakdown, count: int) -> None:
    _print_title(run, found.protocol, found.whole.n, found.clusters)
    click.echo(f"by {found.by}: {found.source}")
    metrics = [name for name in found.whole.estimates if name.startswith("acc_")]
    shown = found.slices[:count]
    _print_table(
        ["slice", "photos", "effective", *metrics, "mean km", "median km"],
        [_line(one, metrics) for one in (found.whole, *shown)],
    )
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
        _print_table(["", "best", "worst"], lines)


def _line(one: Slice, metrics: list[str]) -> list[str]:
    return [
        one.name + (" (few)" if one.few else ""),
        f"{one.n:,}",
        f"{one.effective:.1f}",
        *(_accuracy(one, metric) for metric in metrics),
        *(_number(one.estimates[metric].value, ".0f") for metric in ("mean_km", "median_km")),
    ]


def _accuracy(one: Slice, metric: str) -> str:
    mark = one.against_rest[metric].mark if metric in one.against_rest else ""
    return _with_interval(one.estimates[metric], ".1f") + (f" {mark}" if mark else "")


def _print_table(headers: list[str], rows: list[list[str]]) -> None:
    from tabulate import tabulate

    align = ("left", *["right"] * (len(headers) - 1))
    click.echo("\n" + tabulate(rows, headers, "simple", colalign=align, disable_numparse=True))


def _with_interval(found: Estimate, form: str) -> str:
    return f"{_number(found.value, form)} ({_interval(found, form)})"


def _interval(found: Estimate, form: str) -> str:
    if found.low is None or found.high is None:
        return "-"
    return f"{found.low:{form}} to {found.high:{form}}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
