"""Scoring: hand-computed cells, misses in every denominator, a second figure over what was present."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pinpoint_harness.api import evaluate, score
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, HarnessError
from pinpoint_harness.evaluation import Scores, get_protocol, score_frame, score_run
from pinpoint_harness.photo_ids import rows_sha256
from pinpoint_harness.running import Run

KM_PER_DEGREE = 6371 * np.pi / 180
SPHERE = get_protocol("haversine-6371-le")


def frame(
    errors_km: list[float], status: list[str] | None = None, author: list[Any] | None = None
) -> pd.DataFrame:
    """Truth at (0, 0), answers due north at the given distances on the sphere."""
    n = len(errors_km)
    status = status or ["ok"] * n
    answered = [word == "ok" for word in status]
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "latitude": 0.0,
            "longitude": 0.0,
            "predicted_latitude": np.where(answered, np.array(errors_km) / KM_PER_DEGREE, np.nan),
            "predicted_longitude": np.where(answered, 0.0, np.nan),
            "status": status,
            "author": author or [None] * n,
        }
    )


def test_each_radius_counts_the_rows_within_it() -> None:
    scores = score_frame(frame([0.5, 10, 100, 500, 2000, 9000]), SPHERE)
    values = {name: item.value for name, item in scores.estimates.items()}
    assert values["acc_1km"] == pytest.approx(100 / 6)
    assert values["acc_25km"] == pytest.approx(200 / 6)
    assert values["acc_200km"] == pytest.approx(300 / 6)
    assert values["acc_750km"] == pytest.approx(400 / 6)
    assert values["acc_2500km"] == pytest.approx(500 / 6)
    assert values["median_km"] == pytest.approx(300)
    assert values["mean_km"] == pytest.approx((0.5 + 10 + 100 + 500 + 2000 + 9000) / 6)


def test_misses_stay_in_the_denominator_and_are_counted() -> None:
    status = ["ok", "missing", "unreadable: truncated", "no prediction", "invalid coordinate"]
    scores = score_frame(frame([0.5] * 5, status), SPHERE)
    assert scores.estimates["acc_2500km"].value == pytest.approx(20)
    assert scores.estimates["acc_2500km"].n == 5
    assert scores.estimates["mean_km"].n == 1
    assert scores.estimates["median_km"].value is None
    assert scores.counts == {
        "total": 5,
        "ok": 1,
        "missing": 1,
        "unreadable": 1,
        "no prediction": 1,
        "invalid coordinate": 1,
    }


def test_the_second_figure_is_over_the_photos_that_were_there() -> None:
    status = ["ok", "missing", "unreadable: zero bytes", "no prediction"]
    scores = score_frame(frame([0.5] * 4, status), SPHERE)
    assert scores.present is not None
    assert scores.present["acc_1km"].value == pytest.approx(50)
    assert scores.present_rows == 2
    assert scores.present_ids_sha256 == rows_sha256(["p0", "p3"])


def test_there_is_no_second_figure_when_nothing_was_missing() -> None:
    assert score_frame(frame([0.5, 3.0]), SPHERE).present is None


def test_a_row_exactly_on_the_radius_is_a_hit_only_where_the_protocol_says_so() -> None:
    on_the_radius = frame([25.0])
    on_the_radius["predicted_latitude"] = np.degrees(25.0 / 6371.0)
    distance = SPHERE.distance_km(
        on_the_radius[["latitude", "longitude"]].to_numpy(),
        on_the_radius[["predicted_latitude", "predicted_longitude"]].to_numpy(),
    )[0]
    inclusive = score_frame(on_the_radius, SPHERE, radii_km=[distance])
    strict = score_frame(on_the_radius, get_protocol("haversine-6371-lt"), radii_km=[distance])
    assert next(iter(inclusive.estimates.values())).value == 100
    assert next(iter(strict.estimates.values())).value == 0


def test_the_line_on_clusters_says_which_column_and_how_many() -> None:
    scores = score_frame(frame([1.0] * 4, author=["a", "a", "a", "b"]), SPHERE, cluster_column="AUTHOR")
    assert scores.clusters == "2 clusters by AUTHOR, 1.6 effective"
    assert "unclustered" in score_frame(frame([1.0] * 4), SPHERE).clusters


def test_scores_survive_json(tmp_path: Path) -> None:
    status = ["ok", "missing", "ok"]
    scores = score_frame(frame([0.5, 0.5, 3000.0], status), SPHERE)
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores


def test_tables_are_joined_by_id_and_never_by_position() -> None:
    truth = pd.DataFrame({"id": ["a", "b", "c"], "latitude": [0.0, 10.0, 20.0], "longitude": 0.0})
    answers = pd.DataFrame({"id": ["c", "a"], "latitude": [20.0, 0.0], "longitude": 0.0})
    scores = score(answers, truth)
    assert scores.estimates["acc_1km"].value == pytest.approx(200 / 3)
    assert scores.counts["missing"] == 1


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (pd.DataFrame({"id": ["a", "a"], "latitude": 0.0, "longitude": 0.0}), "more than once"),
        (pd.DataFrame({"id": ["a"], "latitude": 0.0}), "no columns of answers"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(answers: pd.DataFrame, problem: str) -> None:
    truth = pd.DataFrame({"id": ["a"], "latitude": [0.0], "longitude": [0.0]})
    with pytest.raises(HarnessError, match=problem):
        score(answers, truth)


def test_an_answer_off_the_globe_in_a_table_is_an_invalid_coordinate() -> None:
    ids = ["a", "b", "c", "d"]
    truth = pd.DataFrame({"id": ids, "latitude": 1.0, "longitude": 0.0})
    answers = pd.DataFrame(
        {"id": ids, "latitude": [95.0, 0.0, 1.0, 1.0], "longitude": [170.0, np.nan, 0.5, 0.5]}
    )
    counts = score(answers, truth).counts
    assert (counts["invalid coordinate"], counts["ok"]) == (2, 2)


def world(rows: int = 40) -> pd.DataFrame:
    """Places all over the globe, one of them 100 km off in `answers` made of it."""
    generator = np.random.default_rng(1)
    ids = [str(1207955469639614 + row) for row in range(rows)]
    places = {"latitude": generator.uniform(-60, 70, rows), "longitude": generator.uniform(-179, 179, rows)}
    return pd.DataFrame({"id": ids, **places})


def near(truth: pd.DataFrame) -> pd.DataFrame:
    return truth.assign(latitude=truth["latitude"] + 0.5)


@pytest.mark.parametrize(
    "spell",
    [
        lambda answers: answers.assign(id=answers["id"] + ".jpg"),
        lambda answers: answers.assign(id=answers["id"].astype(int)),
        lambda answers: answers.assign(id="img/" + answers["id"]).rename(columns={"id": "image"}),
        lambda answers: answers.assign(
            latitude=answers["latitude"].map("{:.9f}".format).str.replace(".", ",")
        ),
        lambda answers: pd.DataFrame(
            {"id": answers["id"], "prediction": answers[["latitude", "longitude"]].to_numpy().tolist()}
        ),
        lambda answers: answers.assign(longitude=answers["longitude"] % 360),
    ],
    ids=["extension", "int ids", "paths", "decimal commas", "pairs", "0 to 360"],
)
def test_a_table_of_python_is_understood_as_a_file_is(spell: Any) -> None:
    truth = world()
    expected = score(near(truth), truth)
    assert expected.estimates["acc_200km"].value == 100
    assert score(spell(near(truth)), truth).estimates["acc_200km"] == expected.estimates["acc_200km"]


def test_a_truth_of_python_may_have_ids_that_are_numbers() -> None:
    truth = world()
    assert score(near(truth), truth.assign(id=truth["id"].astype(int))).estimates["acc_200km"].value == 100


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda answers: answers.assign(**np.radians(answers[["latitude", "longitude"]])), 'units="radians"'),
        (
            lambda answers: answers.rename(columns={"latitude": "longitude", "longitude": "latitude"}),
            'columns={"latitude": "longitude", "longitude": "latitude"}',
        ),
        (lambda answers: answers.assign(longitude=-answers["longitude"]), "sign of the longitudes turned"),
        (lambda answers: answers.assign(latitude=answers["latitude"] * 1e7), "not understood"),
        (lambda answers: answers.assign(id="x" + answers["id"]), "belongs to a photo"),
    ],
    ids=["radians", "exchanged", "sign", "scaled", "other ids"],
)
def test_a_table_of_python_that_a_file_would_be_refused_for_is_refused(spoil: Any, words: str) -> None:
    truth = world()
    with pytest.raises(HarnessError) as caught:
        score(spoil(near(truth)), truth)
    assert words in str(caught.value)


def test_the_truth_of_python_is_checked_too() -> None:
    truth = world()
    radians = truth.assign(**np.radians(truth[["latitude", "longitude"]]))
    with pytest.raises(HarnessError, match=r"^the truth table: 40 of 40 coordinates look like radians"):
        score(near(truth), radians)
    with pytest.raises(HarnessError, match="no column for: longitude"):
        score(near(truth), truth.drop(columns="longitude"))


def test_fixes_for_python_work_as_printed() -> None:
    truth = world()
    exchanged = near(truth).rename(columns={"latitude": "longitude", "longitude": "latitude"})
    columns = {"latitude": "longitude", "longitude": "latitude"}
    assert score(exchanged, truth, columns=columns).estimates["acc_200km"].value == 100
    radians = near(truth).assign(**np.radians(near(truth)[["latitude", "longitude"]]))
    assert score(radians, truth, units="radians").estimates["acc_200km"].value == pytest.approx(100)


def capitals_run(home: Path) -> Run:
    return evaluate("constant", "capitals", home=home, parameters={"latitude": 48.9, "longitude": 2.3})


def test_a_stored_score_is_not_given_for_answers_that_were_changed(tmp_path: Path) -> None:
    run = capitals_run(tmp_path)
    score_run(run, "wgs84-lt")
    predictions = run.folder / "predictions.parquet"
    data = bytearray(predictions.read_bytes())
    data[len(data) // 2] ^= 1
    predictions.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"damaged[\s\S]*predictions.parquet is changed"):
        score_run(Run(run.folder), "wgs84-lt")


def test_a_stored_score_that_was_changed_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = capitals_run(tmp_path)
    expected = score_run(run, "wgs84-lt")
    path = run.folder / "scores" / "wgs84-lt.json"
    stored = json.loads(path.read_bytes())
    stored["estimates"]["acc_1km"]["value"] = 99.0
    path.write_text(json.dumps(stored))
    assert score_run(run, "wgs84-lt") == expected
    assert "wgs84-lt.json' is changed" in caplog.text
    path.write_text("no json")
    assert score_run(run, "wgs84-lt") == expected


def test_other_place_names_are_another_score(tmp_path: Path) -> None:
    pytest.importorskip("reverse_geocoder")
    run = capitals_run(tmp_path)
    ids = run.predictions()["id"]
    names = {"country": "FR", "region": "Ile-de-France", "sub-region": "Paris", "city": "Paris"}
    french = pd.DataFrame({"id": ids, **names})
    elsewhere = french.assign(country="DE")
    values = [
        score_run(run, "admin-labelled", truth=lambda truth=truth: truth).estimates["acc_country"].value
        for truth in (french, elsewhere, french)
    ]
    assert values == [100, 0, 100]


def test_the_score_of_a_run_that_cannot_be_written_to_lies_below_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinpoint_harness.evaluation import score_files

    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    words = ["run", "constant", "capitals", "--set", "latitude=1", "--set", "longitude=2"]
    assert CliRunner().invoke(cli, [*words, "--home", str(theirs)]).exit_code == 0
    (run,) = theirs.glob("runs/*/*/*")
    write = score_files.write_atomic

    def refuses(path: Path, data: bytes) -> object:
        if path.is_relative_to(theirs):
            raise ArtifactError(f"cannot write '{path}'", found="Read-only file system")
        return write(path, data)

    monkeypatch.setattr(score_files, "write_atomic", refuses)
    asked = ["score", str(run), "--protocol", "haversine-6371-le", "--home", str(mine)]
    first = CliRunner().invoke(cli, asked)
    assert first.exit_code == 0, first.stderr
    (stored,) = mine.glob("scores/capitals/constant/*/haversine-6371-le.json")
    assert not (run / "scores" / stored.name).exists()
    before = stored.stat().st_mtime_ns
    assert CliRunner().invoke(cli, asked).stdout == first.stdout
    assert stored.stat().st_mtime_ns == before
