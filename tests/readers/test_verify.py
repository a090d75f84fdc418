"""`pinpoint datasets verify`: what is there, what is not, why, and what to do next."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.images import dataset_roots


def verify(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["datasets", "verify", *words], prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def found(*words: str, code: int = 0) -> Any:
    return json.loads(verify(*words, "--json", code=code).stdout)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight photos: five good ones, of which three are one placeholder; one HTML, one missing, one empty."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        shade = 200 if number < 3 else number * 10
        Image.new("RGB", (8, 8), (shade,) * 3).save(images / f"p{number}.png")
    (images / "p5.png").write_text("<html><body>gone</body></html>")
    (images / "p6.png").write_bytes(b"")
    rows = [f"p{number}.png,{number},{number}" for number in range(8)]
    file = tmp_path / "truth.csv"
    file.write_text("\n".join(["image,lat,lng", *rows]))
    return file


def test_every_photo_is_accounted_for(table: Path) -> None:
    images = str(table.parent / "images")
    report = found("table", str(table), "--images", images, code=1)
    assert report["rows"] == 8
    assert report["decoded"] == 5
    assert report["missing"] == ["p7.png"]
    reasons = report["unreadable"]
    assert sorted(ids for group in reasons.values() for ids in group) == ["p5.png", "p6.png"]
    assert any("HTML" in reason for reason in reasons)
    assert report["placeholders"] == [["p0.png", "p1.png", "p2.png"]]
    assert report["truth_sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert not report["sound"]


def test_the_text_says_what_to_do_next(table: Path) -> None:
    text = verify("table", str(table), "--images", str(table.parent / "images"), code=1).stdout
    assert "5 of 8" in text
    assert "3 copies (p0.png, p1.png, p2.png)" in text
    assert "a file not seen before" in text
    given = re.search(r"their names: pinpoint (.+)", text)
    assert given is not None
    assert verify(*shlex.split(given[1])[2:], code=1).stdout == "p7.png\n"


def test_the_run_that_is_named_next_opens_the_same_files(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    table = tmp_path / "my truth.csv"
    table.write_text("image,my lat,lng\na.png,1,2\n")
    where = ["--images", str(tmp_path), "--column", "latitude=my lat"]
    given = re.search(r"pinpoint run METHOD (.+)", verify("table", str(table), *where).stdout)
    assert given is not None
    options = shlex.split(given[1])
    assert options == [
        "table",
        "--data",
        str(table),
        "--column",
        "latitude=my lat",
        "--images",
        str(tmp_path),
    ]


def test_missing_ids_are_listed_alone(table: Path) -> None:
    words = ["table", str(table), "--images", str(table.parent / "images"), "--list-missing"]
    assert verify(*words, code=1).stdout == "p7.png\n"


def test_a_complete_folder_ends_well(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "truth.csv").write_text("image,lat,lng\na.png,1,2\n")
    report = found("table", str(tmp_path / "truth.csv"))
    assert report["sound"]
    assert report["decoded"] == 1


def test_another_number_of_rows_than_published_is_said_apart(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1234567.png")
    (tmp_path / "im2gps.csv").write_text("IMG_ID,AUTHOR,LAT,LON\n1234567.png,me,1,2\n")
    text = verify("im2gps", str(tmp_path / "im2gps.csv"), "--images", str(tmp_path)).stdout
    assert re.search(r"not complete +the published dataset has 237 rows", text)


def test_an_absolute_image_pattern_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is absolute"):
        dataset_roots(tmp_path, ["/somewhere/*.zip"])


def test_pictures_that_are_nowhere_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("id,latitude,longitude\n123456789012345,1,2\n")
    text = verify("osv5m", str(tmp_path), code=1).stdout
    assert "the pictures of osv5m were not found" in text
    assert "--images" in text


def test_a_swapped_header_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "im2gps3k_places365.csv").write_text(
        "IMG_ID,LON,LAT\n1_a_2_3@N00.jpg,45,120\n2_a_2_3@N00.jpg,40,-100\n"
    )
    assert (
        "swapped" in verify("im2gps3k", str(tmp_path), code=2).stderr.lower()
        or "exchanged" in verify("im2gps3k", str(tmp_path), code=2).stderr.lower()
    )


@pytest.mark.realdata
def test_a_known_truth_file_is_recognised(real_data: Path) -> None:
    report = found("yfcc4k", str(real_data / "yfcc4k.csv"), "--images", str(real_data / "exif"), code=1)
    assert report["truth_is"] == "yfcc4k.csv of visloc-estimation"
    assert len(report["missing"]) == 4536


@pytest.mark.realdata
def test_camera_photos_say_where_they_were_taken(real_data: Path) -> None:
    report = found("photos", str(real_data / "exif"))
    assert report["rows"] == report["decoded"] == 9

    from pinpoint_harness.api import load_dataset

    truth = load_dataset("photos", real_data / "exif")
    assert truth["latitude"].between(43.46, 43.475).all()
    assert truth["longitude"].between(11.87, 11.89).all()
    assert truth["id"].tolist() == sorted(truth["id"])
