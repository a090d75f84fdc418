"""Can two methods be told apart? Paired tests on the same photos, by photographer.

For each pair of runs and each metric: the difference, its interval from a cluster bootstrap that
draws the same photographers for both, and a p-value from sign flips. If two methods were equally
good, either could have given either answer, and since one photographer's photos go together, the
answers to all of them are exchanged at once; the p-value is the share of such exchanges that bring
a difference at least as large. Over all pairs and radii p-values are corrected by Holm's method,
which multiplies the smallest by their number, so the flips grow with it: with too few, no
difference could be found however large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from ..errors import DataError, UsageError
from ..running import Run, radii_of, repeats
from ..types import RADII_KM
from .bootstrap import Clusters, SortedSample, cluster_rows, finite, percentile_bounds, replicate_together
from .exchanges import EQUAL, median_flips, sign_flips
from .metrics import metric_names
from .protocols import Protocol, get_protocol
from .scoring import Part, errors_km

if TYPE_CHECKING:
    from ..types import Floats

FLIPS = 10_000
FLIPS_PER_TEST = 100
"""The smallest p after Holm is then about 0.01, well below the level at which a difference is found."""
RESAMPLES = 1_000
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """First run minus second in one metric: percentage points, km or GeoScore points.

    `low` and `high` bound the paired 95 % interval. `p` is that of the sign flips; `p_holm` is
    corrected over all pairs and radii, and None for metrics that are no accuracy. A value that
    does not exist, as with an infinite median or the interval of a single cluster, is None.
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
    flips: int
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
    radii_km: Sequence[float] | None = None,
    common: bool = False,
    part: Part | None = None,
    mean_over: str | None = None,
    flips: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    test_medians: bool = True,
) -> Comparison:
    """Compare every pair of runs under one protocol; misses are infinitely far.

    Refuses runs on different truth. Runs over different photos are compared only with `common`,
    on the photos that all of them answered; with `part` only its photos count. Runs that differ in
    the parameter `mean_over` alone are compared as one, by the mean over them. Radii are those of the runs'
    dataset unless others are given. `flips` as in
    `compare_errors`; without `test_medians`, which take most of the time, their `p` is None.
    """
    groups = [[run] for run in runs] if mean_over is None else repeats(runs, mean_over)
    if len(groups) < 2:
        raise UsageError("a comparison needs two runs or more", found=f"{len(groups)}")
    chosen = get_protocol(protocol or runs[0].record["dataset"]["default_protocol"])
    names = _names(runs)
    answers = [run.predictions() for run in runs]
    if part is not None:
        pairs = zip(runs, answers, strict=True)
        answers = [frame[part.rows(run, frame["id"])] for run, frame in pairs]
    frames = _aligned(answers, names, common)
    column = runs[0].record["dataset"]["cluster_column"]
    clusters = cluster_rows(frames[0], column)
    by_run = dict(zip(runs, (errors_km(frame, chosen) for frame in frames), strict=True))
    named = dict(zip(runs, names, strict=True))
    errors = {
        named[group[0]] + (f" (mean of {len(group)} over {mean_over})" if len(group) > 1 else ""): np.stack(
            [by_run[run] for run in group]
        )
        for group in groups
    }
    return compare_errors(
        errors,
        clusters,
        chosen,
        radii_km=radii_of(runs) if radii_km is None else radii_km,
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
    flips: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    test_medians: bool = True,
) -> Comparison:
    """Compare errors in km, per name `(n,)` or `(repeats, n)`, in the same order of photos.

    Repeats, such as those of several seeds, count by their mean: a photographer is drawn, and exchanged,
    with all answers to each photo.

    `flips` is by default as many as Holm's correction over these pairs and radii needs, 10,000 at
    least; UsageError if fewer are asked for. The median, which is not among the corrected tests,
    takes 10,000 at most, as each is carried out on all rows.
    """
    metrics = metric_names(radii_km)
    pairs = list(combinations(errors, 2))
    flips = enough_flips(len(pairs) * len(radii_km), flips)
    samples = {
        name: SortedSample(
            error.ravel(), _repeated(clusters, error), radii_km, protocol.inclusive, protocol.round_geoscore
        )
        for name, error in errors.items()
    }
    once = np.ones(clusters.count)
    values = {name: sample.statistics(once) for name, sample in samples.items()}
    replicates = replicate_together([*samples.values()], clusters.count, resamples, seed)
    drawn = dict(zip(samples, replicates, strict=True))
    contributions = {name: sample.contributions() for name, sample in samples.items()}
    flipped = dict(zip(pairs, sign_flips(contributions, pairs, flips, seed).tolist(), strict=True))
    additive = [name for name in metrics if not name.endswith("_km")]
    differences = []
    for first, second in pairs:
        with np.errstate(invalid="ignore"):  # infinite medians have no difference
            found, spread = values[first] - values[second], drawn[first] - drawn[second]
        p_values: dict[str, float | None] = dict(zip(additive, flipped[first, second], strict=True))
        if test_medians:
            p_values["median_km"] = _median_p(
                errors[first], errors[second], clusters, min(flips, FLIPS), seed
            )
        for column, metric in enumerate(metrics):
            if metric == "mean_km":  # over other photos for each method: not paired
                continue
            bounds = _bounds(spread[:, column]) if clusters.count > 1 else (None, None)
            value = finite(float(found[column]))
            differences.append(Difference(first, second, metric, value, *bounds, p_values.get(metric)))
    differences = _holm(differences)
    return Comparison(
        protocol=protocol.name,
        names=tuple(errors),
        rows=len(clusters.codes),
        clusters=clusters.describe(),
        flips=flips,
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


def enough_flips(tests: int, flips: int | None = None) -> int:
    """How many flips let Holm's correction over `tests` find anything; UsageError if `flips` are fewer."""
    needed = FLIPS_PER_TEST * tests
    if flips is None:
        return max(FLIPS, needed)
    if flips < needed:
        raise UsageError(
            f"{tests:,} tests (pairs times radii) need {needed:,} sign flips: with fewer, no difference "
            "could be found after Holm's correction",
            found=f"{flips:,}",
            fix="leave the number of flips away, or compare fewer runs or radii",
        )
    return flips


def _median_p(first: Floats, second: Floats, clusters: Clusters, flips: int, seed: int) -> float | None:
    """None where one has more repeats than the other, whose answers would then weigh less."""
    if first.size != second.size:
        return None
    return median_flips(first.ravel(), second.ravel(), _repeated(clusters, first), flips, seed)


def _repeated(clusters: Clusters, error_km: Floats) -> Clusters:
    """The clusters of all repeats, one after the other."""
    return replace(clusters, codes=np.tile(clusters.codes, error_km.size // len(clusters.codes)))


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
        if not frame.index.equals(shared):
            shared = shared[shared.isin(frame.index)]
    if not len(shared):
        fix = "compare runs of one dataset; ids must be spelled alike"
        raise DataError("the runs have no photo in common", found=", ".join(names), fix=fix)
    if not common and any(len(frame) != len(shared) for frame in indexed):
        _refuse_other_photos(indexed, names, len(shared))
    aligned = [frame if frame.index.equals(shared) else frame.loc[shared] for frame in indexed]
    truth = aligned[0][["latitude", "longitude"]].to_numpy()
    for name, frame in zip(names, aligned, strict=True):
        if not np.array_equal(frame[["latitude", "longitude"]].to_numpy(), truth):
            raise DataError(
                f"'{name}' and '{names[0]}' were measured against different truth",
                fix="run both on the same truth file",
            )
    return aligned


def _refuse_other_photos(frames: Sequence[pd.DataFrame], names: Sequence[str], shared: int) -> NoReturn:
    """Name the run that answered fewest, since it is the one that is short of photos."""
    counts = [len(frame) for frame in frames]
    least = counts.index(min(counts))
    raise DataError(
        f"'{names[least]}' answered other photos than the rest",
        found=f"{counts[least]:,} photos, others up to {max(counts):,}; {shared:,} are common to all runs",
        fix="leave it out (of a dataset's runs: --hide partial), or add --common to compare on those photos",
    )


def _bounds(spread: Floats) -> tuple[float | None, float | None]:
    """Percentile bounds of a difference; where all resamples agree, that one value."""
    if np.isfinite(spread).all() and np.ptp(spread) <= EQUAL:
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
