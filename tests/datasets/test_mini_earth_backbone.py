"""The `mini` backbone: frozen, blind to places, the same for a picture whatever stands beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pinpoint_datasets.mini_earth import pretrain
from pinpoint_datasets.mini_earth.backbone import TILE, MiniBackbone, features, load_mini, to_mini_size
from pinpoint_datasets.mini_earth.drawing.attributes import LANDMARK, PLACE, VIEW, random_pictures
from pinpoint_datasets.mini_earth.drawing.scene import render
from pinpoint_harness.images import Failure
from pinpoint_harness.images.decode import decode


@pytest.fixture(scope="module")
def network() -> MiniBackbone:
    return load_mini()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return render(*random_pictures(np.random.default_rng(11), 300))


def test_features_do_not_depend_on_neighbours(network: MiniBackbone, pictures: np.ndarray) -> None:
    together = features(pictures, network)
    assert together.shape == (300, 512)
    assert together.dtype == np.float32
    shuffled = np.random.default_rng(0).permutation(300)
    assert (features(pictures[shuffled], network) == together[shuffled]).all()
    assert (features(pictures[299:], network)[0] == together[299]).all()


def test_a_tile_is_never_cut_short(network: MiniBackbone, pictures: np.ndarray) -> None:
    assert len(pictures) % TILE != 0
    assert np.isfinite(features(pictures, network)).all()
    assert features(pictures[:0], network).shape == (0, 512)


def test_the_network_is_frozen(network: MiniBackbone) -> None:
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_it_names_attributes_it_has_never_seen_pictures_of(network: MiniBackbone) -> None:
    """Better than knowing nothing, on random pictures of another seed: it reads pavements and soil."""
    place, view = random_pictures(np.random.default_rng(12), 256)
    view[:, VIEW.index("indoors")] = 0
    with torch.inference_mode():
        batch = torch.from_numpy(render(place, view)).permute(0, 3, 1, 2).float() / 255
        error = (network.attributes(batch).numpy() - place) ** 2
    mean = dict(zip(PLACE, error.mean(axis=0), strict=True))
    assert mean["pavement_hue"] < 0.04
    assert mean["soil_hue"] < 0.05
    assert error.mean() < 1 / 12


def test_any_picture_becomes_64_pixels_square(network: MiniBackbone) -> None:
    wide = np.random.default_rng(0).integers(0, 255, (90, 300, 3), dtype=np.uint8)
    small = to_mini_size(wide)
    assert small.shape == (64, 64, 3)
    assert to_mini_size(small) is small


def test_pretraining_knows_no_world() -> None:
    """Neither coordinates nor fields are within its reach."""
    code = (
        "import sys; import pinpoint_datasets.mini_earth.pretrain;"
        "places = ('.world', '.looks', '.geography', '.splits');"
        "print([name for name in sys.modules if name.endswith(places)])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_attributes_count_only_where_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "SHARD", 40)
    pictures, place, shown = pretrain.draw_shard(0)
    assert len(pictures) == len(place) == len(shown) == 40
    sights = [PLACE.index(name) for name in LANDMARK]
    others = [column for column in range(len(PLACE)) if column not in sights]
    assert set(shown[:, sights].mean(axis=1).tolist()) == {0.0, 1.0}
    assert shown[:, others].mean() > 0.8


@pytest.mark.realdata
def test_real_photos_have_features(real_data: Path, network: MiniBackbone) -> None:
    found = []
    for path in sorted((real_data / "osv5m/images/test/00").glob("*.jpg")):
        picture = decode(path.read_bytes())
        assert not isinstance(picture, Failure)
        found.append(to_mini_size(picture))
    values = features(np.stack(found), network)
    assert len(values) == 71
    assert len(np.unique(values, axis=0)) == 71
