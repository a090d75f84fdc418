"""From scores to an answer: merging, the two decodings, and what calibration finds."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pinpoint_harness.geo import haversine_km
from pinpoint_harness.search import xyz_of
from pinpoint_harness.types import RADII_KM
from pinpoint_methods.common import candidates
from pinpoint_methods.common.candidates import CandidateBatch, share_of_radii
from pinpoint_methods.common.decoding import TemperatureScaling, decide, fit, merge, overall, probabilities
from pinpoint_methods.common.reranking import LabelledCandidates
from pinpoint_methods.pinpoint.reranker_training import on_validation


def same(temperature: float, none: float) -> TemperatureScaling:
    """One calibration for all five radii."""
    return TemperatureScaling((temperature,) * 5, (none,) * 5)


FLAT = same(1.0, 0.0)


class Scored(NamedTuple):
    lists: CandidateBatch
    scores: Tensor
    places: np.ndarray  # (n, c, 2)


def scored(places: np.ndarray, scores: np.ndarray, valid: np.ndarray | None = None) -> Scored:
    """Lists of which only places, presence and scores count."""
    n, c = scores.shape
    here = torch.ones(n, c, dtype=torch.bool) if valid is None else torch.from_numpy(valid)
    none, rows = torch.zeros(n, c, 0), torch.zeros(n, c, dtype=torch.int64)
    xyz = torch.from_numpy(xyz_of(places.reshape(-1, 2)).reshape(n, c, 3))
    lists = CandidateBatch(torch.zeros(n, 1), rows, here, none, xyz, rows[..., None], none, none)
    return Scored(lists, torch.from_numpy(scores).float().masked_fill(~here, -torch.inf), places)


def drawn(seed: int, n: int = 4, c: int = 7) -> Scored:
    """Candidates in villages, some sharing a coordinate, some missing."""
    random = np.random.default_rng(seed)
    centres = np.array([[10.0, 20.0], [10.15, 20.0], [11.5, 20], [14, 24], [25, 20], [-60.0, 179.99]])
    places = centres[random.integers(0, 6, (n, c))] + random.choice([0, 0.003], (n, c, 1))
    valid = random.random((n, c)) < 0.8
    valid[:, 0] = True
    return scored(places, random.normal(0, 2, (n, c)), valid)


class ByHand(NamedTuple):
    first: list[int]
    probability: dict[int, float]  # mean over the radii
    within: dict[int, list[float]]

    def expected(self, slot: int) -> float:
        return sum(self.within[slot]) / 5


def by_hand(case: Scored, query: int, calibration: TemperatureScaling) -> ByHand:
    """Merging and what is expected within each radius, one candidate and one radius after the other."""
    valid = [slot for slot in range(case.scores.shape[1]) if case.lists.valid[query, slot]]
    place = {slot: tuple(case.places[query, slot]) for slot in valid}
    first = [slot for slot in valid if all(place[slot] != place[other] for other in valid if other < slot)]
    mean: dict[int, float] = dict.fromkeys(first, 0.0)
    within: dict[int, list[float]] = {slot: [] for slot in first}
    for number, radius in enumerate(RADII_KM):
        mine = case.scores[query] if case.scores.ndim == 2 else case.scores[query, :, number]
        weight = {s: math.exp(float(mine[s]) / calibration.temperature[number]) for s in valid}
        total = sum(weight.values()) + math.exp(calibration.none[number])
        probability = {s: sum(weight[o] for o in valid if place[o] == place[s]) / total for s in first}
        for slot in first:
            mean[slot] += probability[slot] / 5
            close = [
                other
                for other in first
                if haversine_km(np.array([place[slot]]), np.array([place[other]]))[0] < radius
            ]
            said = sum(probability[other] for other in close)
            within[slot].append(max([said, *within[slot]]))
    return ByHand(first, mean, within)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_expected_decoding_names_what_trying_every_candidate_names(seed: int, one_each: bool) -> None:
    case, random = drawn(seed), np.random.default_rng(seed)
    if one_each:  # a score of its own for every radius
        own = torch.from_numpy(random.normal(0, 2, (4, 7, 5))).float()
        case = case._replace(scores=own.masked_fill(~case.lists.valid[..., None], -torch.inf))
    calibration = TemperatureScaling(tuple(random.uniform(0.3, 3, 5)), tuple(random.uniform(-2, 2, 5)))
    answer = decide(case.lists, case.scores, calibration, "expected")
    for query in range(len(case.scores)):
        hand = by_hand(case, query, calibration)
        count = len(hand.first)
        assert answer.valid[query].tolist() == [True] * count + [False] * (7 - count)
        slots = answer.slot[query, :count].tolist()
        assert sorted(slots) == hand.first
        worth = [hand.expected(slot) for slot in slots]
        assert all(a >= b - 1e-6 for a, b in pairwise(worth))
        np.testing.assert_allclose(answer.expected_share[query, :count], worth, atol=1e-6)
        np.testing.assert_allclose(
            answer.within[query, :count], [hand.within[slot] for slot in slots], atol=1e-6
        )
        np.testing.assert_allclose(
            answer.probability[query, :count], [hand.probability[slot] for slot in slots], atol=1e-6
        )


def test_long_lists_are_decoded_some_queries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = drawn(3, n=9, c=7)
    whole = decide(case.lists, case.scores, FLAT, "expected")
    monkeypatch.setattr(candidates, "_PAIRS", 2 * 7 * 7)
    assert candidates.queries_at_once(7) == 2
    pieces = decide(case.lists, case.scores, FLAT, "expected")
    for item in fields(whole):
        assert torch.equal(getattr(whole, item.name), getattr(pieces, item.name))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["argmax", "expected"]))
def test_probabilities_sum_to_at_most_one_and_merging_loses_none(seed: int, decoding: str) -> None:
    case, calibration = (
        drawn(seed),
        TemperatureScaling((0.3, 0.7, 1.0, 2.0, 0.5), (1.0, -1.0, 0.0, -2.0, 0.5)),
    )
    before = probabilities(case.scores, calibration)
    answer = decide(case.lists, case.scores, calibration, decoding)
    assert before.shape == (4, 7, 5)
    assert (before[~case.lists.valid] == 0).all()
    assert (answer.probability[~answer.valid] == 0).all()
    torch.testing.assert_close(answer.probability.sum(dim=1), before.mean(dim=2).sum(dim=1))
    assert (answer.probability.sum(dim=1) < 1).all()
    # A share of radii that are expected is no more than what is expected to be among the candidates.
    assert (answer.expected_share[answer.valid] <= 1).all()
    # What lies within one radius lies within the next, whatever their calibrations say of it.
    assert (answer.within.diff(dim=2) >= 0).all()
    assert ((answer.within >= 0) & (answer.within <= 1)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_argmax_follows_the_scores_whatever_the_calibration(seed: int) -> None:
    case = drawn(seed)
    orders = [decide(case.lists, case.scores, c, "argmax") for c in (FLAT, same(9.0, 3.0))]
    assert torch.equal(orders[0].slot, orders[1].slot)
    for query in range(len(case.scores)):
        named = orders[0].slot[query, 0]
        best = int(case.scores[query].argmax())
        np.testing.assert_array_equal(case.places[query, named], case.places[query, best])
        first = by_hand(case, query, FLAT).first
        best_at = {
            slot: max(
                float(case.scores[query, other])
                for other in range(7)
                if tuple(case.places[query, other]) == tuple(case.places[query, slot])
            )
            for slot in first
        }
        count = len(first)
        assert orders[0].slot[query, :count].tolist() == sorted(first, key=lambda slot: -best_at[slot])


def test_candidates_of_one_coordinate_are_one_and_their_probability_is_summed() -> None:
    place = [[1.0, 2.0], [50.0, 60.0], [1.0, 2.0], [50.0, 60.0001]]
    case = scored(np.array([place]), np.log([[2.0, 3.0, 3.0, 1.0]]))
    first, probability = merge(case.lists, probabilities(case.scores, FLAT))
    assert first.tolist() == [[True, True, False, True]]
    merged = torch.tensor([[0.5, 0.3, 0.0, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(probability, merged[..., None].expand(-1, -1, 5))
    answer = decide(case.lists, case.scores, FLAT, "expected")
    # The second and the fourth are within 1 km of one another, and as good: the earlier slot wins.
    assert answer.slot.tolist() == [[0, 1, 3, 2]]
    expected = torch.tensor([0.5, 0.4, 0.4], dtype=torch.float64)
    torch.testing.assert_close(answer.expected_share[0, :3], expected)


@pytest.mark.parametrize("decoding", ["argmax", "expected"])
def test_a_tie_goes_to_the_earlier_slot(decoding: str) -> None:
    random = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [0.0, 90.0], [0.0, 180.0], [0.0, -90.0], [90.0, 0.0], [-90.0, 0.0]])
    case = scored(np.stack([random.permutation(places) for _ in range(20)]), np.zeros((20, 6)))
    answer = decide(case.lists, case.scores, FLAT, decoding)
    assert answer.slot.tolist() == [list(range(6))] * 20


def test_two_close_candidates_beat_one_that_is_likelier_alone() -> None:
    places = np.array([[[0.0, 0.0], [40.0, 100.0], [40.1, 100.0]]])
    case = scored(places, np.log([[0.4, 0.3, 0.3]]))
    assert decide(case.lists, case.scores, FLAT, "argmax").slot[0, 0] == 0
    assert decide(case.lists, case.scores, FLAT, "expected").slot[0, 0] == 1


@pytest.mark.parametrize("decoding", ["argmax", "expected"])
def test_a_list_without_candidates_answers_nothing(decoding: str) -> None:
    case = scored(np.zeros((2, 3, 2)), np.ones((2, 3)), np.array([[False] * 3, [True] * 3]))
    answer = decide(case.lists, case.scores, FLAT, decoding)
    assert answer.valid.tolist() == [[False] * 3, [True, False, False]]
    assert answer.probability[0].tolist() == [0, 0, 0]
    assert answer.expected_share[0].tolist() == [0, 0, 0]


def test_the_share_of_the_radii_counts_what_lies_strictly_within() -> None:
    km = torch.tensor([0.0, 0.999, 1.0, 24.9, 25.0, 199.0, 749.0, 2499.0, 2500.0])
    assert (share_of_radii(km) * 5).round().tolist() == [5, 5, 4, 4, 3, 3, 2, 1, 0]


CUBE = np.array([[lat, lon] for lat in (-35.26, 35.26) for lon in (-135.0, -45.0, 45.0, 135.0)])
"""Eight places of which no two are within 2,500 km."""


class Outcome(NamedTuple):
    lists: CandidateBatch
    scores: Tensor
    km: Tensor
    surprise: float  # of the calibration that decided


def outcomes(truth: TemperatureScaling, seed: int = 0, n: int = 2500) -> Outcome:
    """Queries whose truth is one of eight candidates, or none, as often as a calibration says."""
    random = np.random.default_rng(seed)
    case = scored(np.broadcast_to(CUBE, (n, 8, 2)).copy(), random.normal(0, 3, (n, 8)))
    p = probabilities(case.scores, truth)[..., 0]
    likely = torch.cat([p, 1 - p.sum(dim=1, keepdim=True)], dim=1)
    drawn = likely.multinomial(1, generator=torch.Generator().manual_seed(seed))[:, 0]
    km = torch.full((n, 9), 9000.0)
    km[torch.arange(n), drawn] = 0.0
    km = km[:, :8]
    return Outcome(case.lists, case.scores, km, surprise(case.scores, km, truth))


def surprise(scores: Tensor, km: Tensor, calibration: TemperatureScaling) -> float:
    """Mean negative log likelihood of who was right at the first radius."""
    logits = torch.cat(
        [scores.double() / calibration.temperature[0], torch.full((len(scores), 1), calibration.none[0])],
        dim=1,
    )
    right = torch.where((km < 1).any(dim=1), (km < 1).int().argmax(dim=1), 8)
    return float(-logits.log_softmax(dim=1).gather(1, right[:, None]).mean())


@pytest.mark.parametrize("truth", [same(2.5, 1.0), same(0.8, -1.5), same(4.0, 2.0)])
def test_calibration_finds_the_temperature_that_decided(truth: TemperatureScaling) -> None:
    case = outcomes(truth)
    found = fit(case.lists, case.scores, case.km)
    # No two places are close, so all five radii saw the same.
    assert found.temperature == pytest.approx(truth.temperature, rel=0.15)
    assert found.none == pytest.approx(truth.none, abs=0.25)
    assert surprise(case.scores, case.km, found) <= case.surprise + 1e-4
    assert surprise(case.scores, case.km, found) < surprise(case.scores, case.km, FLAT) - 0.01


def test_a_temperature_is_bounded_where_nobody_is_right_and_where_scores_say_nothing() -> None:
    random = np.random.default_rng(0)
    n, c = 200, 6
    none = torch.zeros(n, c, 0)
    places = torch.from_numpy(random.normal(size=(n, c, 3))).float()
    lists = CandidateBatch(
        torch.zeros(n, 1), torch.zeros(n, c).long(), torch.ones(n, c, dtype=torch.bool), none,
        places / places.norm(dim=2, keepdim=True), none, none, none,
    )  # fmt: skip
    scores = torch.from_numpy(random.normal(3, 0.5, (n, c))).float()
    spread = float(scores.std(correction=0))
    wrong = torch.full((n, c), 9000.0)
    anyone = torch.where(torch.from_numpy(random.integers(0, c, (n, 1)) == np.arange(c)), 0.5, 9000.0)
    for km in (wrong, anyone, torch.where(scores == scores.amin(dim=1, keepdim=True), 0.5, 9000.0)):
        for temperature in fit(lists, scores, km).temperature:
            assert np.exp(-5.001) <= temperature / spread <= np.exp(5.001)


def test_calibration_does_not_depend_on_the_scale_of_the_scores() -> None:
    case = outcomes(same(2.5, 1.0), n=800)
    found, scaled = (fit(case.lists, case.scores * factor, case.km) for factor in (1.0, 100.0))
    assert scaled.temperature == pytest.approx([100 * t for t in found.temperature], rel=0.02)
    assert scaled.none == pytest.approx(found.none, abs=0.02)


def test_lists_without_candidates_say_nothing_to_the_calibration() -> None:
    case = outcomes(same(2.5, 1.0), n=400)
    found = fit(case.lists, case.scores, case.km)
    twice = torch.cat([torch.arange(400), torch.zeros(50, dtype=torch.int64)])
    lists, scores, km = case.lists.take(twice), case.scores[twice].clone(), case.km[twice]
    lists.valid[400:] = False
    scores[400:] = -torch.inf
    assert fit(lists, scores, km) == found


def test_what_c_is_expected_to_reach_is_what_a_true_calibration_reaches() -> None:
    truth = same(1.2, 0.5)
    case = outcomes(truth, seed=4)
    for decoding in ("argmax", "expected"):
        row = on_validation(LabelledCandidates(case.lists, case.km), case.scores, truth, decoding)
        for radius in RADII_KM:
            assert row[f"{radius:g}km"] == pytest.approx(row[f"{radius:g}km_expected"], abs=2.5)
        best = case.scores.argmax(dim=1, keepdim=True)
        right = 100 * float((case.km.gather(1, best) < 1).double().mean())
        assert row["1km"] == pytest.approx(right, abs=0.01)
        assert row["mean"] == pytest.approx(right, abs=0.01)


def test_each_radius_is_calibrated_by_what_happened_within_it() -> None:
    """Candidates in pairs 100 km apart: the nearer tells within 25 km, the pair within 200."""
    random, n = np.random.default_rng(1), 3000
    pairs = np.stack([CUBE, CUBE + np.array([0.9, 0.0])], axis=1).reshape(-1, 2)
    own = torch.from_numpy(random.normal(0, 2, (n, 16)))
    case = scored(np.broadcast_to(pairs, (n, 16, 2)).copy(), own.numpy())
    # A place is drawn by its scores; then the truth lies at that very place, or 60 km from it, or nowhere.
    drawn = (own / 1.5).softmax(dim=1).multinomial(1, generator=torch.Generator().manual_seed(1))[:, 0]
    away = random.choice([0.5, 60.0, 9000.0], n, p=[0.3, 0.5, 0.2])
    km = torch.full((n, 16), 9000.0)
    km[torch.arange(n), drawn] = torch.from_numpy(away).float()
    found = fit(case.lists, case.scores, km)
    said = decide(case.lists, case.scores, found, "expected").within[:, 0].mean(dim=0)
    best = decide(case.lists, case.scores, found, "expected").slot[:, 0]
    hit = torch.stack([km[torch.arange(n), best] < radius for radius in RADII_KM]).double().mean(dim=1)
    assert found.none[0] > found.none[2] + 1  # within 1 km seven in ten were none of them, within 200 two
    assert said[:2].tolist() == pytest.approx(hit[:2].tolist(), abs=0.03)


def test_argmax_goes_by_the_mean_of_the_scores_of_the_radii() -> None:
    scores = torch.tensor([[[3.0, 0, 0, 0, 0], [1.0, 1, 1, 1, 1]]])
    assert overall(scores).tolist() == [pytest.approx([0.6, 1.0])]
    assert torch.equal(overall(scores[..., 0]), scores[..., 0])
