"""Stored answers: joined by id whatever the order and spelling, nothing lost in silence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness import params
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.running import check_predictions, statuses
from pinpoint_harness.types import Context, Method, Predictions, Queries
from pinpoint_methods.stored.predictions import StoredPredictions

NAN = float("nan")
IMAGES = [
    "104123223_7410c654ba_19_19355699@N00.jpg",
    "Paris_00011_71800567_f579201d15_35_18684820@N00.jpg",
    "97344248_30a4521091_32_77325609@N00.jpg",
]


def queries_of(images: list[str], ids: list[str] | None = None) -> Queries:
    names = pd.DataFrame({"id": ids or images, "image": images}, dtype="str")
    names[["latitude", "longitude"]] = NAN  # nothing to compare answers with
    key = np.arange(len(names), dtype=np.uint64)
    return Queries(key=key, author_token=key, source=["photos"] * len(names), input=names)


def built(path: Path, **given: Any) -> Method:
    values = params.build(StoredPredictions.Params, {"file": str(path), **given}, "stored-predictions")
    method: Method = StoredPredictions(values, Context())
    return method


def asked(path: Path, images: list[str], ids: list[str] | None = None, **given: Any) -> Predictions:
    answer = built(path, **given).predict(queries_of(images, ids))
    check_predictions(answer, len(images))
    return answer


def table(folder: Path, rows: Mapping[str, tuple[object, object]]) -> Path:
    path = folder / "answers.csv"
    lines = [
        "id,latitude,longitude",
        *(f"{name},{latitude},{longitude}" for name, (latitude, longitude) in rows.items()),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_answers_are_joined_by_id_not_by_position(tmp_path: Path) -> None:
    path = table(tmp_path, {name: (row, -row) for row, name in reversed(list(enumerate(IMAGES, 1)))})
    answer = asked(path, IMAGES)
    np.testing.assert_array_equal(answer.coordinates, [(1, -1), (2, -2), (3, -3)])
    assert statuses(answer) == ["ok"] * 3
    assert answer.notes == ("3 answers read from columns 'latitude' and 'longitude' of answers.csv",)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(12)),
    answered=st.lists(st.booleans(), min_size=12, max_size=12).filter(any),
)
def test_any_order_and_any_gap_gives_every_photo_its_own_answer(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], answered: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("answers")
    path = table(folder, {f"{row}.jpg": (row, 100 + row) for row in order if answered[row]})
    answer = asked(path, [f"{row}.jpg" for row in range(12)])
    for row in range(12):
        expected = (row, 100 + row) if answered[row] else (NAN, NAN)
        np.testing.assert_array_equal(answer.coordinates[row], expected)
        assert statuses(answer)[row] == ("ok" if answered[row] else "missing")


def test_other_spellings_of_a_name_are_the_same_photo(tmp_path: Path) -> None:
    rows = {"104123223_7410c654ba_19_19355699@N00": (1, 2), "aa_bb_97344248.jpg": (3, 4), "71800567": (5, 6)}
    images = ["img/104123223_7410c654ba_19_19355699@N00.jpg", "aa/bb/97344248.jpg", IMAGES[1]]
    np.testing.assert_array_equal(asked(table(tmp_path, rows), images).coordinates, [(1, 2), (3, 4), (5, 6)])


def test_the_canonical_id_joins_what_the_truths_spelling_does_not(tmp_path: Path) -> None:
    path = table(tmp_path, {"second": (3, 4), "one.jpg": (1, 2)})
    answer = asked(path, ["one.jpg", "two.jpg"], ids=["first", "second"])
    np.testing.assert_array_equal(answer.coordinates, [(1, 2), (3, 4)])


def test_one_answer_for_two_photos_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, {"one.jpg": (1, 2)})
    with pytest.raises(DataError, match=r"'one\.jpg' belongs to several photos\n.*one\.jpg, two\.jpg"):
        asked(path, ["one.jpg", "two.jpg"], ids=["first", "one.jpg"])


def test_photos_without_an_answer_and_answers_without_a_photo_are_counted(tmp_path: Path) -> None:
    path = table(
        tmp_path, {"a.jpg": (1, 2), "b.jpg": ("", ""), "c.jpg": (95, 120), "x.jpg": (3, 4), "y.jpg": (5, 6)}
    )
    answer = asked(path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert statuses(answer) == ["ok", "no prediction", "invalid coordinate", "missing"]
    np.testing.assert_array_equal(answer.coordinates[0], (1, 2))
    assert np.isnan(answer.coordinates[1:]).all()
    assert answer.notes[1:] == (
        "1 of 5 answers are null: no prediction",
        "1 of 5 answers are no place on Earth: invalid coordinate",
        "2 of 5 answers match no row of the truth",
    )


def test_confidence_goes_with_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("id,lat,lon,score\nb.jpg,3,4,0.25\na.jpg,1,2,0.75\n")
    answer = asked(path, ["a.jpg", "b.jpg", "c.jpg"], confidence_column="score")
    np.testing.assert_array_equal(answer.confidence, [0.75, 0.25, NAN])


def test_a_file_of_another_dataset_is_refused_with_an_id_of_each_side(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ids like '12345\.jpg', the dataset's like '104123223_"):
        asked(table(tmp_path, {"12345.jpg": (1, 2)}), IMAGES)


def test_parameters_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("name,run,north,east\na.jpg,one,0.5,1\na.jpg,two,0.25,0.75\n")
    names: dict[str, Any] = {
        "id_column": "name",
        "latitude_column": "north",
        "longitude_column": "east",
        "select_column": "run",
    }
    answer = asked(path, ["a.jpg"], select="two", units="radians", **names)
    np.testing.assert_allclose(answer.coordinates, np.degrees([(0.25, 0.75)]))
    with pytest.raises(UsageError, match=r"one \(1\), two \(1\)"):
        built(path, **names)


def test_the_file_is_required_and_units_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a value for 'file'"):
        params.build(StoredPredictions.Params, {}, "stored-predictions")
    with pytest.raises(UsageError, match=r"auto \| degrees \| radians"):
        built(tmp_path / "answers.csv", units="gon")


@pytest.mark.realdata
def test_the_published_osv5m_answers_belong_to_all_71_photos(real_data: Path) -> None:
    truth = pd.read_csv(real_data / "osv5m" / "test.csv", dtype={"id": str})
    answer = asked(real_data / "osv5m" / "baseline_predictions.csv", truth["id"].tolist())
    assert statuses(answer) == ["ok"] * 71
    assert len(answer.notes) == 1
