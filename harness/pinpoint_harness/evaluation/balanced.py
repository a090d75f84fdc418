"""Balanced accuracy: every slice of a dataset counts alike, however many photos it has.

The mean of the slices' accuracies. Its error is stratified: a resample draws as many photographers
in each slice as there are, with replacement, and averages the slices anew; so the number of photos
of a slice is taken as given, and a photographer of two slices is drawn in each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .bootstrap import Clusters, Estimate, percentile_estimate
from .metrics import metric_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Floats


_DRAWS_AT_ONCE = 1 << 20


def balanced_estimates(
    hit: NDArray[np.bool_],
    codes: NDArray[np.int64],
    clusters: Clusters,
    radii_km: Sequence[float],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Balanced accuracies in percent, by the accuracies' names, with 95 % intervals.

    `hit` `(n, radii)` says which rows lie within which radius, `codes` `(n,)` the slice of each row; a row
    of code -1 counts nowhere. `n` of an estimate is the number of rows that count. A slice of a single
    cluster adds nothing to the error.
    """
    if not len(hit) == len(codes) == len(clusters.codes):
        raise UsageError(
            "every row has a slice and a cluster",
            found=f"{len(hit)} rows, {len(codes)} slices, {len(clusters.codes)} clusters",
        )
    names = metric_names(radii_km)[: len(radii_km)]
    slices = _rows_of_slices(codes)
    counted = int((codes >= 0).sum())
    if not slices:
        return dict.fromkeys(names, Estimate(None, None, None, None, 0))
    generator = np.random.default_rng(seed)
    value = np.zeros(len(radii_km))
    replicates = np.zeros((resamples, len(radii_km)))
    for mine in slices:
        right, sizes = _by_cluster(hit[mine], clusters.codes[mine])
        value += right.sum(axis=0) / sizes.sum()
        replicates += _resampled(right, sizes, resamples, generator)
    value, replicates = 100 * value / len(slices), 100 * replicates / len(slices)
    return {
        name: percentile_estimate(float(value[at]), replicates[:, at], counted)
        for at, name in enumerate(names)
    }


def _by_cluster(hit: NDArray[np.bool_], codes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Of each cluster of one slice, its rows within each radius `(c, radii)` and its rows `(c,)`."""
    _, cluster = np.unique(codes, return_inverse=True)
    count = int(cluster.max()) + 1
    right: Floats = np.stack([np.bincount(cluster, column, count) for column in hit.T], axis=1).astype(float)
    return right, np.bincount(cluster, minlength=count).astype(np.float64)


def _resampled(right: Floats, sizes: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """The slice's accuracy, 0 to 1, in each resample of its clusters, `(resamples, radii)`."""
    count = len(sizes)
    if count == 1:
        return np.tile(right / sizes, (resamples, 1))
    found = []
    step = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, resamples, step):
        together = min(step, resamples - start)
        drawn = generator.integers(count, size=(together, count)) + count * np.arange(together)[:, None]
        draws = np.bincount(drawn.ravel(), minlength=together * count).reshape(together, count).astype(float)
        # Sums of whole numbers, so exact in whatever order they are added.
        found.append((draws @ right) / (draws @ sizes)[:, None])
    return np.concatenate(found)


def _rows_of_slices(codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each slice that has some, but for those of no slice."""
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(np.bincount(codes + 1)[:-1])
    return [rows for rows in np.split(order, starts)[1:] if len(rows)]
