"""PLONK: its sampler against the authors' package, and a density that is one."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tests.support.small_clips import WIDTH
from tests.support.small_releases import PLONK_BLOCKS, PLONK_DIM, plonk_release, plonk_weights
from tests.support.weight_files import Trap

from pinpoint_harness import params
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import check_predictions
from pinpoint_harness.testing import assert_contract
from pinpoint_harness.types import RADII_KM, Context, Predictions, Queries
from pinpoint_methods.common.checkpoints import load_tensors
from pinpoint_methods.common.consensus import RULES
from pinpoint_methods.common.sphere import degrees_of
from pinpoint_methods.plonk.flow import (
    draw_places,
    log_density,
    normal_draws,
    points_around,
    progress_at,
    progress_slope,
)
from pinpoint_methods.plonk.method import Plonk
from pinpoint_methods.plonk.network import VelocityNetwork

BACKBONE = "dinov2-large-reg-square"

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("plonk") is None or importlib.util.find_spec("geoopt") is None,
    reason="the oracle is not installed: pip install --no-deps diff-plonk==0.4 geoopt einops",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(plonk_release(tmp_path_factory.mktemp("plonk")))


def built(weights: str, **settings: Any) -> Plonk:
    given = {"weights": weights, **settings}
    return Plonk(params.build(Plonk.Params, given, "method 'plonk'"), Context())


def features(count: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)).half()


def queries(given: torch.Tensor) -> Queries:
    count = len(given)
    keys = np.arange(7, 7 + count, dtype=np.uint64)
    return Queries(keys, np.zeros(count, np.uint64), ["photos"] * count, given)


def ask(method: Plonk, given: torch.Tensor) -> Predictions:
    answer = method.predict(queries(given))
    check_predictions(answer, len(given))
    return answer


# Against the authors' package


@needs_package
@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_places_are_those_of_the_package_from_the_same_noise(
    guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its root imports torchvision, for pictures; networks and samplers do without.
    root = types.ModuleType("plonk")
    root.__path__ = list(importlib.util.find_spec("plonk").submodule_search_locations)  # type: ignore[union-attr,arg-type]
    monkeypatch.setitem(sys.modules, "plonk", root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        networks = importlib.import_module("plonk.models.networks.mlp")
        sampler = importlib.import_module("plonk.models.samplers.riemannian_flow_sampler")
        schedulers = importlib.import_module("plonk.models.schedulers")
        gps = importlib.import_module("plonk.models.postprocessing").CartesiantoGPS()
    weights = plonk_weights(spread=2.0)
    theirs = networks.GeoAdaLNMLP(
        input_dim=3, dim=PLONK_DIM, depth=PLONK_BLOCKS, expansion=4, cond_dim=WIDTH
    ).eval()
    theirs.load_state_dict(weights)
    given, noise = features(20).float(), normal_draws(np.arange(20, dtype=np.uint64), 3, 1)[:, 0]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.cuda.amp.autocast without CUDA
        expected = sampler.riemannian_flow_sampler(
            theirs,
            {"y": noise, "emb": given},
            conditioning_keys="emb",
            scheduler=schedulers.SigmoidScheduler(-7, 3, 1.0),
            cfg_rate=guidance,
        )
        ours = VelocityNetwork(weights)
        condition, nothing = ours.condition(given), ours.condition(torch.zeros_like(given))

        def velocity(points: torch.Tensor, progress: torch.Tensor) -> torch.Tensor:
            seen = ours(points, condition, progress)
            return seen + guidance * (seen - ours(points, nothing, progress))

        found = draw_places(velocity, noise, 250)
    assert torch.allclose(found, expected, atol=1e-4)
    assert float(expected.std(dim=0).min()) > 0.1  # they are different places
    assert degrees_of(found.double().numpy()) == pytest.approx(
        np.degrees(gps(expected.double()).numpy()), abs=1e-2
    )


# The flow


def test_the_schedule_runs_from_noise_to_the_place_and_its_slope_is_its_derivative() -> None:
    time = torch.linspace(0, 1, 101, dtype=torch.float64)
    progress = progress_at(time)
    assert progress[0].item() == pytest.approx(1)
    assert progress[-1].item() == pytest.approx(0, abs=1e-8)
    assert (progress.diff() < 0).all()
    step = 1e-6
    middle = time[1:-1]
    numeric = (progress_at(middle + step) - progress_at(middle - step)) / (2 * step)
    assert torch.allclose(progress_slope(middle), numeric, atol=1e-4)


def network_flow(spread: float) -> Any:
    network = VelocityNetwork(plonk_weights(4, spread, dim=16, blocks=2, slow=True))
    condition = network.condition(features(1).float())

    def velocity(points: torch.Tensor, progress: torch.Tensor) -> torch.Tensor:
        return network(points, condition.expand(len(points), -1), progress)

    return velocity


def sphere_grid(rings: int = 20, points: int = 40) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """Points all over the sphere `(n, 3)` and the solid angle of each: exact for smooth functions."""
    height, weight = np.polynomial.legendre.leggauss(rings)
    angle = 2 * np.pi * (np.arange(points) + 0.5) / points
    flat = np.sqrt(1 - height**2)[:, None]
    xyz = np.stack(
        [flat * np.cos(angle), flat * np.sin(angle), np.repeat(height[:, None], points, axis=1)], axis=2
    )
    return torch.from_numpy(xyz.reshape(-1, 3)).float(), np.repeat(weight * 2 * np.pi / points, points)


def test_the_density_over_the_whole_sphere_is_one() -> None:
    grid, area = sphere_grid()
    with torch.no_grad():
        density = log_density(network_flow(0.3), grid, 16).exp().double().numpy()
    assert density.max() / density.min() > 3  # it says something
    assert float((density * area).sum()) == pytest.approx(1, abs=2e-3)


def test_a_flow_that_stands_still_leaves_the_density_uniform() -> None:
    grid, _ = sphere_grid(4, 5)
    with torch.no_grad():
        found = log_density(lambda points, progress: 0 * points * progress, grid, 3)
    assert found.numpy() == pytest.approx(-np.log(4 * np.pi))


def test_drawn_places_are_as_many_as_the_density_says() -> None:
    velocity = network_flow(0.3)
    noise = normal_draws(np.arange(4, dtype=np.uint64), 0, 1000).reshape(-1, 3)
    # The continuous flow begins on the sphere, where the sampler's first, tiny step brings its noise.
    with torch.no_grad():
        places = draw_places(velocity, torch.nn.functional.normalize(noise, dim=1), 100)
        grid, area = sphere_grid()
        density = log_density(velocity, grid, 16).exp().double().numpy()
    for axis in range(3):
        share = float((places[:, axis] > 0).double().mean())
        expected = float((density * area)[(grid[:, axis] > 0).numpy()].sum())
        assert share == pytest.approx(expected, abs=0.032)  # four standard errors


def test_the_area_around_a_place_is_that_of_caps_and_the_points_lie_in_their_rings() -> None:
    place = unit_xyz(np.array([[48.85, 2.35], [90.0, 0.0], [-33.9, 151.2]]))
    points, area = points_around(place)
    caps = 2 * np.pi * (1 - np.cos(np.array(RADII_KM) / 6371))
    assert area.sum(axis=1).cumsum() == pytest.approx(caps, rel=1e-9)
    km = 6371 * np.arccos(np.einsum("nmk,nk->nm", points, place).clip(-1, 1)).reshape(3, 5, -1)
    edges = np.array([0, *RADII_KM])
    assert (km > edges[:-1, None] - 1e-3).all()
    assert (km < edges[1:, None] + 1e-3).all()


# The method


def test_the_seed_the_key_and_nothing_else_decide_the_noise(small: str) -> None:
    given = features()
    first = ask(built(small, steps=20), given).coordinates
    assert np.array_equal(ask(built(small, steps=20), given).coordinates, first)
    assert not np.array_equal(ask(built(small, steps=20, seed=1), given).coordinates, first)
    assert not np.array_equal(ask(built(small, steps=20, cfg=2.0), given).coordinates, first)
    assert len(np.unique(first.round(3), axis=0)) > 8


def test_several_places_are_candidates_and_the_answer_is_their_consensus(small: str) -> None:
    given = features(16)
    single = ask(built(small, steps=20, samples=1), given)
    assert single.candidates is None
    for rule in RULES:
        answer = ask(built(small, steps=20, samples=12, decoding=rule), given)
        assert answer.candidates is not None
        assert answer.candidates.probability == pytest.approx(np.full((16, 12), 1 / 12))
        if rule in ("first", "expected"):
            assert np.array_equal(answer.coordinates, answer.candidates.coordinates[:, 0])
    drawn = built(small, steps=20, samples=12).draw(queries(given))
    assert drawn.shape == (16, 12, 3)
    assert np.linalg.norm(drawn, axis=2) == pytest.approx(1, abs=1e-6)


def test_how_likely_the_answer_is_within_each_radius_is_the_share_of_places_drawn_there(
    tmp_path: Path,
) -> None:
    weights = str(plonk_release(tmp_path / "plonk", spread=0.3, dim=16, blocks=2, slow=True))
    given = features(1)
    answer = ask(built(weights, steps=60, density=True, density_steps=12), given)
    assert answer.within is not None
    assert answer.confidence is not None
    method = built(weights, steps=60, samples=1000, seed=9, density_steps=12)
    places = method.draw(queries(given))[0]
    km = 6371 * np.arccos((places @ unit_xyz(answer.coordinates)[0]).clip(-1, 1))
    assert answer.within[0, 4] == pytest.approx((km < 2500).mean(), abs=0.06)
    assert answer.within[0, 3] == pytest.approx((km < 750).mean(), abs=0.03)
    flat = np.exp(answer.confidence[0]) * 2 * np.pi * (1 - np.cos(25 / 6371))
    assert answer.within[0, 1] == pytest.approx(flat, rel=0.02)  # so near, the density is one number
    same = method.log_density(queries(given), answer.coordinates)
    assert same == pytest.approx(answer.confidence)


@pytest.mark.parametrize(
    "settings", [{}, {"cfg": 2.0, "samples": 3}, {"density": True, "density_steps": 2, "steps": 2}]
)
def test_the_method_keeps_the_contract(settings: dict[str, Any], small: str) -> None:
    given = {"weights": small, "steps": 6, **settings}
    assert_contract(load_registry().method("plonk"), given, widths={BACKBONE: WIDTH}, tile=5)


def test_a_model_brings_its_backbone() -> None:
    shown = CliRunner().invoke(cli, ["methods", "show", "plonk", "--set", "model=osv5m"]).output
    assert "nicolas-dufour/PLONK_OSV_5M" in shown
    assert "streetclip-cls" in shown
    for word in ("2412.06781", "MIT", "250", "PLONK_iNaturalist"):
        assert word in shown, word


def test_features_of_another_width_are_refused(small: str) -> None:
    with pytest.raises(DataError, match=rf"features of width {WIDTH}[\s\S]*gives 20"):
        ask(built(small), torch.zeros(16, 20, dtype=torch.float16))


def test_what_lacks_and_what_is_something_else_is_said_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"without config.json, model.safetensors[\s\S]*--set weights="):
        built(str(tmp_path))
    with pytest.raises(WeightsError, match=r"no such folder"):
        built("not a hub id")
    folder = plonk_release(tmp_path / "other")
    stored = load_file(folder / "model.safetensors")
    del stored["blocks.1.mlp.0.weight"]
    save_file(stored, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"cannot read PLONK's network[\s\S]*blocks.1.mlp.0.weight"):
        ask(built(str(folder)), features())


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_code_in_a_file_of_weights_is_refused_and_not_run(protocol: str, tmp_path: Path) -> None:
    file, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    if protocol == "torch":
        torch.save({"trap": Trap(sprung)}, file)
    else:
        file.write_bytes(pickle.dumps({"trap": Trap(sprung)}))
    with pytest.raises(DataError, match=r"cannot read tensors from[\s\S]*state_dict"):
        load_tensors(file)
    assert not sprung.exists()
