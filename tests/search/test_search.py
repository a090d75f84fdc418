"""Search against a brute force in float64, and against itself in every other arrangement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pinpoint_harness.geo import chord_from_km
from pinpoint_harness.search import (
    Exclusion,
    Gallery,
    Hits,
    Rows,
    kernels,
    scan,
    search,
    xyz_of,
)
from pinpoint_harness.search import engine as engine_module
from pinpoint_harness.search import exclusion as exclusion_module

Matrix = NDArray[np.float16]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(params=["Single", "BFloat"])
def each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways through a CPU, whatever this processor would choose, in tiles of a few hundred rows."""
    name: str = request.param
    monkeypatch.setattr(kernels, "choose", getattr(kernels, name))
    monkeypatch.setattr(scan, "_TILE_ROWS", {"cpu": (64, 320)})
    return name


def unit(matrix: NDArray[Any]) -> Matrix:
    wide = matrix.astype(np.float64)
    rounded: Matrix = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    return rounded


def gaussian(seed: int, rows: int, width: int) -> Matrix:
    return unit(np.random.default_rng(seed).standard_normal((rows, width)))


def clustered(seed: int, rows: int, width: int) -> Matrix:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, width))
    return unit(centres[rng.integers(0, 20, rows)] + 0.02 * rng.standard_normal((rows, width)))


def duplicated(seed: int, rows: int, width: int) -> Matrix:
    """Half the rows are one placeholder, a quarter comes in pairs."""
    rng = np.random.default_rng(seed)
    matrix = gaussian(seed, rows, width)
    order = rng.permutation(rows)
    matrix[order[: rows // 2]] = matrix[order[0]]
    pairs = order[rows // 2 : rows // 2 + rows // 8]
    matrix[order[rows // 2 + rows // 8 : rows // 2 + 2 * (rows // 8)]] = matrix[pairs]
    return matrix


def power_law(seed: int, rows: int, width: int) -> Matrix:
    """A steep spectrum around a common mean, as raw features of a network have it."""
    spectrum = np.arange(1, width + 1) ** -1.0
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((rows, width)) * spectrum + 2 * spectrum)


def negative(seed: int, rows: int, width: int) -> Matrix:
    """Every inner product with the first half, taken as queries, is below zero."""
    matrix = np.abs(gaussian(seed, rows, width))
    matrix[: rows // 2] *= -1
    return matrix


DATA = [gaussian, clustered, duplicated, power_law, negative]


def brute_force(
    gallery: Matrix, queries: Matrix, k: int, rank: NDArray[np.int64], hidden: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Every score in float64, ordered by (float32 score, rank)."""
    scores = (queries.astype(np.float64) @ gallery.astype(np.float64).T).astype(np.float32) + 0.0
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    values = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for query, row_scores in enumerate(scores):
        (left,) = np.nonzero(~hidden[query])
        best = left[np.lexsort((rank[left], -row_scores[left]))][:k]
        rows[query, : len(best)], values[query, : len(best)] = best, row_scores[best]
    return rows, values


def nothing_hidden(queries: Matrix, gallery: Matrix) -> NDArray[np.bool_]:
    return np.zeros((len(queries), len(gallery)), dtype=np.bool_)


def assert_equal(found: Hits, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(found.rows.numpy(), rows)
    assert found.scores.numpy().tobytes() == scores.tobytes()
    np.testing.assert_array_equal(found.counts.numpy(), (rows >= 0).sum(axis=1))


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("width", [32, 257])
def test_search_equals_brute_force_in_float64(
    make: Callable[[int, int, int], Matrix], width: int, each_kernel: str
) -> None:
    gallery, rank = make(1, 1500, width), np.random.default_rng(2).permutation(1500)
    queries = gallery[np.random.default_rng(3).integers(0, 1500, 24)]
    found = search(Gallery.of({"a": gallery}, Rows(rank=rank)), {"a": queries}, {"a": 9})
    assert_equal(found["a"], *brute_force(gallery, queries, 9, rank, nothing_hidden(queries, gallery)))
    assert found.statistics["a"].kernel == each_kernel


@pytest.mark.parametrize("make", DATA)
@pytest.mark.parametrize("width", [32, 257])
def test_a_query_alone_equals_brute_force_in_float64(
    make: Callable[[int, int, int], Matrix], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_TILE_ROWS", {"cpu": (64, 320)})
    gallery, rank = make(1, 1500, width), np.random.default_rng(2).permutation(1500)
    author = np.random.default_rng(3).integers(1, 4, 1500).astype(np.uint64)
    store = Gallery.of({"a": gallery}, Rows(rank=rank, author_token=author))
    for query in gallery[np.random.default_rng(4).integers(0, 1500, 6)]:
        asked = query[None]
        for asking in (0, 2):
            hidden = (author == asking)[None]
            exclusion = Exclusion(author_token=np.array([asking], np.uint64)) if asking else None
            found = search(store, {"a": asked}, {"a": 9}, exclusion)
            assert_equal(found["a"], *brute_force(gallery, asked, 9, rank, hidden))
            assert found.statistics["a"].kernel.startswith("Half")


@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 9),
    queries=st.integers(1, 20),
    k=st.integers(1, 45),
    seed=st.integers(0, 2**16),
    coarse=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_small_shapes_equal_brute_force(
    rows: int, width: int, queries: int, k: int, seed: int, coarse: bool
) -> None:
    rng = np.random.default_rng(seed)
    # Coarse values make ties, zero rows, and inner products of either sign.
    draw = (
        rng.integers(-1, 2, (rows + queries, width)) if coarse else rng.normal(size=(rows + queries, width))
    )
    matrix = draw.astype(np.float16)
    gallery, asked = matrix[:rows], matrix[rows:]
    rank = rng.permutation(rows)
    author = rng.integers(0, 4, rows).astype(np.uint64)
    asking = rng.integers(0, 4, queries).astype(np.uint64)
    found = search(
        Gallery.of({"a": gallery}, Rows(rank=rank, author_token=author)),
        {"a": asked},
        {"a": k},
        Exclusion(author_token=asking),
    )
    hidden = (asking[:, None] == author) & (author != 0)
    assert_equal(found["a"], *brute_force(gallery, asked, k, rank, hidden))


@pytest.mark.parametrize("make", [gaussian, duplicated])
def test_exclusions_equal_brute_force_with_their_rows_removed(
    make: Callable[[int, int, int], Matrix], each_kernel: str
) -> None:
    rng = np.random.default_rng(5)
    count, asked = 1200, rng.integers(0, 1200, 20)
    gallery = make(4, count, 48)
    author = rng.integers(0, 60, count).astype(np.uint64)
    author[rng.permutation(count)[: count // 10]] = 7  # one author owns a tenth of everything
    asking = author[asked].copy()
    asking[:6] = 7
    coordinates = np.column_stack([rng.uniform(-3, 3, count), rng.uniform(177, 183, count)])
    xyz = xyz_of(coordinates)
    rows = Rows(
        rank=rng.permutation(count),
        key=np.arange(1, count + 1, dtype=np.uint64),
        author_token=author,
        xyz=xyz,
    )
    exclusion = Exclusion(
        own_row=np.where(asked % 2, asked, -1),
        own_key=(asked + 1).astype(np.uint64),
        author_token=asking,
        xyz=xyz[asked],
        radius_km=60.0,
    )
    found = search(Gallery.of({"a": gallery}, rows), {"a": gallery[asked]}, {"a": 12}, exclusion)
    chord = np.linalg.norm(xyz[asked].astype(np.float64)[:, None] - xyz, axis=2)
    hidden = (asking[:, None] == author) & (author != 0)
    hidden |= chord <= chord_from_km(60.0)
    hidden |= np.arange(count) == asked[:, None]
    assert hidden.sum(axis=1).min() > 1
    assert rows.rank is not None
    assert_equal(found["a"], *brute_force(gallery, gallery[asked], 12, rows.rank, hidden))


def test_everything_excluded_leaves_padding() -> None:
    gallery = gaussian(6, 50, 16)
    rows = Rows(author_token=np.full(50, 9, dtype=np.uint64))
    found = search(
        Gallery.of({"a": gallery}, rows),
        {"a": gallery[:3]},
        {"a": 4},
        Exclusion(author_token=np.array([9, 0, 9], np.uint64)),
    )["a"]
    assert found.counts.tolist() == [0, 4, 0]
    assert found.rows[0].tolist() == [-1] * 4
    assert torch.isneginf(found.scores[0]).all()
    assert found.rows[1, 0] == 1


def test_k_larger_than_what_is_left_is_padded() -> None:
    gallery = gaussian(7, 5, 8)
    found = search(
        Gallery.of({"a": gallery}), {"a": gallery[:2]}, {"a": 9}, Exclusion(own_row=np.array([0, -1]))
    )["a"]
    assert found.rows.shape == (2, 9)
    assert found.counts.tolist() == [4, 5]
    assert found.rows[0, 4:].tolist() == [-1] * 5


def test_no_queries_find_nothing() -> None:
    found = search(Gallery.of({"a": gaussian(7, 5, 8)}), {"a": np.empty((0, 8), np.float16)}, {"a": 3})
    assert found["a"].rows.shape == (0, 3)


def test_thousands_of_equal_rows_give_their_lowest_ranks_with_little_work() -> None:
    gallery = gaussian(8, 6000, 32)
    gallery[500:5500] = gallery[500]
    rank = np.random.default_rng(9).permutation(6000)
    queries = np.repeat(gallery[500:501], 40, axis=0)
    excluded = np.argsort(rank[500:5500])[:3] + 500
    own = np.where(np.arange(40) < 3, np.resize(excluded, 40), -1)
    found = search(
        Gallery.of({"a": gallery}, Rows(rank=rank)), {"a": queries}, {"a": 8}, Exclusion(own_row=own)
    )
    hidden = np.arange(6000) == own[:, None]
    assert_equal(found["a"], *brute_force(gallery, queries, 8, rank, hidden))
    assert found.statistics["a"].rescored < 40 * 400
    assert found.statistics["a"].uncertified == 0


def test_queries_with_too_many_close_rows_are_settled_in_float32_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "choose", kernels.BFloat)
    monkeypatch.setattr(engine_module, "_GIVE_UP_AT", 50)
    rng = np.random.default_rng(10)
    # Two crowds about the origin: what all rows have in common is taken off before they are rounded.
    gallery = unit((1 + 1e-3 * rng.standard_normal((900, 64))) * np.resize([1, -1], (900, 1)))
    queries = np.concatenate([gallery[:4], gaussian(11, 20, 64)])
    rank = np.random.default_rng(12).permutation(900)
    own = np.arange(24)
    found = search(
        Gallery.of({"a": gallery}, Rows(rank=rank)), {"a": queries}, {"a": 5}, Exclusion(own_row=own)
    )
    assert 4 <= found.statistics["a"].uncertified <= 24
    hidden = np.arange(900) == own[:, None]
    assert_equal(found["a"], *brute_force(gallery, queries, 5, rank, hidden))


def test_what_all_rows_have_in_common_costs_no_exact_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "choose", kernels.BFloat)
    alone = np.random.default_rng(10).standard_normal((3000, 64))
    alone /= np.linalg.norm(alone, axis=1, keepdims=True)
    rescored = []
    for common in (0.0, 2.0):
        gallery = (alone + common * np.resize([1, -1], 64)).astype(np.float16)
        queries = gallery[np.arange(24) * 7]
        found = search(Gallery.of({"a": gallery}), {"a": queries}, {"a": 5})
        hidden = nothing_hidden(queries, gallery)
        assert_equal(found["a"], *brute_force(gallery, queries, 5, np.arange(3000), hidden))
        rescored.append(found.statistics["a"].rescored)
    assert rescored[1] < 8 * rescored[0] < 24 * 3000


def test_pending_candidates_are_scored_whenever_they_become_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_PENDING_PAIRS", 100)
    monkeypatch.setattr(scan, "_TILE_ROWS", {"cpu": (64, 128)})
    gallery = np.sort(gaussian(13, 1000, 24), axis=0)  # later rows are better: every tile brings new ones
    queries = np.abs(gaussian(14, 18, 24))
    found = search(Gallery.of({"a": gallery}), {"a": queries}, {"a": 6})
    hidden = nothing_hidden(queries, gallery)
    assert_equal(found["a"], *brute_force(gallery, queries, 6, np.arange(1000), hidden))


@cache
def arrangements() -> tuple[Matrix, Rows, Matrix, Exclusion, Hits]:
    rng = np.random.default_rng(15)
    gallery = np.concatenate([clustered(16, 1500, 40), duplicated(17, 1500, 40)])
    rows = Rows(
        rank=rng.permutation(3000),
        author_token=rng.integers(1, 40, 3000).astype(np.uint64),
    )
    asked = rng.integers(0, 3000, 80)
    assert rows.author_token is not None
    exclusion = Exclusion(author_token=rows.author_token[asked])
    reference = search(Gallery.of({"a": gallery}, rows), {"a": gallery[asked]}, {"a": 10}, exclusion)["a"]
    return gallery, rows, gallery[asked], exclusion, reference


def assert_identical(found: Hits, reference: Hits) -> None:
    assert torch.equal(found.rows, reference.rows)
    assert found.scores.numpy().tobytes() == reference.scores.numpy().tobytes()


@pytest.mark.parametrize("batch", [1, 7, 64, 512])
def test_batches_change_no_bit(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, rows, queries, exclusion, reference = arrangements()
    store = Gallery.of({"a": gallery}, rows)
    whole = range(0, 20 if batch == 1 else len(queries), batch)
    for start in whole:
        part = slice(start, start + batch)
        found = search(store, {"a": queries[part]}, {"a": 10}, exclusion.take(part))["a"]
        expected = Hits(*(getattr(reference, name)[part] for name in ("rows", "scores", "counts")))
        assert_identical(found, expected)
    monkeypatch.setattr(engine_module, "_BATCH_QUERIES", {"cpu": 7})
    assert_identical(search(store, {"a": queries}, {"a": 10}, exclusion)["a"], reference)


@pytest.mark.parametrize("count", [1, 2])
def test_threads_change_no_bit(count: int, threads: Callable[[int], None]) -> None:
    gallery, rows, queries, exclusion, reference = arrangements()
    threads(count)
    assert_identical(
        search(Gallery.of({"a": gallery}, rows), {"a": queries}, {"a": 10}, exclusion)["a"], reference
    )


def test_permuted_gallery_gives_the_same_ids_and_bits() -> None:
    gallery, rows, queries, exclusion, reference = arrangements()
    assert rows.rank is not None
    assert rows.author_token is not None
    order = np.random.default_rng(19).permutation(len(gallery))
    shuffled = Rows(rank=rows.rank[order], author_token=rows.author_token[order])
    found = search(Gallery.of({"a": gallery[order]}, shuffled), {"a": queries}, {"a": 10}, exclusion)["a"]
    np.testing.assert_array_equal(order[found.rows.numpy()], reference.rows.numpy())
    assert found.scores.numpy().tobytes() == reference.scores.numpy().tobytes()


@pytest.mark.parametrize("listed", [0, 300, 1500])
@pytest.mark.parametrize("give_up_at", [-20, 4096])
def test_authors_of_many_photos_are_compared_without_changing_a_bit(
    listed: int, give_up_at: int, each_kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, rows, queries, exclusion, reference = arrangements()
    monkeypatch.setattr(exclusion_module, "LISTED_BY_LABEL", listed)
    monkeypatch.setattr(engine_module, "_GIVE_UP_AT", give_up_at)  # below none: all are searched again
    found = search(Gallery.of({"a": gallery}, rows), {"a": queries}, {"a": 10}, exclusion)
    assert_identical(found["a"], reference)
    assert (found.statistics["a"].uncertified > 0) == (give_up_at < 0)


def test_crowded_places_split_the_batch_without_changing_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, queries = gaussian(25, 400, 16), gaussian(26, 50, 16)
    places = xyz_of(np.random.default_rng(27).integers(0, 4, (450, 2)))
    rows, hidden = Rows(xyz=places[:400]), Exclusion(xyz=places[400:], radius_km=1.0)
    store = Gallery.of({"a": gallery}, rows)
    reference = search(store, {"a": queries}, {"a": 10}, hidden)["a"]
    monkeypatch.setattr(engine_module, "_BLOCKED_PAIRS", 100)
    assert_identical(search(store, {"a": queries}, {"a": 10}, hidden)["a"], reference)


def test_channels_of_different_width_are_searched_in_one_call() -> None:
    image, raw = gaussian(20, 700, 16), power_law(21, 700, 50)
    store = Gallery.of({"image": image, "raw": raw, "gps": -image})
    asked = {"image": image[:20], "raw": raw[:20], "gps": image[:20]}
    found = search(store, asked, {"image": 8, "raw": 2, "gps": 2})
    for name, (gallery, k) in {"image": (image, 8), "raw": (raw, 2), "gps": (-image, 2)}.items():
        hidden = nothing_hidden(asked[name], gallery)
        assert_equal(found[name], *brute_force(gallery, asked[name], k, np.arange(700), hidden))


def test_memory_maps_are_searched_where_they_lie(tmp_path: Path) -> None:
    gallery = gaussian(22, 300, 20)
    gallery.tofile(tmp_path / "features.fp16")
    mapped = np.memmap(tmp_path / "features.fp16", dtype=np.float16, mode="r", shape=(300, 20))
    store = Gallery.of({"a": mapped})
    assert store.channels["a"].matrix.data_ptr() == mapped.ctypes.data
    found = search(store, {"a": gallery[:3]}, {"a": 1})
    assert found["a"].rows[:, 0].tolist() == [0, 1, 2]


def test_float32_queries_are_rounded_to_fp16_like_the_gallery() -> None:
    gallery = gaussian(23, 100, 12)
    queries = np.random.default_rng(24).standard_normal((4, 12), dtype=np.float32)
    store = Gallery.of({"a": gallery})
    wide, half = (search(store, {"a": q}, {"a": 5})["a"] for q in (queries, queries.astype(np.float16)))
    assert_identical(wide, half)


@needs_cuda
@pytest.mark.parametrize("make", DATA)
def test_a_gpu_gives_the_bits_of_the_cpu(make: Callable[[int, int, int], Matrix]) -> None:
    gallery = make(25, 5000, 96)
    rows = Rows(rank=np.random.default_rng(26).permutation(5000))
    exclusion = Exclusion(own_row=np.arange(64))
    cpu = search(Gallery.of({"a": gallery}, rows), {"a": gallery[:64]}, {"a": 9}, exclusion)["a"]
    device = torch.from_numpy(gallery).cuda()
    for batch in (1, 64):
        found = search(
            Gallery.of({"a": device}, rows), {"a": device[:batch]}, {"a": 9}, exclusion.take(slice(0, batch))
        )["a"]
        assert torch.equal(found.rows.cpu(), cpu.rows[:batch])
        assert found.scores.cpu().numpy().tobytes() == cpu.scores[:batch].numpy().tobytes()
