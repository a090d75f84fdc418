"""Reranking by hand-made features: against loops, and on a toy Earth where only the weather misleads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.stores import NamedStores, write_store
from tests.support.training import killed_after

from pinpoint_harness import params
from pinpoint_harness.artifacts import read_json
from pinpoint_harness.errors import ArtifactError, DataError, HarnessError, UsageError
from pinpoint_harness.features import FeatureStore, Neighbours
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_method, check_predictions
from pinpoint_harness.training import TrainRequest, train
from pinpoint_harness.training.stages import StageOutput
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.feature_reranker.candidates import SETS
from pinpoint_methods.feature_reranker.method import FeatureReranker
from pinpoint_methods.feature_reranker.training import Ranker, Shape, lists_of
from pinpoint_methods.retrieval.knn import NearestPhoto

# Features


def by_loop(found: Sequence[Neighbours], source: int, sources: int, query: int) -> list[list[float]]:
    """The features of one query's candidates, one number after the other."""

    def km(a: Any, b: Any) -> float:
        return float(haversine_km(a[None], b[None], radius_km=6371.0088)[0])

    everyone = [
        (number, rank, one.cosine[query, rank], one.coordinates[query, rank])
        for number, one in enumerate(found)
        for rank in range(one.row.shape[1])
        if one.row[query, rank] >= 0
    ]
    features = []
    for number, rank, _, place in everyone:
        mine: list[float] = []
        for gallery, one in enumerate(found):
            there = [other for other in everyone if other[0] == gallery]
            near = [cosine for _, _, cosine, other in there if km(place, other) < 1]
            best = max((cosine for _, _, cosine, _ in there), default=-1.0)
            first = np.log1p(km(place, one.coordinates[query, 0]) if there else np.pi * 6371.0088)
            inverse = 1 / (1 + rank) if number == gallery else 0.0
            # Of Pinpoint's three channels there is one; the others say nothing.
            mine += [max(near, default=-1.0) - best, inverse, float(first), 0, 0, 0, 0]
        mine += [np.log1p(sum(km(place, other[3]) < radius for other in everyone)) for radius in (1, 25)]
        mine += [float(source == number) for number in range(sources)]
        features.append(mine)
    return features


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 5), st.integers(1, 3))
def test_features_are_those_of_a_loop_over_candidates(
    seed: int, galleries: int, k: int, sources: int
) -> None:
    random, n = np.random.default_rng(seed), 4
    towns = random.uniform([-80, -180], [80, 180], (3, 2))
    found = []
    for _ in range(galleries):
        left = random.integers(0, k + 1, n)  # some queries find nothing
        row = np.where(np.arange(k) < left[:, None], random.integers(0, 99, (n, k)), -1)
        places = towns[random.integers(0, 3, (n, k))] + random.choice([0, 0.003, 0.1], (n, k, 1))
        valid = row >= 0
        cosine = -np.sort(-random.uniform(-1, 1, (n, k)).astype(np.float32), axis=1).astype(float)
        found.append(
            Neighbours(row, np.where(valid, cosine, np.nan), np.where(valid[..., None], places, np.nan))
        )
    source = random.integers(0, sources, n)
    shape = Shape.of([f"g{number}" for number in range(galleries)], k, [str(s) for s in range(sources)])
    lists = lists_of(found, source, shape, "cpu")
    assert lists.features.shape == (n, galleries * k, shape.features)
    for query in range(n):
        valid = lists.valid[query].numpy()
        assert valid.tolist() == np.concatenate([one.row[query] >= 0 for one in found]).tolist()
        expected = np.array(by_loop(found, source[query], sources, query)).reshape(-1, shape.features)
        assert lists.features[query][valid].numpy() == pytest.approx(expected, abs=2e-3)
    assert torch.isfinite(lists.features).all()  # of empty slots, too: gradients pass through them


def test_a_score_is_that_of_standardised_features_and_of_no_other_candidate() -> None:
    random = np.random.default_rng(0)
    found = [Neighbours(np.array([[3, 1, -1]]), np.array([[0.9, 0.8, np.nan]]), np.full((1, 3, 2), 5.0))]
    lists = lists_of(found, np.zeros(1, int), Shape.of(["g"], 3, ["photos"]), "cpu")
    ranker = Ranker(lists.features.shape[2], 1, 4)
    ranker.initialise(0)
    features = torch.from_numpy(random.normal(7, 3, (200, lists.features.shape[2]))).float()
    ranker.measure(features)
    scores = ranker.scores(lists)[0]
    assert scores[2] == -torch.inf
    x = (lists.features[0, 1] - features.mean(0)) / features.std(0)
    hidden = torch.nn.functional.gelu(ranker.hidden[0](x))
    assert scores[1].item() == pytest.approx(ranker.out(hidden).item(), abs=1e-5)


# A toy Earth

TOWNS, AUTHORS = 40, 60


class Toy:
    """Photos show their town and, more than that, the weather: the nearest photo has the same weather."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.random = folder, np.random.default_rng(0)
        self.towns = self.random.uniform([-60, -180], [60, 180], (TOWNS, 2))
        self.looks = self.random.normal(size=(TOWNS, 12))
        photos, street = self.taken("p", 700), self.taken("s", 700)
        self.train = {"photos": photos, "street": street}
        # Part of what could train stands in the galleries; one photo has no known author.
        photos[0].loc[650, "author"] = None
        parts = {
            "photos": photos,
            "street": street,
            "gallery-photos": (photos[0].iloc[:400], photos[1][:400]),
            "gallery-street": (street[0].iloc[:400], street[1][:400]),
        }
        self.stores = {
            name: write_store(folder / "stores", name, features, truth.assign(source=_source(name)))
            for name, (truth, features) in parts.items()
        }
        self.context = Context(stores=NamedStores(self.stores))

    def taken(self, letter: str, count: int) -> tuple[pd.DataFrame, Any]:
        """Rows sorted by id, and their features; an author stays in three towns."""
        author = self.random.integers(0, AUTHORS, count)
        town = (author * 3 + self.random.integers(0, 3, count)) % TOWNS
        places = self.towns[town] + self.random.normal(0, 0.01, (count, 2))
        weather = self.random.normal(0, 1.8, (count, 12))
        truth = pd.DataFrame(
            {
                "id": [f"{letter}{row:04}" for row in range(count)],
                "latitude": places[:, 0],
                "longitude": places[:, 1],
                "author": [f"{letter} author {number}" for number in author],
            }
        )
        return truth, np.concatenate([self.looks[town], weather], axis=1)

    def params(self, **changes: Any) -> Any:
        given = {
            "train": "photos,street", "gallery": "gallery-photos,gallery-street", "backbone": "toy",
            "k": 16, "epochs": 6, "batch": 32, "held_out_one_in": 4, "models": self.folder / "models",
        }  # fmt: skip
        return params.build(FeatureReranker.Params, given | changes, "feature-reranker")

    def make(self, context: Context | None = None, fresh: bool = False, **changes: Any) -> list[StageOutput]:
        chosen = self.params(**changes)
        entry = load_registry().method("feature-reranker")
        context = context or self.context
        return train(TrainRequest(entry, chosen, context, chosen.models, _no_truth, None, fresh))

    def with_store(self, name: str, store: FeatureStore) -> Context:
        return Context(stores=NamedStores({**self.stores, name: store}))

    def ask(self, truth: pd.DataFrame, features: Any, source: Any = "photos", **changes: Any) -> Any:
        return answer_of(FeatureReranker(self.params(**changes), self.context), truth, features, source)


def answer_of(method: Any, truth: pd.DataFrame, features: Any, source: Any = "photos") -> Any:
    half = torch.from_numpy(np.asarray(features, np.float16))
    sources = [source] * len(half) if isinstance(source, str) else source
    key, authors = hash_ids(truth["id"].tolist()), hash_ids(truth["author"].tolist())
    answer = method.predict(Queries(key, authors, sources, half))
    check_predictions(answer, len(half))
    return answer


def _source(name: str) -> str:
    return "streetview" if "street" in name else "photos"


def _no_truth(name: str) -> pd.DataFrame:
    raise AssertionError("the ranker learns from stores alone")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    toy = Toy(tmp_path_factory.mktemp("toy"))
    toy.make()
    yield toy
    torch.set_num_threads(threads)


def within(answer: Any, truth: pd.DataFrame) -> float:
    places = truth[["latitude", "longitude"]].to_numpy()
    return float((haversine_km(places, answer.coordinates) < 25).mean())


@pytest.mark.parametrize("loss", ["listwise", "margin"])
def test_where_candidates_agree_on_the_town_the_reranker_beats_the_nearest_photo(toy: Toy, loss: str) -> None:
    toy.make(loss=loss)
    truth, features = toy.taken("q", 300)
    galleries = {"gallery": "gallery-photos,gallery-street", "backbone": "toy"}
    nearest = NearestPhoto(params.build(NearestPhoto.Params, galleries, "test"), toy.context)
    plain = within(answer_of(nearest, truth, features), truth)
    reranked = within(toy.ask(truth, features, loss=loss), truth)
    assert plain < 0.6
    assert reranked > plain + 0.1


# Who may see what


@dataclass
class Searched:
    """The finished stage `candidates`, by set."""

    folder: Path

    def rows(self, name: str) -> Any:
        return np.load(self.folder / f"{name}.rows.npy")

    def found(self, name: str, gallery: int) -> Any:
        return np.load(self.folder / f"{name}.{gallery}.npy")["row"]


def seen(toy: Toy, searched: Searched, name: str, gallery: str) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """Every asking photo of a set, with the rows of a gallery that it found."""
    askers = pd.concat([toy.stores[one].table.to_pandas() for one in ("photos", "street")])
    rows = toy.stores[gallery].table.to_pandas()
    number = ["gallery-photos", "gallery-street"].index(gallery)
    for row, found in zip(searched.rows(name), searched.found(name, number), strict=True):
        yield askers.iloc[row], rows.iloc[found[found >= 0]]


@pytest.mark.parametrize("gallery", ["gallery-photos", "gallery-street"])
def test_nobody_who_trains_sees_photos_of_their_own_nor_street_view_any_nearby(
    toy: Toy, gallery: str
) -> None:
    searched = Searched(toy.make()[0].folder)
    closest = {}
    for name, by_others in SETS.items():
        same_author, nearest_km = 0, {"photos": np.inf, "streetview": np.inf}
        for asker, rows in seen(toy, searched, name, gallery):
            assert len(rows) == 16
            assert asker["id"] not in set(rows["id"])
            same_author += int((rows["author"] == asker["author"]).sum())
            there = rows[["latitude", "longitude"]].to_numpy()
            here = asker[["latitude", "longitude"]].to_numpy(float)
            nearest_km[asker["source"]] = min(nearest_km[asker["source"]], haversine_km(here, there).min())
        assert (same_author == 0) == by_others
        closest[name] = nearest_km
    assert all(some["photos"] < 1 for some in closest.values())  # photos may see whatever lies near
    apart = gallery == "gallery-street"
    assert all((some["streetview"] >= 1) == apart for some in closest.values())


def test_photos_of_the_galleries_and_of_nobody_known_do_not_ask_and_held_out_authors_do_not_train(
    toy: Toy,
) -> None:
    stage = toy.make()[0]
    searched = Searched(stage.folder)
    rows = {name: set(searched.rows(name).tolist()) for name in SETS}
    outside = {*range(400, 700), *range(1100, 1400)} - {650}
    assert rows["train"] | rows["held"] == outside
    assert rows["held"] == rows["held-open"]
    authors = pd.concat([toy.stores[one].table.to_pandas() for one in ("photos", "street")])["author"]
    assert not set(authors.iloc[sorted(rows["train"])]) & set(authors.iloc[sorted(rows["held"])])
    assert read_json(stage.folder / "config.json")["left_out"] == {
        "in the galleries": 800,
        "without a known author": 1,
    }


def test_a_copy_of_a_photo_in_its_authors_name_is_never_found(toy: Toy, tmp_path: Path) -> None:
    truth, features = toy.train["photos"]
    # The gallery gets the very photos that train, under other ids.
    copies = truth.iloc[400:].assign(id=[f"z{row:04}" for row in range(400, 700)])
    copies.loc[650, "author"] = "p author 1"
    store = write_store(
        tmp_path, "copied", np.concatenate([features[:400], features[400:]]), pd.concat([truth[:400], copies])
    )
    context = toy.with_store("copied", store)
    stage = toy.make(context, gallery="copied,gallery-street", train="photos", epochs=1)[0]
    searched = Searched(stage.folder)
    for name, hidden in SETS.items():
        own = searched.rows(name)[:, None] == searched.found(name, 0)
        assert own.any() != hidden


def test_at_test_the_own_photo_is_out_of_sight_and_with_the_filter_its_authors(toy: Toy) -> None:
    truth, features = toy.train["photos"]
    some = slice(0, 60)
    authors = toy.stores["gallery-photos"].table.to_pandas().set_index("id")["author"]

    def of_same_author(answer: Any) -> int:
        found = answer.candidates
        return sum(
            int((authors.loc[photo_id[source == "gallery-photos"]] == author).sum())
            for photo_id, source, author in zip(
                found.photo_id, found.source, truth["author"][some], strict=True
            )
        )

    plain = toy.ask(truth[some], features[some])
    assert authors.index[:60].tolist() == truth["id"][some].tolist()
    assert not (plain.candidates.photo_id == authors.index.to_numpy(str)[:60, None]).any()
    assert of_same_author(plain) > 0
    assert of_same_author(toy.ask(truth[some], features[some], author_filter=True)) == 0


# Answers


def test_an_answer_does_not_depend_on_its_neighbours(toy: Toy) -> None:
    truth, features = toy.taken("q", 32)
    source, order = np.array(["photos", "streetview"] * 16), np.random.default_rng(1).permutation(32)
    for decoding in ("argmax", "expected"):
        plain = toy.ask(truth, features, source.tolist(), decoding=decoding)
        moved = toy.ask(truth.iloc[order], features[order], source[order].tolist(), decoding=decoding)
        assert np.array_equal(plain.coordinates[order], moved.coordinates)
        assert np.array_equal(plain.confidence[order], moved.confidence)
        assert np.array_equal(plain.candidates.probability[order], moved.candidates.probability)


def test_candidates_are_rows_of_their_galleries_best_first_and_the_first_is_the_answer(toy: Toy) -> None:
    truth, features = toy.taken("q", 20)
    answer = toy.ask(truth, features, candidates=1000)
    found = answer.candidates
    assert found.photo_id.shape == (20, 32)  # no more than there are
    assert np.array_equal(answer.coordinates, found.coordinates[:, 0])
    for name in ("gallery-photos", "gallery-street"):
        mine = found.source == name
        assert mine.sum() == 20 * 16
        row = toy.stores[name].find(found.photo_id[mine].tolist())
        assert np.array_equal(found.coordinates[mine], toy.stores[name].coordinates()[row])
    assert (np.diff(found.probability, axis=1) <= 1e-12).all()
    assert ((answer.confidence > 0) & (answer.confidence <= 1)).all()
    few = toy.ask(truth, features, candidates=3)
    assert np.array_equal(few.candidates.photo_id, found.photo_id[:, :3])


def test_expected_decoding_answers_where_the_probabilities_of_several_candidates_lie(toy: Toy) -> None:
    truth, features = toy.taken("q", 200)
    by_score, expected = (toy.ask(truth, features, decoding=d) for d in ("argmax", "expected"))
    assert (expected.confidence >= by_score.confidence - 1e-12).all()
    assert (expected.confidence > by_score.confidence).any()


def test_a_query_whose_source_did_not_train_is_refused_and_one_trained_source_answers_for_all(
    toy: Toy,
) -> None:
    truth, features = toy.taken("q", 4)
    with pytest.raises(DataError, match=r"source 'webcam'[\s\S]*photos and streetview"):
        toy.ask(truth, features, ["photos", "webcam", "photos", "photos"])
    alone: dict[str, Any] = {"gallery": "gallery-photos", "train": "photos", "epochs": 1}
    toy.make(**alone)
    assert np.isfinite(toy.ask(truth, features, "webcam", **alone).coordinates).all()


def test_the_source_of_a_query_counts(toy: Toy) -> None:
    truth, features = toy.taken("q", 100)
    both = [toy.ask(truth, features, source) for source in ("photos", "streetview")]
    assert not np.array_equal(both[0].coordinates, both[1].coordinates)


# Stages

FILES = {"config.json", "model.safetensors", "curve.csv"}


def files_of(stage: StageOutput) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stage.folder.iterdir() if path.name in FILES}


def test_the_weights_kept_are_those_of_the_best_pass(toy: Toy) -> None:
    given: dict[str, Any] = {
        "learning_rate": 0.2,
        "seed": 5,
        "author_filter": True,
    }  # all but the last are bad
    searched, stage = toy.make(**given)
    curve = pd.read_csv(stage.folder / "curve.csv")
    shares = [name for name in curve.columns if name.endswith("km")]
    assert len(shares) == 10
    assert curve["mean"].to_numpy() == pytest.approx(curve[shares].mean(axis=1).to_numpy(), abs=1e-6)
    best = int(np.argmax(curve["mean"]))
    assert read_json(stage.folder / "config.json")["best"]["epoch"] == curve["epoch"][best]
    # The held-out photos as queries, with their authors out of sight.
    rows = Searched(searched.folder).rows("held")
    truth, features = toy.train["photos"]
    rows = rows[rows < len(truth)]
    held = truth.iloc[rows]
    assert within(toy.ask(held, features[rows], **given), held) == pytest.approx(curve["photos_25km"][best])
    assert curve["photos_25km"].nunique() > 1


def test_a_training_that_was_killed_ends_with_the_same_bytes(toy: Toy) -> None:
    given: dict[str, Any] = {"epochs": 4, "seed": 3, "learning_rate": 0.02}
    made = toy.make(**given)[1]
    expected = files_of(made)
    shutil.rmtree(made.folder)
    with killed_after(2):
        toy.make(**given)
    assert files_of(toy.make(**given)[1]) == expected
    assert set(expected) == FILES


def test_seeds_share_the_search_and_what_only_answers_shares_all(toy: Toy) -> None:
    first, again = toy.make(), toy.make(seed=1, epochs=1)
    assert first[0].key == again[0].key
    assert first[1].key != again[1].key
    for changes in ({"decoding": "expected"}, {"author_filter": True}, {"candidates": 2}):
        assert [stage.key for stage in toy.make(**changes)] == [stage.key for stage in first]
    content = FeatureReranker(toy.params(decoding="expected"), toy.context).content()
    assert content["stages"] == {"candidates": first[0].key, "reranker": first[1].key}
    assert all(content[name] is None for name in ("gallery", "train", "backbone", "models", "k"))


def test_a_gallery_other_than_the_one_of_the_training_is_refused_with_the_command(toy: Toy) -> None:
    params = toy.params(gallery="gallery-photos")
    with pytest.raises(ArtifactError, match=r"pinpoint train feature-reranker[\s\S]*gallery=gallery-photos"):
        build_method(load_registry().method("feature-reranker"), params, toy.context)


# Errors


def nameless(toy: Toy, name: str, folder: Path) -> Context:
    truth, features = toy.train["photos"]
    rows = slice(None, 400) if name.startswith("gallery") else slice(None)
    store = write_store(folder, name, features[rows], truth[rows].assign(author=None))
    return toy.with_store(name, store)


def test_without_photographers_nothing_is_trained(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photographers of the gallery 'gallery-photos'"):
        toy.make(nameless(toy, "gallery-photos", tmp_path))
    with pytest.raises(DataError, match="300 are without a known author"):
        toy.make(nameless(toy, "photos", tmp_path), train="photos")


def test_training_photos_that_all_stand_in_the_galleries_are_refused(toy: Toy) -> None:
    with pytest.raises(DataError, match="400 stand in the galleries"):
        toy.make(train="gallery-photos")


def test_features_of_another_width_are_refused(toy: Toy, tmp_path: Path) -> None:
    truth, features = toy.train["photos"]
    narrow = toy.with_store("narrow", write_store(tmp_path, "narrow", features[:400, :5], truth[:400]))
    with pytest.raises(DataError, match="narrow 5"):
        toy.make(narrow, gallery="narrow")


def test_the_filter_needs_the_author_of_every_query(toy: Toy) -> None:
    truth, features = toy.taken("q", 3)
    truth.loc[1, "author"] = None
    with pytest.raises(DataError, match="1 of 3 queries"):
        toy.ask(truth, features, author_filter=True)


@pytest.mark.parametrize("gallery", ["", "gallery-photos,gallery-photos"])
def test_galleries_are_named_each_once(toy: Toy, gallery: str) -> None:
    with pytest.raises(UsageError, match="each once"):
        toy.make(gallery=gallery)
    with pytest.raises(HarnessError, match="in a run only"):
        FeatureReranker(toy.params(), Context())
