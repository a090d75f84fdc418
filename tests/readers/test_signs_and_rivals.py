"""Signs in columns of their own, several coordinates of a photo, and rows of JSON in other wrappings."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pinpoint_harness import api
from pinpoint_harness.errors import DataError, HarnessError, UsageError
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.readers import read_answers
from pinpoint_harness.types import DataLocation

ROWS = [(f"{100 + row}", 40.5 + row / 7, 3.25 + row) for row in range(60)]
"""All in the north and east, as a file may begin."""


def truth(path: Path, **columns: str) -> pd.DataFrame:
    return load_registry().open_dataset("table", DataLocation(path, columns=columns)).truth()


def written(path: Path, **columns: list[object]) -> Path:
    pd.DataFrame({"id": [name for name, *_ in ROWS], **columns}).to_csv(path, index=False)
    return path


def plain(*names: str) -> dict[str, list[object]]:
    return {name: [row[1 + (number % 2)] for row in ROWS] for number, name in enumerate(names)}


LAST = [*["first"] * 59, "last"]
SIGNS = {
    "letters": ("lat_dir", {"first": "N", "last": "S"}),
    "letters of the longitude": ("ew", {"first": "E", "last": "W"}),
    "words": ("latitude_ref", {"first": "North", "last": "South"}),
    "signs": ("lat_sign", {"first": "+1", "last": "-1"}),
    "flags": ("NS", {"first": 0, "last": 1}),
    "printed signs": ("lonSign", {"first": "+", "last": "-"}),
}


@pytest.mark.parametrize("name", SIGNS)
def test_signs_in_a_column_of_their_own_are_refused_even_if_the_last_row_alone_has_one(
    name: str, tmp_path: Path
) -> None:
    column, cells = SIGNS[name]
    columns = {**plain("lat", "lon"), column: [cells[one] for one in LAST]}
    path = written(tmp_path / "table.csv", **columns)
    with pytest.raises(DataError, match=f"hemispheres in a column of their own, '{column}'"):
        truth(path, latitude="lat", longitude="lon")
    with pytest.raises(UsageError, match=f"hemispheres in a column of their own, '{column}'"):
        read_answers(path, columns={"latitude": "lat", "longitude": "lon"})
    frame = pd.read_csv(path, dtype={"id": str}).rename(columns={"lat": "latitude", "lon": "longitude"})
    with pytest.raises(DataError, match="hemispheres in a column of their own"):
        api.score(frame[["id", "latitude", "longitude"]], frame)


def test_a_truth_may_say_the_hemisphere_of_signed_degrees(tmp_path: Path) -> None:
    columns = {**plain("lat", "lon"), "lat_ref": ["S"] * 60, "lon_sign": ["+1"] * 60}
    columns["lat"] = [-row[1] for row in ROWS]
    assert (truth(written(tmp_path / "t.csv", **columns))["latitude"] < 0).all()


@pytest.mark.parametrize("names", [("true_lat", "true_lon"), ("gt_lat", "gt_lon"), ("trueLat", "trueLng")])
def test_a_truth_beside_other_coordinates_is_refused_until_one_is_chosen(
    names: tuple[str, str], tmp_path: Path
) -> None:
    columns = {**plain("lat", "lon"), **plain(*names)}
    assert len(truth(written(tmp_path / "same.csv", **columns))) == 60
    columns["lat"] = [row[1] + 1 for row in ROWS]
    path = written(tmp_path / "two.csv", **columns)
    with pytest.raises(DataError) as caught:
        truth(path)
    assert f"--column latitude={names[0]} --column longitude={names[1]} or --column latitude=lat" in str(
        caught.value
    )
    chosen = truth(path, latitude=names[0], longitude=names[1])
    assert chosen["latitude"].tolist() == [row[1] for row in ROWS]


def test_answers_beside_a_truth_are_no_truth(tmp_path: Path) -> None:
    columns = {**plain("lat", "lon"), **plain("pred_lat", "pred_lon")}
    columns["pred_lat"] = [0.5] * 60
    assert truth(written(tmp_path / "t.csv", **columns))["latitude"].iloc[0] == ROWS[0][1]


def test_columns_called_ground_truth_are_read(tmp_path: Path) -> None:
    columns = {**plain("gt_lat", "gt_lon"), **plain("city_lat", "city_lon")}
    columns["city_lat"] = [0.5] * 60
    assert truth(written(tmp_path / "t.csv", **columns))["longitude"].tolist() == [row[2] for row in ROWS]


def test_half_of_one_pair_is_not_joined_with_half_of_another(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", **plain("lat", "gt_lon"), **plain("gt_lat"))
    with pytest.raises(DataError, match="--column latitude=gt_lat --column longitude=gt_lon"):
        truth(path)


BY_PHOTO = {name: {"lat": lat, "lon": lon} for name, lat, lon in ROWS}
PAIRS = {name: [lat, lon] for name, lat, lon in ROWS}
JSON = {
    "under a name": json.dumps({"model": "x", "config": {"k": 1}, "predictions": BY_PHOTO}),
    "pairs under a name": json.dumps({"results": PAIRS}),
    "a photo a line": "\n".join(json.dumps({name: pair}) for name, pair in PAIRS.items()),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", JSON)
def test_json_by_photo_is_read_in_any_wrapping_and_unicode(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(JSON[name], encoding=encoding)
    assert read_answers(path).coordinates.tolist() == [[lat, lon] for _, lat, lon in ROWS]
    assert len(truth(path)) == 60


def test_json_of_no_unicode_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"é": [1.5, 2]}'.encode("latin-1"))
    with pytest.raises(DataError, match="byte 2 is not UTF-8"):
        read_answers(tmp_path / "a.json")


def test_messages_name_a_few_of_many_columns(tmp_path: Path) -> None:
    nested = {"x": {f"photo{row}": {"lat": 1.5, "lon": 2.5} for row in range(500)}, "y": 1}
    (tmp_path / "a.json").write_text(json.dumps([nested]))
    for read in (read_answers, truth):
        with pytest.raises(HarnessError, match=r"and \d+ more") as caught:
            read(tmp_path / "a.json")
        assert len(str(caught.value)) < 2500
