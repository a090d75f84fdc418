"""Support against a brute force over all pairs, and masked so that no query sees itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.geo import chord_from_km, haversine_km
from pinpoint_harness.search import (
    Exclusion,
    Rows,
    SupportIndex,
    mask_support,
    xyz_of,
)
from pinpoint_harness.search.exclusion import squared_chord

Floats = NDArray[np.float64]


def brute_force(
    points: NDArray[np.float32], store: NDArray[np.float32], rank: NDArray[np.int64], k: int, radius_km: float
) -> NDArray[np.int64]:
    distance = squared_chord(points[:, None], store)
    rows = np.full((len(points), k), -1, dtype=np.int64)
    for point, row in enumerate(distance):
        (near,) = np.nonzero(row <= float(chord_from_km(radius_km)) ** 2)
        best = near[np.lexsort((rank[near], row[near]))][:k]
        rows[point, : len(best)] = best
    return rows


def cities(seed: int, count: int) -> Floats:
    """Dense around a few centres, one at a pole and one on the antimeridian, many photos in one place."""
    rng = np.random.default_rng(seed)
    centres = np.array([(48.1, 11.5), (0.0, 180.0), (-89.9, 40.0), (35.6, 139.7)])
    spread = 0.2 * rng.standard_normal((count, 2))
    places = centres[rng.integers(0, len(centres), count)] + spread
    places[rng.permutation(count)[: count // 3]] = places[rng.integers(0, count, count // 3)]
    places[:, 0] = np.clip(places[:, 0], -90, 90)
    return places


@pytest.mark.parametrize("k", [1, 16, 64])
@pytest.mark.parametrize("radius_km", [0.0, 3.0, 25.0, 20_100.0])
def test_support_equals_brute_force(k: int, radius_km: float) -> None:
    store, points = xyz_of(cities(1, 600)), xyz_of(cities(2, 60))
    points[:20] = store[:20]
    rank = np.random.default_rng(3).permutation(600)
    found = SupportIndex(Rows(rank=rank, xyz=store)).nearest(points, k, radius_km)
    np.testing.assert_array_equal(found.rows, brute_force(points, store, rank, k, radius_km))


@given(seed=st.integers(0, 2**16), k=st.integers(1, 12), step=st.sampled_from([1.0, 45.0, 90.0]))
@settings(max_examples=40, deadline=None)
def test_equally_far_places_come_in_the_order_of_their_ranks(seed: int, k: int, step: float) -> None:
    """A regular grid: every point has many neighbours at exactly the same distance."""
    rng = np.random.default_rng(seed)
    store = xyz_of(np.column_stack([step * rng.integers(-1, 2, 30), step * rng.integers(-2, 3, 30)]))
    rank = rng.permutation(30)
    found = SupportIndex(Rows(rank=rank, xyz=store)).nearest(store[:10], k, 15_000.0)
    np.testing.assert_array_equal(found.rows, brute_force(store[:10], store, rank, k, 15_000.0))


def test_distances_are_great_circles_in_km() -> None:
    places = cities(4, 200)
    found = SupportIndex(Rows(xyz=xyz_of(places))).nearest(xyz_of(places[:30]), 8, 25.0)
    point, slot = np.nonzero(found.rows >= 0)
    expected = haversine_km(places[point], places[found.rows[point, slot]])
    np.testing.assert_allclose(found.distance_km[point, slot], expected, atol=2e-3)
    assert np.isinf(found.distance_km[found.rows < 0]).all()
    assert (found.distance_km[found.rows >= 0] <= 25.0).all()


def test_a_support_store_without_places_and_points_that_are_nowhere_are_refused() -> None:
    with pytest.raises(DataError, match="needs 'xyz'"):
        SupportIndex(Rows(rank=np.arange(3)))
    index = SupportIndex(Rows(xyz=xyz_of([(0.0, 0.0)])))
    with pytest.raises(DataError, match="finite"):
        index.nearest(np.full((1, 3), np.nan, np.float32), 1, 1.0)


def test_masking_takes_the_first_rows_a_query_may_see() -> None:
    """One query, two candidates, six neighbours; by hand."""
    support = Rows(
        key=np.array([11, 12, 13, 14, 15, 16, 17, 18], np.uint64),
        author_token=np.array([1, 2, 1, 3, 0, 4, 5, 1], np.uint64),
        xyz=xyz_of([(0.0, 0.0), (10, 10), (10, 10), (10, 10), (10, 10), (10, 10), (10, 10), (10, 10)]),
    )
    table = torch.tensor([[[0, 2, 3, 5, 4, 1], [6, 7, 1, -1, -1, -1]]])
    exclusion = Exclusion(
        own_key=np.array([14], np.uint64),  # row 3
        author_token=np.array([1], np.uint64),  # rows 0, 2 and 7
        xyz=xyz_of([(0.0, 0.001)]),  # 111 m from row 0
        radius_km=1.0,
    )
    found = mask_support(table, support, exclusion, keep=2)
    assert found.rows.tolist() == [[[5, 4], [6, 1]]]
    assert found.counts.tolist() == [[2, 2]]
    found = mask_support(table, support, exclusion, keep=4)
    assert found.rows.tolist() == [[[5, 4, 1, -1], [6, 1, -1, -1]]]
    assert found.counts.tolist() == [[3, 2]]
    # The first candidate's table row was full, so more might have been found; the second's was not.
    assert found.short.tolist() == [[True, False]]


def test_unknown_authors_mask_nothing_and_padded_candidates_have_no_support() -> None:
    support = Rows(author_token=np.array([0, 0, 7], np.uint64))
    table = torch.tensor([[[0, 1, 2], [-1, -1, -1]]], dtype=torch.int32)
    found = mask_support(table, support, Exclusion(author_token=np.array([0], np.uint64)), keep=3)
    assert found.rows.tolist() == [[[0, 1, 2], [-1, -1, -1]]]
    assert found.short.tolist() == [[False, False]]


def test_masking_by_what_the_support_store_does_not_know_is_refused() -> None:
    table = torch.zeros(1, 1, 4, dtype=torch.int32)
    with pytest.raises(DataError, match="needs 'author_token'"):
        mask_support(table, Rows(), Exclusion(author_token=np.array([3], np.uint64)))


@given(seed=st.integers(0, 2**16), keep=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_masked_support_equals_a_loop(seed: int, keep: int) -> None:
    rng = np.random.default_rng(seed)
    table = torch.from_numpy(rng.integers(-1, 30, (4, 3, 12)))
    author, asking = rng.integers(0, 5, 30).astype(np.uint64), rng.integers(0, 5, 4).astype(np.uint64)
    own = rng.integers(-1, 30, 4)
    found = mask_support(table, Rows(author_token=author), Exclusion(own_row=own, author_token=asking), keep)
    for query, candidate in np.ndindex(4, 3):
        expected = [
            row
            for row in table[query, candidate].tolist()
            if row >= 0 and row != own[query] and (asking[query] == 0 or author[row] != asking[query])
        ][:keep]
        assert [row for row in found.rows[query, candidate].tolist() if row >= 0] == expected
