"""The cluster bootstrap against formulas, a slow twin, and simulated truth."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import Estimate, get_protocol, metrics
from pinpoint_harness.evaluation.bootstrap import (
    Clusters,
    SortedSample,
    cluster,
    cluster_draws,
    estimate_all,
    replicate,
)
from pinpoint_harness.types import RADII_KM

Floats = NDArray[np.float64]
MISS = math.inf


def alone(n: int) -> Clusters:
    return cluster(None, "", n)


def estimates(
    error_km: Floats | list[float], clusters: Clusters, resamples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    return estimate_all(error_km, clusters, RADII_KM, False, False, resamples=resamples, seed=seed)


def clustered_hits(
    clusters: int, generator: np.random.Generator, p: float = 0.4, largest: int = 12
) -> tuple[Floats, list[str | None]]:
    """Errors of 0 or 100 km; photographers differ in how often they are found, mean `p`."""
    sizes = generator.integers(1, largest + 1, clusters)
    chances = generator.beta(2 * p, 2 * (1 - p), clusters)
    authors = np.repeat(np.arange(clusters), sizes)
    found = generator.random(len(authors)) < chances[authors]
    return np.where(found, 0.0, 100.0), [f"author {author}" for author in authors]


def test_rows_are_grouped_by_author_and_unknown_authors_stay_alone() -> None:
    found = cluster(["ann", None, "bob", "ann", "", None], "AUTHOR", 6)
    assert found.codes.tolist() == [0, 2, 1, 0, 3, 4]
    assert found.count == 5
    assert found.effective == pytest.approx(36 / 8)
    assert found.describe() == "5 clusters by AUTHOR, 4.5 effective"


def test_a_missing_author_of_a_table_is_unknown() -> None:
    found = cluster(["ann", float("nan"), "ann", float("nan")], "AUTHOR", 4)  # type: ignore[list-item]
    assert found.codes.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("authors", [None, [None, None, None], ["", " ", None]])
def test_rows_without_any_author_are_said_to_be_unclustered(authors: list[str | None] | None) -> None:
    found = cluster(authors, "AUTHOR", 3)
    assert not found.clustered
    assert (found.count, found.effective) == (3, 3.0)
    assert found.describe() == "unclustered: no author is known"


def test_authors_that_do_not_fit_the_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="2 authors for 3 rows"):
        cluster(["ann", "bob"], "AUTHOR", 3)
    with pytest.raises(UsageError, match="of type int"):
        cluster(["ann", 7], "AUTHOR", 2)  # type: ignore[list-item]


# Below a micrometre squares underflow, and no error is known so well.
error_lists = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(1e-9, 20_000), st.sampled_from([*RADII_KM, MISS])),
        st.sampled_from(["a", "b", "c", None]),
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None, max_examples=30)
@given(rows=error_lists, inclusive=st.booleans(), rounded=st.booleans())
def test_values_are_those_of_the_metrics(
    rows: list[tuple[float, str | None]], inclusive: bool, rounded: bool
) -> None:
    error_km = [error for error, _ in rows]
    clusters = cluster([author for _, author in rows], "AUTHOR", len(rows))
    found = estimate_all(error_km, clusters, RADII_KM, inclusive, rounded, resamples=100)
    assert tuple(found) == metrics.metric_names(RADII_KM)
    shares = metrics.hits(error_km, RADII_KM, inclusive).mean(axis=0)  # a miss stays in the denominator
    for radius, share in zip(RADII_KM, shares.tolist(), strict=True):
        assert found[f"acc_{radius:g}km"].value == pytest.approx(100 * share)
    mean, answered = metrics.mean_km(error_km)
    assert found["mean_km"].value == (None if mean is None else pytest.approx(mean))
    assert found["mean_km"].n == answered
    median = metrics.median_km(error_km)
    assert found["median_km"].value == (None if median == MISS else pytest.approx(median))
    assert found["geoscore"].value == pytest.approx(metrics.geoscore(error_km, rounded).mean())
    assert all(found[name].n == len(rows) for name in found if name != "mean_km")


@settings(deadline=None, max_examples=30)
@given(error_lists)
def test_intervals_hold_numbers_in_order_or_nothing(rows: list[tuple[float, str | None]]) -> None:
    clusters = cluster([author for _, author in rows], "AUTHOR", len(rows))
    found = estimates([error for error, _ in rows], clusters, resamples=100)
    for estimate in found.values():
        again = Estimate.from_dict(json.loads(json.dumps(estimate.to_dict(), allow_nan=False)))
        assert again == estimate
        if estimate.low is not None and estimate.high is not None:
            assert estimate.low <= estimate.high
        if estimate.standard_error is not None:
            assert estimate.standard_error > 0


def slow_twin(error_km: Floats, codes: NDArray[np.int64], resamples: int, seed: int) -> Floats:
    """The same draws, each resample written out row by row."""
    generator = np.random.default_rng(seed)
    count = codes.max() + 1
    rows_of = [np.flatnonzero(codes == code) for code in range(count)]
    replicates = []
    for _ in range(resamples):
        drawn = generator.integers(count, size=count)
        sample = error_km[np.concatenate([rows_of[code] for code in drawn])]
        answered = sample[np.isfinite(sample)]
        replicates.append(
            [
                *(100 * np.mean(sample < radius) for radius in RADII_KM),
                answered.mean(),
                np.median(sample),
                np.mean(5000 * np.exp(-sample / 1492.7)),
            ]
        )
    return np.array(replicates)


@pytest.mark.parametrize("miss_share", [0.0, 0.1, 0.5])
def test_the_bootstrap_equals_one_written_out_row_by_row(miss_share: float) -> None:
    generator = np.random.default_rng(3)
    error_km = 10 ** generator.uniform(-1, 4.3, 150)
    error_km[generator.random(150) < miss_share] = MISS
    clusters = cluster([f"author {code}" for code in generator.zipf(1.5, 150) % 40], "AUTHOR", 150)
    # So many that the median of some resamples lies far from that of the rows.
    expected = slow_twin(error_km, clusters.codes, 3_999, seed=5)
    found = estimates(error_km, clusters, resamples=3_999, seed=5)
    for estimate, column in zip(found.values(), expected.T, strict=True):
        low, high = np.sort(column)[[99, -100]]
        assert estimate.low == (None if low == MISS else pytest.approx(low, rel=1e-12))
        assert estimate.high == (None if high == MISS else pytest.approx(high, rel=1e-12))
        expected_error = np.std(column, ddof=1) if np.isfinite(column).all() else None
        assert estimate.standard_error == (expected_error and pytest.approx(expected_error, rel=1e-9))


@pytest.mark.parametrize("rows", [3_000, 400])
@pytest.mark.parametrize("clusters", [3, 40])
def test_resamples_at_once_equal_each_alone_and_medians_those_of_the_rows(clusters: int, rows: int) -> None:
    generator = np.random.default_rng(5)
    errors = np.round(generator.lognormal(4, 2, rows), 1)  # with ties
    errors[::9] = MISS
    authors = cluster(
        [str(number) for number in generator.integers(clusters, size=rows) ** 2], "AUTHOR", rows
    )
    sample = SortedSample(errors, authors, RADII_KM, True, False)
    assert len(sample.cuts) > 2
    draws = list(cluster_draws(authors.count, 120, 0))
    found = replicate(sample, authors.count, 120, 0)
    assert found.tolist() == [sample.statistics(once).tolist() for once in draws]
    taken = [np.repeat(errors, once[authors.codes].astype(int)) for once in draws]
    assert found[:, len(RADII_KM) + 1].tolist() == [np.median(rows) for rows in taken]


def test_independent_photos_have_the_binomial_standard_error() -> None:
    generator = np.random.default_rng(0)
    error_km = np.where(generator.random(2_000) < 0.3, 0.0, 100.0)
    found = estimates(error_km, alone(2_000))["acc_25km"]
    p = (error_km == 0).mean()
    assert found.standard_error == pytest.approx(100 * math.sqrt(p * (1 - p) / 2_000), rel=0.1)
    assert found.low == pytest.approx(100 * (p - 1.96 * math.sqrt(p * (1 - p) / 2_000)), abs=0.4)


def linearised_standard_error(hit: NDArray[np.bool_], codes: NDArray[np.int64]) -> float:
    """The textbook cluster-robust error of a ratio of sums, in percent."""
    sizes = np.bincount(codes)
    residuals = np.bincount(codes, hit) - hit.mean() * sizes
    count = len(sizes)
    return float(100 * np.sqrt(count / (count - 1) * np.square(residuals).sum()) / sizes.sum())


def test_photographers_make_the_standard_error_larger_by_as_much_as_theory_says() -> None:
    error_km, authors = clustered_hits(150, np.random.default_rng(1))
    clusters = cluster(authors, "AUTHOR", len(error_km))
    by_author = estimates(error_km, clusters)["acc_25km"].standard_error
    by_photo = estimates(error_km, alone(len(error_km)))["acc_25km"].standard_error
    assert by_author is not None
    assert by_photo is not None
    assert by_author > 1.4 * by_photo
    assert by_author == pytest.approx(linearised_standard_error(error_km == 0, clusters.codes), rel=0.1)


def test_intervals_of_clustered_photos_hold_the_truth_about_95_times_in_100() -> None:
    generator = np.random.default_rng(2)
    trials, covered = 150, 0
    for trial in range(trials):
        error_km, authors = clustered_hits(60, generator)
        clusters = cluster(authors, "AUTHOR", len(error_km))
        found = estimate_all(error_km, clusters, (25.0,), False, False, resamples=200, seed=trial)["acc_25km"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 40.0 <= found.high
    assert 0.90 <= covered / trials <= 0.97


def test_no_hit_and_nothing_but_hits_get_the_exact_bound_of_the_effective_clusters() -> None:
    authors: list[str | None] = ["ann", "ann", "bob", "cid"]
    found = estimates([10.0, 20.0, 15.0, 12.0], cluster(authors, "AUTHOR", 4))
    reach = 100 * (1 - 0.025 ** (6 / 16))
    none, all_four = found["acc_1km"], found["acc_25km"]
    assert (none.value, none.standard_error) == (0.0, None)
    assert [none.low, none.high] == pytest.approx([0.0, reach])
    assert (all_four.value, all_four.standard_error) == (100.0, None)
    assert [all_four.low, all_four.high] == pytest.approx([100 - reach, 100.0])


def test_the_exact_bound_of_a_hundred_independent_photos_is_that_of_clopper_and_pearson() -> None:
    found = estimates(np.full(100, 50.0), alone(100))
    assert found["acc_1km"].high == pytest.approx(3.6217, abs=1e-4)
    assert found["acc_200km"].low == pytest.approx(100 - 3.6217, abs=1e-4)


def test_resamples_that_all_agree_claim_no_certainty() -> None:
    found = estimates(np.full(10, 50.0), alone(10))
    for name in ("mean_km", "median_km", "geoscore"):
        assert found[name].value is not None
        assert (found[name].standard_error, found[name].low, found[name].high) == (None, None, None)


@pytest.mark.parametrize("n", [1, 5])
def test_a_single_photographer_has_values_and_no_intervals(n: int) -> None:
    found = estimates([float(error) for error in range(n)], cluster(["ann"] * n, "AUTHOR", n))
    for estimate in found.values():
        assert estimate.value is not None
        assert (estimate.standard_error, estimate.low, estimate.high) == (None, None, None)


def test_nothing_but_misses_has_no_mean_and_no_median() -> None:
    found = estimates([MISS] * 20, alone(20))
    assert found["mean_km"] == Estimate(None, None, None, None, 0)
    assert found["median_km"] == Estimate(None, None, None, None, 20)
    assert found["geoscore"].value == 0.0
    assert found["acc_2500km"].value == 0.0


def test_a_mean_that_a_resample_cannot_compute_has_no_interval() -> None:
    found = estimates([5.0] + [MISS] * 9, alone(10))
    assert found["mean_km"] == Estimate(5.0, None, None, None, 1)


def test_a_median_near_too_many_misses_has_a_lower_bound_only() -> None:
    found = estimates([10.0, 20, 30, 40, 50, 60, MISS, MISS, MISS, MISS], alone(10))["median_km"]
    assert found.value == 55.0
    assert found.low is not None
    assert (found.standard_error, found.high) == (None, None)


def test_no_rows_have_no_numbers() -> None:
    found = estimates([], alone(0))
    assert set(found.values()) == {Estimate(None, None, None, None, 0)}


def test_equal_seeds_give_equal_numbers_and_others_do_not() -> None:
    error_km = 10 ** np.random.default_rng(0).uniform(0, 4, 100)
    assert estimates(error_km, alone(100), seed=1) == estimates(error_km, alone(100), seed=1)
    assert estimates(error_km, alone(100), seed=1) != estimates(error_km, alone(100), seed=2)


def test_too_few_resamples_and_wrong_clusters_are_refused() -> None:
    with pytest.raises(UsageError, match="99 resamples"):
        estimates([1.0, 2.0], alone(2), resamples=99)
    with pytest.raises(UsageError, match="2 errors, 3 codes"):
        estimates([1.0, 2.0], alone(3))


def test_a_stored_estimate_with_other_fields_is_refused() -> None:
    with pytest.raises(DataError, match="an estimate has the fields"):
        Estimate.from_dict({"value": 1.0})


@pytest.mark.realdata
def test_photographers_of_im2gps_widen_the_interval_of_a_constant_answer(real_data: Path) -> None:
    with (real_data / "im2gps_places365.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    truth = [(float(row["LAT"]), float(row["LON"])) for row in rows]
    error_km = get_protocol("haversine-6371-le").distance_km(truth, (51.5074, -0.1278))
    clusters = cluster([row["AUTHOR"] for row in rows], "AUTHOR", len(rows))
    assert clusters.count == len({row["AUTHOR"] for row in rows})
    found = estimates(error_km, clusters)["acc_2500km"]
    assert found.value == pytest.approx(100 * 87 / 237)
    expected = linearised_standard_error(error_km < 2500, clusters.codes)
    assert found.standard_error == pytest.approx(expected, rel=0.1)
