"""Risk and coverage: if only the surest answers are given, how many of them are wrong?

Risks are shares of answers outside a radius, in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..bootstrap import Clusters, Estimate, cluster_draws, percentile_estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import Floats

COVERAGE = tuple(float(percent) for percent in range(1, 101))
"""Shares of all rows, in percent, at which a curve is stored."""


@dataclass(frozen=True)
class RiskCoverage:
    """How well confidence parts hits from misses, within one radius.

    `aurc` is the area under the risk-coverage curve: the risk among the `i` surest rows, averaged
    over i = 1 ... n. `oracle` is that of the best order, all hits before all misses; `excess` is the
    difference (Geifman, Uziel and El-Yaniv 2019). `unordered` is that of an order that knows nothing:
    the share of misses. `risk` stands beside `coverage`, both in percent.
    """

    radius_km: float
    aurc: Estimate
    oracle: float
    excess: Estimate
    unordered: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


def risk_coverage(
    rank: Floats,
    hit: NDArray[np.bool_],
    clusters: Clusters,
    radii_km: Sequence[float],
    *,
    resamples: int,
    seed: int,
) -> tuple[RiskCoverage, ...]:
    """Curves within each radius, from an order `(n,)`, surest highest, and hits `(n, radii)`.

    Rows of equal rank enter in random order: every figure is its mean over all orders of them.
    A row of rank -inf (a failure) enters last.
    """
    sample = _Ranked(rank, hit, clusters)
    once = np.ones(clusters.count)
    area, best = sample.areas(once)
    drawn = np.array([sample.areas(draws) for draws in cluster_draws(clusters.count, resamples, seed)])
    curves = sample.curves(np.array(COVERAGE) / 100)
    n = len(rank)
    return tuple(
        RiskCoverage(
            radius_km=radius,
            aurc=percentile_estimate(float(area[column]), drawn[:, 0, column], n),
            oracle=float(best[column]),
            excess=percentile_estimate(
                float(area[column] - best[column]), drawn[:, 0, column] - drawn[:, 1, column], n
            ),
            unordered=100 * float(1 - hit[:, column].mean()),
            coverage=COVERAGE,
            risk=tuple(curves[:, column].tolist()),
        )
        for column, radius in enumerate(radii_km)
    )


class _Ranked:
    """Rows from surest to least sure, in blocks of equal rank."""

    def __init__(self, rank: Floats, hit: NDArray[np.bool_], clusters: Clusters) -> None:
        order = np.argsort(-rank, kind="stable")
        ordered = rank[order]
        self.starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        self.codes = clusters.codes[order]
        self.missed = np.ascontiguousarray(~hit[order].T, dtype=np.float64)  # (radii, n)
        self.block = np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, len(order))))
        self.harmonic, self.summed = np.zeros(1), np.zeros(1)

    def areas(self, draws: Floats) -> Floats:
        """Area under the curve and under the best one, percent, `(2, radii)`, at these draws.

        A miss at place j adds 1/i to every mean over i >= j, so H(n) - H(j - 1) to their sum, H being
        the harmonic numbers; of rows of equal rank each place is as likely, hence the mean of that.
        """
        weight = draws[self.codes]
        size = np.add.reduceat(weight, self.starts)
        last = np.cumsum(size)
        total = float(last[-1])
        self._grow(int(total))
        below = np.append(0.0, self.summed[last.astype(np.int64)])  # of each block's first place
        each = self.harmonic[int(total)] - np.diff(below) / np.maximum(size, 1.0)
        # Not a matrix product: BLAS adds in another order on another number of threads.
        area = np.einsum("rn,n->r", self.missed, weight * each[self.block])
        misses = np.einsum("rn,n->r", self.missed, weight)
        hits = total - misses
        best = misses - hits * (self.harmonic[int(total)] - self.harmonic[np.rint(hits).astype(np.int64)])
        areas: Floats = 100 * np.array([area, best]) / total
        return areas

    def curves(self, coverage: Floats) -> Floats:
        """Risk in percent at each coverage (0 to 1), `(coverages, radii)`."""
        size = np.diff(np.append(self.starts, len(self.codes)))
        rows = np.append(0.0, np.cumsum(size))
        entered = coverage * rows[-1]
        missed = np.add.reduceat(self.missed, self.starts, axis=1)  # (radii, blocks)
        misses = [np.interp(entered, rows, np.append(0.0, np.cumsum(one))) for one in missed]
        risks: Floats = 100 * np.array(misses).T / entered[:, None]
        return risks

    def _grow(self, count: int) -> None:
        """Have H(0) ... H(count), and the sum of H(0) ... H(x - 1), which is x H(x) - x, at every x."""
        if count >= len(self.harmonic):
            whole = np.arange(1.0, 2 * count + 1)
            self.harmonic = np.append(0.0, np.cumsum(1.0 / whole))
            self.summed = np.append(0.0, whole * (self.harmonic[1:] - 1.0))
