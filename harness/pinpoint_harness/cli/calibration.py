"""`pinpoint runs calibration` and `breakdown`: how far a run's confidence goes, where it is good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import visible
from ..reports.pictures import picture_format
from .drawing_options import drawing_options
from .options import (
    home_options,
    json_option,
    print_json,
    protocol_option,
    radii_option,
)
from .print_scores import format_interval, format_number, print_table, print_title, run_heading, with_interval

if TYPE_CHECKING:
    from ..evaluation.calibration import Calibration, Reliability
    from ..home import Home
    from ..reports.pictures import Drawing
    from ..running import Run

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
    help="Draw reliability and risk-coverage into this PNG, PDF or SVG.",
)
@drawing_options
@home_options(runs="--out")
@json_option
def calibration(
    run: str,
    protocol: str | None,
    radii_km: Sequence[float] | None,
    bins: int,
    plot: Path | None,
    drawing: Drawing,
    home: Home,
    as_json: bool,
) -> None:
    """Say whether RUN is as sure as it is right, and whether its surest answers are its best.

    The first needs probabilities, stated for the radii or of candidates, the second any confidence. A
    photo without an answer is a miss of confidence 0.

    \b
    Example:
      pinpoint runs calibration my-model@yfcc4k --plot calibration.png
    """
    from ..api import read_run
    from ..evaluation.calibration import calibrate

    if plot is not None:
        picture_format(plot)  # a name that is none is refused before anything is measured
    found = read_run(run, home=home)
    measured = calibrate(found, protocol=protocol, radii_km=radii_km, bins=bins)
    if as_json:
        print_json({**run_heading(found), **measured.to_dict()})
    else:
        _print_calibration(found, measured)
    if plot is not None:
        from ..reports.calibration_plot import draw_calibration

        drawing.write(draw_calibration(measured, f"{found.title} on {found.dataset}"), plot)
        if not as_json:
            click.echo(f"\nplot: {plot}")


def _print_calibration(run: Run, found: Calibration) -> None:
    print_title(run, found.protocol, found.rows, found.clusters)
    for note in found.notes:
        click.echo(f"note: {visible(note)}")
    if found.reliability:
        _print_reliability(found)
    _print_risk(found)


def _against_chance(one: Reliability) -> tuple[str, str]:
    """The ECE that chance explains and the debiased RMS, `-` where one cluster tells nothing of chance."""
    if one.ece_by_chance is None or one.ece_chance_limit is None or one.rms_debiased is None:
        return "-", "-"
    return f"{one.ece_by_chance:.1f} ({one.ece_chance_limit:.1f})", f"{one.rms_debiased:.1f}"


def _print_reliability(found: Calibration) -> None:
    print_table(
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
                with_interval(one.overconfidence, "+.1f"),
                f"{one.ece:.1f}{' *' if one.calibrated is False else ''}",
                *_against_chance(one),
                with_interval(one.brier, ".3f"),
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
    print_table(
        [f"within {found.radius_km:g} km", "confidence", "right", "95 % interval", "photos"],
        [
            [
                f"{one.lowest:.1f} to {one.highest:.1f}",
                f"{one.confidence:.1f}",
                format_number(one.hit_share.value, ".1f"),
                format_interval(one.hit_share, ".1f"),
                f"{one.n:,}",
            ]
            for one in found.bins
        ],
    )


def _print_risk(found: Calibration) -> None:
    shown = [found.risk[0].coverage.index(percent) for percent in _SHOWN_COVERAGE]
    print_table(
        ["radius", *(f"{percent:g} %" for percent in _SHOWN_COVERAGE), "AURC", "excess", "best", "any order"],
        [
            [
                f"{one.radius_km:g} km",
                *(f"{one.risk[index]:.1f}" for index in shown),
                with_interval(one.aurc, ".1f"),
                with_interval(one.excess, ".1f"),
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
