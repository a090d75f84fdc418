"""Candidate lists: whose slot is whose, what is known of a candidate, and what a query may not see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from tests.support.pinpoint_world import retriever_of, small, unit, write_galleries

from pinpoint_harness.geo import haversine_km
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Exclusion, xyz_of
from pinpoint_methods.common import candidates
from pinpoint_methods.common.candidates import CHANNELS, CandidateBatch, found_by, hand_features
from pinpoint_methods.pinpoint.config import CONFIGS, PinpointConfig
from pinpoint_methods.pinpoint.retriever import SourceRetriever
from pinpoint_methods.pinpoint.selection import quotas, slots_of

Rows = Mapping[str, NDArray[np.int64]]

NOBODY = Exclusion()
QUERIES = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_galleries(tmp_path)
    return tmp_path


def found_in(rows: int, seed: int, kept: int = 5) -> dict[str, NDArray[np.int64]]:
    """What a search might have found: rows that channels share, and none where it ran out."""
    random = np.random.default_rng(seed)
    found = {c: np.stack([random.permutation(rows)[:kept] for _ in range(QUERIES)]) for c in CHANNELS}
    found["raw"][:, 0] = found["image"][:, 1]
    found["location"][::2, 1] = found["raw"][::2, 0]
    found["image"][1, 2:] = -1
    for channel in CHANNELS:
        found[channel][2] = -1
    return found


def asked(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    return tuple(torch.from_numpy(unit(random, QUERIES, width)).half() for width in (8, 6))  # type: ignore[return-value]


def lists_of(retriever: SourceRetriever, hidden: Exclusion = NOBODY, seed: int = 0) -> CandidateBatch:
    image, raw = asked()
    found = [found_in(len(g.table), seed + number) for number, g in enumerate(retriever.galleries)]
    return retriever.lists(found, image, raw, [hidden] * len(retriever.galleries))


def test_the_paper_s_list_is_eight_two_and_two_of_the_own_gallery() -> None:
    slots = slots_of(CONFIGS["mini"], ["streetview"])
    assert slots.channel.tolist() == [0] * 8 + [1] * 2 + [2] * 2
    assert slots.rank.tolist() == [*range(8), 0, 1, 0, 1]
    assert slots.gallery.tolist() == [0] * 12
    assert CHANNELS == ("image", "raw", "location")


def test_a_candidate_names_every_search_that_found_it(folder: Path) -> None:
    retriever = retriever_of(folder, small(galleries="both"), "photos")
    lists, slots = lists_of(retriever), retriever.slots
    everyone = torch.arange(len(slots)).flip(0).expand(QUERIES, -1)
    words = found_by(lists, slots, everyone)
    listed = list(zip(slots.gallery.tolist(), slots.channel.tolist(), slots.rank.tolist(), strict=True))
    twice = 0
    for query in range(QUERIES):
        rows = lists.row[query].tolist()
        for at, slot in enumerate(everyone[query].tolist()):
            same = [
                f"{CHANNELS[channel]} {rank + 1}"
                for (gallery, channel, rank), row in zip(listed, rows, strict=True)
                if row == rows[slot] >= 0 and gallery == listed[slot][0]
            ]
            assert words[query, at] == ", ".join(same)
            twice += len(same) > 1
    assert twice


def test_the_union_halves_the_quotas_and_begins_with_the_own_gallery(folder: Path) -> None:
    config = replace(CONFIGS["mini"], galleries="both")
    assert quotas(config) == {"image": 4, "raw": 1, "location": 1}
    slots = slots_of(config, ["photos", "streetview"])
    assert slots.channel.tolist() == [0, 0, 0, 0, 1, 2] * 2
    assert slots.rank.tolist() == [0, 1, 2, 3, 0, 0] * 2
    assert slots.gallery.tolist() == [0] * 6 + [1] * 6
    for source, other in (("photos", "streetview"), ("streetview", "photos")):
        retriever = retriever_of(folder, small(galleries="both"), source)
        assert retriever.slots.sources == (source, other)
        assert [gallery.source for gallery in retriever.support] == [other, source]


def test_a_row_found_twice_keeps_its_first_slot_and_an_empty_slot_is_nobody(folder: Path) -> None:
    retriever = retriever_of(folder, small())
    image, raw = (part[:1] for part in asked())
    found = {
        "image": np.array([[3, 5, 7, -1]]),
        "raw": np.array([[5, 2]]),
        "location": np.array([[2, -1]]),
    }
    lists = retriever.lists([found], image, raw, [NOBODY])
    assert lists.row.tolist() == [[3, 5, 7, -1, 5, 2, 2, -1]]
    assert lists.valid.tolist() == [[True, True, True, False, False, True, False, False]]


def test_the_same_number_in_the_other_gallery_is_another_row(folder: Path) -> None:
    retriever = retriever_of(folder, small(galleries="both"))
    image, raw = (part[:1] for part in asked())
    found = {"image": np.array([[3, 5]]), "raw": np.array([[3]]), "location": np.array([[9]])}
    lists = retriever.lists([found, found], image, raw, [NOBODY] * 2)
    assert lists.valid.tolist() == [[True, True, False, True] * 2]


def test_a_shorter_list_is_the_beginning_of_each_channel(folder: Path) -> None:
    """All ablations share one search: the first of what it found are what fewer would have found."""
    retriever = retriever_of(folder, small(candidates_image=3, candidates_raw=0, candidates_location=1))
    rows = found_in(24, 0)
    expected = np.concatenate([rows["image"][:, :3], rows["location"][:, :1]], axis=1)
    np.testing.assert_array_equal(lists_of(retriever).row.numpy(), expected)


def test_similarities_and_places_are_those_of_the_files(folder: Path) -> None:
    retriever = retriever_of(folder, small(galleries="both"))
    lists, (image, raw) = lists_of(retriever), asked()
    for number, source in enumerate(("photos", "streetview")):
        table = pq.read_table(folder / f"{source}.rows.parquet")
        places = np.stack([table["latitude"].to_numpy(), table["longitude"].to_numpy()], axis=1)
        mine = slice(4 * number, 4 * number + 4)
        rows, valid = lists.row[:, mine].numpy(), lists.valid[:, mine].numpy()
        for kind, (channel, query) in enumerate((("image", image), ("raw", raw), ("location", image))):
            matrix = np.load(folder / f"{source}.{channel}.npy").astype(np.float64)
            expected = np.einsum("ne,nce->nc", query.double().numpy(), matrix[rows])
            np.testing.assert_allclose(lists.scores[:, mine, kind].numpy()[valid], expected[valid], atol=1e-5)
        np.testing.assert_array_equal(lists.xyz[:, mine].numpy()[valid], xyz_of(places[rows[valid]]))


def test_a_search_finds_what_comparing_every_row_finds(folder: Path) -> None:
    retriever, (image, raw) = retriever_of(folder, small()), asked()
    authors = hash_ids([f"photos-author-{n % 5}" for n in range(QUERIES)])
    (found,) = retriever.find(image, raw, [Exclusion(author_token=authors)], quotas(retriever.config))
    for channel, query, wanted in (("image", image, 4), ("raw", raw, 2), ("location", image, 2)):
        matrix = np.load(folder / f"photos.{channel}.npy").astype(np.float64)
        scores = query.double().numpy() @ matrix.T
        scores[hash_ids([f"photos-author-{row % 5}" for row in range(24)])[None] == authors[:, None]] = -9
        np.testing.assert_array_equal(found[channel], (-scores).argsort(axis=1)[:, :wanted])


def test_lists_made_in_chunks_are_the_lists_made_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = retriever_of(folder, small(galleries="both"))
    hidden = Exclusion(author_token=hash_ids([f"streetview-author-{n % 5}" for n in range(QUERIES)]))
    whole = lists_of(retriever, hidden)
    monkeypatch.setattr(candidates, "_PAIRS", 3 * len(retriever.slots) ** 2)  # two queries at once
    pieces = lists_of(retriever, hidden)
    assert whole.short == pieces.short
    for name in ("row", "valid", "support", "xyz"):
        assert torch.equal(getattr(whole, name), getattr(pieces, name))
    for name in ("scores", "features", "support_facts"):
        torch.testing.assert_close(getattr(whole, name), getattr(pieces, name))


class ByHand:
    """What `hand_features` says, one candidate after the other."""

    def __init__(self, folder: Path, config: PinpointConfig, lists: CandidateBatch, query: int) -> None:
        sources = ["photos", "streetview"] if config.galleries == "both" else ["photos"]
        self.slots: list[dict[str, Any]] = []
        for gallery, source in enumerate(sources):
            table = pq.read_table(folder / f"{source}.rows.parquet")
            for channel, name in enumerate(CHANNELS):
                for rank in range(quotas(config)[name]):
                    at = len(self.slots)
                    row = int(lists.row[query, at])
                    place = [table[name][row].as_py() for name in ("latitude", "longitude")]
                    self.slots.append(
                        {
                            "gallery": gallery,
                            "channel": channel,
                            "rank": rank,
                            "row": row,
                            "place": np.array(place),
                            "image": float(lists.scores[query, at, 0]),
                        }
                    )
        seen: set[tuple[int, int]] = set()
        for slot in self.slots:
            named = (slot["gallery"], slot["row"])
            slot["there"] = slot["row"] >= 0 and named not in seen
            seen.add(named)
        self.valid = [slot for slot in self.slots if slot["there"]]
        self.galleries = len(sources)

    def features(self, slot: dict[str, Any]) -> list[float]:
        features: list[float] = []
        for gallery in range(self.galleries):
            mine = [other for other in self.valid if other["gallery"] == gallery]
            best = max((other["image"] for other in mine), default=-1.0)
            near = max((o["image"] for o in mine if self.km(slot, o) < 1), default=-1.0)
            features.append(near - best)
            for channel in range(len(CHANNELS)):
                found = [o for o in self.slots if o["gallery"] == gallery and o["channel"] == channel]
                if not found:
                    features += [0.0, 0.0]
                    continue
                ranks = [
                    1 / (1 + o["rank"])
                    for o in found
                    if slot["gallery"] == gallery and o["row"] == slot["row"]
                ]
                features.append(max(ranks, default=0.0))
                first = next(o for o in found if o["rank"] == 0)
                farthest = math.pi * 6371.0088
                features.append(math.log1p(self.km(slot, first) if first["row"] >= 0 else farthest))
        counts = [sum(self.km(slot, other) < radius for other in self.valid) for radius in (1, 25)]
        return [*features, *map(math.log1p, counts)]

    @staticmethod
    def km(a: dict[str, Any], b: dict[str, Any]) -> float:
        return float(haversine_km(a["place"][None], b["place"][None])[0])


@pytest.mark.parametrize("galleries", ["own", "both"])
@pytest.mark.parametrize("dropped", ["", "raw", "location", "image"])
def test_hand_made_features_are_what_their_words_say(folder: Path, galleries: str, dropped: str) -> None:
    changes = {f"candidates_{dropped}": 0} if dropped else {}
    config = small(galleries=galleries, **changes)
    compared = 0
    lists = lists_of(retriever_of(folder, config), seed=5)
    for query in range(QUERIES):
        by_hand = ByHand(folder, config, lists, query)
        assert [slot["there"] for slot in by_hand.slots] == lists.valid[query].tolist()
        for at, slot in enumerate(by_hand.slots):
            if slot["there"]:
                expected = np.array(by_hand.features(slot))
                np.testing.assert_allclose(lists.features[query, at].numpy(), expected, atol=2e-3)
                compared += 1
    assert compared > 20
    assert lists.features.shape[2] == (7 if galleries == "own" else 14) + 2


def test_a_list_without_any_candidate_has_numbers_everywhere(folder: Path) -> None:
    lists = lists_of(retriever_of(folder, small(galleries="both")))
    assert not lists.valid[2].any()
    assert not (lists.support[2] >= 0).any()
    for part in (lists.scores, lists.features, lists.support_facts, lists.xyz):
        assert torch.isfinite(part).all()


def test_support_is_the_table_s_nearest_left_and_never_that_of_an_empty_slot(folder: Path) -> None:
    retriever = retriever_of(folder, small(galleries="both"))
    random = np.random.default_rng(0)
    authors = hash_ids([f"streetview-author-{n}" for n in random.integers(0, 5, QUERIES)])
    hidden = Exclusion(own_key=hash_ids([f"photos-{n:03}" for n in range(QUERIES)]), author_token=authors)
    lists = lists_of(retriever, hidden)
    short = 0
    for number, (source, other) in enumerate((("photos", "streetview"), ("streetview", "photos"))):
        table = np.load(folder / f"{source}.support.npy")
        near = pq.read_table(folder / f"{other}.rows.parquet")
        key, author = (hash_ids(near[name].to_pylist()) for name in ("id", "author"))
        for query in range(QUERIES):
            for slot in range(4 * number, 4 * number + 4):
                row = int(lists.row[query, slot])
                listed = table[row].tolist() if row >= 0 else [-1] * 6
                unseen = {hidden.own_key[query], hidden.author_token[query]}  # type: ignore[index]
                left = [r for r in listed if r >= 0 and not {key[r], author[r]} & unseen][:3]
                assert lists.support[query, slot].tolist() == left + [-1] * (3 - len(left))
                short += len(left) < 3 and row >= 0 and min(listed) >= 0
    assert lists.short == short


def test_support_is_described_by_its_best_and_mean_similarity_and_its_size(folder: Path) -> None:
    retriever = retriever_of(folder, small())
    lists, (image, _) = lists_of(retriever), asked()
    matrix = np.load(folder / "streetview.image.npy").astype(np.float64)
    none = 0
    for query in range(QUERIES):
        for slot in range(8):
            rows = [row for row in lists.support[query, slot].tolist() if row >= 0]
            similar = matrix[rows] @ image[query].double().numpy() if rows else np.array([-1.0])
            mean = similar.mean() if rows else 0.0
            expected = [similar.max(), mean, math.log1p(len(rows))]
            np.testing.assert_allclose(lists.support_facts[query, slot].numpy(), expected, atol=1e-5)
            none += not rows
    assert 0 < none < QUERIES * 8


def test_support_can_be_left_out_or_be_that_of_other_rows(folder: Path) -> None:
    without = lists_of(retriever_of(folder, small(support="none")))
    assert without.support.shape == (QUERIES, 8, 0)
    assert not without.support_facts.any()
    retriever = retriever_of(folder, small(support="shuffled"))
    shuffled, near = retriever.tables[0], np.load(folder / "photos.support.npy")
    assert shuffled is not None
    table = shuffled.numpy()
    assert sorted(map(tuple, table)) == sorted(map(tuple, near))
    assert (table != near).any(axis=1).mean() > 0.5
    again = retriever_of(folder, small(support="shuffled")).tables[0]
    np.testing.assert_array_equal(table, again)


def test_where_there_is_one_source_no_candidate_supports_itself(tmp_path: Path) -> None:
    write_galleries(tmp_path)
    near = np.stack([np.roll(np.arange(24), -row)[:6] for row in range(24)]).astype(np.int32)
    np.save(tmp_path / "photos.support.npy", near)
    lists = lists_of(retriever_of(tmp_path, small(sources="photos")))
    has = lists.row >= 0
    assert not (lists.support == lists.row[..., None]).logical_and(has[..., None]).any()
    second = torch.from_numpy(near[:, 1])[lists.row.clamp(min=0)]
    assert torch.equal(lists.support[..., 0][has], second[has].long())


def test_features_do_not_change_with_the_other_queries(folder: Path) -> None:
    retriever = retriever_of(folder, small(galleries="both"))
    lists = lists_of(retriever)
    same = (lists.row[:, :, None] == lists.row[:, None]) & (
        retriever.slots.gallery[:, None] == retriever.slots.gallery
    )
    for query in range(QUERIES):
        alone = hand_features(lists.take(slice(query, query + 1)), retriever.slots, same[query : query + 1])
        assert torch.equal(alone[0], lists.features[query])
