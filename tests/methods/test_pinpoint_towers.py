"""Towers: unit vectors, a place that has no seam, weights from the seed alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pinpoint_harness.geo import unit_xyz
from pinpoint_methods.pinpoint.config import CONFIGS, PinpointConfig
from pinpoint_methods.pinpoint.towers import Block, Towers

SMALL = replace(
    CONFIGS["mini"], hidden=32, embedding=16, frequencies=64, location_hidden=32, lowest_frequency=1.0
)


def xyz(points: list[list[float]]) -> torch.Tensor:
    return torch.from_numpy(unit_xyz(np.array(points)).astype(np.float32))


def towers(seed: int = 1, config: PinpointConfig = SMALL) -> Towers:
    return Towers(config, 24).initialise(config, seed).eval()


def test_embeddings_have_length_one_in_float32_even_under_autocast() -> None:
    model = towers()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        image = model.image(1000 * torch.randn(5, 24), "photos")
        place = model.location(xyz([[1.0, 2.0], [-90.0, 0.0]]))
    for vectors in (image, place):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))


def test_the_antimeridian_is_no_seam_and_a_pole_is_one_place() -> None:
    east, west, pole, same_pole, far = towers().location(
        xyz([[10.0, 179.999999], [10.0, -179.999999], [90.0, 0.0], [90.0, 123.0], [10.0, 0.0]])
    )
    torch.testing.assert_close(east, west, atol=1e-2, rtol=0)
    torch.testing.assert_close(pole, same_pole, atol=1e-2, rtol=0)
    assert (east - far).abs().max() > 0.05


def test_waves_a_kilometre_apart_differ_and_autocast_does_not_touch_them() -> None:
    model = towers()
    points = xyz([[47.0, 8.0], [47.009, 8.0]])
    waves = model.location.waves(points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = model.location.waves(points)
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, waves, rtol=0, atol=0)
    assert (waves[0] - waves[1]).abs().max() > 0.3


def test_phases_in_fp32_stay_within_a_hundredth_of_those_in_fp64() -> None:
    model = towers(config=replace(SMALL, frequencies=512))
    points = unit_xyz(np.random.default_rng(0).uniform(-80, 80, (100, 2)))
    coarse = model.location.waves(torch.from_numpy(points.astype(np.float32)))
    frequencies = model.location.frequencies.detach().double()
    phase = 2 * torch.pi * (torch.from_numpy(points.astype(np.float32)).double() @ frequencies.T)
    exact = torch.cat([phase.sin(), phase.cos()], dim=1)
    assert (coarse.double() - exact).abs().max() < 0.01


def test_frequencies_begin_log_spaced_between_their_ends() -> None:
    size = towers().location.frequencies.norm(dim=1)
    ratio = size[1:] / size[:-1]
    assert size[0].item() == pytest.approx(1.0, rel=1e-5)
    assert size[-1].item() == pytest.approx(8192.0, rel=1e-5)
    torch.testing.assert_close(ratio, ratio[0].expand_as(ratio), rtol=1e-4, atol=0)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = towers(3).state_dict()
    torch.manual_seed(6)
    again, other = towers(3).state_dict(), towers(4).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_block_begins_as_the_identity() -> None:
    model = towers()
    block = next(module for module in model.modules() if isinstance(module, Block))
    x = torch.randn(3, 32)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_sources_share_the_trunk_and_not_the_adapter() -> None:
    model = towers()
    features = torch.randn(4, 24)
    model.image(features, "photos").sum().backward()
    assert model.image.head.out.weight.grad is not None
    used = {name for name, p in model.image.adapters.named_parameters() if p.grad is not None}
    assert used == {name for name, _ in model.image.adapters.named_parameters() if name.startswith("photos")}


def test_full_has_the_weights_that_the_document_counts() -> None:
    with torch.device("meta"):
        model = Towers(CONFIGS["full"], 1536)
    total = sum(p.numel() for p in model.parameters()) / 1e6
    location = sum(p.numel() for p in model.location.parameters()) / 1e6
    one_source = total - sum(p.numel() for p in model.image.adapters["photos"].parameters()) / 1e6
    assert (round(total), round(one_source), round(location)) == (155, 118, 14)
