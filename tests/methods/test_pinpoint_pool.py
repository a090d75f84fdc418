"""Candidates from a pool: the rows of the highest fused score among all that the searches found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from tests.support.pinpoint_world import World, retriever_of, small, unit, write_galleries

from pinpoint_harness.errors import UsageError
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.search import Exclusion
from pinpoint_methods.common.candidates import CHANNELS, CandidateBatch
from pinpoint_methods.pinpoint.config import CONFIGS, PinpointConfig
from pinpoint_methods.pinpoint.reranker import retrieval_scores
from pinpoint_methods.pinpoint.retriever import SourceRetriever
from pinpoint_methods.pinpoint.selection import depths, standard_scores
from pinpoint_methods.pinpoint.splits import B

QUERIES, DEPTH = 6, 9
EMPTY = 2
"""The query that finds nothing."""

Found = list[dict[str, NDArray[np.int64]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_galleries(tmp_path)
    return tmp_path


def pool(**changes: object) -> PinpointConfig:
    """Four candidates of each gallery from nine rows of each channel."""
    return small(**{"galleries": "both", "candidate_pool": DEPTH, "retrieval_raw": 0.3, **changes})


def asked() -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(3)
    image, raw = (torch.from_numpy(unit(random, QUERIES, width)).half() for width in (8, 6))
    return image, raw


def found_in(retriever: SourceRetriever) -> Found:
    """What searches might have found: many rows by several channels, and deeper than the pool."""
    random, found = np.random.default_rng(0), []
    for gallery in retriever.galleries:
        rows = [
            {c: random.permutation(len(gallery.table))[: DEPTH + 3] for c in CHANNELS} for _ in range(QUERIES)
        ]
        stacked = {c: np.stack([row[c] for row in rows]) for c in CHANNELS}
        stacked["image"][1, 3:] = -1
        for channel in CHANNELS:
            stacked[channel][EMPTY] = -1
        found.append(stacked)
    return found


def lists_of(retriever: SourceRetriever) -> CandidateBatch:
    return retriever.lists(found_in(retriever), *asked(), [Exclusion()] * len(retriever.galleries))


def by_hand(
    retriever: SourceRetriever, query: int, members: int = 1
) -> list[list[tuple[int, NDArray[np.float64]]]]:
    """Of each gallery's pool the rows with their standard scores by channel, best first."""
    image, raw = (part[query].double().numpy() for part in asked())
    named = [
        sorted({row for c in CHANNELS for row in found[c][query, :DEPTH].tolist() if row >= 0})
        for found in found_in(retriever)
    ]
    scores = []
    for channel, vector in (("image", image), ("raw", raw), ("location", image)):
        parts = 1 if channel == "raw" else members
        each = []
        for part in np.split(np.arange(len(vector)), parts):
            matrices = [gallery.vectors(channel).double().numpy()[:, part] for gallery in retriever.galleries]
            similar = np.concatenate(
                [matrix[rows] @ vector[part] for matrix, rows in zip(matrices, named, strict=True)]
            )
            each.append((similar - similar.mean()) / similar.std())
        scores.append(np.mean(each, axis=0))
    told = iter(np.stack(scores, axis=1))
    listed = [[(row, next(told)) for row in rows] for rows in named]
    return [sorted(rows, key=lambda one: -(one[1] @ [1, 0.3, 0.7])) for rows in listed]


@pytest.mark.parametrize("members", [1, 2])
def test_candidates_are_the_rows_of_the_highest_fused_score(folder: Path, members: int) -> None:
    """With two embedders the mean of both standard scores counts, not the mean of the similarities."""
    if members == 2:  # the second one's cosines spread ten times as widely
        for name in ("photos", "streetview"):
            matrix = np.load(folder / f"{name}.image.npy")
            matrix[:, 4:] *= 10
            np.save(folder / f"{name}.image.npy", matrix)
    retriever = retriever_of(folder, pool(embedding=8 // members, embedders=members))
    lists = lists_of(retriever)
    for query in range(QUERIES):
        if query == EMPTY:
            continue
        best = [one for rows in by_hand(retriever, query, members) for one in rows[:4]]
        assert lists.row[query].tolist() == [row for row, _ in best]
        np.testing.assert_allclose(lists.scores[query].numpy(), [told for _, told in best], atol=1e-4)
    assert lists.valid[[q for q in range(QUERIES) if q != EMPTY]].all()


def test_without_a_reranker_the_fused_score_ranks(folder: Path) -> None:
    retriever = retriever_of(folder, pool(galleries="own"))
    scores = retrieval_scores(lists_of(retriever), retriever.config)
    assert (scores.diff(dim=1)[[0, 1, 3, 4, 5]] <= 0).all()


def test_a_query_that_finds_nothing_has_no_candidate_and_numbers_everywhere(folder: Path) -> None:
    lists = lists_of(retriever_of(folder, pool()))
    assert not lists.valid[EMPTY].any()
    assert (lists.row[EMPTY] == -1).all()
    for part in (lists.scores, lists.features, lists.support_facts, lists.xyz):
        assert torch.isfinite(part).all()


def test_features_tell_the_rank_in_each_channel_however_deep(folder: Path) -> None:
    retriever = retriever_of(folder, pool(galleries="own"))
    lists, (found,) = lists_of(retriever), found_in(retriever)
    slots = torch.arange(lists.row.shape[1]).expand(QUERIES, -1)
    words = retriever.selection.found_by(lists, [found], slots)
    deep = 0
    for query in (0, 1, 3, 4, 5):
        for slot, row in enumerate(lists.row[query].tolist()):
            ranks = {c: found[c][query, :DEPTH].tolist() for c in CHANNELS}
            named = {c: listed.index(row) + 1 for c, listed in ranks.items() if row in listed}
            assert words[query, slot] == ", ".join(f"{c} {rank}" for c, rank in named.items())
            inverse = [1 / named[c] if c in named else 0.0 for c in CHANNELS]
            told = lists.features[query, slot, [1, 3, 5]]
            np.testing.assert_allclose(told.numpy(), inverse, rtol=1e-6)
            deep += max(named.values()) > 4
    assert deep > 5


def test_a_channel_without_a_quota_offers_nothing(folder: Path) -> None:
    config = pool(galleries="own", candidates_raw=0, candidates_image=6)
    retriever = retriever_of(folder, config)
    (found,) = found_in(retriever)
    lists = lists_of(retriever)
    assert depths(config) == {"image": DEPTH, "raw": 0, "location": DEPTH}
    for query in (0, 1, 3, 4, 5):
        offered = {*found["image"][query, :DEPTH], *found["location"][query, :DEPTH]}
        assert set(lists.row[query].tolist()) <= offered


def test_standard_scores_of_equal_similarities_are_zero() -> None:
    similar = torch.full((1, 4, 2), 0.25)
    valid = torch.tensor([[True, True, True, False]])
    assert not standard_scores(similar, valid).any()


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"candidate_pool": 11}, "candidate_pool=12"),
        ({"candidate_pool": 64}, "candidates_kept=64"),
    ],
)
def test_a_pool_smaller_than_its_candidates_or_deeper_than_the_search_is_refused(
    changes: dict[str, int], fix: str
) -> None:
    with pytest.raises(UsageError, match=fix):
        replace(CONFIGS["mini"], **changes)


def test_csls_takes_half_of_a_row_s_hubness_from_its_similarities(folder: Path) -> None:
    """A row that is near to everything falls behind one that is as similar and near to nothing else."""
    config = pool(galleries="own", csls=4, retrieval_raw=0.0, retrieval_location=0.0)
    plain = retriever_of(folder, config)
    rows = len(plain.galleries[0].table)
    hubness = np.zeros((rows, 3), np.float32)
    first = lists_of(plain).row[0, 0].item()
    hubness[first] = 2.0
    np.save(folder / "photos.photos.npy", hubness)
    corrected = retriever_of(folder, config, hubness=folder)
    row = lists_of(corrected).row
    assert first not in row[0].tolist()
    pooled = pool_scores(plain, hubness)
    for query in (0, 1, 3, 4, 5):
        assert row[query].tolist() == pooled[query]


def pool_scores(retriever: SourceRetriever, hubness: NDArray[np.float32]) -> dict[int, list[int]]:
    """The eight rows of highest similarity less half of their hubness, of each query's pool."""
    image, _ = asked()
    (found,) = found_in(retriever)
    matrix = retriever.galleries[0].vectors("image").double().numpy()
    best = {}
    for query in (0, 1, 3, 4, 5):
        rows = sorted({r for c in CHANNELS for r in found[c][query, :DEPTH].tolist() if r >= 0})
        corrected = matrix[rows] @ image[query].double().numpy() - hubness[rows, 0] / 2
        best[query] = [rows[at] for at in np.argsort(-corrected)[:8]]
    return best


def test_the_density_of_a_candidate_is_its_last_feature(folder: Path) -> None:
    told = []
    for number, source in enumerate(("photos", "streetview")):
        told.append(np.random.default_rng(number).random((24, 20)[number]).astype(np.float32))
        np.save(folder / f"{source}.npy", told[-1])
    retriever = retriever_of(folder, pool(list_features=True, density=16), density=folder)
    lists = lists_of(retriever)
    plain = lists_of(retriever_of(folder, pool()))
    assert torch.equal(lists.features[..., :-1], plain.features)
    for number in (0, 1):
        mine = slice(4 * number, 4 * number + 4)
        np.testing.assert_array_equal(lists.features[0, mine, -1], told[number][lists.row[0, mine]])


@pytest.mark.parametrize(("changes", "words"), [({"csls": 3}, "pool"), ({"density": 3}, "hand-made feature")])
def test_an_option_that_would_do_nothing_is_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(CONFIGS["mini"], **changes)


def test_hubness_and_density_are_those_of_comparing_every_row(pinpoint_world: World) -> None:
    """Trained in the world of the tests: B's queries against each row, and rows of a gallery by place."""
    changes = {"candidate_pool": 16, "csls": 3, "list_features": True, "density": 4, "passes": 1.0}
    made = pinpoint_world.train("pinpoint", **changes)
    gallery = made["raw"].folder
    labels = np.load(made["splits"].folder / "photos.npy")
    stores = pinpoint_world.context().stores
    assert stores is not None
    store = stores.gallery("toy/photos", "colours")
    asking = np.flatnonzero(labels == B)
    raw = store.matrix[asking].astype(np.float64)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    similar = np.load(gallery / "streetview.raw.npy").astype(np.float64) @ raw.T
    ids = pq.read_table(gallery / "streetview.rows.parquet")["id"].to_pylist()
    similar[np.array(ids)[:, None] == np.array(store.table["id"].to_pylist())[asking]] = -9  # a photo itself
    expected = np.sort(similar, axis=1)[:, -3:].mean(axis=1)
    hubness = np.load(made["hubness"].folder / "photos.streetview.npy")
    np.testing.assert_allclose(hubness[:, 1], expected, atol=1e-3)
    table = pq.read_table(gallery / "photos.rows.parquet")
    places = np.stack([table["latitude"].to_numpy(), table["longitude"].to_numpy()], axis=1)
    km = np.array([np.sort(haversine_km(place, places))[4] for place in places])
    np.testing.assert_allclose(np.load(made["density"].folder / "photos.npy"), np.log1p(km), atol=1e-3)
