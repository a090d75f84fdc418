"""p-values of paired differences: two methods' answers are exchanged, photographer by photographer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .bootstrap import Clusters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Floats

EQUAL = 1e-9
"""Up to which two differences count as one."""

_SIGNS_AT_ONCE = 4_000_000
_MOST_FLIPS_AT_ONCE = 256
"""Of one draw. Another number may begin other random numbers, and so give other p-values."""
_BYTES_AT_ONCE = 2**26
_CLUSTERS_AT_ONCE = 2**13
"""Of which draws and weights stay in a processor's cache."""
_ROWS_PER_CLUSTER = 80
"""How many clusters a product takes in the time in which one row is looked at."""
_SPREAD = 4.0
"""Standard deviations around the middle in which a median nearly always stays,"""
_FEW = 30
"""unless so few clusters, or fewer, make up most of the rows."""


def sign_flips(
    contributions: Mapping[str, Floats], pairs: Sequence[tuple[str, str]], flips: int, seed: int
) -> Floats:
    """p-values of paired differences that are sums over clusters, `(pairs, metrics)`.

    `contributions` holds what each cluster adds to each metric of a method, `(metrics, clusters)`.
    Each flip exchanges the two methods' answers to half of the photographers, drawn at random and
    the same for every pair; the observed assignment counts as one of them. Memory grows with the
    clusters and methods, not with the flips or pairs.
    """
    number = {name: index for index, name in enumerate(contributions)}
    first, second = np.array([[number[one], number[other]] for one, other in pairs]).T
    stacked = np.stack(list(contributions.values()))  # (methods, metrics, clusters)
    methods, metrics, clusters = stacked.shape
    by_cluster = np.ascontiguousarray(stacked.reshape(-1, clusters).T)
    whole = stacked.sum(axis=2)
    observed = np.abs(whole[first] - whole[second])  # (pairs, metrics)
    at_least = np.ones(observed.shape)
    for swaps in _draws(flips, clusters, seed):
        # A difference of sums is the sum of differences: one product serves all pairs.
        flipped = whole - 2.0 * _sums(swaps, by_cluster).reshape(-1, methods, metrics)
        for pair, (one, other) in enumerate(zip(first, second, strict=True)):
            gap = np.abs(flipped[:, one] - flipped[:, other])  # (size, metrics)
            at_least[pair] += (gap >= observed[pair] - EQUAL).sum(axis=0)
    return np.asarray(at_least / (1 + flips))


def median_flips(first: Floats, second: Floats, clusters: Clusters, flips: int, seed: int) -> float | None:
    """p of the difference in median error, which is no sum over clusters: every exchange is carried out.

    None where a median is infinite.
    """
    medians = ExchangedMedians(first, second, clusters)
    (observed,) = medians.differences(np.zeros((1, clusters.count), dtype=np.uint8))
    if not np.isfinite(observed):
        return None
    at_least = 1
    for swaps in _draws(flips, clusters.count, seed):
        at_least += int((medians.differences(swaps) >= observed - EQUAL).sum())
    return at_least / (1 + flips)


class ExchangedMedians:
    """Medians of two methods after an exchange of whole clusters, for many exchanges at once.

    All errors of both lie in one sorted row. A method has as many photos after an exchange as
    before, so its median lies at fixed ranks among its own; how many of them come before a position
    is a sum over clusters. One product gives it at some cuts around the middle, where the medians
    nearly always stay, and the rows between two of these are looked at one by one.
    """

    def __init__(self, first: Floats, second: Floats, clusters: Clusters) -> None:
        pooled = np.concatenate([first, second])
        order = np.argsort(pooled, kind="stable")
        n = len(first)
        self.ranks = (n - 1) // 2, n // 2
        self.errors, self.of_first = pooled[order], order < n
        self.codes = np.tile(clusters.codes, 2)[order]
        self.cuts, self.step = self._cut(clusters)
        ends = np.minimum(self.cuts, 2 * n)
        self.before = np.concatenate([[0], np.cumsum(self.of_first)])[ends].astype(np.float64)
        self.total = ends.astype(np.float64)
        self.moved = np.stack([self._moved(end, clusters.count) for end in ends], axis=1)
        # The last part may reach beyond the end: its filling belongs to nobody that is counted.
        filling = max(self.cuts[-1] - 2 * n, 0)
        self.errors = np.concatenate([self.errors, np.full(filling, np.inf)])
        self.of_first = np.concatenate([self.of_first, np.ones(filling, dtype=bool)])
        self.codes = np.concatenate([self.codes, np.zeros(filling, dtype=np.int64)])

    def differences(self, swaps: NDArray[np.uint8]) -> Floats:
        """Absolute differences in km under exchanges `(flips, clusters)`; infinite where a median is."""
        first = self.before + _sums(swaps, self.moved)  # (flips, cuts)
        medians = [
            np.mean([self._ranked(counts, rank, swaps, other) for rank in self.ranks], axis=0)
            for counts, other in ((first, False), (self.total - first, True))
        ]
        with np.errstate(invalid="ignore"):
            found = np.abs(medians[0] - medians[1])
        return np.where(np.isfinite(found), found, np.inf)

    def _cut(self, clusters: Clusters) -> tuple[NDArray[np.int64], int]:
        """Positions at equal steps around the middle; half of a method's rows lie before it on average."""
        rows = len(self.codes)
        reach = middle = rows // 2
        if clusters.effective > _FEW:
            deviation = math.sqrt(np.square(self._moved(middle, clusters.count)).sum()) / 2
            reach = min(math.ceil(2 * _SPREAD * deviation) + 2, middle)
        parts = max(math.isqrt(_ROWS_PER_CLUSTER * 2 * reach // clusters.count), 2)
        step = -(-2 * reach // parts)
        return middle - reach + step * np.arange(parts + 1), step

    def _moved(self, end: int, clusters: int) -> Floats:
        """What an exchange of each cluster adds to the first's rows before a position."""
        sides = np.where(self.of_first[:end], -1.0, 1.0)
        return np.asarray(np.bincount(self.codes[:end], sides, clusters), dtype=np.float64)

    def _ranked(self, counts: Floats, rank: int, swaps: NDArray[np.uint8], other: bool) -> Floats:
        """The error at `rank` (from 0) of one method's, `(flips,)`; `counts` are its rows before each cut."""
        flip = np.arange(len(swaps))
        part = np.count_nonzero(counts <= rank, axis=1) - 1  # the last cut that is not beyond the rank
        is_between = (part >= 0) & (part < len(self.cuts) - 1)
        part = np.where(is_between, part, 0)
        rows = self.cuts[part][:, None] + np.arange(self.step)
        mine = (self.of_first[rows] == swaps[flip[:, None], self.codes[rows]]) == other
        position = np.count_nonzero(counts[flip, part][:, None] + np.cumsum(mine, axis=1) <= rank, axis=1)
        # Where the rank lies elsewhere, a position may lie beyond the part.
        found = self.errors[np.where(is_between, self.cuts[part] + position, 0)]
        for one in np.flatnonzero(~is_between):
            mine = (self.of_first == swaps[one, self.codes]) == other
            found[one] = self.errors[np.searchsorted(np.cumsum(mine), rank, side="right")]
        return found


def _draws(flips: int, clusters: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Which clusters each flip exchanges (1), `(some flips, clusters)`, until the next are asked for."""
    generator = np.random.default_rng([seed, 1])
    step = max(1, min(_MOST_FLIPS_AT_ONCE, _SIGNS_AT_ONCE // clusters))
    together = step * max(1, min(_MOST_FLIPS_AT_ONCE, _BYTES_AT_ONCE // clusters) // step)
    drawn = np.empty((min(together, flips), clusters), dtype=np.uint8)
    for start in range(0, flips, together):
        some = drawn[: flips - start]
        for row in range(0, len(some), step):
            part = some[row : row + step].reshape(-1)
            np.right_shift(_random_bytes(generator, part.size), 7, out=part)
        yield some


def _random_bytes(generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Those of whose highest bits `integers(0, 2, count, dtype=np.int8)` consists, which takes longer."""
    words = generator.integers(0, 2**32, size=-(-count // 4), dtype=np.uint32)
    return words.astype("<u4", copy=False).view(np.uint8)[:count]


def _sums(swaps: NDArray[np.uint8], by_cluster: Floats) -> Floats:
    """The product of `(flips, clusters)` and `(clusters, columns)`."""
    total: Any = np.zeros((len(swaps), by_cluster.shape[1]))
    for start in range(0, len(by_cluster), _CLUSTERS_AT_ONCE):
        some = slice(start, start + _CLUSTERS_AT_ONCE)
        total += swaps[:, some].astype(np.float64) @ by_cluster[some]
    return np.asarray(total)
