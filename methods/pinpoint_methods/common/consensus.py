"""One place out of several: how the candidates of photos, each with a weight, are made into answers.

Every rule takes lists of equally many places `(n, k, 2)` in degrees, best first, and weights `(n, k)`, none
of them negative, and returns a place for each, `(n, 2)`. An answer has the same bits whatever lists stand
beside its own: numpy gives each of a stack of matrices to BLAS by itself, and lists of other lengths, whose
sums would end in other digits, are never filled up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_harness.types import RADII_KM

from .equal_lists import equally_long
from .kernel_grid import lknn_peak
from .sphere import degrees_of, pairwise_km

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

    Rule = Callable[[Floats, Floats], Floats]

CLUSTER_RADII_KM = (250.0, 500.0, 1000.0)
"""The first of these around the first candidate that holds three makes the cluster (Chipoint 2)."""

CLUSTER_MEMBERS = 3
BANDWIDTH_KM = 100.0
"""Of the kernel of the mean shift, after the cells of the field's tables between city and region."""

_EARTH_KM = 6371.0
_SHIFTS = 200
_STILL = 1e-10
_SIGMA_DEG, _SNAP_KM = 4.0, 100.0


def decode(rule: str, places: Floats, weight: Floats) -> Floats:
    """The answers of a rule of `RULES`, `(n, 2)`; all of a list weigh the same if all weigh 0.

    Places `(n, k, 2)` of NaN are not there; NaN where a list has no candidate.
    """
    answers = np.full((len(places), 2), np.nan)
    valid, weight = ~np.isnan(places.sum(axis=2)), np.nan_to_num(weight)
    for count, some in equally_long(valid.sum(axis=1)):
        there = valid[some]
        listed = places[some][there].reshape(-1, count, 2)
        share = _shares(weight[some][there].reshape(-1, count))
        answers[some] = RULES[rule](listed, share)
    return answers


def _shares(weight: Floats) -> Floats:
    """Of the weight of each list `(n, k)`; equal ones where nothing weighs anything."""
    total = weight.sum(axis=1, keepdims=True)
    equal = np.full(weight.shape, 1 / weight.shape[1])
    share: Floats = np.divide(weight, total, out=equal, where=total > 0)
    return share


def first(places: Floats, weight: Floats) -> Floats:
    """The best candidate."""
    best: Floats = places[:, 0]
    return best


def expected(places: Floats, weight: Floats) -> Floats:
    """The candidate with the highest expected share of the five radii, the weights being probabilities."""
    best: Floats = places[np.arange(len(places)), expected_share(places, weight).argmax(axis=1)]
    return best


def expected_share(places: Floats, weight: Floats) -> Floats:
    """Of each candidate, the share of the five radii that the others, by weight, lie within: `(n, k)`."""
    km = pairwise_km(places)
    share: Floats = np.mean([_products(km < radius, weight) for radius in RADII_KM], axis=0)
    return share


def mean_shift(places: Floats, weight: Floats, bandwidth_km: float = BANDWIDTH_KM) -> Floats:
    """The highest peak of the candidates' density on the sphere, reached from each of them.

    The kernel is a von Mises-Fisher one of concentration `(6371 / bandwidth_km)^2`: a Gaussian of that
    width. Of equal peaks the one reached from the better candidate.
    """
    answers, sharpness = np.empty((len(places), 2)), (_EARTH_KM / bandwidth_km) ** 2
    # What weighs nothing draws nothing, not even itself.
    heavy = weight > 0
    for count, some in equally_long(heavy.sum(axis=1)):
        there = heavy[some]
        share = weight[some][there].reshape(-1, count)
        xyz = unit_xyz(places[some][there]).reshape(-1, count, 3)
        answers[some] = degrees_of(_highest_peaks(xyz, share, sharpness))
    return answers


def _highest_peaks(xyz: Floats, weight: Floats, sharpness: float) -> Floats:
    """Unit vectors `(n, 3)` of the highest peaks of each list `(n, k, 3)`."""
    points, moving = xyz.copy(), np.arange(len(xyz))
    for _ in range(_SHIFTS):
        moved = _kernel(points[moving], xyz[moving], sharpness, weight[moving]) @ xyz[moving]
        moved /= np.linalg.norm(moved, axis=2, keepdims=True)
        still = np.square(moved - points[moving]).sum(axis=2).max(axis=1) < _STILL**2
        points[moving] = moved
        moving = moving[~still]
        if not len(moving):
            break
    density = _kernel(points, xyz, sharpness, weight).sum(axis=2)
    best = (density >= density.max(axis=1, keepdims=True) * (1 - 1e-9)).argmax(axis=1)
    peaks: Floats = points[np.arange(len(points)), best]
    return peaks


def lknn_kernel(places: Floats, weight: Floats) -> Floats:
    """[L]kNN's: the peak of the weights blurred on a grid, then the best candidate within 100 km of it."""
    # A peak is a product of matrices of 45 MFLOP, beside which a loop costs nothing.
    peaks = np.array([lknn_peak(*pair, _SIGMA_DEG) for pair in zip(places, weight, strict=True)])
    near = _km_to(places, peaks) < _SNAP_KM
    snapped = places[np.arange(len(places)), near.argmax(axis=1)]
    return np.where(near.any(axis=1, keepdims=True), snapped, peaks)


def cluster(places: Floats, weight: Floats) -> Floats:
    """The weighted mean, on the sphere, of what lies around the first candidate (Chipoint 2).

    Members lie within 250 km of it, or within 500 or 1000 where fewer than three do.
    """
    km, xyz = _km_to(places, places[:, 0]), unit_xyz(places.reshape(-1, 2)).reshape(*places.shape[:2], 3)
    within = np.less_equal(km, np.array(CLUSTER_RADII_KM)[:, None, None])  # (radii, n, k)
    enough = np.count_nonzero(within, axis=2) >= CLUSTER_MEMBERS
    enough[-1] = True
    members = within[enough.argmax(axis=0), np.arange(len(places))]
    means = np.empty((len(places), 3))
    for count, some in equally_long(members.sum(axis=1)):
        there = members[some]
        share = weight[some][there].reshape(-1, count)
        share[share.sum(axis=1) <= 0] = 1.0
        means[some] = (share[:, None] @ xyz[some][there].reshape(-1, count, 3))[:, 0]
    # Of antipodes nothing is left; within 1000 km there are none.
    return degrees_of(means)


RULES: Mapping[str, Rule] = {
    "first": first,
    "expected": expected,
    "mean-shift": mean_shift,
    "lknn": lknn_kernel,
    "cluster": cluster,
}


def _kernel(points: Floats, xyz: Floats, sharpness: float, weight: Floats) -> Floats:
    """Weighted kernels of candidates at points, `(n, points, k)`, by the chord: exact where it is small."""
    x, y, z = (np.square(points[:, :, None, axis] - xyz[:, None, :, axis]) for axis in range(3))
    values: Floats = weight[:, None] * np.exp(-sharpness * (x + y + z) / 2)
    return values


def _km_to(places: Floats, points: Floats) -> Floats:
    """From the candidates of each list to its point `(n, 2)`: `(n, k)`."""
    n, k, _ = places.shape
    km: Floats = haversine_km(places.reshape(-1, 2), points.repeat(k, axis=0)).reshape(n, k)
    return km


def _products(matrices: NDArray[Any], vectors: Floats) -> Floats:
    """Of each matrix `(n, k, k)` with its vector `(n, k)`: `(n, k)`."""
    products: Floats = (matrices @ vectors[..., None])[..., 0]
    return products
