"""G3's retrieval: on small tensors in the real format, against pyproj and arithmetic written another way."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
import torch
from safetensors.torch import save_file
from tests.support.small_clips import WIDTH
from tests.support.small_releases import G3_INNER, g3_tensors
from tests.support.weight_files import Trap

from pinpoint_harness import params
from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import check_predictions
from pinpoint_harness.testing import assert_contract
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.g3.method import G3Retrieval, mercator

PLACES = 60


def places() -> pd.DataFrame:
    random = np.random.default_rng(3)
    table = np.stack([random.uniform(-70, 75, PLACES), random.uniform(-180, 180, PLACES)], axis=1).round(5)
    table[0] = (-90.0, 0.0)  # the South Pole
    return pd.DataFrame(table, columns=["LAT", "LON"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("g3")
    torch.save(g3_tensors(), folder / "g3-tensors.pth")
    places().to_csv(folder / "places.csv", index=False)
    return {"weights": str(folder / "g3-tensors.pth"), "gallery": str(folder / "places.csv")}


def built(**settings: Any) -> G3Retrieval:
    return G3Retrieval(params.build(G3Retrieval.Params, settings, "method 'g3-retrieval'"), Context())


def ask(method: G3Retrieval, features: torch.Tensor) -> Any:
    count = len(features)
    keys = np.arange(count, dtype=np.uint64)
    answer = method.predict(Queries(keys, np.zeros(count, np.uint64), ["photos"] * count, features))
    check_predictions(answer, count)
    return answer


def features(count: int = 16) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(2)).half()


def test_the_plane_is_the_webs_mercator_as_proj_computes_it() -> None:
    table = places().to_numpy(copy=True)[1:]
    transformer = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    right, up = transformer.transform(table[:, 1], table[:, 0])
    expected = np.stack([up, right], axis=1) / 20037508.3427892
    assert mercator(torch.from_numpy(table)).numpy() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(mercator(torch.tensor([[90.0, 180.0], [-90.0, -180.0]]))).all()


def test_logits_are_the_scaled_cosines_of_both_projections(small: dict[str, str]) -> None:
    weights = {name: value.double().numpy() for name, value in g3_tensors().items()}
    given = features(8)

    def projected(x: Any, name: str) -> Any:
        hidden = np.maximum(x @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"], 0)
        out = hidden @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    plane = mercator(torch.from_numpy(places().to_numpy(copy=True))).double().numpy()
    encoded = np.zeros((PLACES, G3_INNER))
    for scale in range(2):
        name = f"location_encoder.LocEnc{scale}"
        angle = 2 * np.pi * plane @ weights[f"{name}.capsule.0.b"].T
        x = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        for layer in "135":
            x = np.maximum(
                x @ weights[f"{name}.capsule.{layer}.weight"].T + weights[f"{name}.capsule.{layer}.bias"], 0
            )
        encoded += x @ weights[f"{name}.head.0.weight"].T + weights[f"{name}.head.0.bias"]
    image = projected(given.double().numpy(), "vision_projection_else_2")
    expected = np.exp(2.0) * image @ projected(encoded, "location_projection_else").T
    method = built(**small, candidates=5)
    assert method.logits(given).numpy() == pytest.approx(expected, abs=2e-3)
    answer = ask(method, given)
    best = method.logits(given).argmax(dim=1).numpy()
    assert np.array_equal(answer.coordinates, places().to_numpy()[best])
    assert answer.candidates.coordinates.shape == (8, 5, 2)


def test_tensors_are_read_from_either_format_and_from_a_folder(small: dict[str, str], tmp_path: Path) -> None:
    given = features()
    expected = ask(built(**small), given).coordinates
    save_file(g3_tensors(), tmp_path / "g3.safetensors")
    torch.save(g3_tensors(), tmp_path / "g3.pth")
    for weights in (tmp_path / "g3.safetensors", tmp_path):
        assert np.array_equal(ask(built(**{**small, "weights": str(weights)}), given).coordinates, expected)


def test_the_method_keeps_the_contract(small: dict[str, str]) -> None:
    widths = {"clip-vit-large-patch14": WIDTH}
    assert_contract(load_registry().method("g3-retrieval"), small, widths=widths, tile=5)


@pytest.mark.parametrize("kind", ["model", "trap", "pickle"])
def test_the_published_pickle_is_refused_with_the_way_to_its_tensors(
    kind: str, small: dict[str, str], tmp_path: Path
) -> None:
    file, sprung = tmp_path / "g3.pth", tmp_path / "sprung"
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        # `torch.save(model)` stores the program's object, as the authors do.
        torch.save(torch.nn.Linear(2, 2) if kind == "model" else Trap(sprung), file)
    with pytest.raises(DataError, match=r"cannot read tensors[\s\S]*state_dict\(\), 'g3-tensors.pth'"):
        ask(built(**{**small, "weights": str(tmp_path)}), features())
    assert not sprung.exists()


def test_what_lacks_or_does_not_fit_is_said(small: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"without g3.pth"):
        built(**{**small, "weights": str(tmp_path)})
    torch.save({"a": torch.zeros(2)}, tmp_path / "g3.pth")
    with pytest.raises(DataError, match=r"cannot read G3's projections"):
        ask(built(**{**small, "weights": str(tmp_path)}), features())
    with pytest.raises(DataError, match=rf"features of width {WIDTH}[\s\S]*gives 20"):
        ask(built(**small), torch.zeros(16, 20).half())
