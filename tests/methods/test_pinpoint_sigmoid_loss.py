"""The fused loss against its plain formula, finite differences, and all pairs of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_methods.pinpoint.sigmoid_loss import Pairs, near_pairs, sigmoid_loss


def plain_sigmoid_loss(
    images: Tensor, places: Tensor, temperature: Tensor, bias: Tensor, masked: Pairs | None = None
) -> Tensor:
    """The formula as it is written down."""
    logits = temperature * images @ places.T + bias  # (b, B)
    sign = 2 * torch.eye(*logits.shape, dtype=logits.dtype, device=logits.device) - 1
    each = -functional.logsigmoid(sign * logits)
    if masked is not None:
        each = each.index_put(masked, each.new_zeros(()))
    return each.sum() / len(places)


def batch(rows: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, places = (
        functional.normalize(torch.randn(rows, 6, generator=generator, dtype=dtype), dim=1) for _ in range(2)
    )
    found = (images, places, torch.tensor(7.0, dtype=dtype), torch.tensor(-3.0, dtype=dtype))
    return tuple(tensor.requires_grad_() for tensor in found)  # type: ignore[return-value] # four of them


SOME = (torch.tensor([0, 0, 2, 5, 8]), torch.tensor([3, 4, 1, 6, 2]))


def test_a_single_pair_costs_what_the_formula_says() -> None:
    one = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    loss = sigmoid_loss(one, one, torch.tensor(2.0).double(), torch.tensor(-1.0).double())
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1.0)), abs=1e-15)  # t x.y + b = 1


@pytest.mark.parametrize("masked", [None, SOME])
@pytest.mark.parametrize("tile", [(4, 100), (4, 3), None])
def test_gradients_agree_with_finite_differences(
    masked: tuple[Tensor, Tensor] | None, tile: tuple[int, int] | None
) -> None:
    def loss(images: Tensor, places: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
        return sigmoid_loss(images, places, temperature, bias, masked, 0, tile)

    assert torch.autograd.gradcheck(loss, batch(9, 1))


@given(
    rows=st.integers(1, 40), tile=st.tuples(st.integers(1, 50), st.integers(1, 50)), seed=st.integers(0, 99)
)
@settings(max_examples=25, deadline=None)
def test_loss_and_gradients_equal_the_plain_formula(rows: int, tile: tuple[int, int], seed: int) -> None:
    ours, plain = batch(rows, seed), batch(rows, seed)
    pairs = torch.nonzero((torch.rand(rows, rows) < 0.2) & ~torch.eye(rows, dtype=torch.bool))
    masked = (pairs[:, 0], pairs[:, 1])
    one, other = sigmoid_loss(*ours, masked, 0, tile), plain_sigmoid_loss(*plain, masked)
    assert one.item() == pytest.approx(other.item(), rel=1e-12)
    torch.autograd.backward([3 * one, 3 * other])
    for mine, its in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-10, atol=1e-12)


def test_a_masked_pair_has_no_pull() -> None:
    images, places, temperature, bias = batch(2, 3)
    everything = (torch.tensor([0, 1]), torch.tensor([1, 0]))
    torch.autograd.backward(sigmoid_loss(images, places, temperature, bias, everything))
    assert images.grad is not None
    # Only the own place is left, so the gradient points along it.
    own = torch.nn.functional.cosine_similarity(images.grad, places, dim=1)
    torch.testing.assert_close(own.abs(), torch.ones(2, dtype=torch.float64))


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    images, places, temperature, bias = batch(9, 5)
    whole = sigmoid_loss(images, places, temperature, bias, SOME)
    halves = [(0, 4), (4, 9)]
    parts = torch.zeros((), dtype=torch.float64)
    for first, last in halves:
        mine = (SOME[0] >= first) & (SOME[0] < last)
        masked = (SOME[0][mine] - first, SOME[1][mine])
        parts = parts + sigmoid_loss(images[first:last], places, temperature, bias, masked, first)
    torch.testing.assert_close(parts, whole)


def test_bf16_loses_digits_but_no_meaning() -> None:
    exact = batch(40, 8, torch.float32)
    images, places = (tensor.detach().bfloat16() for tensor in exact[:2])
    loss = sigmoid_loss(images, places, exact[2], exact[3])
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(sigmoid_loss(*exact).item(), rel=1e-2)


def places(seed: int, count: int) -> np.ndarray:
    """Towns, one at a pole and one on the antimeridian, with photos around and on one another."""
    random = np.random.default_rng(seed)
    towns = np.array([[48.0, 11.0], [0.0, 180.0], [89.999, 20.0], [-33.9, 151.2]])
    drawn = towns[random.integers(0, len(towns), count)] + random.normal(0, 0.02, (count, 2))
    drawn[count // 2 : count // 2 + 3] = drawn[0]
    drawn[:, 0] = np.clip(drawn[:, 0], -90, 90)
    drawn[:, 1] = (drawn[:, 1] + 180) % 360 - 180
    return drawn


@given(seed=st.integers(0, 1000), count=st.integers(8, 120), radius_km=st.sampled_from([0.5, 1.0, 40.0]))
@settings(max_examples=30, deadline=None)
def test_near_pairs_are_those_within_the_radius(seed: int, count: int, radius_km: float) -> None:
    points = places(seed, count)
    xyz = torch.from_numpy(unit_xyz(points).astype(np.float32))
    row, place = near_pairs(xyz, radius_km)
    found = np.zeros((count, count), dtype=bool)
    found[row, place] = True
    one, other = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    distance = haversine_km(points[one.ravel()], points[other.ravel()]).reshape(count, count)
    expected = (distance < radius_km) & (one != other)
    unsure = np.abs(distance - radius_km) < 0.002  # float32 xyz is half a metre fine
    np.testing.assert_array_equal(found[~unsure], expected[~unsure])
    assert (np.diff(row.numpy()) >= 0).all()


def test_near_pairs_of_a_part_are_those_of_its_rows() -> None:
    xyz = torch.from_numpy(unit_xyz(places(4, 60)).astype(np.float32))
    row, place = near_pairs(xyz, 1.0)
    some, theirs = near_pairs(xyz, 1.0, first=20, count=15)
    mine = (row >= 20) & (row < 35)
    assert mine.any()
    torch.testing.assert_close(some, row[mine] - 20)
    torch.testing.assert_close(theirs, place[mine])


def test_a_batch_in_one_town_is_compared_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    xyz = torch.from_numpy(unit_xyz(places(9, 150)).astype(np.float32))
    whole = near_pairs(xyz, 30.0)
    monkeypatch.setattr("pinpoint_methods.pinpoint.sigmoid_loss._PIECE_PAIRS", 50)
    for cut, all_at_once in zip(near_pairs(xyz, 30.0), whole, strict=True):
        torch.testing.assert_close(cut, all_at_once)


def test_points_a_kilometre_apart_are_told_apart() -> None:
    degree_km = 6371 * np.pi / 180
    for distance_km, near in ((0.99, True), (1.01, False)):
        points = np.array([[47.0, 8.0], [47.0 + distance_km / degree_km, 8.0]])
        row, _ = near_pairs(torch.from_numpy(unit_xyz(points).astype(np.float32)), 1.0)
        assert bool(len(row)) is near
