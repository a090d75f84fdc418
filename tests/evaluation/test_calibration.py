"""Calibration by hand, by brute force, and of stored runs of methods made to be right or wrong."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import get_protocol
from pinpoint_harness.evaluation.bootstrap import Clusters, cluster
from pinpoint_harness.evaluation.calibration import (
    Reliability,
    RiskCoverage,
    calibrate_answers,
    confidence_within,
    stated_within,
)
from pinpoint_harness.evaluation.calibration.reliability import equal_mass_bins, reliability
from pinpoint_harness.evaluation.calibration.risk_coverage import risk_coverage
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.types import RADII_KM, Candidates

Floats = NDArray[np.float64]
NOWHERE = (np.nan, np.nan)


def alone(n: int) -> Clusters:
    return cluster(None, "", n)


def reliable(confidence: Any, hit: Any, clusters: Clusters | None = None, bins: int = 10) -> Reliability:
    sure, right = np.asarray(confidence, dtype=np.float64)[:, None], np.asarray(hit, dtype=bool)[:, None]
    (found,) = reliability(
        sure, right, clusters or alone(len(sure)), [25.0], bins=bins, resamples=200, seed=0
    )
    return found


def ranked(rank: Any, hit: Any, clusters: Clusters | None = None) -> RiskCoverage:
    order, right = np.asarray(rank, dtype=np.float64), np.asarray(hit, dtype=bool)[:, None]
    (found,) = risk_coverage(order, right, clusters or alone(len(order)), [25.0], resamples=200, seed=0)
    return found


# The probability that an answer lies within a radius


def test_confidence_is_the_probability_of_the_candidates_within_the_radius_of_the_answer() -> None:
    answer = np.array([[0.0, 0.0]])
    north = [0.0, 0.1, 1.0, 10.0, 40.0]  # degrees: 0, 11, 111, 1112 and 4448 km
    places = np.array([[[latitude, 0.0] for latitude in north] + [NOWHERE]])
    probability = np.array([[0.4, 0.3, 0.15, 0.1, 0.05, np.nan]])
    found = confidence_within(answer, Candidates(places, probability))
    assert found == pytest.approx(np.array([[0.4, 0.7, 0.85, 0.85, 0.95]]))


def test_confidence_agrees_with_a_loop_over_every_candidate() -> None:
    generator = np.random.default_rng(0)
    answers = np.stack([generator.uniform(-90, 90, 40), generator.uniform(-180, 180, 40)], axis=1)
    places = answers[:, None] + generator.normal(0, 5, (40, 7, 2))
    places[..., 0] = places[..., 0].clip(-90, 90)
    places[..., 1] = (places[..., 1] + 180) % 360 - 180
    places[np.arange(40)[:, None] % 7 < np.arange(7)] = np.nan
    probability = generator.dirichlet(np.ones(7), 40)
    expected = np.zeros((40, 5))
    for row in range(40):
        for slot in range(7):
            distance = haversine_km(answers[row], places[row, slot])[0]
            expected[row] += [probability[row, slot] if distance <= radius else 0 for radius in RADII_KM]
    assert confidence_within(answers, Candidates(places, probability)) == pytest.approx(expected)


def test_no_answer_is_certainly_wrong_and_no_probability_is_no_statement() -> None:
    places = np.array([[(0.0, 0.0)], [(0.0, 0.0)], [NOWHERE], [(0.0, 0.0)]])
    answers = np.array([(0.0, 0.0), NOWHERE, (0.0, 0.0), (0.0, 0.0)])
    found = confidence_within(
        answers, Candidates(places, np.array([[0.9], [0.9], [np.nan], [np.nan]])), [1.0]
    )
    assert found[:, 0].tolist()[:2] == [0.9, 0.0]
    assert np.isnan(found[2:]).all()
    assert np.isnan(confidence_within(answers, Candidates(places), [1.0])).all()


def test_the_protocol_decides_whether_a_candidate_on_the_circle_is_within() -> None:
    answer, places = np.zeros((1, 2)), np.array([[[0.0, 0.0], [0.1, 0.0]]])
    radius = float(haversine_km(answer, places[:, 1])[0])
    candidates = Candidates(places, np.array([[0.6, 0.4]]))
    for name, expected in (("haversine-6371-le", 1.0), ("haversine-6371-lt", 0.6)):
        found = confidence_within(answer, candidates, [radius], protocol=get_protocol(name))
        assert found[0, 0] == pytest.approx(expected)


def test_answers_and_candidates_of_other_queries_are_refused() -> None:
    with pytest.raises(UsageError, match="row of candidates"):
        confidence_within(np.zeros((2, 2)), Candidates(np.zeros((3, 1, 2)), np.ones((3, 1))))


def test_what_is_stated_goes_before_the_candidates_row_by_row_and_radius_by_radius() -> None:
    """One answer states its probabilities, one does not, one is none; the candidates say 0.4 and 0.7."""
    coordinates = np.array([(0.0, 0.0), (0.0, 0.0), NOWHERE])
    candidates = Candidates(np.tile([(0.0, 0.0), (0.1, 0.0)], (3, 1, 1)), np.tile([0.4, 0.3], (3, 1)))
    within = np.array([[0.1, 0.2, 0.3, 0.5, 0.9], [np.nan] * 5, [0.8] * 5])
    asked = [750.0, 1.0, 100.0]  # the last is not one of the five
    found = stated_within(coordinates, candidates, within, asked)
    assert found == pytest.approx(np.array([[0.5, 0.1, 0.7], [0.7, 0.4, 0.7], [0, 0, 0]]))
    alone_ = stated_within(coordinates, None, within, asked)
    np.testing.assert_array_equal(alone_, [[0.5, 0.1, np.nan], [np.nan] * 3, [0, 0, 0]])
    np.testing.assert_array_equal(
        stated_within(coordinates, candidates, None), confidence_within(coordinates, candidates)
    )


def test_statements_of_other_queries_or_radii_are_refused() -> None:
    for shape in ((3, 5), (2, 4)):
        with pytest.raises(UsageError, match="row of probabilities within 5 radii"):
            stated_within(np.zeros((2, 2)), None, np.zeros(shape))


# Reliability


def test_calibration_errors_are_those_computed_by_hand() -> None:
    """Ten answers called 20 % with 4 right, ten called 80 % with 5 right."""
    found = reliable([0.2] * 10 + [0.8] * 10, [1] * 4 + [0] * 6 + [1] * 5 + [0] * 5)
    assert [one.n for one in found.bins] == [10, 10]
    assert [one.confidence for one in found.bins] == pytest.approx([20, 80])
    assert [one.hit_share.value for one in found.bins] == [40, 50]
    assert found.ece == pytest.approx((20 + 30) / 2)
    assert found.overconfidence.value == pytest.approx(50 - 45)
    squares = 4 * 0.8**2 + 6 * 0.2**2 + 5 * 0.2**2 + 5 * 0.8**2
    assert found.brier.value == pytest.approx(squares / 20)
    assert found.brier_of_base_rate == pytest.approx(0.45 * 0.55)


def test_the_debiased_error_takes_off_the_variance_of_each_bin() -> None:
    """One bin of n independent rows: the squared gap less p (1 - p) / n, up to resampling noise."""
    hit = np.arange(400) < 300
    found = reliable(np.full(400, 0.6), hit)
    assert found.ece == pytest.approx(15)
    variance = 100**2 * 0.75 * 0.25 / 400
    assert found.rms_debiased == pytest.approx(np.sqrt(15**2 - variance), abs=0.1)
    assert reliable(np.full(400, 0.75), hit).rms_debiased == 0


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=60), st.integers(2, 12)
)
def test_bins_ascend_and_never_part_equal_confidences(confidence: list[float], bins: int) -> None:
    codes = equal_mass_bins(np.array(confidence), bins)
    assert sorted(set(codes.tolist())) == list(range(codes.max() + 1))
    assert codes.max() < bins
    for one, first in zip(confidence, codes, strict=True):
        for other, second in zip(confidence, codes, strict=True):
            assert (
                (first == second) if one == other else (first <= second) == (one < other) or first == second
            )


def test_different_confidences_are_parted_into_bins_of_one_size() -> None:
    shuffled = np.random.default_rng(1).permutation(1000) / 1000
    assert np.bincount(equal_mass_bins(shuffled, 10)).tolist() == [100] * 10


def test_the_error_expected_by_chance_is_that_of_calibrated_methods_on_average() -> None:
    generator = np.random.default_rng(2)
    confidence = generator.beta(2, 2, 1500)
    drawn = [reliable(confidence, generator.random(1500) < confidence) for _ in range(20)]
    errors = [one.ece for one in drawn]
    expected = [one.ece_by_chance for one in drawn]
    assert np.mean(expected) == pytest.approx(np.mean(errors), rel=0.15)
    assert sum(not one.calibrated for one in drawn) <= 4
    assert np.mean([one.rms_debiased for one in drawn]) < np.mean(errors)


def test_chance_parts_more_where_photographers_stand_and_fall_together() -> None:
    generator = np.random.default_rng(5)
    confidence = np.repeat(generator.random(100), 10)
    hit = np.repeat(generator.random(100), 10) < confidence
    together = reliable(confidence, hit, cluster([f"{n // 10}" for n in range(1000)], "AUTHOR", 1000))
    assert together.ece_chance_limit > 2 * reliable(confidence, hit).ece_chance_limit
    assert together.calibrated
    assert not reliable(confidence, hit).calibrated


def test_one_photographer_tells_nothing_about_chance() -> None:
    found = reliable(np.full(50, 0.9), np.arange(50) % 2 == 0, cluster(["one"] * 50, "AUTHOR", 50))
    assert found.ece == pytest.approx(40)
    assert (found.ece_by_chance, found.ece_chance_limit, found.rms_debiased) == (None, None, None)
    assert found.calibrated is None
    assert found.overconfidence.low is None


def test_a_bin_of_few_photographers_has_an_exact_interval() -> None:
    confidence = np.repeat([0.1, 0.9], 50)
    authors = [f"{n // 25}" for n in range(50)] + [f"many {n}" for n in range(50)]
    found = reliable(confidence, np.arange(100) % 2 == 0, cluster(authors, "AUTHOR", 100), bins=2)
    few, many = found.bins
    assert (few.effective, many.effective) == (2, 50)
    assert few.hit_share.low is not None
    assert few.hit_share.low < 2  # one hit of two draws: 1.3 to 98.7 %
    assert many.hit_share.low is not None
    assert many.hit_share.low > 30


# Risk and coverage


def test_the_area_under_the_curve_is_that_computed_by_hand() -> None:
    """Hit, miss, hit, miss: risks 0, 1/2, 1/3, 1/2; the best order has 0, 0, 1/3, 1/2."""
    found = ranked([4, 3, 2, 1], [1, 0, 1, 0])
    assert found.aurc.value == pytest.approx(100 * (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.oracle == pytest.approx(100 * (1 / 3 + 1 / 2) / 4)
    assert found.excess.value == pytest.approx(100 * (1 / 2) / 4)
    assert found.unordered == 50
    assert found.risk[24] == 0  # a quarter of the answers
    assert found.risk[49] == pytest.approx(50)
    assert found.risk[99] == pytest.approx(50)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_ties_count_as_the_mean_over_all_their_orders(rows: list[tuple[int, bool]]) -> None:
    areas = []
    for order in permutations(range(len(rows))):
        sorted_hits = [rows[i][1] for i in sorted(order, key=lambda i: -rows[i][0])]
        risks = np.cumsum([not hit for hit in sorted_hits]) / np.arange(1, len(rows) + 1)
        areas.append(100 * risks.mean())
    found = ranked([rank for rank, _ in rows], [hit for _, hit in rows])
    assert found.aurc.value == pytest.approx(np.mean(areas))


def test_one_confidence_for_all_is_no_order_and_the_best_order_has_no_excess() -> None:
    hit = np.arange(50) % 3 == 0
    level = ranked(np.zeros(50), hit)
    assert level.aurc.value == pytest.approx(level.unordered)
    assert level.risk == pytest.approx([level.unordered] * 100)
    assert ranked(hit, hit).excess.value == pytest.approx(0)


def test_the_interval_is_that_of_a_plain_bootstrap_of_photographers() -> None:
    generator = np.random.default_rng(4)
    rank = generator.random(120).round(1)
    hit = generator.random(120) < rank
    clusters = cluster([f"{n // 4}" for n in range(120)], "AUTHOR", 120)
    (found,) = risk_coverage(rank, hit[:, None], clusters, [25.0], resamples=400, seed=0)
    areas = []
    for _ in range(400):
        rows = np.concatenate([np.arange(4) + 4 * c for c in generator.integers(30, size=30)])
        areas.append(ranked_once(rank[rows], hit[rows]))
    low, high = np.percentile(areas, [2.5, 97.5])
    assert found.aurc.low == pytest.approx(low, abs=2.5)
    assert found.aurc.high == pytest.approx(high, abs=2.5)


def ranked_once(rank: Floats, hit: NDArray[np.bool_]) -> float:
    """The area with ties averaged, block by block."""
    total, before, missed = 0.0, 0, 0.0
    for value in np.unique(rank)[::-1]:
        misses, size = (~hit[rank == value]).sum(), (rank == value).sum()
        for place in range(1, size + 1):
            total += (missed + place * misses / size) / (before + place)
        before, missed = before + size, missed + misses
    return 100 * total / len(rank)


# Rows of a run


def answers(**columns: Any) -> pd.DataFrame:
    n = len(columns["confidence"])
    given = {"latitude": 0.0, "longitude": 0.0, "predicted_longitude": 0.0, "author": None, **columns}
    return pd.DataFrame({"id": [f"p{row}" for row in range(n)], **given})


def test_failures_come_last_and_are_misses_of_confidence_0() -> None:
    """The first answer is right, the second wrong; the third is a failure whatever it says."""
    frame = answers(predicted_latitude=[0.0, 60.0, np.nan], confidence=[-5.0, -9.0, np.nan])
    candidates = Candidates(
        np.array([[(0.0, 0.0)], [(60.0, 0.0)], [NOWHERE]]), np.array([[0.7], [0.6], [np.nan]])
    )
    found = calibrate_answers(frame, candidates, get_protocol("wgs84-lt"), radii_km=[25.0], resamples=100)
    (risk,), (reliable_one,) = found.risk, found.reliability
    assert risk.aurc.value == pytest.approx(100 * (0 + 1 / 2 + 2 / 3) / 3)
    assert [one.confidence for one in reliable_one.bins] == pytest.approx([0, 60, 70])
    assert [one.hit_share.value for one in reliable_one.bins] == [0, 0, 100]
    assert found.notes == ()


def test_calibration_measures_what_is_stated_not_what_the_candidates_say() -> None:
    """A hit, a miss and a failure; 25 km is stated with 0.9 and 0.6, the candidates say 0.3 and 0.3."""
    frame = answers(predicted_latitude=[0.0, 60.0, np.nan], confidence=[2.0, 1.0, np.nan])
    candidates = Candidates(np.array([[(0.0, 0.0)], [(60.0, 0.0)], [NOWHERE]]), np.array([[0.3], [0.3], [0]]))
    within = np.array([[0.5, 0.9, 0.9, 0.9, 1.0], [0.5, 0.6, 0.6, 0.7, 0.8], [np.nan] * 5])

    def overconfidence(within: Floats | None, candidates: Candidates | None = candidates) -> list[Any]:
        found = calibrate_answers(
            frame, candidates, get_protocol("wgs84-lt"), within=within, radii_km=[25.0, 100.0], resamples=100
        )
        return [one.overconfidence.value for one in found.reliability]

    derived = 100 * ((0.3 + 0.3) / 3 - 1 / 3)
    assert overconfidence(None) == pytest.approx([derived, derived])
    assert overconfidence(within) == pytest.approx([100 * ((0.9 + 0.6) / 3 - 1 / 3), derived])
    partly = np.where([[True], [False], [False]], within, np.nan)
    assert overconfidence(partly) == pytest.approx([100 * ((0.9 + 0.3) / 3 - 1 / 3), derived])
    assert overconfidence(within, None) == []  # nothing is known of 100 km


def test_statements_alone_are_enough_for_reliability_and_for_an_order() -> None:
    frame = answers(predicted_latitude=[0.0, 60.0, np.nan], confidence=[np.nan] * 3)
    within = np.array([[0.5, 0.9, 0.9, 0.9, 1.0], [0.25, 0.6, 0.6, 0.7, 0.8], [np.nan] * 5])
    found = calibrate_answers(frame, None, get_protocol("wgs84-lt"), within=within, resamples=100)
    assert found.ranking == "probability within the radius"
    assert [one.excess.value for one in found.risk] == pytest.approx([0] * 5)
    assert [one.n for one in found.reliability] == [3] * 5
    gaps = 100 * (np.array([0.75, 1.5, 1.5, 1.6, 1.8]) - 1) / 3
    assert [one.overconfidence.value for one in found.reliability] == pytest.approx(gaps)


def test_without_confidence_the_probabilities_rank() -> None:
    frame = answers(predicted_latitude=[0.0, 60.0], confidence=[np.nan, np.nan])
    candidates = Candidates(np.array([[(0.0, 0.0)], [(60.0, 0.0)]]), np.array([[0.7], [0.6]]))
    found = calibrate_answers(frame, candidates, get_protocol("wgs84-lt"), resamples=100)
    assert found.ranking == "probability within the radius"
    assert [one.excess.value for one in found.risk] == pytest.approx([0] * 5)


def test_a_run_that_states_nothing_has_nothing_to_be_measured() -> None:
    frame = answers(predicted_latitude=[0.0, 60.0], confidence=[np.nan, np.nan])
    with pytest.raises(DataError, match="neither a confidence nor probabilities"):
        calibrate_answers(frame, None, get_protocol("wgs84-lt"))


# As a user: stored runs of methods that are calibrated, and that are not

PLUGIN = '''
"""Every photo was taken at (0, 0). A method is right with a probability it draws, and states another."""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pinpoint_harness import MethodInfo, Predictions, hookimpl
from pinpoint_harness.params import param
from pinpoint_harness.types import Candidates, DatasetInfo


class Origin:
    info = DatasetInfo(title="Photos of one place", source="", licence="", cluster_column="OWNER")

    def __init__(self, location):
        pass

    def truth(self):
        number = np.arange(2000)
        return pd.DataFrame({
            "id": [f"p{n}" for n in number], "image": [f"p{n}" for n in number], "latitude": 0.0,
            "longitude": 0.0, "author": [f"owner {n // 4}" for n in number], "source": "photos",
        })


@dataclass(frozen=True)
class Params:
    power: float = param(1.0, "of the probability it states", minimum=0)
    candidates: bool = param(True, "whether it states any")
    failures: bool = param(False, "whether it fails where it is least likely right")
    within: bool = param(False, "whether it states its true probability for every radius")


class Guess:
    Params = Params
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        self.params = params

    def predict(self, queries):
        drawn = np.array([np.random.default_rng(int(key)).random(2) for key in queries.key])
        true, stated = drawn[:, 0], drawn[:, 0] ** self.params.power
        right, wrong = np.zeros((len(true), 2)), np.tile([60.0, 60.0], (len(true), 1))
        hit = (drawn[:, 1] < true)[:, None]
        answer, other = np.where(hit, right, wrong), np.where(hit, wrong, right)
        if self.params.failures:
            answer[true < 0.2] = np.nan
        candidates = Candidates(np.stack([answer, other], axis=1), np.stack([stated, 1 - stated], axis=1))
        if self.params.failures:
            candidates = Candidates(np.where(np.isnan(answer)[:, None], np.nan, candidates.coordinates),
                                    candidates.probability)
        return Predictions(answer, confidence=stated,
                           candidates=candidates if self.params.candidates else None,
                           within=np.tile(true[:, None], 5) if self.params.within else None)


@hookimpl
def pinpoint_register(register):
    register.dataset("origin", f"{__name__}:Origin", Origin.info)
    register.method("guess", f"{__name__}:Guess", MethodInfo(title="As right as it likes"))
'''


@pytest.fixture(autouse=True)
def plugin(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "guess.py"
    file.write_text(PLUGIN)
    monkeypatch.setenv("PINPOINT_PLUGINS", str(file))


def pinpoint(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(words), prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result


def calibration_of(*parameters: str) -> Any:
    settings_ = [word for one in parameters for word in ("--set", one)]
    folder = pinpoint("run", "guess", "origin", *settings_, "--quiet").stdout.strip()
    return json.loads(pinpoint("runs", "calibration", folder, "--radii", "25,750", "--json").stdout)


def test_a_calibrated_method_comes_out_as_calibrated() -> None:
    found = calibration_of()
    assert found["dataset"] == "origin"
    for one in found["reliability"]:
        assert one["ece"] <= one["ece_chance_limit"]
        assert one["rms_debiased"] < 2.5
        assert one["overconfidence"]["low"] < 0 < one["overconfidence"]["high"]
        assert one["brier"]["value"] == pytest.approx(1 / 6, abs=0.02)  # mean of p (1 - p), p uniform
        inside = [b["hit_share"]["low"] <= b["confidence"] <= b["hit_share"]["high"] for b in one["bins"]]
        assert sum(inside) >= 8
    assert found["clusters"].startswith("500 clusters by OWNER")


def test_an_overconfident_method_comes_out_as_such_and_by_how_much() -> None:
    """It states the square root of its probability: mean 2/3 instead of 1/2, 16.7 points too sure."""
    for one in calibration_of("power=0.5")["reliability"]:
        assert one["ece"] > 5 * one["ece_by_chance"]
        assert one["ece"] > one["ece_chance_limit"]
        assert one["overconfidence"]["low"] < 100 / 6 < one["overconfidence"]["high"]
        # E (sqrt(p) - p)^2 = 1/2 - 4/5 + 1/3
        assert one["rms_debiased"] == pytest.approx(100 * np.sqrt(1 / 30), abs=2)


def test_a_stored_run_is_measured_by_what_it_states_of_the_radii() -> None:
    """The candidates of all three state the square root of what is true, which two state themselves."""
    derived = calibration_of("power=0.5")
    for more in ((), ("candidates=false",), ("failures=true",)):
        stated = calibration_of("power=0.5", "within=true", *more)
        for before, after in zip(derived["reliability"], stated["reliability"], strict=True):
            assert before["overconfidence"]["low"] > 10
            assert after["overconfidence"]["low"] < 0 < after["overconfidence"]["high"]
            assert after["n"] == 2000


def test_a_wrong_scale_leaves_the_order_as_good_as_it_was() -> None:
    areas = [calibration_of(f"power={power}")["risk"][0]["aurc"]["value"] for power in (1, 0.5)]
    assert areas[0] == pytest.approx(areas[1])
    assert areas[0] < 40  # of 50 without an order


def test_failures_stand_in_the_denominator() -> None:
    found = calibration_of("failures=true")
    lowest = found["reliability"][0]["bins"][0]
    assert (lowest["confidence"], lowest["hit_share"]["value"]) == (0, 0)
    assert lowest["n"] == pytest.approx(400, abs=60)
    assert found["reliability"][0]["n"] == found["rows"] == 2000


def test_a_run_without_probabilities_has_its_risk_and_is_told_why_that_is_all(tmp_path: Path) -> None:
    pinpoint("run", "guess", "origin", "--set", "candidates=false", "--quiet")
    plot = tmp_path / "plot.png"
    text = pinpoint("runs", "calibration", "guess@origin", "--plot", str(plot)).stdout
    assert "no candidates with probabilities: reliability cannot be measured" in text
    assert "AURC" in text
    assert "ECE" not in text
    with Image.open(plot) as picture:
        assert picture.width > 3 * picture.height  # one row of panels


def test_the_text_holds_every_radius_and_the_plot_is_a_picture(tmp_path: Path) -> None:
    pinpoint("run", "guess", "origin", "--quiet")
    plot = tmp_path / "plot.png"
    text = pinpoint("runs", "calibration", "guess@origin", "--plot", str(plot), "--bins", "4").stdout
    for words in (
        "within 1 km",
        "within 2500 km",
        "over-confident by",
        "by chance",
        "wgs84-lt, 2,000 photos",
    ):
        assert words in text
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 500


def test_a_method_without_confidence_is_an_error_that_says_what_to_return() -> None:
    pinpoint("run", "constant", "origin", "--set", "latitude=1", "--set", "longitude=2", "--quiet")
    error = pinpoint("runs", "calibration", "constant@origin", code=2).stderr
    assert "neither a confidence nor probabilities" in error
    assert "`confidence`" in error
