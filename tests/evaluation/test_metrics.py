"""Metrics on cases computed by hand and against plain Python."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import metrics
from pinpoint_harness.types import RADII_KM

MISS = math.inf
errors_of_a_run = st.lists(
    st.one_of(st.floats(0, 20_100), st.sampled_from([*RADII_KM, MISS])), min_size=1, max_size=40
)


def test_an_error_of_exactly_the_radius_is_a_hit_only_where_the_radius_belongs() -> None:
    error_km = [0.0, 1.0, 25.0, 25.1, MISS]
    assert metrics.hits(error_km, (1, 25), inclusive=True).tolist() == [
        [True, True],
        [True, True],
        [False, True],
        [False, False],
        [False, False],
    ]
    assert metrics.hits(error_km, (1, 25), inclusive=False).sum(axis=0).tolist() == [1, 2]


def test_the_geoscore_falls_from_5000_to_nothing() -> None:
    assert metrics.geoscore([0, 1492.7, MISS], rounded=False) == pytest.approx([5000, 5000 / math.e, 0])
    assert metrics.geoscore([0, 1492.7, 100, MISS], rounded=True).tolist() == [5000, 1839, 4676, 0]


def test_the_mean_is_over_answers_and_says_how_many() -> None:
    assert metrics.mean_km([10, 20, MISS]) == (15.0, 2)
    assert metrics.mean_km([MISS, MISS]) == (None, 0)


def test_the_median_is_over_all_rows() -> None:
    assert metrics.median_km([1, 3, MISS]) == 3.0
    assert metrics.median_km([1, 3, 5, MISS]) == 4.0
    assert metrics.median_km([1, 3, MISS, MISS]) == MISS
    assert metrics.median_km([MISS]) == MISS


@settings(deadline=None)
@given(error_km=errors_of_a_run, inclusive=st.booleans())
def test_metrics_agree_with_plain_python(error_km: list[float], inclusive: bool) -> None:
    hits = metrics.hits(error_km, RADII_KM, inclusive=inclusive)
    for radius, found in zip(RADII_KM, hits.T.tolist(), strict=True):
        assert found == [error <= radius if inclusive else error < radius for error in error_km]
    answered = [error for error in error_km if error < MISS]
    mean, n = metrics.mean_km(error_km)
    assert n == len(answered)
    assert mean == (pytest.approx(statistics.fmean(answered)) if answered else None)
    assert metrics.median_km(error_km) == pytest.approx(statistics.median(error_km))
    points = [5000 * math.exp(-error / 1492.7) for error in error_km]
    assert metrics.geoscore(error_km, rounded=False) == pytest.approx(points)
    assert metrics.geoscore(error_km, rounded=True).tolist() == [round(point) for point in points]


@settings(deadline=None)
@given(errors_of_a_run)
def test_a_larger_radius_never_loses_a_hit(error_km: list[float]) -> None:
    shares = metrics.hits(error_km, RADII_KM, inclusive=True).mean(axis=0).tolist()
    assert shares == sorted(shares)


def test_metrics_are_named_as_in_published_rows() -> None:
    assert metrics.metric_names(RADII_KM) == (
        "acc_1km",
        "acc_25km",
        "acc_200km",
        "acc_750km",
        "acc_2500km",
        "mean_km",
        "median_km",
        "geoscore",
    )
    assert metrics.metric_names((0.5, 12_345.678))[:2] == ("acc_0.5km", "acc_12345.678km")


@pytest.mark.parametrize("radii_km", [(0, 1), (-1,), (1, math.inf), (math.nan,), (25, 25)])
def test_radii_that_make_no_circles_are_refused(radii_km: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="above 0 and below 20,038 km, and different"):
        metrics.metric_names(radii_km)


@pytest.mark.parametrize("areas", [(0, 1e5), (-1,), (1e4, math.inf), (math.nan,), (1e5, 1e5)])
def test_thresholds_of_any_kind_are_positive_finite_and_different(areas: tuple[float, ...]) -> None:
    assert metrics.names_at((1e4, 1e6))[:2] == ("acc_10000km", "acc_1000000km")
    with pytest.raises(UsageError, match="thresholds must be positive and finite, and different"):
        metrics.names_at(areas)


@pytest.mark.parametrize("bad", [math.nan, -1.0, -math.inf])
def test_an_error_that_is_no_distance_is_refused_by_every_metric(bad: float) -> None:
    error_km = [1.0, bad]
    with pytest.raises(DataError, match=r"1 NaN or negative, first .* at row 1"):
        metrics.hits(error_km, (1,), inclusive=True)
    with pytest.raises(DataError):
        metrics.geoscore(error_km, rounded=True)
    with pytest.raises(DataError):
        metrics.mean_km(error_km)
    with pytest.raises(DataError):
        metrics.median_km(error_km)


def test_no_rows_have_no_median() -> None:
    with pytest.raises(DataError, match="no row to score"):
        metrics.median_km([])


def test_a_table_of_errors_is_refused() -> None:
    with pytest.raises(UsageError, match="shape"):
        metrics.mean_km(np.zeros((2, 2)))
