"""SuperGlobal's reranking: by hand, against the released arithmetic in numpy, and blind where it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.support.stores import NamedStores, made_store

from pinpoint_harness import params
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.running import check_predictions
from pinpoint_harness.search import unit_rows
from pinpoint_harness.types import Context, Method, Predictions, Queries
from pinpoint_methods.common.place_gallery import best_rows
from pinpoint_methods.retrieval.knn import NearestPhoto
from pinpoint_methods.retrieval.superglobal import SuperGlobal, rerank

Array = NDArray[np.float64]


def stored(root: Path, features: Any, authors: list[str | None] | None = None) -> FeatureStore:
    """Row i lies at (i / 100, i / 50)."""
    number = np.arange(len(features))
    return made_store(root, features, np.stack([number / 100, number / 50], axis=1), authors=authors)


def built(store: FeatureStore, kind: type[Any] = SuperGlobal, **settings: Any) -> Method:
    given = {"gallery": "gallery", "backbone": "owner/none", **settings}
    method: Method = kind(
        params.build(kind.Params, given, "test"), Context(stores=NamedStores({"gallery": store}))
    )
    return method


def ask(method: Method, features: Any, ids: list[str] | None = None, authors: Any = None) -> Predictions:
    half = torch.from_numpy(np.asarray(features, np.float16))
    names = ids or [f"q{row}" for row in range(len(half))]
    queries = Queries(hash_ids(names), hash_ids(authors or [None] * len(half)), ["photos"] * len(half), half)
    answer = method.predict(queries)
    check_predictions(answer, len(half))
    return answer


def rows_of(answer: Predictions) -> NDArray[np.int64]:
    assert answer.candidates is not None
    assert answer.candidates.photo_id is not None
    return np.array(
        [[int(name[1:]) if name else -1 for name in names] for names in answer.candidates.photo_id]
    )


def released(gallery: Array, query: Array, top: int, k: int, beta: float) -> tuple[list[int], Array]:
    """MDescAug and RerankwMDA of github.com/ShihaoShao-GH/SuperGlobal for one query, step by step.

    Every refined descriptor is written out, as there; the rows in their new order and their scores.
    """
    ranks = np.argsort(-(gallery @ query), kind="stable")[:top]
    found = gallery[ranks]  # (top, width)
    refined = []
    for vector in found:
        similarity = found @ vector
        order = np.argsort(-similarity, kind="stable")[: k + 1]
        weight = beta * similarity[order]
        weight[0] = 1.0
        refined.append((weight[:, None] * found[order]).sum(axis=0) / weight.sum())
    augmented = np.stack(refined)
    first = augmented @ query
    best = np.argsort(-first, kind="stable")[: k + 1]
    expanded = augmented[best].max(axis=0)
    scores = (first + augmented @ expanded) / 2
    order = np.argsort(-scores, kind="stable")
    return ranks[order].tolist(), scores[order]


def clustered(seed: int, count: int = 300, width: int = 24) -> tuple[Array, Array]:
    """A gallery in clusters and queries near them, all with similarities above zero."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, 1, (12, width))
    gallery = centres[random.integers(0, 12, count)] + random.normal(scale=0.25, size=(count, width))
    queries = centres[random.integers(0, 12, 20)] + random.normal(scale=0.35, size=(20, width))
    return gallery, queries


@pytest.mark.parametrize(("top", "k", "beta"), [(400, 9, 0.15), (60, 9, 0.15), (60, 4, 1.0), (30, 0, 0.15)])
def test_the_ranking_is_that_of_the_released_code(top: int, k: int, beta: float, tmp_path: Path) -> None:
    gallery, queries = clustered(1)
    answer = ask(built(stored(tmp_path, gallery), top=top, k=k, beta=beta, candidates=20), queries)
    exact = unit_rows(torch.from_numpy(gallery.astype(np.float16))).double().numpy()
    asked = unit_rows(torch.from_numpy(queries.astype(np.float16))).double().numpy()
    for query in range(len(queries)):
        rows, scores = released(exact, asked[query], top, k, beta)
        assert rows_of(answer)[query].tolist() == rows[:20]
        assert answer.confidence is not None
        assert answer.confidence[query] == pytest.approx(scores[0], abs=1e-6)
        assert answer.coordinates[query].tolist() == [rows[0] / 100, rows[0] / 50]


@pytest.mark.parametrize("repeats", [1, 3])
def test_neighbours_are_those_of_a_stable_sort_to_the_bit(repeats: int) -> None:
    gallery, queries = clustered(9, count=60)
    vectors = unit_rows(torch.from_numpy(np.tile(gallery, (repeats, 1)))).double()  # with equals, or without
    cosine = vectors @ unit_rows(torch.from_numpy(queries[:1])).double()[0]
    similarity = vectors @ vectors.T
    similarity.fill_diagonal_(float("inf"))
    near = similarity.argsort(dim=1, descending=True, stable=True)[:, :10]
    assert torch.equal(best_rows(similarity, 10), near)
    weight = 0.15 * similarity.gather(1, near).clamp(min=0)
    weight[:, 0] = 1
    weight /= weight.sum(dim=1, keepdim=True)
    refined = (weight * cosine[near]).sum(dim=1)
    best = refined.argsort(descending=True, stable=True)[:10]
    query = (weight[best, :, None] * vectors[near[best]]).sum(dim=1).amax(dim=0)
    expected = (refined + (weight * (vectors @ query)[near]).sum(dim=1)) / 2
    assert torch.equal(rerank(vectors, cosine, 9, 0.15, "max"), expected)


def test_by_hand_a_photo_with_good_neighbours_overtakes_a_lonely_one() -> None:
    # The first two are equally like the query; only the second has a neighbour.
    vectors = torch.tensor([[0.8, 0.6, 0.0], [0.8, 0.0, 0.6], [0.8, 0.0, 0.6]], dtype=torch.float64)
    cosine = torch.tensor([0.8, 0.8, 0.8], dtype=torch.float64)
    scores = rerank(vectors, cosine, k=1, beta=1.0, pooling="average")
    # Refined: the lonely one takes 0.64 of a neighbour (the first of equals, row 1), the pair each other.
    lonely = (vectors[0] + 0.64 * vectors[1]) / 1.64
    pair = vectors[1]
    # All refined scores are 0.8, so the two first make the query.
    expanded = (lonely + pair) / 2
    expected = [(0.8 + float(row @ expanded)) / 2 for row in (lonely, pair, pair)]
    assert scores.tolist() == pytest.approx(expected)
    assert scores[1] > scores[0]


def test_without_neighbours_the_order_is_that_of_the_first_search(tmp_path: Path) -> None:
    gallery, queries = clustered(2)
    store = stored(tmp_path, gallery)
    # k = 0: every photo stays itself and the expanded query is the nearest photo.
    plain = ask(built(store, NearestPhoto), queries)
    alone = ask(built(store, k=0, top=1), queries)
    assert np.array_equal(alone.coordinates, plain.coordinates)
    assert rows_of(alone).shape == (20, 1)


def test_unlike_neighbours_count_nothing_and_never_turn_the_weights_around() -> None:
    vectors = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    cosine = vectors[:, 0].clone()
    scores = rerank(vectors, cosine, k=2, beta=5.0, pooling="max")
    assert torch.isfinite(scores).all()
    assert scores.argmax() == 0
    assert scores[0] == pytest.approx(1.0)


def test_an_answer_depends_neither_on_its_neighbours_nor_on_the_tile(tmp_path: Path) -> None:
    gallery, queries = clustered(3)
    method = built(stored(tmp_path, gallery), top=50)
    together = ask(method, queries)
    for chosen in (slice(0, 1), slice(7, 12), slice(None, None, -1)):
        part = ask(method, queries[chosen])
        assert np.array_equal(part.coordinates, together.coordinates[chosen])
        assert np.array_equal(part.confidence, together.confidence[chosen])  # type: ignore[index,arg-type]
        assert np.array_equal(rows_of(part), rows_of(together)[chosen])


def test_equal_photos_are_ranked_by_their_ids(tmp_path: Path) -> None:
    gallery, _ = clustered(4, count=30)
    answer = ask(built(stored(tmp_path, np.concatenate([gallery, gallery])), top=40), gallery[:5])
    for ranked in rows_of(answer):
        firsts = [row for row in ranked.tolist() if row < 30]
        assert all(ranked.tolist().index(row + 30) > ranked.tolist().index(row) for row in firsts
                   if row + 30 in ranked)  # fmt: skip


# What a query must not see


def test_the_querys_own_photo_takes_no_part_in_any_expansion(tmp_path: Path) -> None:
    gallery, _ = clustered(5)
    with_own = ask(built(stored(tmp_path / "a", gallery), top=60), gallery[17:18], ids=["g0017"])
    others = np.delete(np.arange(300), 17)
    without = ask(built(stored(tmp_path / "b", gallery[others]), top=60), gallery[17:18], ids=["q"])
    assert 17 not in rows_of(with_own)
    assert rows_of(with_own).tolist() == [others[rows_of(without)[0]].tolist()]
    assert np.array_equal(with_own.confidence, without.confidence)  # type: ignore[arg-type]


def test_with_the_author_filter_no_photo_by_the_author_takes_part_in_any_expansion(tmp_path: Path) -> None:
    gallery, queries = clustered(6)
    author = [f"author{row % 5}" for row in range(300)]
    filtered = built(stored(tmp_path / "a", gallery, list(author)), top=60, author_filter=True)
    answer = ask(filtered, queries, authors=["author3"] * 20)
    others = np.flatnonzero(np.arange(300) % 5 != 3)
    alone = built(stored(tmp_path / "b", gallery[others]), top=60)
    expected = ask(alone, queries)
    assert np.array_equal(rows_of(answer), others[rows_of(expected)])
    assert np.array_equal(answer.confidence, expected.confidence)  # type: ignore[arg-type]
    # And the filter is what makes the difference.
    unfiltered = ask(built(filtered._gallery.stores[0], top=60), queries)  # type: ignore[attr-defined]
    assert not np.array_equal(rows_of(unfiltered), rows_of(answer))


def test_a_query_whose_photographer_took_everything_has_no_answer(tmp_path: Path) -> None:
    gallery, queries = clustered(7, count=20)
    store = stored(tmp_path, gallery, ["ann"] * 20)
    answer = ask(built(store, author_filter=True), queries[:2], authors=["ann", "ben"])
    assert np.isnan(answer.coordinates[0]).all()
    assert not np.isnan(answer.coordinates[1]).any()
    assert set(rows_of(answer)[0].tolist()) == {-1}


def test_a_gallery_smaller_than_the_top_is_ranked_whole(tmp_path: Path) -> None:
    gallery, queries = clustered(8, count=7)
    rows = rows_of(ask(built(stored(tmp_path, gallery)), queries[:3]))
    assert all(sorted(ranked[:7].tolist()) == list(range(7)) for ranked in rows)
    assert (rows[:, 7:] == -1).all()
