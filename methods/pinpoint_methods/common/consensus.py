"""One place out of several: how the candidates of a photo, each with a weight, are made into an answer.

Every rule takes places `(k, 2)` in degrees, best first, and weights `(k,)`, none of them negative, and
returns a place `(2,)`. Places of NaN are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_harness.types import RADII_KM

from .kernel_grid import lknn_peak
from .sphere import degrees_of

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
    """The answer of a rule of `RULES`, NaN where there is no candidate; all weigh the same if all weigh 0."""
    valid = ~np.isnan(places).any(axis=1)
    places, weight = places[valid], np.nan_to_num(weight[valid])
    if not len(places):
        return np.full(2, np.nan)
    total = weight.sum()
    share = weight / total if total > 0 else np.full(len(weight), 1 / len(weight))
    return RULES[rule](places, share)


def first(places: Floats, weight: Floats) -> Floats:
    """The best candidate."""
    best: Floats = places[0]
    return best


def expected(places: Floats, weight: Floats) -> Floats:
    """The candidate with the highest expected share of the five radii, the weights being probabilities."""
    best: Floats = places[np.argmax(expected_share(places, weight))]
    return best


def expected_share(places: Floats, weight: Floats) -> Floats:
    """Of each candidate, the share of the five radii that the others, by weight, lie within: `(k,)`."""
    km = _between_km(places)
    share: Floats = np.mean([(km < radius) @ weight for radius in RADII_KM], axis=0)
    return share


def mean_shift(places: Floats, weight: Floats, bandwidth_km: float = BANDWIDTH_KM) -> Floats:
    """The highest peak of the candidates' density on the sphere, reached from each of them.

    The kernel is a von Mises-Fisher one of concentration `(6371 / bandwidth_km)^2`: a Gaussian of that
    width. Of equal peaks the one reached from the better candidate.
    """
    # What weighs nothing draws nothing, not even itself.
    places, weight = places[weight > 0], weight[weight > 0]
    xyz, sharpness = unit_xyz(places), (_EARTH_KM / bandwidth_km) ** 2
    points = xyz.copy()
    for _ in range(_SHIFTS):
        moved = _kernel(points, xyz, sharpness, weight) @ xyz
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        still = np.square(moved - points).sum(axis=1).max() < _STILL**2
        points = moved
        if still:
            break
    density = _kernel(points, xyz, sharpness, weight).sum(axis=1)
    best = np.flatnonzero(density >= density.max() * (1 - 1e-9))[0]
    return degrees_of(points[best])


def lknn_kernel(places: Floats, weight: Floats) -> Floats:
    """[L]kNN's: the peak of the weights blurred on a grid, then the best candidate within 100 km of it."""
    peak = lknn_peak(places, weight, _SIGMA_DEG)
    near = haversine_km(places, peak) < _SNAP_KM
    return places[np.argmax(near)] if near.any() else peak


def cluster(places: Floats, weight: Floats) -> Floats:
    """The weighted mean, on the sphere, of what lies around the first candidate (Chipoint 2).

    Members lie within 250 km of it, or within 500 or 1000 where fewer than three do.
    """
    km = haversine_km(places, places[0])
    for radius in CLUSTER_RADII_KM:
        members = km <= radius
        if members.sum() >= CLUSTER_MEMBERS:
            break
    share = weight[members]
    mean = (share if share.sum() > 0 else np.ones(len(share))) @ unit_xyz(places[members])
    # Of antipodes nothing is left; within 1000 km there are none.
    return degrees_of(mean)


RULES: Mapping[str, Rule] = {
    "first": first,
    "expected": expected,
    "mean-shift": mean_shift,
    "lknn": lknn_kernel,
    "cluster": cluster,
}


def _kernel(points: Floats, xyz: Floats, sharpness: float, weight: Floats) -> Floats:
    """Weighted kernels of candidates at points, `(points, k)`, by the chord: exact where they are close."""
    chord = np.square(points[:, None] - xyz[None]).sum(axis=2)
    values: Floats = weight * np.exp(-sharpness * chord / 2)
    return values


def _between_km(places: Floats) -> Floats:
    count = len(places)
    rows, columns = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    km: Floats = haversine_km(places[rows], places[columns]).reshape(count, count)
    return km
