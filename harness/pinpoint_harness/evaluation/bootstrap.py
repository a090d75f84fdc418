"""How sure a row of a table is: standard errors and 95 % intervals by photographer.

Photos of one photographer are taken minutes apart and succeed or fail together, so the bootstrap
draws whole photographers. Each resample takes as many clusters as there are, with replacement,
and computes every metric on all rows of the drawn clusters: sum over sum of n.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, UsageError
from .metrics import checked_errors, geoscore, names_at

if TYPE_CHECKING:
    import pandas as pd

    from ..types import Floats

FEW_CLUSTERS = 10
"""A bootstrap of fewer effective clusters is too narrow to be believed."""

_TAIL = 0.025
_FEWEST_RESAMPLES = 100
_DRAWS_AT_ONCE = 2**18
"""How many clusters, in as many resamples, are multiplied at once: 2 MiB."""
_DRAWN_AT_ONCE = 2**14
"""How many clusters, in as many resamples, are counted at once: what stays in the cache."""
_FEW_ROWS = 512
"""So many rows are faster all cumulated, a block of resamples at once, than searched one by one."""
_MOST_PARTS, _ROWS_PER_COUNT = 16, 80
"""Into how many parts the middle is cut, and how many counts a product makes in the time of one row."""


@dataclass(frozen=True)
class Estimate:
    """One metric of one row: accuracies in percent, distances in km, GeoScore in points.

    `low` and `high` bound the 95 % interval. A number that does not exist or is infinite is None:
    the median when half or more of the rows are misses, one of its bounds when that happens in
    too many resamples, the mean when no row has an answer, everything but the value when there
    are fewer than two clusters. `n` is the number of rows the value is taken over.
    """

    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and None, as stored in a scores file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Estimate:
        """The inverse of `to_dict`; DataError when a field is absent or unknown."""
        names = {item.name for item in fields(cls)}
        if set(stored) != names:
            raise DataError(
                "an estimate has the fields " + ", ".join(sorted(names)), found=", ".join(sorted(stored))
            )
        return cls(**stored)


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which rows stand or fall together.

    `codes` is `(n,)`, 0 to `count - 1`. `effective` is `(sum n)^2 / sum n^2` over the clusters:
    how many equally large ones would weigh as evenly. `clustered` is false where no author is
    known, so that every row is a cluster of its own.
    """

    codes: NDArray[np.int64]
    column: str
    count: int
    effective: float
    clustered: bool

    def describe(self) -> str:
        """What stands beside every interval: `198 clusters by AUTHOR, 54.1 effective`."""
        if not self.clustered:
            return "unclustered: no author is known"
        if self.count == 1:
            return f"1 cluster by {self.column}: no interval"
        return f"{self.count} clusters by {self.column}, {self.effective:.1f} effective"

    def among(self, rows: NDArray[np.bool_]) -> Clusters:
        """The clusters of some rows only, numbered anew; those without any such row are gone."""
        _, codes, sizes = np.unique(self.codes[rows], return_inverse=True, return_counts=True)
        effective = len(codes) ** 2 / float(np.square(sizes).sum()) if len(codes) else 0.0
        return replace(self, codes=codes, count=len(sizes), effective=effective)


def cluster(authors: Sequence[str | None] | NDArray[np.object_] | None, column: str, n: int) -> Clusters:
    """Group `n` rows by author; a row without one (None, NaN or blank) is a cluster of its own.

    `column` is where the authors come from, for the reader. Raises UsageError when there are not
    n authors, or one is neither text nor missing.
    """
    return clusters_of(author_numbers(authors, n), column)


def author_numbers(authors: Sequence[str | None] | NDArray[np.object_] | None, n: int) -> NDArray[np.int64]:
    """A number for each author of `n` rows, -1 for a row without one; raises as `cluster` does."""
    import pandas as pd

    if authors is None:
        return np.full(n, -1, dtype=np.int64)
    if len(authors) != n:
        found = f"{len(authors)} authors for {n} rows"
        raise UsageError("every row has one author or none", found=found)
    by_value, values = pd.factorize(np.fromiter(authors, dtype=object, count=n))
    is_known = np.array([_is_known(value) for value in values], dtype=bool)
    numbers: NDArray[np.int64] = np.append(np.where(is_known, np.arange(len(values)), -1), -1)[by_value]
    return numbers  # by_value is -1 where there is no value: the last


def clusters_of(authors: NDArray[np.int64], column: str) -> Clusters:
    """The clusters of rows with these `author_numbers`, in order of appearance, rows without one behind."""
    import pandas as pd

    codes, count = np.full(len(authors), -1, dtype=np.int64), 0
    known = authors >= 0
    if known.any():
        codes[known], values = pd.factorize(authors[known])
        count = len(values)
    codes[~known] = count + np.arange(np.count_nonzero(~known))
    sizes = np.bincount(codes)
    effective = len(codes) ** 2 / float(np.square(sizes).sum()) if len(codes) else 0.0
    return Clusters(codes, column, count=len(sizes), effective=effective, clustered=count > 0)


def cluster_rows(frame: pd.DataFrame, column: str) -> Clusters:
    """Group the rows of a run by what its dataset declares, which is the author unless they say otherwise.

    `column` is that declaration; where the run holds no keys of its own in `cluster`, `author` counts.
    """
    return cluster(cluster_values(frame), column or "author", len(frame))


def cluster_values(frame: pd.DataFrame) -> NDArray[np.object_]:
    """The key of each row's cluster, `(n,)`, missing where unknown."""
    declared = "cluster" in frame and frame["cluster"].notna().any()
    return frame["cluster" if declared else "author"].to_numpy(dtype=object)


def estimate_all(
    error_km: ArrayLike,
    clusters: Clusters,
    radii_km: Sequence[float],
    inclusive: bool,
    round_geoscore: bool,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric of a row by its `names_at` name, from one percentile cluster bootstrap.

    Errors are `(n,)` km, `inf` for misses. The mean is over rows with an answer, a ratio in each
    resample too; everything else is over all rows. Intervals are the 2.5 % and 97.5 % order
    statistics of the resamples. Equal arguments give equal numbers, whatever the threads.

    Where all resamples agree the bootstrap would claim a certainty that nobody has. At 0 hits, or
    nothing but hits, the interval is then the exact (Clopper-Pearson) bound for as many draws as
    there are effective clusters, `0 .. 100 (1 - 0.025^(1/effective))` or its mirror image;
    elsewhere there is none. The standard error is None in both cases.
    """
    errors = checked_errors(error_km)
    if len(clusters.codes) != len(errors):
        raise UsageError(
            "every error has a cluster", found=f"{len(errors)} errors, {len(clusters.codes)} codes"
        )
    if resamples < _FEWEST_RESAMPLES:
        raise UsageError(
            "a 95 % interval needs the tails of the bootstrap",
            found=f"{resamples} resamples",
            fix=f"take {_FEWEST_RESAMPLES} or more",
        )
    names = names_at(radii_km)
    answered = int(np.isfinite(errors).sum())
    if not len(errors):
        return dict.fromkeys(names, Estimate(None, None, None, None, 0))
    sample = SortedSample(errors, clusters, radii_km, inclusive, round_geoscore)
    values = sample.statistics(np.ones(clusters.count))
    replicates = replicate(sample, clusters.count, resamples, seed)
    estimates = {}
    for name, value, column in zip(names, values.tolist(), replicates.T, strict=True):
        n = answered if name == "mean_km" else len(errors)
        found = percentile_estimate(value, column, n)
        if name.startswith("acc_") and value in (0.0, 100.0) and clusters.count > 1:
            low, high = exact_bounds(value, clusters.effective)
            found = replace(found, low=low, high=high)
        estimates[name] = found
    return estimates


class SortedSample:
    """Rows sorted by error and summed by cluster once, so that a resample costs little.

    Every metric but the median is a sum over rows, hence over clusters. The median is read off the
    weighted cumulative count of the rows between two cuts, of which there are some around the middle,
    where it nearly always stays.
    """

    def __init__(
        self,
        errors: Floats,
        clusters: Clusters,
        radii_km: Sequence[float],
        inclusive: bool,
        round_geoscore: bool,
    ) -> None:
        order = np.argsort(errors)
        self.errors, self.codes = errors[order], clusters.codes[order]
        n = len(errors)
        within = np.searchsorted(self.errors, radii_km, side="right" if inclusive else "left")
        answered = int(np.searchsorted(self.errors, np.inf))
        self.cuts = self._cut(n, clusters).tolist()
        self.counts = np.array(
            [self._by_cluster(stop, clusters) for stop in (*within, answered, n, *self.cuts)],
            dtype=np.float64,
        )  # (counts, clusters)
        points = geoscore(self.errors, round_geoscore)
        self.sums = np.stack(
            [self._by_cluster(answered, clusters, self.errors), self._by_cluster(n, clusters, points)]
        )  # (2, clusters)

    def contributions(self) -> Floats:
        """What each cluster adds to the accuracies and the GeoScore, `(radii + 1, clusters)`."""
        accuracies = len(self.counts) - 2 - len(self.cuts)
        return np.concatenate([100.0 * self.counts[:accuracies], self.sums[1:]]) / len(self.errors)

    def _cut(self, n: int, clusters: Clusters) -> NDArray[np.int64]:
        """Rows between which the median is looked for: few where a cluster more costs as much as a row."""
        half = n // 2
        # What a cluster has in the lower half beyond its share moves the middle when it is drawn.
        excess = self._by_cluster(half, clusters) - self._by_cluster(n, clusters) / 2
        reach = math.ceil(3 * math.sqrt(np.square(excess).sum())) + 1
        first, last = max(half - reach, 0), min(half + reach, n)
        parts = min(max(int(math.sqrt(_ROWS_PER_COUNT * (last - first) / clusters.count)), 1), _MOST_PARTS)
        return np.linspace(first, last, parts + 1).astype(np.int64)

    def _by_cluster(self, stop: int, clusters: Clusters, weights: Floats | None = None) -> NDArray[Any]:
        """Number, or sum of weights, of each cluster's rows among the `stop` best."""
        return np.bincount(self.codes[:stop], None if weights is None else weights[:stop], clusters.count)

    def statistics(self, draws: Floats) -> Floats:
        """Every metric when cluster c is taken `draws[c]` times, in the order of `names_at`."""
        metrics: Floats = self.resampled(draws[None])[0]
        return metrics

    def resampled(self, draws: Floats) -> Floats:
        """The same of several resamples, `(resamples, metrics)` of `(resamples, clusters)`."""
        # Whole numbers add up alike in any order, hence on any number of threads. Others do not in BLAS.
        counts = draws @ self.counts.T
        sums = np.array([np.einsum("mc,c->m", self.sums, once) for once in draws])
        hits, (answered, total) = counts[:, : -2 - len(self.cuts)], counts.T[-2 - len(self.cuts) :][:2]
        below = counts[:, -len(self.cuts) :]
        with np.errstate(invalid="ignore"):  # no row with an answer has been drawn
            mean_km = np.where(answered > 0, sums[:, 0] / answered, math.nan)
        if len(self.codes) <= _FEW_ROWS:
            median_km = self._medians(draws, total)
        else:
            each = zip(draws, total.astype(int).tolist(), below.tolist(), strict=True)
            median_km = np.array([self._median(*one) for one in each])
        accuracies = 100.0 * hits / total[:, None]
        return np.column_stack([accuracies, mean_km, median_km, sums[:, 1] / total])

    def _medians(self, draws: Floats, total: Floats) -> Floats:
        found = []
        step = max(1, _DRAWS_AT_ONCE // len(self.codes))
        for start in range(0, len(draws), step):
            cumulative = draws[start : start + step, self.codes].cumsum(axis=1)
            rows = total[start : start + step, None]
            low, high = (
                np.count_nonzero(cumulative <= middle, axis=1) for middle in ((rows - 1) // 2, rows // 2)
            )
            found.append((self.errors[low] + self.errors[high]) / 2)
        return np.concatenate(found)

    def _median(self, draws: Floats, total: int, below: list[float]) -> float:
        middle = (total - 1) // 2, total // 2
        lower, upper = (bisect_right(below, row) for row in middle)
        if lower > 0 and upper < len(below):
            start, stop, counted = self.cuts[lower - 1], self.cuts[upper], below[lower - 1]
        else:
            start, stop, counted = 0, len(self.codes), 0.0
        cumulative = draws[self.codes[start:stop]].cumsum()
        low, high = (start + cumulative.searchsorted(row - counted, side="right") for row in middle)
        return float(self.errors[low] + self.errors[high]) / 2


def replicate(sample: SortedSample, clusters: int, resamples: int, seed: int) -> Floats:
    """All metrics of all resamples, `(resamples, metrics)`."""
    return replicate_together([sample], clusters, resamples, seed)[0]


def replicate_together(
    samples: Sequence[SortedSample], clusters: int, resamples: int, seed: int
) -> list[Floats]:
    """The same of each sample; resample i draws the same clusters for all."""
    draws = cluster_draws(clusters, resamples, seed)
    block = np.empty((max(1, _DRAWS_AT_ONCE // clusters), clusters))
    parts: list[list[Floats]] = [[] for _ in samples]
    for start in range(0, resamples, len(block)):
        together = block[: resamples - start]
        for row in together:
            row[:] = next(draws)
        for sample, found in zip(samples, parts, strict=True):
            found.append(sample.resampled(together))
    return [np.concatenate(found) for found in parts]


def cluster_draws(clusters: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each cluster is taken, `(clusters,)`, resample after resample."""
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWN_AT_ONCE // clusters)
    for start in range(0, resamples, step):
        together = min(step, resamples - start)
        drawn = generator.integers(clusters, size=(together, clusters))
        drawn += clusters * np.arange(together)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=together * clusters).astype(np.float64)
        yield from counted.reshape(together, clusters)


def percentile_estimate(value: float, replicates: Floats, n: int) -> Estimate:
    """A value with the standard error and interval of its replicates; neither where all are one number."""
    low, high = percentile_bounds(replicates)
    return Estimate(finite(value), _standard_error(replicates), finite(low), finite(high), n)


def exact_bounds(share: float, effective: float) -> tuple[float, float]:
    """The 95 % Clopper-Pearson interval of a share in percent, over so many effective clusters.

    It takes each cluster for one draw, as if its rows succeeded or failed together.
    """
    if share in (0.0, 100.0):
        reach = 100.0 * (1.0 - _TAIL ** (1.0 / effective))
        return (0.0, reach) if share == 0.0 else (100.0 - reach, 100.0)
    from scipy.stats import beta

    right = share / 100 * effective
    low = beta.ppf(_TAIL, right, effective - right + 1)
    high = beta.ppf(1 - _TAIL, right + 1, effective - right)
    return 100 * float(low), 100 * float(high)


def percentile_bounds(replicates: Floats) -> tuple[float, float]:
    """Order statistics rather than interpolated quantiles, which have no value beside `inf`."""
    if not _has_spread(replicates):
        return math.nan, math.nan
    ordered = np.sort(replicates)
    rank = int(_TAIL * (len(ordered) + 1))
    return float(ordered[rank - 1]), float(ordered[-rank])


def _standard_error(replicates: Floats) -> float | None:
    if not _has_spread(replicates) or not np.isfinite(replicates).all():
        return None
    return float(replicates.std(ddof=1))


def _has_spread(replicates: Floats) -> bool:
    """Whether the bootstrap tells anything: every resample has a value and they are not all one."""
    lowest, highest = float(replicates.min()), float(replicates.max())
    # A NaN (a resample without any answer) makes both NaN, and the comparison false.
    return lowest < highest and not math.isclose(lowest, highest, rel_tol=1e-9)


def _is_known(author: object) -> TypeGuard[str]:
    if author is None or (isinstance(author, float) and math.isnan(author)):
        return False
    if not isinstance(author, str):
        raise UsageError(
            "an author is text, or None where unknown",
            found=f"{author!r}, of type {type(author).__name__}",
            fix="read the author column as text",
        )
    return bool(author.strip())


def finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
