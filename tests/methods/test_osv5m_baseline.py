"""OSV-5M's baseline: on small weights in the real format, against its arithmetic written another way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.small_releases import BASELINE_SIDE, BASELINE_WIDTH, baseline_weights, quadtree
from tests.support.weight_files import Trap
from torch.nn import functional

from pinpoint_harness import params
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import check_predictions
from pinpoint_harness.testing import assert_contract
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.osv5m_baseline.method import OSV5MBaseline
from pinpoint_methods.osv5m_baseline.network import Cells


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("osv5m")
    torch.save(baseline_weights(), folder / "pytorch_model.bin")
    return str(folder)


def built(weights: str, **settings: Any) -> OSV5MBaseline:
    given = {"weights": weights, **settings}
    return OSV5MBaseline(params.build(OSV5MBaseline.Params, given, "method 'osv5m-baseline'"), Context())


def photos(count: int) -> list[Any]:
    random = np.random.default_rng(1)
    coarse = [random.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(count)]
    return [np.asarray(Image.fromarray(image).resize((90, 70), Image.Resampling.BICUBIC)) for image in coarse]


def ask(method: OSV5MBaseline, images: list[Any]) -> Any:
    count = len(images)
    keys = np.arange(count, dtype=np.uint64)
    answer = method.predict(Queries(keys, np.zeros(count, np.uint64), ["photos"] * count, images))
    check_predictions(answer, count)
    return answer


def head(weights: dict[str, torch.Tensor], part: str, x: torch.Tensor) -> torch.Tensor:
    """The published layers one by one, in float64."""
    at = {
        name.rpartition(f"mid.{part}.")[2]: value.double() for name, value in weights.items() if part in name
    }
    x = functional.layer_norm(x, (BASELINE_WIDTH,), at["0.weight"], at["0.bias"])
    for number in (1, 4):
        x = x @ at[f"{number}.weight"].T + at[f"{number}.bias"]
        x = functional.group_norm(x, 4, at[f"{number + 1}.weight"], at[f"{number + 1}.bias"])
        x = functional.gelu(x)
    return x @ at["7.weight"].T + at["7.bias"]


def test_an_answer_is_the_centroid_of_the_likeliest_cell_and_its_offset(small: str) -> None:
    method, images = built(small, candidates=4), photos(16)
    answer = ask(method, images)
    weights, table = baseline_weights(), quadtree()
    pixels = torch.stack([method._preprocess.pixels(np.array(image)) for image in images])
    with torch.inference_mode():
        token = method._network.clip(method._preprocess.normalised(pixels)).last_hidden_state[:, 0].double()
        logits, moved = head(weights, "classif", token), 1.2 * torch.tanh(head(weights, "reg", token))
    share = logits.softmax(dim=1).numpy()
    assert answer.confidence == pytest.approx(share.max(axis=1), abs=1e-5)
    for row, cell in enumerate(logits.argmax(dim=1).tolist()):
        expected = []
        for axis, offset in zip(("lat", "lon"), moved[row, 2 * cell : 2 * cell + 2].tolist(), strict=True):
            mean, low, high = (table[f"{edge}_{axis}"][cell] for edge in ("mean", "min", "max"))
            expected.append(mean + offset * ((high - mean) if offset > 0 else (mean - low)))
        assert answer.coordinates[row] == pytest.approx(expected, abs=1e-3)
    assert np.array_equal(answer.coordinates, answer.candidates.coordinates[:, 0])
    assert (np.diff(answer.candidates.probability, axis=1) <= 0).all()
    assert len(np.unique(logits.argmax(dim=1))) > 1


def test_clips_class_token_comes_before_its_last_norm_with_a_plain_gelu(small: str) -> None:
    network = built(small)._network
    assert network.clip.config.hidden_act == "gelu"
    assert network.side == BASELINE_SIDE
    assert network.clip.config.num_hidden_layers == 2


def test_cells_come_from_the_weights_or_from_the_published_table(small: str, tmp_path: Path) -> None:
    file = tmp_path / "quadtree_10_1000.csv"
    quadtree().to_csv(file, index=False)
    images = photos(16)
    expected = ask(built(small), images).coordinates
    assert ask(built(small, quadtree=str(file)), images).coordinates == pytest.approx(expected, abs=1e-9)
    torch.save(baseline_weights(with_cells=False), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"says nothing of where its cells are[\s\S]*--set quadtree="):
        ask(built(str(tmp_path)), images)
    bare = ask(built(str(tmp_path), quadtree=str(file)), images).coordinates
    assert bare == pytest.approx(expected, abs=1e-9)


def test_the_table_of_cells_is_named_by_its_hash_and_another_than_the_pinned_is_refused(
    small: str, tmp_path: Path
) -> None:
    file = tmp_path / "quadtree_10_1000.csv"
    quadtree().to_csv(file, index=False)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    images = photos(1)
    assert ask(built(small), images).notes == ("cells are those that stand in the weights",)
    assert ask(built(small, quadtree=str(file)), images).notes[0].endswith(f"sha256 {sha256}")
    pinned = built(small, quadtree=str(file), quadtree_sha256=sha256.upper())
    assert ask(pinned, images).notes[0].endswith(f"{sha256}, as pinned")
    assert pinned.content()["quadtree_sha256"] is None  # whether it was pinned changes no answer
    with pytest.raises(DataError, match=rf"another table than the one pinned[\s\S]*{sha256}, not {'0' * 64}"):
        built(small, quadtree=str(file), quadtree_sha256="0" * 64)
    with pytest.raises(UsageError, match="none is given"):
        built(small, quadtree_sha256=sha256)


def test_the_table_of_other_cells_is_refused(small: str, tmp_path: Path) -> None:
    file = tmp_path / "quadtree.csv"
    quadtree(seed=1).to_csv(file, index=False)
    with pytest.raises(DataError, match="centroids that differ"):
        ask(built(small, quadtree=str(file)), photos(1))
    quadtree()[:5].to_csv(file, index=False)
    with pytest.raises(DataError, match="5 cells, the network has 12"):
        ask(built(small, quadtree=str(file)), photos(1))
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot read a quadtree of OSV-5M"):
        Cells.of_table(file)


def test_an_offset_beyond_the_earth_ends_at_its_edge() -> None:
    cells = Cells(*(torch.tensor([[x, y]]) for x, y in ((0.95, -0.99), (0.1, 0.1), (0.1, 0.1))))
    places = cells.places(torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[[1.2, -1.2]]]))
    assert places.tolist() == [[[90.0, -180.0]]]


def test_the_method_keeps_the_contract(small: str) -> None:
    assert_contract(load_registry().method("osv5m-baseline"), {"weights": small}, tile=5)


def test_code_in_its_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"trap": Trap(sprung)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"cannot read tensors from[\s\S]*without running code"):
        ask(built(str(tmp_path)), photos(1))
    assert not sprung.exists()


def test_what_lacks_or_is_something_else_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"without pytorch_model.bin"):
        built(str(tmp_path))
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"cannot read OSV-5M's baseline[\s\S]*backbone.clip"):
        ask(built(str(tmp_path)), photos(1))
