"""Every reranked method: what it changes, what it shares, and how it answers on a small world."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from tests.support.pinpoint_world import COPIES, World, one_thread, settings_for
from tests.support.training import killed_after, watched_steps

from pinpoint_harness.artifacts import read_json, spec_key
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, UsageError
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_params
from pinpoint_harness.search import Exclusion, search
from pinpoint_harness.training.stages import stages_of
from pinpoint_harness.types import Queries
from pinpoint_methods.common.candidates import CHANNELS, CandidateBatch
from pinpoint_methods.common.decoding import TemperatureScaling
from pinpoint_methods.pinpoint.candidate_search import SETS, TRAINING, QueryBatch, read_queries, training_sets
from pinpoint_methods.pinpoint.config import CONFIGS, SOURCES, PinpointConfig
from pinpoint_methods.pinpoint.gallery import SourceGallery
from pinpoint_methods.pinpoint.method import Pinpoint, PinpointTop1
from pinpoint_methods.pinpoint.reranker_training import FILTERED, OPEN, label_candidates
from pinpoint_methods.pinpoint.retriever import SourceRetriever, galleries_of, open_retriever
from pinpoint_methods.pinpoint.selection import quotas
from pinpoint_methods.pinpoint.splits import A, B, C
from pinpoint_methods.pinpoint.variants import PLUS, RERANKED, TOP1, Variants

NAMES = sorted(RERANKED)
RUN = [
    "pinpoint",
    "pinpoint-plus",
    "pinpoint-feature-reranker",
    "pinpoint-no-reranker",
    "pinpoint-no-reranker-plus",
    "pinpoint-photos-only",
]
TOGETHER = (("width", "heads"), ("query_embedding", "list_features", "cells"))
"""Choices that have to fit one another."""
TO_CANDIDATES = {"splits", "embedder", "raw", "gallery", "support", "candidates"}


# What the table of methods declares.


def config_for(method: str, **given: Any) -> PinpointConfig:
    params = build_params(load_registry().method(method), given)
    return PinpointConfig(**{item.name: getattr(params, item.name) for item in fields(PinpointConfig)})


@pytest.mark.parametrize(("variants", "kind"), [(RERANKED, Pinpoint), (TOP1, PinpointTop1)])
def test_a_variant_is_one_class_under_its_preset(variants: Variants, kind: type[Any]) -> None:
    registry = load_registry()
    for name, (words, preset) in variants.items():
        entry = registry.method(name)
        assert entry.load() is kind
        assert words in entry.info.title
        assert entry.preset == preset


def test_every_method_has_a_line_of_its_own_in_the_list() -> None:
    listed = CliRunner().invoke(cli, ["methods", "list"], prog_name="pinpoint")
    assert listed.exit_code == 0, listed.output
    words = [part for line in listed.output.splitlines() for part in line.split()[:2]]
    for name in NAMES:
        assert words.count(name) == 1, name


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_differs_from_pinpoint_s_in_what_is_declared(name: str) -> None:
    declared = RERANKED[name][1]
    for config in ("full", "mini"):
        plain, changed = config_for("pinpoint", config=config), config_for(name, config=config)
        differing = {
            item.name: getattr(changed, item.name)
            for item in fields(PinpointConfig)
            if getattr(changed, item.name) != getattr(plain, item.name)
        }
        assert differing.items() <= dict(declared).items()
        if config == "full":
            assert differing == dict(declared), "a change that changes nothing"


@pytest.mark.parametrize("name", [name for name in NAMES if RERANKED[name][1]])
def test_what_a_user_sets_wins_over_the_method_s_change(name: str) -> None:
    plain = config_for("pinpoint")
    back = {change: getattr(plain, change) for change in RERANKED[name][1]}
    assert config_for(name, **back) == plain
    for change in RERANKED[name][1]:
        together = next((names for names in TOGETHER if change in names), (change,))
        one = {name: getattr(plain, name) for name in together}
        assert getattr(config_for(name, **one), change) == back[change]


@pytest.mark.parametrize("config", ["full", "mini"])
def test_no_two_methods_are_the_same(config: str) -> None:
    seen: dict[Any, str] = {}
    for name in NAMES:
        values = astuple(config_for(name, config=config))
        assert values not in seen, f"{name} is {seen.get(values)}"
        seen[values] = name


@pytest.mark.parametrize("name", NAMES)
def test_an_ablation_of_a_channel_keeps_the_number_of_candidates(name: str) -> None:
    config = config_for(name)
    count = sum(quotas(config).values()) * (2 if config.galleries == "both" else 1)
    assert count == (64 if "plus" in name else 12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"candidates_image": 33}, "candidates_kept=32"),
        ({"candidates_raw": 66, "galleries": "both"}, "--set candidates_kept=33"),
        ({"candidates_image": 8, "candidates_kept": 7}, "more candidates than are kept"),
        ({"candidates_image": 0, "candidates_raw": 0, "candidates_location": 0}, "no channel"),
        (
            {"candidates_image": 1, "candidates_raw": 1, "candidates_location": 0, "galleries": "both"},
            "no channel",
        ),
        ({"width": 100, "heads": 3}, "multiple of its heads"),
        ({"query_embedding": False}, "query token holds nothing"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        config_for("pinpoint", **changes)
    assert words in str(refused.value)


def test_as_many_candidates_as_are_kept_are_enough() -> None:
    assert quotas(config_for("pinpoint", candidates_image=32))["image"] == 32
    assert quotas(config_for("pinpoint", candidates_image=64, galleries="both"))["image"] == 32
    config_for("pinpoint", query_embedding=False, reranker="features")


# What the stages share.


def keys_of(world: World, method: str, **changes: Any) -> dict[str, str]:
    request = world.request(method, **changes)
    keys: dict[str, str] = {}
    for stage in stages_of(request.method, request.params, request.context):
        keys[stage.name] = spec_key(stage.kind, stage.spec_with(keys, request.context, 1))
    return keys


def shared(a: Mapping[str, str], b: Mapping[str, str]) -> set[str]:
    return {name for name in {*a} & {*b} if a[name] == b[name]}


@pytest.mark.parametrize("name", NAMES)
def test_a_method_shares_every_stage_that_its_changes_do_not_reach(pinpoint_world: World, name: str) -> None:
    pinpoint, keys = keys_of(pinpoint_world, "pinpoint"), keys_of(pinpoint_world, name)
    everything = {*TO_CANDIDATES, "reranker", "calibration"}
    told = {"pinpoint-plus": {"cells", "weights"}, "pinpoint-no-reranker-plus": {"weights"}}.get(name, set())
    assert set(keys) == (everything - {"reranker"} if "no-reranker" in name else everything) | told
    expected = {
        "pinpoint": everything,
        "pinpoint-expected": everything,
        "pinpoint-loo-reranker": TO_CANDIDATES - {"candidates"},
        "pinpoint-photos-only": set(),
        "pinpoint-streetview-only": set(),
    }
    assert shared(pinpoint, keys) == expected.get(name, TO_CANDIDATES)


def test_a_reranker_that_the_user_switches_on_or_off_is_a_stage_or_none(pinpoint_world: World) -> None:
    without = keys_of(pinpoint_world, "pinpoint", reranker="none")
    assert "reranker" not in without
    plus = keys_of(pinpoint_world, "pinpoint-plus")
    changes = {"reranker": "attention", "cells": PLUS["cells"]}
    assert keys_of(pinpoint_world, "pinpoint-no-reranker-plus", **changes) == plus


# What the candidates stage holds.


class Found:
    """One source's sets as the candidates stage of the world holds them."""

    def __init__(self, world: World, source: str, **changes: Any) -> None:
        done = world.train(stage="candidates", **changes)
        store_lookup = world.context().stores
        assert store_lookup is not None
        self.config = world.request(**changes).params
        self.source, self.folder = source, done["candidates"].folder
        self.store: FeatureStore = store_lookup.gallery(f"toy/{source}", "colours")
        self.labels = np.load(done["splits"].folder / f"{source}.npy")
        self.galleries = galleries_of(done["gallery"].folder, done["raw"].folder, SOURCES, "cpu")
        self.ids = np.array(self.store.table["id"].to_pylist())
        self.authors = np.array(self.store.table["author"].to_pylist())

    def rows(self, name: str) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = np.load(self.folder / f"{self.source}.{name}.rows.npy")
        return rows

    def asked(self, name: str) -> QueryBatch:
        return read_queries(self.folder, self.source, name, self.store, SOURCES, self.config)


@pytest.fixture(scope="module", params=SOURCES)
def found(pinpoint_world: World, request: pytest.FixtureRequest) -> Found:
    return Found(pinpoint_world, request.param)


def of_gallery(gallery: SourceGallery, name: str) -> NDArray[Any]:
    return np.array(gallery.table[name].to_pylist())


def test_the_sets_are_b_and_c(found: Found) -> None:
    assert SETS == {"train": True, "train-open": False, "held": True, "held-open": False}
    for name, label in zip(SETS, (B, B, C, C), strict=True):
        if (name, found.source) == ("train-open", "photos"):
            assert not list(found.folder.glob("photos.train-open.*"))
            continue
        rows = found.rows(name)
        assert len(rows) > 5
        np.testing.assert_array_equal(rows, np.flatnonzero(found.labels == label))


def test_a_source_learns_from_the_sets_that_are_named_for_it() -> None:
    named = {
        name: training_sets("streetview", replace(CONFIGS["mini"], streetview_lists=name))
        for name in TRAINING
    }
    assert named == {"hidden": ("train",), "seen": ("train-open",), "both": ("train", "train-open")}
    assert training_sets("photos", replace(CONFIGS["mini"], streetview_lists="both")) == ("train",)
    seen = replace(CONFIGS["mini"], photos_lists="both")
    assert [training_sets(source, seen) for source in ("photos", "streetview")] == [
        ("train", "train-open"),
        ("train",),
    ]


@pytest.mark.parametrize("name", SETS)
def test_what_is_found_follows_the_rules_of_its_set(found: Found, name: str) -> None:
    if (name, found.source) == ("train-open", "photos"):
        assert not list(found.folder.glob("photos.train-open.*"))
        return
    rows, asked = found.rows(name), found.asked(name)
    by_author = 0
    for other, gallery in found.galleries.items():
        ids, authors = of_gallery(gallery, "id"), of_gallery(gallery, "author")
        for listed in asked.found[other].values():
            assert listed.shape == (len(rows), 32)
            valid = listed >= 0
            assert not (valid & (ids[listed] == found.ids[rows, None])).any()
            by_author += int((valid & (authors[listed] == found.authors[rows, None])).sum())
            if found.source == other == "streetview":
                places = found.store.coordinates()[rows].repeat(32, axis=0)
                km = haversine_km(places, gallery.coordinates[listed.ravel()]).reshape(listed.shape)
                assert (km[valid] > 0.999).all()
    assert (by_author > 0) == (name in ("held-open", "train-open"))


def test_the_rules_take_away_what_would_be_found(found: Found) -> None:
    """A copy, the photographer and the kilometre around stand in the galleries, or nothing is shown above."""
    rows = found.rows("train")
    near = 0
    for gallery in found.galleries.values():
        assert np.isin(found.authors[rows], of_gallery(gallery, "author")).any()
        for place in found.store.coordinates()[rows]:
            near += int((haversine_km(place, gallery.coordinates) < 1).any())
    assert near
    if found.source == "photos":
        assert np.isin(found.ids[rows], of_gallery(found.galleries["streetview"], "id")).any()


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_is_found_is_what_comparing_every_row_finds(found: Found, channel: str) -> None:
    asked, rows = found.asked("train"), found.rows("train")
    query = (asked.raw if channel == "raw" else asked.image).double().numpy()
    for other, gallery in found.galleries.items():
        # Ties are those of scores rounded to float32.
        scores = (query @ gallery.vectors(channel).double().numpy().T).astype(np.float32)
        hidden = of_gallery(gallery, "author")[None] == found.authors[rows, None]
        hidden |= of_gallery(gallery, "id")[None] == found.ids[rows, None]
        if found.source == other == "streetview":
            places = found.store.coordinates()[rows]
            hidden |= np.stack([haversine_km(place, gallery.coordinates) < 1 for place in places])
        order = np.argsort(np.where(hidden, np.inf, -scores), axis=1, kind="stable")[:, :32]
        np.testing.assert_array_equal(asked.found[other][channel], order)


def test_fewer_candidates_are_the_first_of_those_kept(found: Found) -> None:
    """So ablations with other quotas need no search of their own."""
    asked = found.asked("train")
    for other, gallery in found.galleries.items():
        queries = {"image": asked.image, "raw": asked.raw, "location": asked.image}
        for k in ({"image": 8, "raw": 2, "location": 2}, {"image": 10, "location": 1}):
            some = {channel: queries[channel] for channel in k}
            hits = search(gallery.searchable(CHANNELS), some, k, asked.hidden[other])
            for channel, count in k.items():
                np.testing.assert_array_equal(
                    hits[channel].rows.numpy(), asked.found[other][channel][:, :count]
                )


def test_gallery_photos_that_train_a_reranker_are_as_many_and_do_not_find_themselves(
    pinpoint_world: World,
) -> None:
    left_out = Found(pinpoint_world, "photos", reranker_queries="A")
    rows = left_out.rows("train")
    assert (left_out.labels[rows] == A).all()
    assert len(rows) == (left_out.labels == B).sum()
    ids = of_gallery(left_out.galleries["photos"], "id")
    assert np.isin(left_out.ids[rows], ids).all()
    for listed in left_out.asked("train").found["photos"].values():
        assert not (ids[listed] == left_out.ids[rows, None]).any()


# What support may hold.


FAR_KM = 3.0


class Supported:
    """The support of every query's candidates, of both galleries, beside what the mask took."""

    def __init__(self, world: World, found: Found, name: str) -> None:
        config = world.request(galleries="both").params
        support = world.train(stage="support")["support"].folder
        self.retriever = open_retriever(config, found.source, found.galleries, support)
        asked = found.asked(name)
        self.masked = label_candidates(self.retriever, asked).lists
        nothing = dict.fromkeys(SOURCES, Exclusion())
        self.open = label_candidates(self.retriever, replace(asked, hidden=nothing)).lists
        # Within a kilometre the splits leave nothing to be masked.
        far = {
            source: replace(hidden, radius_km=FAR_KM) if hidden.xyz is not None else hidden
            for source, hidden in asked.hidden.items()
        }
        self.far = label_candidates(self.retriever, replace(asked, hidden=far)).lists

    def of(self, lists: CandidateBatch, what: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A column of the support's gallery for every support row `(n, c, m)`, and which are there."""
        parts = torch.split(lists.support, self.retriever.slots.per_gallery, dim=1)
        columns = [
            of_gallery(gallery, what)[rows.numpy()]
            for gallery, rows in zip(self.retriever.support, parts, strict=True)
        ]
        return np.concatenate(columns, axis=1), lists.support.numpy() >= 0


@pytest.mark.parametrize("name", ["train", "held"])
def test_no_copy_no_photographer_and_no_kilometre_reaches_the_support(
    pinpoint_world: World, found: Found, name: str
) -> None:
    supported, rows = Supported(pinpoint_world, found, name), found.rows(name)

    def reaching(lists: CandidateBatch, what: str, own: NDArray[Any]) -> NDArray[np.int64]:
        """How often, by gallery of the candidate, a support row shares something with its query."""
        values, valid = supported.of(lists, what)
        hits = (valid & (values == own[:, None, None])).any(axis=2)
        return np.array([half.sum() for half in np.split(hits, 2, axis=1)])

    for what, own in (("id", found.ids[rows]), ("author", found.authors[rows])):
        assert reaching(supported.masked, what, own).tolist() == [0, 0]
        if what == "author":  # the creators of street view's C have no other there
            else_where = [True, found.source == "photos" or name == "train"]
            assert (reaching(supported.open, what, own) > 0).tolist() == else_where
    if found.source == "photos":  # whose copies are street view, near candidates that are photos
        assert reaching(supported.open, "id", found.ids[rows])[0] > 0
    else:
        truth = found.store.coordinates()[rows]
        within = []
        for lists, radius_km in (
            (supported.masked, 1.0),
            (supported.far, FAR_KM),
            (supported.open, FAR_KM),
        ):
            latitude, valid = supported.of(lists, "latitude")
            longitude, _ = supported.of(lists, "longitude")
            near = np.stack([latitude, longitude], axis=3).reshape(-1, 2)
            far = truth.repeat(valid[0].size, axis=0)
            km = haversine_km(far, near).reshape(valid.shape)
            # Candidates that are photos have street view for support: the second half of the list is theirs.
            near_km = valid & (km < 0.999 * radius_km)
            within.append(int(near_km[:, supported.retriever.slots.per_gallery :].sum()))
        assert within[:2] == [0, 0]
        assert within[2] > 0


# How they answer.


@pytest.fixture(scope="module")
def trained(pinpoint_world: World) -> World:
    for name in RUN:
        pinpoint_world.train(name)
    return pinpoint_world


def galleries_by(world: World, method: str) -> dict[str, pd.DataFrame]:
    folder = world.train(method)["raw"].folder
    tables = {path.name.split(".")[0]: pq.read_table(path).to_pandas() for path in folder.glob("*.parquet")}
    return {f"toy/{source}": table.set_index("id", drop=False) for source, table in tables.items()}


def listed(answers: pd.DataFrame) -> list[tuple[Any, Sequence[Mapping[str, Any]]]]:
    return list(zip(answers["id"], answers["candidates"], strict=True))


@pytest.mark.parametrize("method", RUN)
def test_answers_are_coordinates_of_the_galleries_a_method_may_use(trained: World, method: str) -> None:
    answers, galleries = trained.answers(method), galleries_by(trained, method)
    used: dict[str, set[str]] = {"qp": set(), "qs": set()}
    for name, candidates in listed(answers):
        assert 0 < len(candidates) <= 64
        for one in candidates:
            row = galleries[one["source"]].loc[one["photo_id"]]
            assert (one["latitude"], one["longitude"]) == (row["latitude"], row["longitude"])
            used[name[:2]].add(one["source"])
        places = [(one["latitude"], one["longitude"]) for one in candidates]
        assert len(set(places)) == len(places)
    own = {"qp": {"toy/photos"}, "qs": {"toy/streetview"}}
    both = {query: {f"toy/{source}" for source in SOURCES} for query in own}
    only = {query: {"toy/photos"} for query in own}
    assert used == (both if "plus" in method else only if "only" in method else own)
    first = pd.DataFrame([candidates[0] for candidates in answers["candidates"]])
    for name in ("latitude", "longitude"):
        assert answers[f"predicted_{name}"].tolist() == first[name].tolist()
    assert (answers["status"] == "ok").all()


@pytest.mark.parametrize("method", [*RUN, "pinpoint-expected"])
def test_the_confidence_is_the_share_of_the_radii_to_expect(trained: World, method: str) -> None:
    answers = trained.answers(method, candidates=100)
    within = np.stack(answers["within"])
    np.testing.assert_allclose(within.mean(axis=1), answers["confidence"], atol=1e-9)
    assert (np.diff(within, axis=1) >= 0).all()
    assert (within[:, 0] >= 0).all()
    assert (within[:, -1] <= 1).all()
    for candidates in answers["candidates"]:
        assert 0 < sum(one["probability"] for one in candidates) < 1


def test_decoding_changes_the_order_and_not_the_probabilities(trained: World) -> None:
    plain, expected = (trained.answers(name, candidates=100) for name in ("pinpoint", "pinpoint-expected"))
    for a, b in zip(plain["candidates"], expected["candidates"], strict=True):
        assert {(one["photo_id"], one["probability"]) for one in a} == {
            (one["photo_id"], one["probability"]) for one in b
        }
    assert (expected["confidence"] >= plain["confidence"]).all()


@pytest.mark.parametrize("method", RUN)
def test_a_photo_alone_has_the_answer_it_has_among_others(trained: World, method: str) -> None:
    single = trained.answers(method, "toy/single").iloc[0]
    among = trained.answers(method).set_index("id").loc[single["id"]]
    for name in ("predicted_latitude", "predicted_longitude", "confidence"):
        assert single[name] == among[name]
    assert list(single["candidates"]) == list(among["candidates"])


@pytest.mark.parametrize("method", RUN)
def test_the_author_filter_hides_the_photographer_s_rows(trained: World, method: str) -> None:
    galleries = galleries_by(trained, method)

    def by_their_own(filtered: bool) -> int:
        answers = trained.answers(method, author_filter=filtered, candidates=100)
        return sum(
            galleries[one["source"]]["author"].loc[one["photo_id"]] == author
            for candidates, author in zip(answers["candidates"], answers["author"], strict=True)
            for one in candidates
        )

    assert by_their_own(False) > 0
    assert by_their_own(True) == 0


@pytest.mark.parametrize("method", ["pinpoint", "pinpoint-plus"])
def test_a_photo_of_the_gallery_is_never_its_own_answer(trained: World, method: str) -> None:
    answers, galleries = (
        trained.answers(method, "toy/photos", limit=COPIES, candidates=100),
        galleries_by(trained, method),
    )
    found = [one["photo_id"] == name for name, candidates in listed(answers) for one in candidates]
    assert np.isin(answers["id"], galleries["toy/photos"]["id"]).any()
    assert np.isin(answers["id"], galleries["toy/streetview"]["id"]).any()
    assert not any(found)


def built(world: World, method: str, **changes: Any) -> Any:
    entry = world.registry.method(method)
    given = settings_for(entry, models=world.folder / "models", **changes)
    return entry.load()(build_params(entry, given), world.context())


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("method", ["pinpoint", "pinpoint-plus"])
@one_thread()
def test_a_copy_of_the_query_never_stands_among_its_support(
    trained: World, method: str, filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[SourceRetriever, CandidateBatch]] = []
    made = SourceRetriever.lists

    def watched(self: SourceRetriever, *given: Any) -> CandidateBatch:
        found = made(self, *given)
        seen.append((self, found))
        return found

    monkeypatch.setattr(SourceRetriever, "lists", watched)
    answering = built(trained, method, author_filter=filtered)
    store_lookup = trained.context().stores
    assert store_lookup is not None
    store = store_lookup.gallery("toy/photos", "colours")
    ids = store.table["id"].to_pylist()[:COPIES]
    authors = hash_ids(store.table["author"].to_pylist()[:COPIES])
    features = torch.from_numpy(np.array(store.matrix[:COPIES]))
    for names in (ids, [f"renamed-{name}" for name in ids]):
        answering.predict(Queries(hash_ids(names), authors, ["photos"] * COPIES, features))
    reached: list[int] = []
    people: list[int] = []
    for retriever, lists in seen:
        parts = torch.split(lists.support, retriever.slots.per_gallery, dim=1)
        valid = lists.support.numpy() >= 0
        for hits, column, own in ((reached, "id", hash_ids(ids)), (people, "author", authors)):
            near = zip(retriever.support, parts, strict=True)
            found = [hash_ids(gallery.table[column].to_pylist())[rows.numpy()] for gallery, rows in near]
            hits.append(int((valid & (np.concatenate(found, 1) == own[:, None, None])).sum()))
    assert reached[0] == 0
    assert (reached[1] > 0) != filtered  # the filter would hide it whatever its name
    assert (people[0] > 0) != filtered


def test_street_view_is_answered_from_photos_where_there_is_nothing_else(trained: World) -> None:
    answers = trained.answers("pinpoint-photos-only")
    streets = answers[answers["id"].str.startswith("qs")]
    assert len(streets) == 9
    assert {one["source"] for candidates in streets["candidates"] for one in candidates} == {"toy/photos"}
    with pytest.raises(UsageError, match="no instance 'streetview'"):
        trained.run("pinpoint-photos-only", instance="streetview")


@pytest.mark.parametrize("method", RUN)
def test_each_state_of_the_author_filter_has_its_own_calibration(trained: World, method: str) -> None:
    folder = trained.train(method)["calibration"].folder
    fitted = read_json(folder / "config.json")["fitted"]
    assert set(fitted) == ({"photos"} if "only" in method else set(SOURCES))
    for source, states in fitted.items():
        assert set(states) == {FILTERED, OPEN}
        if source == "photos":  # creators of street view's C have none of it in the gallery
            assert states[FILTERED] != states[OPEN]
        for filtered, state in ((True, FILTERED), (False, OPEN)):
            _, model, calibration = built(trained, method, author_filter=filtered)._opened(source)
            assert calibration == TemperatureScaling.of(states[state])
            assert (model is None) == ("no-reranker" in method)


def test_a_reranker_is_refused_until_it_is_trained_with_the_command(trained: World) -> None:
    with pytest.raises(ArtifactError) as refused:
        trained.run("pinpoint-union")
    assert "stage 'reranker'" in str(refused.value)
    assert 'train("pinpoint-union"' in str(refused.value)


def test_a_run_s_key_tells_the_decoding_and_the_weights_of_the_retrieval(trained: World) -> None:
    recipes = {
        name: read_json(trained.run(name).folder / "run.json")["recipe"]["parameters"]
        for name in ("pinpoint", "pinpoint-expected", "pinpoint-plus")
    }
    assert [recipes[name]["decoding"] for name in recipes] == ["argmax", "expected", "expected"]
    assert recipes["pinpoint"]["stages"] == recipes["pinpoint-expected"]["stages"]
    assert recipes["pinpoint"]["stages"]["reranker"] != recipes["pinpoint-plus"]["stages"]["reranker"]
    assert recipes["pinpoint"]["width"] is None


def test_a_curve_begins_with_the_retrieval_and_ends_with_the_last_pass(trained: World) -> None:
    reranker = trained.train("pinpoint")["reranker"].folder
    outcome = read_json(reranker / "config.json")["outcome"]
    for source in SOURCES:
        curve = pd.read_csv(reranker / f"{source}.curve.csv")
        assert curve["epoch"].tolist() == [0, 1, 2]
        assert curve["loss"].isna().tolist() == [True, False, False]
        best = outcome[source]["best"]
        assert best["mean"] == pytest.approx(curve["mean"].max())
        assert best["epoch"] == curve["mean"].idxmax()  # the earliest of equal ones


# What a kill leaves.


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in ("sessions.jsonl", "manifest.json")
    }


def test_a_reranker_killed_twice_has_the_bytes_of_one_that_was_not(trained: World, tmp_path: Path) -> None:
    whole = bytes_of(trained.train("pinpoint")["reranker"].folder)
    done = {"pinpoint-reranker", "pinpoint-calibration"}
    models = trained.folder / "models"
    shutil.copytree(models, tmp_path / "models", ignore=lambda folder, names: done & {*names})
    with killed_after(1) as photos:  # the first of two passes
        trained.train("pinpoint", root=tmp_path / "models")
    with killed_after(1) as both:  # the second, then the first for street view
        trained.train("pinpoint", root=tmp_path / "models")
    street = len(both) - len(photos)
    assert both == [*range(len(photos), 2 * len(photos)), *range(street)]
    with watched_steps() as steps:
        resumed = trained.train("pinpoint", root=tmp_path / "models")["reranker"]
    assert steps == list(range(street, 2 * street))
    assert resumed.made
    assert bytes_of(resumed.folder) == whole
    assert not (resumed.folder / "shards").exists()


def test_both_galleries_of_one_source_are_refused_before_anything_is_trained() -> None:
    with pytest.raises(UsageError, match="two sources"):
        config_for("pinpoint-photos-only", galleries="both")


def test_all_candidates_of_the_largest_list_are_reported_unless_fewer_are_asked_for() -> None:
    registry = load_registry([])
    for name in NAMES:
        params = build_params(registry.method(name), {})
        slots = sum(params.quota(channel) for channel in CHANNELS)
        assert params.candidates >= slots * (2 if params.galleries == "both" else 1)
