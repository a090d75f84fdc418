"""Where a method is good and where it is bad: scores of slices of a dataset, and what they prove.

A slice is measured like a dataset of its own, by photographers. With many slices some look extreme
by chance alone, so each is tested against the rest of the dataset, all of them and all radii at
once; and a slice of fewer than ten effective photographers is neither tested nor ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from ..errors import UsageError
from ..types import RADII_KM
from .balanced import balanced_estimates
from .bootstrap import (
    FEW_CLUSTERS,
    Clusters,
    Estimate,
    SortedSample,
    author_numbers,
    cluster_values,
    clusters_of,
    estimate_all,
    exact_bounds,
    finite,
)
from .comparison import holm
from .metrics import hits, metric_names
from .protocols import Protocol, get_protocol
from .scoring import RESAMPLES, errors_km
from .slices import BINS, UNKNOWN, Slicing, slice_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..running import Run
    from ..types import Floats

LEVEL = 0.05
MOST_SLICES = 100_000
"""Each takes kilobytes and half a millisecond; a million of them would not fit into many a memory."""


@dataclass(frozen=True)
class AgainstRest:
    """A slice's accuracy minus that of all other rows, in percentage points.

    `p` is corrected for all slices and radii tested together.
    """

    difference: float
    p: float

    @property
    def mark(self) -> str:
        """`+` or `-` where the slice is better or worse than the rest, else nothing."""
        if self.p >= LEVEL:
            return ""
        return "+" if self.difference > 0 else "-"


@dataclass(frozen=True)
class Slice:
    """The scores of some rows, by the metrics' names, and how they stand against the others.

    `few` marks fewer than ten effective clusters: the interval of an accuracy is then the exact one
    for as many draws, mean and median have none, and `against_rest` is empty.
    """

    name: str
    n: int
    clusters: int
    effective: float
    estimates: Mapping[str, Estimate]
    against_rest: Mapping[str, AgainstRest]

    @property
    def few(self) -> bool:
        return self.effective < FEW_CLUSTERS

    def hits(self, metric: str) -> int:
        """Rows within the radius of an accuracy."""
        return round((self.estimates[metric].value or 0.0) * self.n / 100)


@dataclass(frozen=True)
class Breakdown:
    """A dataset, whole and in slices that together are the whole.

    `balanced` has the accuracies when every slice counts alike, rows of no known slice left out.
    """

    by: str
    source: str
    protocol: str
    clusters: str
    whole: Slice
    slices: tuple[Slice, ...]
    balanced: Mapping[str, Estimate]

    @property
    def tested(self) -> int:
        return sum(bool(one.against_rest) for one in self.slices)

    def extremes(self, metric: str) -> tuple[Slice, Slice] | None:
        """The best and the worst slice that is large enough to say so; None where fewer than two are."""
        ranked = [one for one in self.slices if not one.few]
        if len(ranked) < 2:
            return None
        by_value = sorted(ranked, key=lambda one: one.estimates[metric].value or 0.0)
        return by_value[-1], by_value[0]

    def to_frame(self) -> pd.DataFrame:
        """One row per slice, the whole and the balanced first: counts, each metric's interval and test."""
        balanced: dict[str, Any] = {"slice": "balanced", "n": next(iter(self.balanced.values())).n}
        for metric, estimate in self.balanced.items():
            balanced |= {
                metric: estimate.value,
                f"{metric}_low": estimate.low,
                f"{metric}_high": estimate.high,
            }
        rows = [_flat(one) for one in (self.whole, *self.slices)]
        return pd.DataFrame([rows[0], balanced, *rows[1:]])

    def to_dict(self) -> dict[str, Any]:
        few = {one.name: one.few for one in self.slices}
        plain = asdict(self)
        plain["slices"] = [{**one, "few": few[one["name"]]} for one in plain["slices"]]
        return plain


def break_down_run(
    run: Run,
    by: str,
    *,
    truth: Callable[[], pd.DataFrame],
    gallery: Callable[[], Floats],
    bins: int = BINS,
    protocol: str | None = None,
    radii_km: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Breakdown:
    """Score every slice of a stored run, and test it against the others; `slice_by` says what slices are."""
    dataset = run.record["dataset"]
    frame = run.predictions()
    return break_down_frame(
        frame,
        slice_by(by, frame, truth=truth, gallery=gallery, bins=bins),
        get_protocol(protocol or dataset["default_protocol"]),
        cluster_column=dataset["cluster_column"],
        radii_km=run.radii_km if radii_km is None else radii_km,
        resamples=resamples,
        seed=seed,
    )


def break_down_frame(
    frame: pd.DataFrame,
    slicing: Slicing,
    protocol: Protocol,
    *,
    cluster_column: str = "",
    radii_km: Sequence[float] = RADII_KM,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Breakdown:
    """The same of rows as in a run's table: truth, answer, `status`, `author`."""
    if len(slicing.codes) != len(frame):
        raise UsageError("every row is in a slice", found=f"{len(frame)} rows, {len(slicing.codes)} codes")
    if len(slicing.names) > MOST_SLICES:
        raise UsageError(
            f"{len(slicing.names):,} slices by {slicing.by} are more than can be measured",
            found=f"{len(frame):,} photos; up to {MOST_SLICES:,} slices",
            fix="choose larger ones: country, continent, area, or another column; `pinpoint runs export RUN "
            "--to csv -o FILE` writes a row for each photo",
        )
    authors = author_numbers(cluster_values(frame), len(frame))
    clusters = clusters_of(authors, cluster_column or "author")
    error_km = errors_km(frame, protocol)
    hit = hits(error_km, radii_km, protocol.inclusive)  # (n, radii)
    sliced = _rows_by_code(slicing)

    def measured(name: str, rows: NDArray[np.int64]) -> Slice:
        mine = clusters_of(authors[rows], clusters.column)
        return _measure(name, error_km[rows], mine, radii_km, protocol, resamples=resamples, seed=seed)

    slices = [measured(name, rows) for name, rows in zip(slicing.names, sliced, strict=True)]
    tests = against_rest(hit, slicing.codes, clusters)
    metrics = metric_names(radii_km)[: len(radii_km)]
    slices = [
        replace(one, against_rest=dict(zip(metrics, tests[code], strict=True))) if code in tests else one
        for code, one in enumerate(slices)
    ]
    return Breakdown(
        by=slicing.by,
        source=slicing.source,
        protocol=protocol.name,
        clusters=clusters.describe(),
        whole=measured("all", np.arange(len(frame))),
        slices=tuple(slices),
        balanced=balanced_estimates(
            hit, _counted(slicing), clusters, radii_km, resamples=resamples, seed=seed
        ),
    )


def _counted(slicing: Slicing) -> NDArray[np.int64]:
    """The slice of each row for the balanced accuracy, -1 where it is not known."""
    unknown = slicing.names.index(UNKNOWN) if UNKNOWN in slicing.names else -1
    return np.where(slicing.codes == unknown, -1, slicing.codes)


def against_rest(
    hit: NDArray[np.bool_], codes: NDArray[np.int64], clusters: Clusters
) -> dict[int, list[AgainstRest]]:
    """Tests of each slice large enough, by its code: one for each column of `hit`, `(n, radii)`.

    Fisher's exact test on counts divided by their design effect (Rao and Scott 1992), so that
    photos of one photographer count as fewer and a slice without any hit is not taken for certain.
    p-values are corrected by Holm's method over slices and radii.
    """
    from scipy.stats import fisher_exact

    shape = (int(codes.max()) + 1, clusters.count)
    sizes = csr_array((np.ones(len(codes)), (codes, clusters.codes)), shape=shape)
    inside = np.asarray(sizes.sum(axis=1), dtype=np.float64)  # (slices,)
    squares = np.asarray(sizes.power(2).sum(axis=1), dtype=np.float64)
    everyone = np.asarray(sizes.sum(axis=0), dtype=np.float64)  # (clusters,)
    outside = len(codes) - inside
    # The sum over clusters of (all - mine)^2.
    squares_outside = float(everyone @ everyone) - 2 * (sizes @ everyone) + squares
    large = (inside**2 >= FEW_CLUSTERS * squares) & (outside**2 >= FEW_CLUSTERS * squares_outside)
    tested = np.flatnonzero(large & (outside > 0)).tolist()
    found = []
    for column in hit.T:
        mine = np.bincount(codes, column, shape[0])
        correlation = intracluster_correlation(column, codes, clusters)
        for code in tested:
            rows = np.array([inside[code], outside[code]])
            right = np.array([mine[code], mine.sum() - mine[code]])
            effect = 1 + correlation * (np.array([squares[code], squares_outside[code]]) / rows - 1)
            draws = np.maximum(np.floor(rows / effect), 1)
            hits_drawn = np.rint(right / rows * draws)
            p = fisher_exact(np.array([hits_drawn, draws - hits_drawn]).astype(np.int64)).pvalue
            share = right / rows
            found.append(AgainstRest(100 * float(share[0] - share[1]), float(p)))
    corrected = holm([one.p for one in found])
    found = [replace(one, p=p) for one, p in zip(found, corrected, strict=True)]
    return {code: found[position :: len(tested)] for position, code in enumerate(tested)}


def intracluster_correlation(hit: NDArray[np.bool_], codes: NDArray[np.int64], clusters: Clusters) -> float:
    """How alike rows of one cluster and slice are, 0 to 1: the ANOVA estimator, within slices."""
    cells, cell = np.unique(codes * np.int64(clusters.count) + clusters.codes, return_inverse=True)
    of_slice = cells // clusters.count
    rows, right = np.bincount(cell).astype(np.float64), np.bincount(cell, hit)
    slice_rows = np.bincount(of_slice, rows)
    slices = int((slice_rows > 0).sum())
    if len(cells) in (slices, len(hit)):
        return 0.0  # one cluster per slice, or one row per cluster: nothing to compare
    share = right / rows
    center = (np.bincount(of_slice, right) / np.maximum(slice_rows, 1))[of_slice]
    within = float((right * (1 - share)).sum()) / (len(hit) - len(cells))
    between = float((rows * np.square(share - center)).sum()) / (len(cells) - slices)
    typical = (len(hit) - float((np.square(rows) / slice_rows[of_slice]).sum())) / (len(cells) - slices)
    total = between + (typical - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def _measure(
    name: str,
    error_km: Floats,
    clusters: Clusters,
    radii_km: Sequence[float],
    protocol: Protocol,
    *,
    resamples: int,
    seed: int,
) -> Slice:
    how = (radii_km, protocol.inclusive, protocol.round_geoscore)
    if clusters.effective >= FEW_CLUSTERS:
        estimates = estimate_all(error_km, clusters, *how, resamples=resamples, seed=seed)
    else:
        values = SortedSample(error_km, clusters, *how).statistics(np.ones(clusters.count)).tolist()
        answered = int(np.isfinite(error_km).sum())
        estimates = {}
        for metric, value in zip(metric_names(radii_km), values, strict=True):
            n = answered if metric == "mean_km" else len(error_km)
            accuracy = metric.startswith("acc_")
            low, high = exact_bounds(value, clusters.effective) if accuracy else (None, None)
            estimates[metric] = Estimate(finite(value), None, low, high, n)
    return Slice(name, len(error_km), clusters.count, clusters.effective, estimates, {})


def _rows_by_code(slicing: Slicing) -> list[NDArray[np.int64]]:
    order = np.argsort(slicing.codes, kind="stable")
    counts = np.bincount(slicing.codes, minlength=len(slicing.names))
    return np.split(order, np.cumsum(counts)[:-1])


def _flat(one: Slice) -> dict[str, Any]:
    row: dict[str, Any] = {"slice": one.name, "n": one.n, "clusters": one.clusters}
    row |= {"effective_clusters": one.effective, "few": one.few}
    for metric, estimate in one.estimates.items():
        if metric.startswith("acc_"):
            row[f"{metric}_hits"] = one.hits(metric)
        row |= {metric: estimate.value, f"{metric}_low": estimate.low, f"{metric}_high": estimate.high}
        if (test := one.against_rest.get(metric)) is not None:
            row |= {f"{metric}_minus_rest": test.difference, f"{metric}_p": test.p}
    return row
