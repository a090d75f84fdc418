"""Can two methods be told apart? Paired tests on the same photos, by photographer.

For each pair of runs and each metric: the difference, its interval from a cluster bootstrap that
draws the same photographers for both, and a p-value from sign flips. If two methods were equally
good, either could have given either answer, and since one photographer's photos go together, the
answers to all of them are exchanged at once; the p-value is the share of such exchanges that bring
a difference at least as large. Over all pairs and radii p-values are corrected by Holm's method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError, UsageError
from ..running import Run
from ..types import RADII_KM
from .bootstrap import Clusters, SortedSample, cluster_rows, finite, percentile_bounds, replicate
from .metrics import metric_names
from .protocols import Protocol, get_protocol
from .scoring import Part, errors_km

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Floats

FLIPS = 10_000
RESAMPLES = 1_000
LEVEL = 0.05

_FLIPS_AT_ONCE = 256
_EQUAL = 1e-9


@dataclass(frozen=True)
class Difference:
    """First run minus second in one metric: percentage points, km or GeoScore points.

    `low` and `high` bound the paired 95 % interval. `p` is that of the sign flips; `p_holm` is
    corrected over all pairs and radii, and None for metrics that are no accuracy. A value that
    does not exist, as with an infinite median, is None.
    """

    first: str
    second: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Comparison:
    """All pairs in all metrics. `letters[metric][run]`: runs that share a letter cannot be told apart."""

    protocol: str
    names: tuple[str, ...]
    rows: int
    clusters: str
    values: Mapping[str, Mapping[str, float | None]]
    differences: tuple[Difference, ...]
    letters: Mapping[str, Mapping[str, str]]

    def to_frame(self) -> pd.DataFrame:
        """One row per pair and metric."""
        return pd.DataFrame([asdict(item) for item in self.differences])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    runs: Sequence[Run],
    *,
    protocol: str | None = None,
    radii_km: Sequence[float] = RADII_KM,
    common: bool = False,
    part: Part | None = None,
    flips: int = FLIPS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    test_medians: bool = True,
) -> Comparison:
    """Compare every pair of runs under one protocol; misses are infinitely far.

    Refuses runs on different truth. Runs over different photos are compared only with `common`,
    on those that all of them were asked about; with `part` only its photos count. The test of medians
    is what takes most of the time; without `test_medians` their `p` is None.
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs or more", found=f"{len(runs)}")
    chosen = get_protocol(protocol or runs[0].record["dataset"]["default_protocol"])
    names = _names(runs)
    answers = [run.predictions() for run in runs]
    if part is not None:
        pairs = zip(runs, answers, strict=True)
        answers = [frame[part.rows(run, frame["id"])] for run, frame in pairs]
    frames = _aligned(answers, names, common)
    column = runs[0].record["dataset"]["cluster_column"]
    clusters = cluster_rows(frames[0], column)
    errors = {name: errors_km(frame, chosen) for name, frame in zip(names, frames, strict=True)}
    return compare_errors(
        errors,
        clusters,
        chosen,
        radii_km=radii_km,
        flips=flips,
        resamples=resamples,
        seed=seed,
        test_medians=test_medians,
    )


def compare_errors(
    errors: Mapping[str, Floats],
    clusters: Clusters,
    protocol: Protocol,
    *,
    radii_km: Sequence[float] = RADII_KM,
    flips: int = FLIPS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    test_medians: bool = True,
) -> Comparison:
    """Compare errors in km, `(n,)` per name and in the same order of photos."""
    metrics = metric_names(radii_km)
    additive = [name for name in metrics if not name.endswith("_km")]
    samples = {
        name: SortedSample(error, clusters, radii_km, protocol.inclusive, protocol.round_geoscore)
        for name, error in errors.items()
    }
    once = np.ones(clusters.count)
    values = {name: sample.statistics(once) for name, sample in samples.items()}
    # One seed: resample i draws the same photographers for every method.
    drawn = {name: replicate(sample, clusters.count, resamples, seed) for name, sample in samples.items()}
    differences = []
    for first, second in combinations(errors, 2):
        with np.errstate(invalid="ignore"):  # infinite medians have no difference
            found, spread = values[first] - values[second], drawn[first] - drawn[second]
        shares = samples[first].contributions() - samples[second].contributions()
        p_values: dict[str, float | None] = dict(
            zip(additive, sign_flips(shares, flips, seed).tolist(), strict=True)
        )
        if test_medians:
            p_values["median_km"] = _median_flips(errors[first], errors[second], clusters, flips, seed)
        for column, metric in enumerate(metrics):
            if metric == "mean_km":  # over other photos for each method: not paired
                continue
            value, bounds = finite(float(found[column])), _bounds(spread[:, column])
            differences.append(Difference(first, second, metric, value, *bounds, p_values.get(metric)))
    differences = _holm(differences)
    return Comparison(
        protocol=protocol.name,
        names=tuple(errors),
        rows=len(clusters.codes),
        clusters=clusters.describe(),
        values={
            metric: {name: finite(float(value[column])) for name, value in values.items()}
            for column, metric in enumerate(metrics)
        },
        differences=tuple(differences),
        letters={
            metric: _letters(tuple(errors), [item for item in differences if item.metric == metric])
            for metric in metrics
            if metric.startswith("acc_")
        },
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method (1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(running, 1.0)
    return corrected


def compact_letters(names: Sequence[str], distinct: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Letters such that two names share one exactly if they are not in `distinct`.

    Insert and absorb (Piepho 2004): start with everybody in one group, split a group for every
    distinct pair in it, and drop groups that lie within another. `names` come best first, so that
    the first letter goes to the best.
    """
    groups = [frozenset(names)]
    for one, other in distinct:
        split = []
        for group in groups:
            split += [group - {one}, group - {other}] if {one, other} <= group else [group]
        unique = list(dict.fromkeys(split))
        groups = [group for group in unique if not any(group < larger for larger in unique)]
    position = {name: index for index, name in enumerate(names)}
    groups.sort(key=lambda group: sorted(position[name] for name in group))
    symbols = [_symbol(index) for index in range(len(groups))]
    return {
        name: "".join(symbol for symbol, group in zip(symbols, groups, strict=True) if name in group)
        for name in names
    }


def _symbol(index: int) -> str:
    """a, b, ..., z, a1, b1, ..."""
    round_number, letter = divmod(index, 26)
    return chr(ord("a") + letter) + (str(round_number) if round_number else "")


def _names(runs: Sequence[Run]) -> list[str]:
    """Titles; where two are equal, the beginning of the key tells them apart."""
    titles = [run.title for run in runs]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is compared with itself", fix="name each run once")
    return [
        title if titles.count(title) == 1 else f"{title} [{run.key[:8]}]"
        for title, run in zip(titles, runs, strict=True)
    ]


def _aligned(frames: Sequence[pd.DataFrame], names: Sequence[str], common: bool) -> list[pd.DataFrame]:
    """The same photos in the same order in every frame, their truth the same."""
    indexed = [frame.set_index("id", drop=False) for frame in frames]
    shared = indexed[0].index
    for frame in indexed[1:]:
        shared = shared[shared.isin(frame.index)]
    for name, frame in zip(names, indexed, strict=True):
        if len(frame) != len(shared) and not common:
            raise DataError(
                f"'{name}' was asked about other photos",
                found=f"{len(frame):,} photos, of which {len(shared):,} are common to all runs",
                fix="add --common to compare on those",
            )
    if not len(shared):
        raise DataError("the runs have no photo in common", found=", ".join(names))
    aligned = [frame.loc[shared] for frame in indexed]
    truth = aligned[0][["latitude", "longitude"]].to_numpy()
    for name, frame in zip(names, aligned, strict=True):
        if not np.array_equal(frame[["latitude", "longitude"]].to_numpy(), truth):
            raise DataError(
                f"'{name}' and '{names[0]}' were measured against different truth",
                fix="run both on the same truth file",
            )
    return aligned


def sign_flips(contributions: Floats, flips: int, seed: int) -> Floats:
    """p-values of differences that are sums over clusters, `(metrics, clusters)` to `(metrics,)`.

    Each flip exchanges the two methods' answers to half of the photographers, drawn at random;
    the observed assignment counts as one of them.
    """
    generator = np.random.default_rng([seed, 1])
    observed = np.abs(contributions.sum(axis=1))
    at_least = np.ones(len(observed))
    for size in _batches(flips):
        signs = 1.0 - 2.0 * generator.integers(0, 2, size=(size, contributions.shape[1]), dtype=np.int8)
        flipped = np.abs(signs @ contributions.T)  # (size, metrics)
        at_least += (flipped >= observed - _EQUAL).sum(axis=0)
    return np.asarray(at_least / (1 + flips))


def _median_flips(first: Floats, second: Floats, clusters: Clusters, flips: int, seed: int) -> float | None:
    """p of the difference in median error, which is no sum: every exchange is carried out."""
    count = clusters.count
    # Both methods' rows in one sample: clusters 0..C-1 are the first's, C..2C-1 the second's.
    codes = np.concatenate([clusters.codes, clusters.codes + count])
    both = Clusters(codes, clusters.column, 2 * count, 0.0, clusters.clustered)
    pooled = SortedSample(np.concatenate([first, second]), both, [1.0], True, False)

    def difference(swap: NDArray[np.bool_]) -> float:
        as_first = np.concatenate([~swap, swap]).astype(np.float64)
        one, other = pooled.median_km(as_first), pooled.median_km(1.0 - as_first)
        return abs(one - other) if np.isfinite([one, other]).all() else np.inf

    observed = difference(np.zeros(count, dtype=bool))
    if not np.isfinite(observed):
        return None
    generator = np.random.default_rng([seed, 1])
    at_least = 1
    for size in _batches(flips):
        swaps = generator.integers(0, 2, size=(size, count), dtype=np.int8).astype(bool)
        at_least += sum(difference(swap) >= observed - _EQUAL for swap in swaps)
    return at_least / (1 + flips)


def _batches(total: int) -> Iterable[int]:
    """Sizes that add up to `total`, none so large that its random numbers fill the memory."""
    return (min(_FLIPS_AT_ONCE, total - start) for start in range(0, total, _FLIPS_AT_ONCE))


def _bounds(spread: Floats) -> tuple[float | None, float | None]:
    """Percentile bounds of a difference; where all resamples agree, that one value."""
    if np.isfinite(spread).all() and np.ptp(spread) <= _EQUAL:
        return float(spread[0]), float(spread[0])
    low, high = percentile_bounds(spread)
    return finite(low), finite(high)


def _holm(differences: Sequence[Difference]) -> list[Difference]:
    tested = [
        index
        for index, item in enumerate(differences)
        if item.metric.startswith("acc_") and item.p is not None
    ]
    corrected = dict(zip(tested, holm([differences[index].p or 0.0 for index in tested]), strict=True))
    return [
        Difference(**{**asdict(item), "p_holm": corrected.get(index)})
        for index, item in enumerate(differences)
    ]


def _letters(names: Sequence[str], differences: Sequence[Difference]) -> dict[str, str]:
    standing = dict.fromkeys(names, 0.0)
    for item in differences:
        standing[item.first] += item.difference or 0.0
        standing[item.second] -= item.difference or 0.0
    best_first = sorted(names, key=lambda name: -standing[name])
    return compact_letters(
        best_first, [(item.first, item.second) for item in differences if item.significant]
    )
