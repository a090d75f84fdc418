"""Regression to the sphere: its losses by hand, and a toy Earth whose features are places."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stores import NamedStores, write_store
from tests.support.training import killed_after

from pinpoint_harness import params
from pinpoint_harness.errors import ArtifactError, UsageError
from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_method, check_predictions
from pinpoint_harness.training import TrainRequest, train
from pinpoint_harness.training.stages import StageOutput
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.common.sphere import degrees_of
from pinpoint_methods.regression import LOSSES, Regression

# Losses


def loss(name: str, outputs: Any, xyz: Any) -> float:
    return LOSSES[name](torch.tensor(outputs), torch.tensor(xyz)).item()


def test_losses_are_what_they_say_by_hand() -> None:
    outputs, xyz = [[2.0, 0.0, 0.0], [0.0, 0.5, 0.0]], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    # The first points there and is too long; the second is a quarter of the Earth away.
    assert loss("square", outputs, xyz) == pytest.approx((1 + 1.25) / 2)
    assert loss("chord", outputs, xyz) == pytest.approx((0 + 2**0.5) / 2, abs=1e-5)
    assert loss("cosine", outputs, xyz) == pytest.approx((0 + 1) / 2)
    assert loss("haversine", outputs, xyz) == pytest.approx((0 + np.pi / 2) / 2, abs=1e-5)


@given(st.integers(0, 2**31))
def test_the_haversine_loss_is_the_great_circle_in_radii(seed: int) -> None:
    random = np.random.default_rng(seed)
    outputs, xyz = random.normal(size=(2, 5, 3))
    xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    expected = haversine_km(degrees_of(outputs), degrees_of(xyz)).mean() / 6371
    found = loss("haversine", outputs.astype(np.float32), xyz.astype(np.float32))
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_where_the_answer_is_right_and_at_the_antipode(name: str) -> None:
    outputs = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], requires_grad=True)
    LOSSES[name](outputs, torch.tensor([[1.0, 0.0, 0.0]] * 2)).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


def test_degrees_are_those_that_xyz_was_made_from_whatever_the_length() -> None:
    places = np.array([(0.0, 0.0), (51.5, -0.12), (-33.9, 151.2), (10.0, 179.99), (90.0, 0.0)])
    assert degrees_of(3.7 * unit_xyz(places)) == pytest.approx(places, abs=1e-9)


# A toy Earth


def views(places: Any, unclear: Any, random: np.random.Generator) -> Any:
    """Features that show where they are, or only that they are unclear."""
    xyz = unit_xyz(places)
    waves = random.normal(0, 0.02, (len(places), 16))
    waves[:, :9] += np.concatenate([xyz, xyz[:, [1, 2, 0]] * xyz, xyz**2], axis=1)
    waves[unclear] = random.normal(0, 0.02, (int(unclear.sum()), 16))
    waves[unclear, 9] += 1
    return waves


class Toy:
    """Photos all over the Earth; a fifth of them show nothing but that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        places = degrees_of(random.normal(size=(900, 3)))
        half = views(places, random.random(900) < 0.2, random).astype(np.float16)
        truth = pd.DataFrame({"id": [f"p{row:04}" for row in range(900)], "source": "photos"}).assign(
            latitude=places[:, 0],
            longitude=places[:, 1],
            author=[f"author {row % 90}" for row in range(900)],
        )
        store = write_store(folder / "stores", "toy", half, truth)
        self.context = Context(stores=NamedStores({"toy": store}))

    def params(self, **changes: Any) -> Any:
        given = {
            "train": "toy", "backbone": "toy", "hidden": 64, "depth": 1, "epochs": 15, "batch": 50,
            "learning_rate": 1e-2, "models": self.folder / "models",
        }  # fmt: skip
        return params.build(Regression.Params, given | changes, "regression")

    def train(self, fresh: bool = False, **changes: Any) -> StageOutput:
        chosen = self.params(**changes)
        entry = load_registry().method("regression")
        request = TrainRequest(entry, chosen, self.context, chosen.models, _no_truth, None, fresh)
        (head,) = train(request)
        return head

    def ask(self, features: Any, **changes: Any) -> Any:
        half = torch.from_numpy(np.asarray(features, np.float16))
        nobody = np.zeros(len(half), np.uint64)
        queries = Queries(np.arange(len(half), dtype=np.uint64), nobody, ["photos"] * len(half), half)
        answer = Regression(self.params(**changes), self.context).predict(queries)
        check_predictions(answer, len(half))
        return answer


def _no_truth(name: str) -> pd.DataFrame:
    raise AssertionError("regression learns from stores alone")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Toy(tmp_path_factory.mktemp("toy"))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", LOSSES)
def test_photos_that_show_their_place_are_put_there_by_every_loss(toy: Toy, name: str) -> None:
    toy.train(loss=name)
    random = np.random.default_rng(1)
    places = degrees_of(random.normal(size=(300, 3)))
    answer = toy.ask(views(places, np.zeros(300, bool), random), loss=name)
    assert np.median(haversine_km(places, answer.coordinates)) < 500
    assert answer.candidates is None
    assert (answer.confidence is None) == (name != "square")


def test_the_length_of_the_vector_tells_what_is_unclear(toy: Toy) -> None:
    toy.train(loss="square")
    random = np.random.default_rng(2)
    places, unclear = degrees_of(random.normal(size=(300, 3))), np.arange(300) < 100
    answer = toy.ask(views(places, unclear, random), loss="square")
    assert np.median(answer.confidence[unclear]) < 0.4
    assert np.median(answer.confidence[~unclear]) > 0.8


def test_an_answer_does_not_depend_on_its_neighbours(toy: Toy) -> None:
    toy.train(loss="square")
    random = np.random.default_rng(3)
    features = views(degrees_of(random.normal(size=(32, 3))), np.zeros(32, bool), random)
    order = random.permutation(32)
    plain, moved = (toy.ask(some, loss="square") for some in (features, features[order]))
    assert np.array_equal(plain.coordinates[order], moved.coordinates)
    assert np.array_equal(plain.confidence[order], moved.confidence)


def test_a_training_that_was_killed_ends_with_the_same_bytes(toy: Toy) -> None:
    given: dict[str, Any] = {"epochs": 4, "dropout": 0.3, "depth": 2}
    folder = toy.train(**given).folder
    expected = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in _FILES}
    shutil.rmtree(folder)
    with killed_after(3):
        toy.train(**given)
    toy.train(**given)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in _FILES} == expected
    assert set(expected) == _FILES


_FILES = {"config.json", "model.safetensors", "curve.csv"}


def test_another_seed_or_loss_is_another_head_and_the_folder_of_models_is_not(
    toy: Toy, tmp_path: Path
) -> None:
    keys = {toy.train(epochs=1, **changes).key for changes in ({}, {"seed": 1}, {"loss": "haversine"})}
    assert len(keys) == 3
    assert toy.train(epochs=1, models=tmp_path).key in keys


def test_a_run_before_the_training_names_the_command(toy: Toy) -> None:
    with pytest.raises(ArtifactError, match=r"pinpoint train regression --set train=toy[\s\S]*--set seed=9"):
        build_method(load_registry().method("regression"), toy.params(seed=9), toy.context)
    with pytest.raises(UsageError, match="in a run only"):
        Regression(toy.params(), Context())
