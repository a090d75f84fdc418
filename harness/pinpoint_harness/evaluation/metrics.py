"""What a list of errors says about a method: shares within radii, mean, median, GeoScore.

Errors are `(n,)` kilometres, one per truth row, `inf` for a row without an answer. NaN is refused
everywhere: it would silently be neither a hit nor a miss.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, UsageError
from ..types import FARTHEST_KM, RADII_KM

if TYPE_CHECKING:
    from ..types import Floats

GEOSCORE_MAXIMUM = 5000.0
GEOSCORE_SCALE_KM = 1492.7
"""Distance at which the points fall to 1/e of the maximum, as PIGEON and OSV-5M set it."""

_ACCURACY = re.compile(r"acc_([0-9]+(?:\.[0-9]+)?)km")


def hits(error_km: ArrayLike, radii_km: Sequence[float], inclusive: bool) -> NDArray[np.bool_]:
    """Whether each error lies within each radius, `(n, r)`; a miss is within none."""
    errors = checked_errors(error_km)[:, None]
    radii = np.asarray(radii_km, dtype=np.float64)
    return errors <= radii if inclusive else errors < radii


def geoscore(error_km: ArrayLike, rounded: bool) -> Floats:
    """Points of each row, `5000 exp(-d / 1492.7)`: 5000 for a perfect answer, 0 for a miss.

    `rounded` gives whole points per row, as PIGEON and the game do; OSV-5M does not round.
    """
    points: Floats = GEOSCORE_MAXIMUM * np.exp(-checked_errors(error_km) / GEOSCORE_SCALE_KM)
    return np.round(points) if rounded else points


def mean_km(error_km: ArrayLike) -> tuple[float | None, int]:
    """Mean over the rows with an answer, and how many these are; None over no rows.

    Two means compare only when their n does: leaving out the hard rows makes this one smaller.
    """
    errors = checked_errors(error_km)
    answered = errors[np.isfinite(errors)]
    return (float(answered.mean()) if len(answered) else None), len(answered)


def median_km(error_km: ArrayLike) -> float:
    """Median over all rows, misses counting as `inf`; `inf` when half or more are misses."""
    errors = checked_errors(error_km)
    _require_rows(len(errors))
    return float(np.median(errors))


def radius_of(metric: str) -> float | None:
    """The radius in km of an accuracy, by its name, whatever the radius; None for another metric."""
    found = _ACCURACY.fullmatch(metric)
    return float(found[1]) if found and 0 < float(found[1]) < FARTHEST_KM else None


def metric_names(radii_km: Sequence[float] = RADII_KM) -> tuple[str, ...]:
    """Metrics in the order of every table, named as in published rows: `acc_1km`, ..., `geoscore`.

    Accuracies under these names are percentages. Raises UsageError unless the radii are distances
    on the Earth and different from one another.
    """
    _check(radii_km, FARTHEST_KM, f"radii must be above 0 and below {FARTHEST_KM:,.0f} km")
    return names_at(radii_km)


def names_at(thresholds: Sequence[float]) -> tuple[str, ...]:
    """Metrics of errors of any kind, such as areas, at thresholds of their own, in the same order.

    Raises UsageError unless those are positive, finite and different from one another.
    """
    _check(thresholds, np.inf, "thresholds must be positive and finite")
    return (*(f"acc_{threshold:.10g}km" for threshold in thresholds), "mean_km", "median_km", "geoscore")


def _check(thresholds: Sequence[float], below: float, problem: str) -> None:
    if not all(0 < one < below for one in thresholds) or len(set(thresholds)) < len(thresholds):
        found = ", ".join(f"{one:.10g}" for one in thresholds)
        raise UsageError(f"{problem}, and different from one another", found=found)


def checked_errors(error_km: ArrayLike) -> Floats:
    """Errors as float64 `(n,)`; DataError when one is NaN or negative."""
    errors = np.asarray(error_km, dtype=np.float64)
    if errors.ndim != 1:
        raise UsageError("errors are one number per truth row", found=f"an array of shape {errors.shape}")
    # Written so that NaN, which compares false with everything, is refused as well.
    refused = np.flatnonzero(~(errors >= 0))
    if len(refused):
        raise DataError(
            "an error is a distance, or inf for a row without an answer",
            found=f"{len(refused)} NaN or negative, first {errors[refused[0]]} at row {refused[0]}",
            fix="measure them with Protocol.distance_km, which gives inf where there is no answer",
        )
    return errors


def _require_rows(count: int) -> None:
    if count == 0:
        raise DataError("there is no row to score", fix="check the list of ids against the truth file")
