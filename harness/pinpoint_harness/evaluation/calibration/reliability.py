"""Reliability: among the answers called 80 % sure, are 80 % right?

Shares and gaps are in percent and percentage points, like every accuracy; the Brier score is the
mean square of a probability, 0 to 1. Bins hold about equally many rows and never part rows of
equal confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from ..bootstrap import FEW_CLUSTERS, Clusters, Estimate, cluster_draws, exact_bounds, percentile_estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import Floats


@dataclass(frozen=True)
class Bin:
    """Rows of similar confidence: what they were called, and how often they were right.

    `effective` is the bin's effective number of clusters; below ten, the interval of `hit_share` is
    the exact one for as many draws.
    """

    n: int
    effective: float
    lowest: float
    highest: float
    confidence: float
    hit_share: Estimate


@dataclass(frozen=True)
class Reliability:
    """How far stated probabilities are from shares of hits, within one radius.

    `overconfidence` is mean confidence minus share of hits, the one figure here that is unbiased.
    `ece` is the plug-in expected calibration error, `sum n_b |confidence_b - hit share_b| / sum n_b`
    over bins: too large, since chance alone parts the two in every bin. `ece_by_chance` is what a
    perfectly calibrated method would be expected to show on these bins and clusters, and
    `ece_chance_limit` what it would exceed once in twenty times. `rms_debiased` is the root of the
    mean squared gap less the variance that clusters give it (Kumar, Liang and Ma 2019), 0 where
    chance explains it all. One cluster says nothing about chance, so these three are then None.
    `brier_of_base_rate` is the Brier score of always stating the overall share of hits.
    """

    radius_km: float
    n: int
    bins: tuple[Bin, ...]
    overconfidence: Estimate
    ece: float
    ece_by_chance: float | None
    ece_chance_limit: float | None
    rms_debiased: float | None
    brier: Estimate
    brier_of_base_rate: float

    @property
    def calibrated(self) -> bool | None:
        """Whether chance explains the gaps: a failure to find any, not a proof that there are none.

        None where nothing is known about chance.
        """
        return None if self.ece_chance_limit is None else self.ece <= self.ece_chance_limit


def reliability(
    confidence: Floats,
    hit: NDArray[np.bool_],
    clusters: Clusters,
    radii_km: Sequence[float],
    *,
    bins: int,
    resamples: int,
    seed: int,
) -> tuple[Reliability, ...]:
    """Reliability within each radius, from confidences 0 to 1 and hits, both `(n, radii)`."""
    columns = range(len(radii_km))
    sums = [_Sums(confidence[:, column], hit[:, column], clusters, bins) for column in columns]
    drawn: list[list[Floats]] = [[] for _ in columns]
    for draws in cluster_draws(clusters.count, resamples, seed):
        for column in columns:
            drawn[column].append(sums[column].taken(draws))
    return tuple(
        sums[column].reliability(radius, np.array(drawn[column])) for column, radius in enumerate(radii_km)
    )


def equal_mass_bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each row, `(n,)`: 0, 1, ..., ascending in confidence, about n / bins rows each.

    Rows of equal confidence go together, to the bin in which the middle of them lies; so there may
    be fewer bins.
    """
    _, block, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    wished = np.minimum((middle * bins / len(confidence)).astype(np.int64), bins - 1)
    _, numbered = np.unique(wished, return_inverse=True)
    return np.asarray(numbered[block], dtype=np.int64)


class _Sums:
    """Rows, confidences, hits and squared errors summed by bin and cluster, so that a resample is cheap."""

    def __init__(self, confidence: Floats, hit: NDArray[np.bool_], clusters: Clusters, bins: int) -> None:
        codes = equal_mass_bins(confidence, bins)
        self.bins = int(codes.max()) + 1
        self.range = [(confidence[codes == b].min(), confidence[codes == b].max()) for b in range(self.bins)]
        values = [np.ones(len(codes)), confidence, hit.astype(np.float64), np.square(confidence - hit)]
        shape = (self.bins, clusters.count)
        self.tables = [csr_array((value, (codes, clusters.codes)), shape=shape) for value in values]
        self.effective = np.asarray(
            self.tables[0].sum(axis=1) ** 2 / self.tables[0].power(2).sum(axis=1), dtype=np.float64
        )

    def taken(self, draws: Floats) -> Floats:
        """`(4, bins)` when cluster c is taken `draws[c]` times: rows, confidences, hits, squared errors."""
        return np.array([table @ draws for table in self.tables])

    def reliability(self, radius_km: float, drawn: Floats) -> Reliability:
        """From the sums of every resample, `(resamples, 4, bins)`."""
        once = np.array([np.asarray(table.sum(axis=1)).ravel() for table in self.tables])
        rows, sure, right, square = once
        n = int(rows.sum())
        gap = 100 * (sure - right) / rows  # (bins,)
        # A bin that a resample left empty says nothing about chance; it keeps its gap.
        taken = np.where(drawn[:, :1] > 0, drawn, once)
        noise = 100 * (taken[:, 1] - taken[:, 2]) / taken[:, 0] - gap  # (resamples, bins)
        by_chance, limit, rms = self._against_chance(gap, noise, rows / n)
        total = drawn.sum(axis=2)  # (resamples, 4)
        base = float(right.sum() / n)
        return Reliability(
            radius_km=radius_km,
            n=n,
            bins=tuple(self._bin(b, once[:, b], taken[:, :, b]) for b in range(self.bins)),
            overconfidence=percentile_estimate(
                100 * float(sure.sum() - right.sum()) / n, 100 * (total[:, 1] - total[:, 2]) / total[:, 0], n
            ),
            ece=float(np.abs(gap) @ rows / n),
            ece_by_chance=by_chance,
            ece_chance_limit=limit,
            rms_debiased=rms,
            brier=percentile_estimate(float(square.sum()) / n, total[:, 3] / total[:, 0], n),
            brier_of_base_rate=base * (1 - base),
        )

    def _against_chance(
        self, gap: Floats, noise: Floats, weight: Floats
    ) -> tuple[float, float, float] | tuple[None, None, None]:
        """ECE by chance, its limit and the debiased RMS; `gap` is `(bins,)`, `noise` `(resamples, bins)`."""
        if self.tables[0].shape[1] < 2:  # every resample is the sample itself
            return None, None, None
        by_chance = np.sort(np.abs(noise) @ weight)
        limit = by_chance[int(np.ceil(0.95 * (len(by_chance) + 1))) - 1]
        squared = float((np.square(gap) - np.square(noise).mean(axis=0)) @ weight)
        return float(by_chance.mean()), float(limit), float(np.sqrt(max(squared, 0.0)))

    def _bin(self, number: int, once: Floats, taken: Floats) -> Bin:
        rows, sure, right, _ = once.tolist()
        share, effective = 100 * right / rows, float(self.effective[number])
        hit_share = percentile_estimate(share, 100 * taken[:, 2] / taken[:, 0], int(rows))
        if effective < FEW_CLUSTERS or share in (0.0, 100.0):
            low, high = exact_bounds(share, effective)
            hit_share = replace(hit_share, standard_error=None, low=low, high=high)
        lowest, highest = self.range[number]
        return Bin(
            int(rows), effective, 100 * float(lowest), 100 * float(highest), 100 * sure / rows, hit_share
        )
