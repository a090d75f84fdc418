"""The parts of the search: exact scores, error bounds, the door, exclusions, FAISS."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.oracles.faiss_search import FaissIndexes, search_faiss

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.search import (
    Exclusion,
    Gallery,
    Rows,
    engine,
    exact,
    gallery,
    kernels,
    rounded,
    search,
    xyz_of,
)
from pinpoint_harness.search.rows import LabelIndex
from pinpoint_harness.search.survey import Survey, survey

Matrix = NDArray[np.float16]


def gaussian(seed: int, rows: int, width: int) -> Matrix:
    matrix = np.random.default_rng(seed).standard_normal((rows, width))
    unit: Matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float16)
    return unit


# --- exact scores


@given(seed=st.integers(0, 2**16), width=st.integers(1, 300), exponent=st.integers(-20, 14))
@settings(max_examples=40, deadline=None)
def test_scores_are_correctly_rounded_at_any_length_of_the_rows(seed: int, width: int, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    spread = 2.0 ** rng.integers(min(exponent, 0) - 4, max(exponent, 1), (6, width))
    with np.errstate(over="ignore"):
        matrix = np.clip(rng.standard_normal((6, width)) * spread, -65504, 65504).astype(np.float16)
    channel = Gallery.of({"a": matrix[:5]}).channels["a"]
    query = torch.from_numpy(matrix[5:].astype(np.float32))
    found = exact.exact_scores(channel, query, torch.zeros(5, dtype=torch.int64), torch.arange(5))
    products = matrix[:5].astype(np.float64) * matrix[5].astype(np.float64)  # exact
    assert found.tolist() == [float(np.float32(math.fsum(row))) for row in products]


def test_the_smallest_product_survives_between_the_largest() -> None:
    """2^30 + 2^-48 - 2^30, which plain float64 sums to zero in this order."""
    row = np.array([[2.0**15, 2.0**-24, 2.0**15]], dtype=np.float16)
    query = torch.tensor([[2.0**15, 2.0**-24, -(2.0**15)]])
    channel = Gallery.of({"a": row}).channels["a"]
    pair = torch.zeros(1, dtype=torch.int64)
    assert exact.exact_scores(channel, query, pair, pair).tolist() == [2.0**-48]


def test_the_longest_rows_that_fp16_holds_are_scored_exactly_and_refuse_no_neighbour() -> None:
    """Products of 2^32 in 4,096 dimensions; such a search was refused, its ordinary queries with it."""
    rng = np.random.default_rng(3)
    gallery = np.where(rng.random((40, 4096)) < 0.5, 65504, -65504).astype(np.float16)
    gallery[:, 7] = 2.0**-24
    queries = np.concatenate([gaussian(4, 3, 4096), np.sign(gallery[5:6]) * np.float16(65504)])
    queries[:, 7] = 2.0**-24
    hits = search(Gallery.of({"a": gallery}), {"a": queries}, {"a": 40})["a"]
    products = queries.astype(np.float64)[:, None] * gallery.astype(np.float64)  # exact
    expected = [[float(np.float32(math.fsum(pair))) for pair in row] for row in products]
    for found, rows, scores in zip(expected, hits.rows.tolist(), hits.scores.tolist(), strict=True):
        assert [found[row] for row in rows] == scores == sorted(found, reverse=True)
    alone = search(Gallery.of({"a": gallery}), {"a": queries[:3]}, {"a": 40})["a"]
    assert torch.equal(alone.rows, hits.rows[:3])
    assert torch.equal(alone.scores, hits.scores[:3])


def test_a_gallery_too_wide_to_be_exact_is_refused_whatever_the_queries() -> None:
    matrix = np.zeros((1, (1 << 16) + 1), dtype=np.float16)
    with pytest.raises(DataError, match="wider than can be searched"):
        Gallery.of({"a": matrix})


def test_the_order_of_summation_changes_no_score() -> None:
    """Values from the smallest fp16 to the largest, where plain float64 sums do differ."""
    rng = np.random.default_rng(1)
    matrix = (rng.standard_normal((40, 500)) * 2.0 ** rng.integers(-20, 14, (40, 500))).astype(np.float16)
    order = rng.permutation(500)
    pairs = torch.zeros(39, dtype=torch.int64), torch.arange(39)
    found = []
    for columns in (np.arange(500), order):
        part = np.ascontiguousarray(matrix[:, columns])
        channel = Gallery.of({"a": part[1:]}).channels["a"]
        found.append(exact.exact_scores(channel, torch.from_numpy(part[:1].astype(np.float32)), *pairs))
    assert torch.equal(*found)


def test_order_keys_sort_by_score_then_by_rank_and_give_the_score_back() -> None:
    scores = torch.tensor([0.5, -0.5, 0.5, 0.0, -3.0, 65504.0**2])
    ranks = torch.tensor([7, 0, 3, 2**32 - 2, 1, 5])
    keys = exact.order_key(scores, ranks)
    assert torch.argsort(keys, descending=True).tolist() == [5, 2, 0, 3, 1, 4]
    assert torch.equal(exact.scores_of(keys), scores)


# --- error bounds


def worst_for_bf16(rows: int, width: int) -> Matrix:
    """Every value lies just above the middle of two bf16 neighbours and is rounded up; their centre is 0."""
    return np.resize(np.float16([[1], [-1]]), (rows, 1)) * np.full((1, width), 1 + 2.0**-8 + 2.0**-10, "f2")


@pytest.mark.parametrize("name", ["Single", "BFloat"])
@pytest.mark.parametrize("width", [3, 256, 1536])
def test_kernels_are_never_more_wrong_than_they_say(name: str, width: int) -> None:
    rng = np.random.default_rng(2)
    matrices = [
        gaussian(3, 60, width),
        worst_for_bf16(60, width),
        (rng.standard_normal((60, width)) * 2.0 ** rng.integers(-24, 8, (60, width))).astype(np.float16),
        (4 + rng.standard_normal((60, width))).astype(np.float16),  # with a centre far from 0
    ]
    for matrix, count in itertools.product(matrices, (1, 20)):
        channel = Gallery.of({"a": matrix}).channels["a"]
        kernel = getattr(kernels, name)(channel, torch.from_numpy(matrix[:count].astype(np.float32)))
        out = torch.empty((60, count), dtype=kernel.dtype)
        kernel.fill(0, 60, out)
        true = matrix.astype(np.float64) @ matrix[:count].astype(np.float64).T
        wrong = np.abs(out.double().numpy() + kernel.offset.numpy() - true)
        assert (wrong <= kernel.error.numpy() + kernel.relative * np.abs(out.double().numpy())).all()
        if name == "BFloat" and matrix is matrices[1]:
            # The bound is not idle: it is no more than three times what really happens.
            assert wrong.max() > kernel.error.min().item() / 3


@pytest.mark.parametrize("width", [3, 256, 1536])
def test_a_query_alone_is_never_more_wrong_than_the_kernel_says(width: int) -> None:
    rng = np.random.default_rng(2)
    for matrix in (
        gaussian(3, 60, width),
        (rng.standard_normal((60, width)) * 2.0 ** rng.integers(-24, 4, (60, width))).astype(np.float16),
        (rng.standard_normal((60, width)) * 2.0**-12).astype(np.float16),  # products below what fp16 holds
    ):
        channel = Gallery.of({"a": matrix}).channels["a"]
        for query in matrix[:20]:
            alone = torch.from_numpy(query[None].astype(np.float32))
            assert kernels.Half.serves(channel, alone)
            kernel = kernels.Half(channel, alone)
            out = torch.empty((60, 1), dtype=kernel.dtype)
            kernel.fill(0, 60, out)
            found = out[:, 0].double().numpy()
            wrong = np.abs(found - matrix.astype(np.float64) @ query.astype(np.float64))
            assert (wrong <= kernel.error.numpy() + kernel.relative * np.abs(found)).all()


def test_fp16_products_are_taken_only_where_they_are_summed_in_float32_and_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = Gallery.of({"a": np.full((3, 4), 200, np.float16)}).channels["a"]
    assert type(kernels.choose(long, torch.full((1, 4), 200.0))) is kernels.Single  # 160,000: beyond fp16
    channel = Gallery.of({"a": gaussian(4, 10, 8)}).channels["a"]
    assert type(kernels.choose(channel, torch.ones((2, 8)))) is kernels.Single
    monkeypatch.setattr(kernels, "_adds_halves_in_float32", lambda: False)
    assert type(kernels.choose(channel, torch.ones((1, 8)))) is kernels.Single


def test_processes_that_allow_coarser_float32_products_get_a_wider_bound() -> None:
    matrix = gaussian(30, 512, 256)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        channel = Gallery.of({"a": matrix}).channels["a"]
        kernel = kernels.Single(channel, torch.from_numpy(matrix[:16].astype(np.float32)))
        out = torch.empty((512, 16))
        kernel.fill(0, 512, out)
    finally:
        torch.set_float32_matmul_precision(before)
    wrong = np.abs(out.numpy() - matrix.astype(np.float64) @ matrix[:16].astype(np.float64).T)
    assert (wrong <= kernel.error.numpy()).all()
    assert (kernel.error > 2.0**-8).all()


def test_bf16_is_chosen_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    many, few = torch.ones((64, 8)), torch.ones((2, 8))
    monkeypatch.setattr(rounded, "cpu_features", lambda: frozenset({"avx512_f"}))
    channel = Gallery.of({"a": gaussian(4, 10, 8)}).channels["a"]
    assert type(kernels.choose(channel, many)) is kernels.Single
    monkeypatch.setattr(rounded, "cpu_features", lambda: frozenset({"avx512_bf16"}))
    channel = Gallery.of({"a": gaussian(4, 10, 8)}).channels["a"]
    assert [type(kernels.choose(channel, few)) for _ in range(9)] == 8 * [kernels.Single] + [kernels.BFloat]
    assert type(kernels.choose(channel, many)) is kernels.BFloat
    monkeypatch.setattr(gallery, "is_small_copy", lambda size: False)  # rows are rounded for each batch anew
    channel = Gallery.of({"a": gaussian(4, 10, 8)}).channels["a"]
    assert [type(kernels.choose(channel, few)) for _ in range(9)] == 9 * [kernels.Single]
    assert type(kernels.choose(channel, many)) is kernels.BFloat


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("centred", [True, False])
def test_rounded_rows_are_the_same_however_they_are_asked_for(keep: bool, centred: bool) -> None:
    matrix = torch.from_numpy(gaussian(3, 1000, 1536))  # 341 rows are rounded at a time
    centre = matrix[:7].float().mean(dim=0) if centred else None
    expected = (matrix.float() - (centre if centred else 0)).bfloat16()
    rows = rounded.RoundedRows(matrix, centre, keep)
    space = rows.space()
    for start, stop in [(500, 700), (0, 1000), (340, 342), (999, 1000), (4, 4)]:
        parts = [(first, part.clone()) for first, part in rows.parts(start, stop, space)]
        firsts = start + np.cumsum([0, *(len(part) for _, part in parts)])
        assert [first for first, _ in parts] == firsts[:-1].tolist()
        found = torch.cat([part for _, part in parts]) if parts else expected[:0]
        assert torch.equal(found, expected[start:stop])
    matrix += 1
    assert torch.equal(next(rows.parts(5, 9, space))[1], expected[5:9]) == keep


# --- the door


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_no_number_is_refused_by_its_row(bad: float) -> None:
    gallery = gaussian(5, 40, 8)
    gallery[17, 3] = bad
    with pytest.raises(DataError, match="row 17"):
        Gallery.of({"a": gallery})


@pytest.mark.parametrize(
    ("matrices", "rows", "message"),
    [
        ({}, None, "at least one channel"),
        ({"a": np.zeros((3, 2), np.float32)}, None, "contiguous fp16"),
        ({"a": np.zeros((4, 4), np.float16)[:, ::2]}, None, "contiguous fp16"),
        ({"a": np.zeros((3, 2), np.float16), "b": np.zeros((4, 2), np.float16)}, None, "same rows"),
        ({"a": np.zeros((0, 2), np.float16)}, None, "between 1 and"),
        ({"a": np.zeros((3, 2), np.float16)}, Rows(rank=np.array([0, 1])), "rank"),
        ({"a": np.zeros((3, 2), np.float16)}, Rows(rank=np.array([0, 1, 1])), "no two rows"),
        ({"a": np.zeros((3, 2), np.float16)}, Rows(rank=np.array([0, 1, -1])), "between 0 and"),
        ({"a": np.zeros((3, 2), np.float16)}, Rows(author_token=np.array([1, 2, 3])), "author_token"),
        (
            {"a": np.zeros((3, 2), np.float16)},
            Rows(xyz=np.full((3, 3), np.nan, np.float32)),
            "lies somewhere",
        ),
    ],
)
def test_galleries_that_cannot_be_searched_are_refused(
    matrices: dict[str, Any], rows: Rows | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Gallery.of(matrices, rows)


def test_queries_and_exclusions_that_do_not_fit_are_refused() -> None:
    store = Gallery.of({"a": gaussian(6, 9, 4)})
    good = gaussian(7, 2, 4)
    with pytest.raises(DataError, match="no channel 'b'"):
        search(store, {"b": good}, {"b": 1})
    with pytest.raises(DataError, match=r"shape \(n, 4\)"):
        search(store, {"a": good[:, :3]}, {"a": 1})
    with pytest.raises(DataError, match="range of fp16"):
        search(store, {"a": np.full((1, 4), 1e6, np.float32)}, {"a": 1})
    with pytest.raises(DataError, match="k is 1 or more"):
        search(store, {"a": good}, {"a": 0})
    with pytest.raises(DataError, match="own_row"):
        search(store, {"a": good}, {"a": 1}, Exclusion(own_row=np.array([1])))
    with pytest.raises(DataError, match="below 9"):
        search(store, {"a": good}, {"a": 1}, Exclusion(own_row=np.array([1, 9])))
    with pytest.raises(DataError, match="needs 'author_token'"):
        search(store, {"a": good}, {"a": 1}, Exclusion(author_token=np.array([1, 2], np.uint64)))
    with pytest.raises(DataError, match="both xyz and radius_km"):
        Exclusion(radius_km=1.0)
    with pytest.raises(DataError, match="where every query is"):
        Exclusion(xyz=np.full((2, 3), np.nan, np.float32), radius_km=1.0)


def test_equal_rows_are_numbered_by_rank_and_zeros_of_either_sign_do_no_harm() -> None:
    matrix = gaussian(8, 9, 7)
    matrix[[2, 5, 6]] = matrix[0]
    matrix[7] = 0.0
    matrix[8] = -0.0
    rank = np.array([4, 8, 0, 7, 6, 1, 5, 3, 2])
    ordinal = Gallery.of({"a": matrix}, Rows(rank=rank)).channels["a"].ordinal
    assert ordinal is not None
    assert ordinal.tolist()[:7] == [2, 0, 0, 0, 0, 1, 3]
    assert Gallery.of({"a": matrix[[0, 1, 3, 4]]}).channels["a"].ordinal is None


# --- exclusions


def test_unknown_authors_and_keys_exclude_nothing() -> None:
    rows = Rows(key=np.array([0, 5, 6], np.uint64), author_token=np.array([0, 0, 3], np.uint64))
    exclusion = Exclusion(own_key=np.array([0, 6], np.uint64), author_token=np.array([0, 9], np.uint64))
    query, row = exclusion.pairs(rows)
    assert [query.tolist(), row.tolist()] == [[1], [2]]


def test_pairs_are_not_listed_beyond_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinpoint_harness.search.exclusion._LISTED_ROWS", 4)
    rows = Rows(author_token=np.array([7, 7, 8], np.uint64), xyz=xyz_of([(0, 0), (0, 0), (9, 9)]))
    by_place = Exclusion(xyz=xyz_of([(9, 9), (0, 0)]), radius_km=1.0)
    assert by_place.blocked(rows, 2, 2) is None
    blocked = by_place.blocked(rows, 2, 3)
    assert blocked is not None
    assert blocked.cells.tolist() == [1, 3, 4]  # row * queries + query
    query, row = by_place.pairs(rows)
    assert sorted(zip(query.tolist(), row.tolist(), strict=True)) == [(0, 2), (1, 0), (1, 1)]


def test_labels_that_many_share_are_compared_and_the_rare_ones_listed() -> None:
    index = LabelIndex(np.array([7, 8, 7, 0, 7, 9], np.uint64))
    asked = np.array([7, 0, 8, 7, 5, 9], np.uint64)
    (query, row), crowd = index.split(asked, 2)  # 7 has 2 x 3 pairs, 8 and 9 have one each
    assert sorted(zip(query.tolist(), row.tolist(), strict=True)) == [(2, 1), (5, 5)]
    assert crowd is not None
    assert crowd.rows.tolist() == [0, 2, 4]
    same = crowd.label_of_row[:, None] == crowd.label_of_query
    assert same.tolist() == [[True, False, False, True, False, False]] * 3
    assert crowd.counts().tolist() == [3, 0, 0, 3, 0, 0]
    assert crowd.take(np.array([3, 4])).counts().tolist() == [3, 0]
    listed, crowd = index.split(asked, 8)
    assert (len(listed[0]), crowd) == (8, None)


def test_a_radius_crosses_the_antimeridian_and_the_pole() -> None:
    gallery = xyz_of([(0.0, 179.999), (0.0, -179.999), (89.999, 0.0), (89.999, 180.0), (0.0, 179.0)])
    exclusion = Exclusion(xyz=gallery[[0, 2]], radius_km=1.0)
    query, row = exclusion.pairs(Rows(xyz=gallery))
    assert sorted(zip(query.tolist(), row.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 2), (1, 3)]


def test_a_radius_of_zero_excludes_exactly_the_same_place() -> None:
    gallery = xyz_of([(48.1, 11.5), (48.1, 11.5), (48.10001, 11.5)])  # the last is 1.1 m away
    query, row = Exclusion(xyz=gallery[:1], radius_km=0.0).pairs(Rows(xyz=gallery))
    assert [query.tolist(), sorted(row.tolist())] == [[0, 0], [0, 1]]


# --- FAISS


def test_faiss_gives_the_same_bits_and_settles_what_it_cannot_certify() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(9)
    gallery = gaussian(10, 900, 24)
    gallery[rng.permutation(900)[:200]] = gallery[0]  # more ties than are fetched
    author = rng.integers(1, 30, 900).astype(np.uint64)
    author[:300] = 77
    store = Gallery.of({"a": gallery, "b": gallery[:, :8].copy()}, Rows(rng.permutation(900), None, author))
    asked = {"a": gallery[:25], "b": gallery[:25, :8].copy()}
    exclusion = Exclusion(
        own_row=np.arange(25), author_token=np.where(np.arange(25) < 5, 77, 5).astype(np.uint64)
    )
    found = search_faiss(FaissIndexes(store), asked, {"a": 6, "b": 3}, exclusion)
    expected = search(store, asked, {"a": 6, "b": 3}, exclusion)
    for name in asked:
        assert torch.equal(found[name].rows, expected[name].rows)
        assert found[name].scores.numpy().tobytes() == expected[name].scores.numpy().tobytes()
    assert 0 < found.statistics["a"].uncertified < 25


def test_a_missing_broken_or_empty_faiss_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Gallery.of({"a": gaussian(11, 3, 4)})
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match="pip install"):
        FaissIndexes(store)
    monkeypatch.setitem(sys.modules, "faiss", ModuleType("faiss"))
    with pytest.raises(UsageError, match="left by an uninstall"):
        FaissIndexes(store)


# --- import


def test_importing_the_harness_and_naming_the_search_loads_no_torch() -> None:
    code = "import sys, pinpoint_harness, pinpoint_harness.search; sys.exit('torch' in sys.modules)"
    path = str(Path(engine.__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False).returncode == 0


def test_a_survey_of_before_is_read_as_one_that_takes_nothing_off(tmp_path: Path) -> None:
    known = survey("a", torch.from_numpy(gaussian(3, 60, 8)))
    (tmp_path / "new.npz").write_bytes(known.to_bytes())
    read = Survey.read(tmp_path / "new.npz")
    assert (read.largest_spread, read.largest_residual) == (known.largest_spread, known.largest_residual)
    assert read.centre is not None
    assert known.centre is not None
    assert torch.equal(read.centre, known.centre)
    np.savez(tmp_path / "old.npz", bounds=np.array([1.5, 0.25]), ordinal=np.empty(0, np.int32))
    assert Survey.read(tmp_path / "old.npz") == Survey(1.5, 1.5, 0.25, None, None)
