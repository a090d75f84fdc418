"""What a run says beside its answers: ranked candidates, and how dense its distribution is at the truth.

*Recall vs Area* (Bianco, Eigen and Gormish 2024, arXiv:2407.13862) takes a method's answer for a ranked list
of regions, and asks how much area, from the best region on, must be searched until the one that holds the
truth is reached; recall at an area is the share of photos found in no more. The paper ranks cells of a
partition; candidates here are places. Each stands for the cell of about 2,500 km2 that it lies in, of a grid
of equal area; a cell counts once, with the candidates' probabilities summed, or where these are not stated by
its first candidate. A photo whose cell no candidate lies in is found in no area, and one without candidates
is a miss.

*NLL* is minus the mean logarithm of the probability density at the truth, in nats per steradian: ln(4 pi) =
2.53 for a method that knows nothing. It is of methods that have a density (`Method.log_density`).
Probabilities within a few radii, or of candidates, are none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..geo import EARTH_RADIUS_KM
from .area_cells import area_cells
from .bootstrap import Clusters, Estimate, cluster_draws, estimate_all, percentile_estimate

if TYPE_CHECKING:
    from ..types import Candidates, Floats

RECALL_AREA, NLL = "recall-area", "nll"

REGION_KM2 = 2500.0
"""Of the cell that a candidate stands for: a disc of 28 km, about a city."""

AREAS_KM2 = (10_000.0, 100_000.0, 1_000_000.0)
"""At which recall stands in tables: a large city with its surroundings, a small country, a large one."""

RECALL_METRICS = tuple(f"recall_{area:.0f}km2" for area in AREAS_KM2)

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({RECALL_AREA: RECALL_METRICS, NLL: ("nll",)})
"""What a run is measured by as by a protocol, and the metrics that each gives."""

DISTRIBUTION_METRICS = tuple(name for names in DISTRIBUTIONS.values() for name in names)

_CHUNK_ROWS = 8192


def searched_km2(truth: Floats, candidates: Candidates, cell_km2: float = REGION_KM2) -> Floats:
    """Area to be searched until the truth `(n, 2)` is reached, `(n,)` km2, `inf` where it never is."""
    parts = []
    for start in range(0, len(truth), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        share = None if candidates.probability is None else candidates.probability[rows]
        parts.append(_searched(truth[rows], candidates.coordinates[rows], share, cell_km2))
    return np.concatenate(parts) if parts else np.zeros(0)


def _searched(truth: Floats, places: Floats, share: Floats | None, cell_km2: float) -> Floats:
    n = len(places)
    codes, area = area_cells(places, cell_km2)  # (n, k)
    there = codes >= 0
    rows, slots = np.nonzero(there)
    own, _ = area_cells(truth, cell_km2)
    size = int(max(codes.max(initial=0), own.max(initial=0))) + 1
    keys, first, region = np.unique(
        rows * size + codes[there], return_index=True, return_inverse=True
    )  # each region once, `first` is the place of its best candidate in its row
    if not len(keys):
        return np.full(n, np.inf)
    score = -slots[first].astype(np.float64)
    if share is not None:
        stated = np.where(there, share, 0.0)
        lacking = np.isnan(stated).sum(axis=1)
        summed = np.bincount(region, np.nan_to_num(stated)[there], len(keys))
        score = np.where(lacking[keys // size] == 0, summed, score)
    at = np.searchsorted(keys, np.arange(n) * size + own)
    found = (at < len(keys)) & (keys[np.minimum(at, len(keys) - 1)] == np.arange(n) * size + own)
    goal = np.minimum(at, len(keys) - 1)[keys // size]  # of each region, that of its row's truth
    before = (score > score[goal]) | ((score == score[goal]) & (first <= first[goal]))
    sums = np.bincount(keys // size, np.where(before, area[there][first], 0.0), n).astype(np.float64)
    return np.where(found, sums, np.inf)


def recall_estimates(
    truth: Floats, candidates: Candidates | None, clusters: Clusters, *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Recall in percent within each of `AREAS_KM2`; DataError for a run without candidates."""
    if candidates is None:
        raise DataError(
            "recall by area is of ranked candidates, and this run stored none",
            fix="measure a run of a method that reports candidates, as nearest-photo does",
        )
    needed = searched_km2(truth, candidates)
    found = estimate_all(needed, clusters, AREAS_KM2, True, False, resamples=resamples, seed=seed)
    values = list(found.values())[: len(AREAS_KM2)]
    return dict(zip(RECALL_METRICS, values, strict=True))


def nll_estimates(
    log_density: Floats | None, clusters: Clusters, *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Minus the mean log density at the truth, over the rows that have one; DataError without any."""
    if log_density is None or np.isnan(log_density).all():
        raise DataError(
            "NLL is of methods with a density, and this run stored none",
            found="probabilities within radii and of candidates are no density",
            fix="run a method that has one, as `plonk --set density=true`",
        )
    stated = ~np.isnan(log_density)
    count = np.bincount(clusters.codes, stated, clusters.count)
    total = np.bincount(clusters.codes, np.where(stated, -log_density, 0.0), clusters.count)
    # Not a matrix product: BLAS adds in another order on another number of threads.
    drawn = [
        (np.einsum("c,c->", draws, total), np.einsum("c,c->", draws, count))
        for draws in cluster_draws(clusters.count, resamples, seed)
    ]
    replicates = np.array([summed / rows if rows else np.nan for summed, rows in drawn])
    value = float(total.sum() / count.sum())
    return {"nll": percentile_estimate(value, replicates, int(stated.sum()))}


def per_km2(nats_per_steradian: float) -> float:
    """An NLL in nats per km2, on the sphere of 6371 km."""
    return nats_per_steradian + 2 * math.log(EARTH_RADIUS_KM)


def bits_per_dimension(nats_per_steradian: float) -> float:
    """An NLL as PLONK's code states it: bits by the 3 coordinates of a unit vector."""
    return nats_per_steradian / (3 * math.log(2))
