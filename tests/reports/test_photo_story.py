"""What a run says of one photo, of its worst answers, and of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.geo import geodesic_km
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.reports.photo_story import tell
from pinpoint_harness.running import Run, most_probable_first
from pinpoint_harness.types import Candidates

PLUGIN = '''
"""A method whose three candidates do not stand by probability; one query gets no answer."""
import numpy as np

from pinpoint_harness import Candidates, MethodInfo, Predictions, hookimpl

PLACES = np.array([(10.0, 20.0), (48.0, 2.0), (0.0, 0.0)])


class Unsorted:
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        pass

    def predict(self, queries):
        n = len(queries)
        places = np.tile(PLACES, (n, 1, 1))
        probability = np.tile([0.2, 0.5, 0.1], (n, 1))
        answers = np.tile(PLACES[0], (n, 1))
        answers[queries.key.argmin()] = np.nan
        named = {"source": np.full((n, 3), "shelf"), "photo_id": np.tile(["a", "b", "c"], (n, 1))}
        named["found_by"] = np.tile(["image 2", "", "raw 1"], (n, 1))
        named["score"] = np.tile([7.5, -1.25, 0.0], (n, 1))
        within = np.tile([0.1, 0.2, 0.2, 0.3, 0.4], (n, 1))
        return Predictions(answers, np.full(n, 0.7), Candidates(places, probability, **named), within=within)


@hookimpl
def pinpoint_register(register):
    register.method("unsorted", f"{__name__}:Unsorted", MethodInfo(title="Unsorted"))
'''

TRUTH = {"q0": (10.0, 20.5), "q1": (-17.0, 179.9), "q2": (48.0, 2.0)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    rows = [f"{name},{latitude},{longitude}" for name, (latitude, longitude) in TRUTH.items()]
    (folder / "truth.csv").write_text("\n".join(["id,latitude,longitude", *rows]) + "\n")
    (folder / "plugin.py").write_text(PLUGIN)
    registry = load_registry([str(folder / "plugin.py")])
    evaluate("unsorted", "table", data=folder / "truth.csv", registry=registry, home=folder)
    evaluate(
        "constant",
        "table",
        data=folder / "truth.csv",
        parameters={"latitude": 1, "longitude": 1},
        home=folder,
    )
    return folder


def pinpoint(home: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["--home", str(home), *words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def run_of(home: Path, label: str) -> Run:
    (manifest,) = (home / "runs" / "table" / label).glob("*/manifest.json")
    return Run(manifest.parent)


def test_a_story_has_every_candidate_by_probability_and_its_distances(home: Path) -> None:
    run = run_of(home, "unsorted")
    answered = [tell(run, name) for name in TRUTH if tell(run, name).answer]
    assert len(answered) == 2
    story = answered[0]
    assert [(one.photo_id, one.rank, one.given_rank, one.probability) for one in story.candidates] == [
        ("b", 1, 2, 0.5), ("a", 2, 1, 0.2), ("c", 3, 3, 0.1),
    ]  # fmt: skip
    to_truth = geodesic_km(np.array([story.truth]), np.array([(48.0, 2.0)]))[0]
    assert story.candidates[0].to_truth_km == pytest.approx(to_truth)
    assert [(one.score, one.found_by) for one in story.candidates] == [
        (-1.25, None), (7.5, "image 2"), (0.0, "raw 1"),
    ]  # fmt: skip
    assert story.candidates[1].to_answer_km == pytest.approx(0)
    assert story.candidates[1].to_truth_km == pytest.approx(story.error_km)
    assert story.within == {1: 0.1, 25: 0.2, 200: 0.2, 750: 0.3, 2500: 0.4}
    assert story.nearest() == min(story.candidates, key=lambda one: one.to_truth_km)
    errors = sorted(one.error_km or 0 for one in answered)
    assert [one.standing for one in sorted(answered, key=lambda one: one.error_km or 0)] == pytest.approx(
        [0, 1 / 3]
    )
    assert errors[0] < errors[1]


def test_a_photo_without_an_answer_still_has_its_candidates(home: Path) -> None:
    run = run_of(home, "unsorted")
    (silent,) = [tell(run, name) for name in TRUTH if tell(run, name).answer is None]
    assert (silent.status, silent.error_km, silent.standing) == ("no prediction", None, None)
    assert all(one.to_answer_km is None for one in silent.candidates)


def test_the_command_prints_the_story_and_draws_the_sheet(home: Path, tmp_path: Path) -> None:
    words = ["runs", "explain", "unsorted@table"]
    name = next(name for name in TRUTH if tell(run_of(home, "unsorted"), name).answer)
    shown = pinpoint(home, *words, name, "-n", "2", "--sheet", str(tmp_path / "sheet.pdf"))
    assert "shelf b" in shown
    assert "image 2" in shown
    assert "-1.25" in shown
    assert "shelf c" not in shown
    assert "and 1 more" in shown
    assert "20% within 25 km" in shown
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    told: dict[str, Any] = json.loads(pinpoint(home, *words, name, "--json"))
    assert told["candidates"][0]["probability"] == 0.5
    assert told["within"]["25"] == 0.2
    assert "no photo 'q7'" in pinpoint(home, *words, "q7", code=2)
    assert "stored no candidates" in pinpoint(home, "runs", "explain", "constant@table", "q0")


def test_the_worst_answers_are_numbers_in_json_and_words_in_text(home: Path) -> None:
    rows = json.loads(pinpoint(home, "runs", "worst", "unsorted@table", "--json"))
    assert [type(value) for value in rows[-1].values()] == [str, float, float, float, float, float, str]
    assert rows[0]["predicted_latitude"] is None
    assert rows[1]["error_km"] > rows[2]["error_km"]
    assert "10.0000, 20.0000" in pinpoint(home, "runs", "worst", "unsorted@table")


def test_what_a_run_was_asked_is_shown(home: Path) -> None:
    shown = pinpoint(home, "runs", "show", "constant@table")
    for words in ("latitude=1.0, longitude=1.0", "all 3", "pinpoint run constant table", "cpu"):
        assert words in shown
    asked = json.loads(pinpoint(home, "runs", "show", "constant@table", "--json"))["asked"]
    assert asked["parameters"] == {"latitude": 1, "longitude": 1}


def test_runs_are_listed_with_their_scores_in_the_order_asked_for(home: Path) -> None:
    pinpoint(home, "score", "constant@table")
    pinpoint(home, "score", "unsorted@table")
    rows = json.loads(pinpoint(home, "runs", "list", "--sort", "geoscore", "--json"))
    assert {row["method"] for row in rows} == {"unsorted", "constant (latitude=1.0, longitude=1.0)"}
    assert rows[0]["geoscore"] > rows[1]["geoscore"] > 0
    newest = json.loads(pinpoint(home, "runs", "list", "--sort", "finished", "--json"))
    assert [row["finished"] for row in newest] == sorted((row["finished"] for row in rows), reverse=True)
    text = pinpoint(home, "runs", "list")
    assert "latitude" not in text  # one row of its label needs no parameters
    assert f"{rows[0]['geoscore']:.0f}" in text


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6))
def test_candidates_by_probability_are_sorted_and_equal_ones_stay(shares: list[float | None]) -> None:
    count = len(shares)
    probability = np.array([[np.nan if share is None else share for share in shares]])
    places = np.arange(2.0 * count).reshape(1, count, 2)
    ids = np.array([[str(number) for number in range(count)]])
    found, order = most_probable_first(Candidates(places, probability, photo_id=ids))
    expected = sorted(range(count), key=lambda at: (shares[at] is None, -(shares[at] or 0)))
    assert order.tolist() == [expected]
    assert found.photo_id is not None
    assert found.photo_id[0].tolist() == [str(at) for at in expected]
    assert found.coordinates[0].tolist() == places[0][expected].tolist()
    unknown, kept = most_probable_first(Candidates(places))
    assert unknown.coordinates.tolist() == places.tolist()
    assert kept.tolist() == [list(range(count))]
