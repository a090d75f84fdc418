"""Cells and prototypes: the tree by its invariants, labels by hand, and training on a toy Earth of towns."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from tests.support.stores import NamedStores, made_store
from tests.support.training import killed_after, watched_steps

from pinpoint_harness import params
from pinpoint_harness.api import evaluate
from pinpoint_harness.artifacts import read_json
from pinpoint_harness.errors import ArtifactError, DataError, HarnessError, UsageError
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_method, check_predictions
from pinpoint_harness.training import TrainRequest, train
from pinpoint_harness.training.stages import StageOutput
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.cells import prototypes as prototypes_module
from pinpoint_methods.cells.method import Cells
from pinpoint_methods.cells.prototypes import Near, Prototypes, choose_temperature
from pinpoint_methods.common.head import Photos
from pinpoint_methods.common.place_cells.labels import Hierarchy, hard_loss, smooth_labels, smooth_loss
from pinpoint_methods.common.place_cells.quadtree import DEPTH, codes_of, mean_places, members, quadtree
from pinpoint_methods.common.place_cells.table import CellTable
from pinpoint_methods.common.sphere import degrees_of

Places = np.ndarray[Any, np.dtype[np.float64]]

# The quadtree


def codes_at(depth: int, places: Any) -> list[int]:
    codes: list[int] = (codes_of(np.array(places, float)) >> 2 * (DEPTH - depth)).tolist()
    return codes


def test_a_code_begins_with_the_face_and_goes_on_with_quarters() -> None:
    faces = [(0, 0), (0, 180), (0, 90), (0, -90), (90, 0), (-90, 0)]
    assert codes_at(0, faces) == [0, 1, 2, 3, 4, 5]
    # On the face around (0, 0): east of the middle or not, then north of it or not.
    assert codes_at(1, [(-1, -1), (1, -1), (-1, 1), (1, 1)]) == [0, 1, 2, 3]
    # A quarter of 45 degrees is halved at 22.5.
    assert codes_at(2, [(1, 22), (1, 23)]) == [0b1100, 0b1110]


def test_one_place_spelled_in_two_ways_has_one_code() -> None:
    assert len(set(codes_of(np.array([(12.5, 180.0), (12.5, -180.0)])))) == 1
    assert len(set(codes_of(np.array([(90.0, east) for east in (-180.0, -77.0, 0.0, 33.3, 179.0)])))) == 1
    assert len(set(codes_of(np.array([(-90.0, east) for east in (-90.0, 1.0, 45.0)])))) == 1


def test_cells_of_one_depth_are_about_equally_large() -> None:
    # Equal chances on the sphere; with plain tangents the largest would be five times the smallest.
    xyz = np.random.default_rng(0).normal(size=(400_000, 3))
    counts = np.bincount(codes_at(3, degrees_of(xyz)))
    assert len(counts) == 6 * 4**3
    assert int(counts.max()) < 2 * int(counts.min())


ON_EARTH = hn.arrays(
    np.float64,
    st.tuples(st.integers(1, 60), st.just(2)),
    # Coarse numbers, so that spots are shared, edges are hit, and poles and the antimeridian occur.
    elements=st.sampled_from([-180.0, -90.0, -45.0, -7.5, 0.0, 1e-9, 7.5, 7.6, 33.0, 45.0, 90.0, 180.0]),
).map(lambda some: np.stack([np.clip(some[:, 0], -90, 90), some[:, 1]], axis=1))


@settings(max_examples=60, deadline=None)
@given(ON_EARTH, st.integers(1, 9))
def test_every_place_lies_in_exactly_one_cell_and_cells_are_not_too_full(
    places: Places, largest: int
) -> None:
    codes = codes_of(places)
    cells = quadtree(codes, largest)
    inside = (codes[:, None] >= cells.first) & (codes[:, None] < cells.end)
    assert (inside.sum(axis=1) == 1).all()
    assert (inside.sum(axis=0) == cells.count).all()
    assert (inside.argmax(axis=1) == cells.find(codes)).all()
    assert (cells.count >= 1).all()
    assert (cells.first[1:] >= cells.end[:-1]).all()
    # A cell too full is one that cannot be cut: all its photos are of one spot.
    for cell in np.flatnonzero(cells.count > largest).tolist():
        assert len(set(codes[inside[:, cell]])) == 1
    rows, start = members(cells, codes)
    assert sorted(rows) == list(range(len(codes)))
    for cell in range(len(cells)):
        assert (inside[rows[start[cell] : start[cell + 1]], cell]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 30), st.integers(1, 10), st.integers(1, 4))
def test_finer_cells_lie_in_coarser_ones_even_where_small_ones_are_dropped(
    seed: int, coarse: int, fine: int, smallest: int
) -> None:
    random = np.random.default_rng(seed)
    codes = codes_of(random.normal([40, 175], [20, 9], (200, 2)).clip(-90, 180))
    outer, inner = quadtree(codes, coarse + fine, smallest), quadtree(codes, fine, smallest)
    parent = outer.find(inner.first)
    assert (parent >= 0).all()
    assert (outer.end[parent] >= inner.end).all()
    assert (inner.count >= smallest).all()
    known = inner.find(codes) >= 0
    assert (outer.find(codes)[known] == parent[inner.find(codes)[known]]).all()


def test_small_cells_are_dropped_and_their_photos_are_in_none() -> None:
    places = np.array([(10.0, 10.0)] * 5 + [(-40.0, 100.0)])
    cells = quadtree(codes_of(places), largest=5, smallest=2)
    assert cells.count.tolist() == [5]
    assert cells.find(codes_of(places)).tolist() == [0] * 5 + [-1]
    assert len(quadtree(codes_of(places), 5, smallest=6)) == 0
    assert quadtree(codes_of(places), 5, smallest=6).find(codes_of(places)).tolist() == [-1] * 6


def test_the_place_of_a_cell_across_the_antimeridian_is_there_and_not_in_greenwich() -> None:
    places = np.array([(10.0, 178.0), (10.0, -178.0), (88.0, 0.0), (88.0, 180.0)])
    codes = codes_of(places)
    cells = quadtree(codes, largest=2)
    found = mean_places(places, *members(cells, codes))
    assert len(found) == 2
    assert (
        haversine_km(found[0], np.array([10.0, 180.0])) < 5
    )  # the parallel bends away from the great circle
    assert found[1, 0] == pytest.approx(90)


def test_a_table_of_cells_is_read_as_it_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    places = random.uniform([-60, -180], [60, 180], (300, 2))
    table = CellTable.of(places, codes_of(places), [60, 20, 5], 2)
    for name, write in table.file().items():
        with (tmp_path / name).open("wb") as stream:
            write(stream)  # type: ignore[operator] # a writer, not bytes
    again = CellTable.read(tmp_path)
    assert again.sizes == table.sizes
    for mine, other in zip(table.partitions, again.partitions, strict=True):
        assert np.array_equal(mine.first, other.first)
        assert np.array_equal(mine.count, other.count)
    for mine_at, other_at in zip(table.places, again.places, strict=True):
        assert np.array_equal(mine_at, other_at)
    labels = again.labels(codes_of(places))
    assert labels.shape == (300, 3)
    for level in range(3):
        assert (
            np.bincount(labels[labels[:, level] >= 0, level]).tolist()
            == again.partitions[level].count.tolist()
        )


# Labels and the hierarchy


def on_sphere(places: Any) -> torch.Tensor:
    return torch.from_numpy(unit_xyz(np.array(places, float)).astype(np.float32))


def test_smoothed_labels_fall_by_e_with_every_tau_farther_than_one_s_own_cell() -> None:
    degree_km = 6371 * np.pi / 180
    labels = smooth_labels(on_sphere([(0, 0.2)]), on_sphere([(0, 0), (0, 1), (0, 2), (0, 180)]), degree_km)
    # PIGEON's values: distances are 0.2, 0.8, 1.8 and 179.8 degrees, one's own cell the first.
    expected = np.exp(-(np.array([0.2, 0.8, 1.8, 179.8]) - 0.2))
    assert labels[0].numpy() == pytest.approx(expected / expected.sum(), abs=1e-5)
    assert labels[0, 3] == 0


def test_smoothed_labels_tell_one_kilometre_from_two() -> None:
    north = 1 / 111.195
    labels = smooth_labels(on_sphere([(60, 30)]), on_sphere([(60 + north, 30), (60 + 2 * north, 30)]), 1.0)
    assert labels[0, 0] / labels[0, 1] == pytest.approx(np.e, rel=0.01)


def test_the_loss_of_smoothed_labels_is_their_cross_entropy_over_all_partitions() -> None:
    xyz, places = on_sphere([(0, 0), (0, 1)]), [on_sphere([(0, 0)]), on_sphere([(0, 0), (0, 3)])]
    outputs = torch.tensor([[5.0, 1.0, 0.0], [2.0, -1.0, 0.5]])
    q = np.stack([smooth_labels(xyz, places[1], 100.0).numpy()])[0]
    p = np.exp(outputs[:, 1:].numpy()) / np.exp(outputs[:, 1:].numpy()).sum(axis=1, keepdims=True)
    # The only cell of the first partition is always right.
    assert smooth_loss(outputs, xyz, places, [1, 2], 100.0).item() == pytest.approx(
        -(q * np.log(p)).sum() / 2
    )


def test_a_photo_in_no_cell_says_nothing_about_that_partition() -> None:
    outputs = torch.log(torch.tensor([[0.5, 0.5, 0.2, 0.8], [0.9, 0.1, 0.6, 0.4]]))
    loss = hard_loss(outputs, torch.tensor([[0, 1], [0, -1]]), [2, 2])
    assert loss.item() == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2 - np.log(0.8))
    nowhere = hard_loss(outputs, torch.tensor([[0, -1], [0, -1]]), [2, 2])
    assert nowhere.item() == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)


def test_a_cell_s_probability_is_the_product_of_its_own_and_its_parents_and_sums_to_one() -> None:
    hierarchy = Hierarchy([2, 3], [torch.tensor([0, 0, 1])])
    outputs = torch.log(torch.tensor([[0.9, 0.1, 0.25, 0.3, 0.45]]))
    product = np.array([0.9 * 0.25, 0.9 * 0.3, 0.1 * 0.45])
    found = hierarchy.log_probabilities(outputs)[0].exp().numpy()
    assert found == pytest.approx(product / product.sum(), abs=1e-6)
    assert found.argmax() == 1  # the flat choice would be the third


# Prototypes


def test_the_nearest_prototype_of_the_likely_cells_wins_by_temperature() -> None:
    vectors = torch.eye(4)[:, :3].half()  # the fourth resembles nothing
    prototypes = Prototypes(
        vectors, np.array([(0, 0), (0, 1), (50, 50), (9, 9)], float), np.array([0, 2, 3, 4])
    )
    query = torch.tensor([0.0, 0.6, 0.8])
    (near,) = prototypes.near(query[None], torch.tensor([[0, 1]]), torch.log(torch.tensor([[0.6, 0.3]])))
    assert near.rows.tolist() == [0, 1, 2]
    assert near.cosine.tolist() == pytest.approx([0, 0.6, 0.8], abs=1e-6)
    # Cold, the features decide, even over a cell of half the probability; warm, the cell does.
    assert near.rows[near.probability(0.05).argmax()] == 2
    assert near.rows[near.probability(1.0).argmax()] == 1
    assert near.probability(0.3).sum().item() == pytest.approx(0.9)
    expected = 0.6 * np.exp(0.6 / 0.3) / (0.6 + 0.6 * np.exp(0.6 / 0.3) + 0.3 * np.exp(0.8 / 0.3))
    assert near.probability(0.3)[1].item() == pytest.approx(0.9 * expected, rel=1e-5)


def test_prototypes_of_many_queries_have_the_bits_of_each_alone() -> None:
    generator, random = torch.Generator().manual_seed(1), np.random.default_rng(1)
    start = np.concatenate([[0], np.cumsum(random.integers(0, 9, 40))])  # some cells have none
    vectors = torch.randn(int(start[-1]), 24, generator=generator).half()
    prototypes = Prototypes(vectors, np.zeros((len(vectors), 2)), start)
    unit = torch.randn(30, 24, generator=generator).half()
    log_p = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    cells = torch.from_numpy(np.array([random.permutation(40)[:5] for _ in range(30)]))
    for query, near in enumerate(prototypes.near(unit, cells, log_p)):
        rows = [row for cell in cells[query].tolist() for row in range(start[cell], start[cell + 1])]
        prior = [
            log_p[query, at]
            for at, cell in enumerate(cells[query].tolist())
            for _ in range(start[cell + 1] - start[cell])
        ]
        assert near.rows.tolist() == rows
        assert torch.equal(near.cosine, (vectors[rows].float() @ unit[query].float()).double())
        assert torch.equal(near.prior, torch.stack(prior))
        assert near.share == log_p[query].exp().sum()


def test_the_temperature_is_the_one_that_places_most_photos() -> None:
    places, truth = np.array([(0.0, 0.0), (40.0, 40.0)]), np.array([(0.0, 0.0)] * 3)
    rows, share = np.array([0, 1]), torch.tensor(1.0)
    trusting = Near(rows, torch.tensor([0.0, 0.1]), torch.log(torch.tensor([0.8, 0.2])), share)
    best, shares = choose_temperature([trusting] * 3, places, truth)
    # Below 0.1 / ln 4 the cosine would win, and be wrong.
    assert best == 0.1
    assert shares["0.05"] == 0.0
    assert shares["0.1"] == 1.0


# A toy Earth


TOWNS, STREETS = 12, 2


class Toy:
    """Towns far apart, each of two streets 22 km apart; features show the town, and faintly the street."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(0)
        self.folder = folder
        self.towns = random.uniform([-55, -170], [55, 170], (TOWNS, 2))
        self._looks = random.normal(size=(TOWNS, 16)), random.normal(size=(TOWNS, STREETS, 16))
        self.stores: dict[str, FeatureStore] = {}
        for name, count in (("mp16", 480), ("osv5m-train", 480), ("table", 60)):
            features, places = self.photos(count, random)
            ids = [f"{name[0]}{row:04}" for row in range(count)]
            authors = [f"{name}-{row % 40}" for row in range(count)]
            self.stores[name] = made_store(
                folder / "stores", features, places, dataset=name, ids=ids, authors=authors
            )
        self.context = Context(stores=NamedStores(self.stores))

    def photos(self, count: int, random: np.random.Generator) -> tuple[Any, Places]:
        town, street = random.integers(TOWNS, size=count), random.integers(STREETS, size=count)
        offsets = np.stack([np.where(street, 0.1, -0.1), np.zeros(count)], axis=1)
        places = self.towns[town] + offsets + random.normal(0, 0.003, (count, 2))
        looks = self._looks[0][town] + 0.5 * self._looks[1][town, street]
        return looks + random.normal(0, 0.05, (count, 16)), places

    def settings(self, **changes: Any) -> dict[str, Any]:
        given = {
            "train": "mp16,osv5m-train", "backbone": "owner/none", "levels": "200,100", "smallest_cell": 20,
            "prototype_photos": 30, "depth": 1, "hidden": 32, "batch": 64, "epochs": 12,
            "learning_rate": 1e-2, "models": self.folder / "models",
        }  # fmt: skip
        return given | changes

    def params(self, **changes: Any) -> Any:
        return params.build(Cells.Params, self.settings(**changes), "cells")

    def train(self, stage: str | None = None, fresh: bool = False, **changes: Any) -> dict[str, StageOutput]:
        chosen = self.params(**changes)
        entry = load_registry().method("cells")
        request = TrainRequest(entry, chosen, self.context, chosen.models, _no_truth, stage, fresh)
        return {done.stage: done for done in train(request)}

    def method(self, **changes: Any) -> Cells:
        return Cells(self.params(**changes), self.context)


def _no_truth(name: str) -> pd.DataFrame:
    raise AssertionError("cells learn from stores alone")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = Toy(tmp_path_factory.mktemp("toy"))
    made.train()
    yield made
    torch.set_num_threads(threads)


def ask(method: Any, features: Any) -> Any:
    half = torch.from_numpy(np.asarray(features, np.float16))
    nobody = np.zeros(len(half), np.uint64)
    answer = method.predict(
        Queries(np.arange(len(half), dtype=np.uint64), nobody, ["photos"] * len(half), half)
    )
    check_predictions(answer, len(half))
    return answer


def test_cells_find_the_town_and_prototypes_the_street(toy: Toy) -> None:
    features, places = toy.photos(200, np.random.default_rng(1))
    by_cell, by_prototype = (ask(toy.method(refine=how), features) for how in ("none", "prototypes"))
    error_km = {name: haversine_km(places, answer.coordinates) for name, answer in
                (("cell", by_cell), ("prototype", by_prototype))}  # fmt: skip
    assert (error_km["cell"] < 25).mean() > 0.95
    assert 5 < np.median(error_km["cell"]) < 15  # midway between the streets
    assert (error_km["prototype"] < 2).mean() > 0.9
    for answer in (by_cell, by_prototype):
        assert np.array_equal(answer.candidates.coordinates[:, 0], answer.coordinates)
        assert np.array_equal(answer.candidates.probability[:, 0], answer.confidence)
        assert (np.nan_to_num(np.diff(answer.candidates.probability, axis=1)) <= 0).all()


def test_smoothed_labels_lead_to_the_town_as_well(toy: Toy) -> None:
    toy.train("head", smoothing_km=75.0)
    features, places = toy.photos(100, np.random.default_rng(2))
    answer = ask(toy.method(smoothing_km=75.0), features)
    assert (haversine_km(places, answer.coordinates) < 25).mean() > 0.95


def test_the_curve_shows_what_is_learned_on_authors_held_out(toy: Toy) -> None:
    curve = pd.read_csv(toy.train("head")["head"].folder / "curve.csv")
    assert len(curve) == 12
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0] / 2
    for name in ("mp16", "osv5m-train"):
        assert curve[f"{name}_25km"].iloc[-1] > 0.9
        assert curve[f"{name}_1km"].iloc[-1] < 0.1


def test_an_answer_does_not_depend_on_its_neighbours(toy: Toy) -> None:
    features, _ = toy.photos(32, np.random.default_rng(3))
    order = np.random.default_rng(4).permutation(32)
    for refine in ("none", "prototypes"):
        method = toy.method(refine=refine)
        plain, moved = ask(method, features), ask(method, features[order])
        alone = ask(method, np.repeat(features[5:6], 32, axis=0))
        for name in ("coordinates", "confidence"):
            assert np.array_equal(getattr(plain, name)[order], getattr(moved, name))
            assert np.array_equal(getattr(plain, name)[5], getattr(alone, name)[0])


def test_a_training_that_was_killed_ends_with_the_same_bytes(toy: Toy) -> None:
    given: dict[str, Any] = {"dropout": 0.2, "epochs": 4, "seed": 3, "smoothing_km": 500.0}
    whole = toy.train("head", **given)["head"].folder
    names = ("config.json", "model.safetensors", "curve.csv")
    expected = {name: (whole / name).read_bytes() for name in names}
    shutil.rmtree(whole)
    with killed_after(2) as before:
        toy.train("head", **given)
    assert [path.name for path in (whole / "shards").glob("0*")] == [f"{len(before):06d}.safetensors"]
    with watched_steps() as after:
        toy.train("head", **given)
    assert [*before, *after] == list(range(2 * len(before)))
    assert {name: (whole / name).read_bytes() for name in names} == expected


def test_stages_are_shared_by_all_that_would_make_the_same(toy: Toy) -> None:
    made = {name: done.made for name, done in toy.train(seed=1).items()}
    assert made == {"partition": False, "head": True, "prototypes": False, "temperature": True}
    made = {name: done.made for name, done in toy.train(prototype_photos=5).items()}
    assert made == {"partition": False, "head": False, "prototypes": True, "temperature": True}
    assert not any(done.made for done in toy.train(refine="prototypes", candidates=3).values())


def test_prototypes_are_mean_unit_features_whatever_is_read_at_once(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy.train("prototypes")["prototypes"].folder
    table, matrix = pq.read_table(folder / "prototypes.parquet"), np.load(folder / "features.npy")
    photos = Photos(list(toy.stores.values())[:2], 10)
    coordinates = photos.coordinates[photos.training]
    tree = quadtree(codes_of(coordinates), 30)
    cell = CellTable.read(toy.train("partition")["partition"].folder).finest.find(codes_of(coordinates))
    rows, start = members(tree, codes_of(coordinates))
    features = photos.features(photos.training).double().numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    kept = [which for which in range(len(tree)) if cell[rows[start[which]]] >= 0]
    assert len(kept) == len(table) == len(matrix)
    for mine, which in zip(matrix.astype(float), kept, strict=True):
        mean = unit[rows[start[which] : start[which + 1]]].mean(axis=0)
        assert mine == pytest.approx(mean / np.linalg.norm(mean), abs=2e-3)
    assert table["photos"].to_pylist() == [int(tree.count[which]) for which in kept]
    assert (np.diff(table["cell"].to_numpy()) >= 0).all()
    assert sum(table["photos"].to_pylist()) == (cell >= 0).sum()
    before = (folder / "features.npy").read_bytes()
    monkeypatch.setattr(prototypes_module, "_CHUNK_ROWS", 7)
    toy.train("prototypes", fresh=True)
    assert (folder / "features.npy").read_bytes() == before


# Who is held out


def test_whole_authors_are_held_out_and_who_is_unknown_trains(tmp_path: Path) -> None:
    ids = [f"p{row:04}" for row in range(1000)]
    authors = [None if row % 10 == 0 else f"author {row % 97}" for row in range(1000)]
    store = made_store(
        tmp_path, np.ones((1000, 2)), np.zeros((1000, 2)), dataset="mp16", ids=ids, authors=authors
    )
    photos = Photos([store], 5)
    held = {authors[row] for row in photos.watching}
    assert held
    assert None not in held
    assert held.isdisjoint({authors[row] for row in photos.training})
    assert sorted([*photos.training, *photos.watching]) == list(range(1000))


def test_where_no_author_is_known_photos_are_held_out(tmp_path: Path) -> None:
    ids = [f"p{row:04}" for row in range(1000)]
    store = made_store(
        tmp_path, np.ones((1000, 2)), np.zeros((1000, 2)), dataset="mp16", ids=ids, authors=[None] * 1000
    )
    assert 60 < len(Photos([store], 10).watching) < 140


def test_a_dataset_without_anybody_to_hold_out_is_refused(tmp_path: Path) -> None:
    store = made_store(
        tmp_path, np.ones((4, 2)), np.zeros((4, 2)), dataset="mp16", ids=list("abcd"), authors=["ann"] * 4
    )
    with pytest.raises(DataError, match="some held out"):
        Photos([store], 10)


# What goes wrong


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": "100,100"}, "falling whole numbers"),
        ({"levels": "50,x"}, "falling whole numbers"),
        ({"levels": "50", "smallest_cell": 51}, "hold at most 50 photos"),
        ({"levels": "50", "prototype_photos": 51}, "hold at most 50 photos"),
        ({"train": "mp16,mp16"}, "each once"),
        ({"batch": 5000}, "--set batch="),
        ({"levels": "1", "smallest_cell": 1, "prototype_photos": 1, "epochs": 1, "learning_rate": 1e30,
          "weight_decay": 1e30}, "--set learning_rate=1e.29"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_does(toy: Toy, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        toy.train("head", **changes)


def test_a_run_before_the_training_names_the_command(toy: Toy) -> None:
    params = toy.params(seed=77, refine="prototypes")
    with pytest.raises(ArtifactError) as refused:
        build_method(load_registry().method("cells"), params, toy.context)
    text = str(refused.value)
    assert "stage 'head'" in text
    assert "instead of 77" in text
    assert "pinpoint train cells --set train=mp16,osv5m-train" in text
    assert "--set seed=77" in text
    with pytest.raises(UsageError, match="in a run only"):
        Cells(toy.params(), Context())


def test_a_run_is_keyed_by_the_stages_it_needs(toy: Toy, tmp_path: Path) -> None:
    truth = toy.stores["table"].table.to_pandas()
    truth.rename(columns={"id": "img_id"}).drop(columns="source").to_csv(tmp_path / "truth.csv", index=False)

    def run(**changes: Any) -> Any:
        where: dict[str, Any] = {"out": tmp_path / "runs", "stores": toy.folder / "stores"}
        return evaluate(
            "cells", "table", data=tmp_path / "truth.csv", parameters=toy.settings(**changes), **where
        )

    plain, refined = run(), run(refine="prototypes")
    parameters = read_json(plain.folder / "run.json")["recipe"]["parameters"]
    keys = {name: done.key for name, done in toy.train().items()}
    assert parameters["stages"] == {name: keys[name] for name in ("partition", "head")}
    assert parameters["levels"] is None
    assert refined.record["recipe"]["parameters"]["stages"] == keys
    assert (plain.predictions()["error_km"] < 25).mean() > 0.9
    assert refined.predictions()["error_km"].median() < 2
