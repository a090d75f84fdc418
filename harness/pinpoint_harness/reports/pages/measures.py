"""What the figures of a section show, as columns; and the same as tables for those who read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ...evaluation import Comparison
from ...evaluation.bootstrap import cluster_rows, estimate_all
from ...evaluation.breakdown import Breakdown, break_down_frame
from ...evaluation.calibration import Calibration, calibrate
from .section import Column, Section, largest
from .text import visible

if TYPE_CHECKING:
    from ...evaluation import Estimate
    from ...types import Floats

RESAMPLES = 200
"""Of the bands, slices and bins of the figures; the table and the differences have their own 1,000."""

_CURVE_KM = np.geomspace(0.1, 20_004.0, 61).round(3)

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Measures:
    """Columns for the figures; runs, radii and slices by the text of their number, as choices have them."""

    curves: Columns
    differences: Columns
    slices: Columns
    reliability: Columns
    risk: Columns
    breakdowns: Mapping[tuple[int, str], Breakdown]
    calibrations: Mapping[int, Calibration]
    why_not: Mapping[int, str]


def measure(section: Section, comparison: Comparison | None) -> Measures:
    """Everything that is resampled; `comparison` is of the section's complete runs, in their order."""
    frames = [_own_rows(section, column) for column in section.columns]
    breakdowns = {
        (number, by): break_down_frame(
            frames[number],
            _own_slicing(section, column, by),
            section.protocol,
            cluster_column=_cluster_column(column),
            radii_km=section.radii_km,
            resamples=RESAMPLES,
        )
        for number, column in enumerate(section.columns)
        for by in section.slicings
    }
    calibrations: dict[int, Calibration] = {}
    why_not: dict[int, str] = {}
    for number, column in enumerate(section.columns):
        try:
            calibrations[number] = calibrate(
                column.run, protocol=section.protocol.name, radii_km=section.radii_km, resamples=RESAMPLES
            )
        except DataError as error:
            why_not[number] = error.problem
    return Measures(
        curves=_columns(_curve_rows(section, frames), ("run", "km", "share", "low", "high")),
        differences=_columns(_difference_rows(section, comparison), _DIFFERENCE),
        slices=_columns(_slice_rows(section, breakdowns), _SLICE),
        reliability=_columns(
            _bin_rows(calibrations), ("run", "radius", "stated", "share", "low", "high", "n")
        ),
        risk=_columns(_risk_rows(calibrations), ("run", "radius", "coverage", "risk")),
        breakdowns=breakdowns,
        calibrations=calibrations,
        why_not=why_not,
    )


_DIFFERENCE = ("radius", "first", "second", "y", "value", "low", "high", "label", "note", "colour")
_SLICE = ("run", "radius", "by", "code", "y", "value", "low", "high", "label", "note")
_TOLD_APART, _NOT_TOLD_APART = "#0072b2", "#8a8f98"


def _columns(rows: Iterator[tuple[Any, ...]], names: tuple[str, ...]) -> Columns:
    lines = list(rows)
    return {name: [line[at] for line in lines] for at, name in enumerate(names)}


def _own_rows(section: Section, column: Column) -> Any:
    """The rows of one run with its answers, in the section's order."""
    frame = section.frame[column.known].reset_index(drop=True)
    frame[["predicted_latitude", "predicted_longitude"]] = column.answers[column.known]
    return frame


def _own_slicing(section: Section, column: Column, by: str) -> Any:
    slicing = largest(section.slicings[by])
    used, codes = np.unique(slicing.codes[column.known], return_inverse=True)
    return replace(slicing, names=tuple(slicing.names[code] for code in used.tolist()), codes=codes)


def _cluster_column(column: Column) -> str:
    return str(column.run.record["dataset"]["cluster_column"])


def curve_km(section: Section) -> Floats:
    """Distances in km at which a section's curves are measured."""
    return np.unique([*_CURVE_KM, *section.radii_km])


def _curve_rows(section: Section, frames: list[Any]) -> Iterator[tuple[Any, ...]]:
    grid_km = curve_km(section).tolist()
    for number, column in enumerate(section.columns):
        found = estimate_all(
            column.error_km[column.known],
            cluster_rows(frames[number], _cluster_column(column)),
            grid_km,
            section.protocol.inclusive,
            section.protocol.round_geoscore,
            resamples=RESAMPLES,
        )
        for km in grid_km:
            one = found[f"acc_{km:.10g}km"]
            yield (str(number), km, *_bounded(one))


def _difference_rows(section: Section, comparison: Comparison | None) -> Iterator[tuple[Any, ...]]:
    if comparison is None:
        return
    numbers = [str(section.columns.index(column)) for column in section.complete]
    number_of = dict(zip(comparison.names, numbers, strict=True))
    shown = {name: visible(section.columns[int(number_of[name])].name, 40) for name in comparison.names}
    places = {
        pair: -at
        for at, pair in enumerate(dict.fromkeys((d.first, d.second) for d in comparison.differences))
    }
    for radius, metric in enumerate(section.metrics):
        for one in comparison.differences:
            if one.metric == metric and one.difference is not None:
                low, high = (one.difference if x is None else x for x in (one.low, one.high))
                yield (
                    str(radius),
                    number_of[one.first],
                    number_of[one.second],
                    places[one.first, one.second],
                    one.difference,
                    low,
                    high,
                    f"{shown[one.first]} − {shown[one.second]}",
                    ""
                    if one.p_holm is None
                    else f"p {one.p_holm:.4f}, corrected by Holm over pairs and radii",
                    _TOLD_APART if one.significant else _NOT_TOLD_APART,
                )


def _slice_rows(section: Section, found: Mapping[tuple[int, str], Breakdown]) -> Iterator[tuple[Any, ...]]:
    for (number, by), breakdown in found.items():
        names = largest(section.slicings[by]).names
        codes = {name: code for code, name in enumerate(section.slicings[by].names)}
        order = {name: -at for at, name in enumerate(names)}
        for one in breakdown.slices:
            for radius, metric in enumerate(section.metrics):
                test = one.against_rest.get(metric)
                note = "fewer than ten effective clusters: not tested" if one.few else ""
                if test is not None:
                    note = f"{test.difference:+.1f} points against the rest, p {test.p:.3f}"
                yield (
                    str(number),
                    str(radius),
                    by,
                    codes.get(one.name, -1),
                    order[one.name],
                    *_bounded(one.estimates[metric]),
                    f"{visible(one.name, 40)} ({one.n:,})",
                    note,
                )


def _bin_rows(found: Mapping[int, Calibration]) -> Iterator[tuple[Any, ...]]:
    for number, calibration in found.items():
        for radius, one in enumerate(calibration.reliability):
            for part in one.bins:
                yield (str(number), str(radius), part.confidence, *_bounded(part.hit_share), part.n)


def _risk_rows(found: Mapping[int, Calibration]) -> Iterator[tuple[Any, ...]]:
    for number, calibration in found.items():
        for radius, one in enumerate(calibration.risk):
            for coverage, risk in zip(one.coverage, one.risk, strict=True):
                yield (str(number), str(radius), coverage, round(risk, 3))


def _bounded(one: Estimate) -> tuple[float, float, float]:
    """Value, low and high; where there is no interval, the value."""
    value = 0.0 if one.value is None else one.value
    return value, value if one.low is None else one.low, value if one.high is None else one.high
