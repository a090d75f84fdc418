"""The dataset `photos`: whose position is found where, and what is said of the others."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from tests.support.photo_files import (
    encode,
    exif_block,
    film,
    located,
    photo,
    rationals,
    with_segment,
    xmp_packet,
)

from pinpoint_datasets.photos import Photos
from pinpoint_harness.errors import DataError
from pinpoint_harness.types import DataLocation

PLAIN = encode(photo(), "JPEG")
SAO_PAULO = ((23, 1), (325, 10)), ((46, 1), (38, 1)), (b"South", b"West")
XMP = xmp_packet('exif:GPSLatitude="23,32.5S" exif:GPSLongitude="46,38.0W"')


def takeout(latitude: float = -23.541667, longitude: float = -46.633333) -> bytes:
    return json.dumps({"title": "a", "geoData": {"latitude": latitude, "longitude": longitude}}).encode()


def truth(folder: Path, files: dict[str, bytes], **location: bool) -> pd.DataFrame:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Photos(DataLocation(folder, **location)).truth()  # type: ignore[arg-type]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_counts_stand_by_reason_with_examples(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    zeros = ((0, 1), (0, 1), (0, 1))
    files = {
        "good.jpg": located(*SAO_PAULO),
        **{f"plain{number}.jpg": PLAIN for number in range(5)},
        "zero.jpg": located(zeros, zeros),
        "letterless.jpg": located(references=(None, None)),
        "page.jpg": b"<!DOCTYPE html><html>404",
        "film.mp4": film(),
        "film.MOV": film(),
        "edits.xmp": b"<x/>",
        "edits.aae": b"<x/>",
    }
    assert truth(tmp_path, files)["id"].tolist() == ["good.jpg"]
    said = warnings_of(caplog)
    assert said[0] == "left out: no GPS position: 5 (plain0.jpg, plain1.jpg, plain2.jpg, ...)"
    assert sorted(said[1:4]) == [
        "left out: no letter for the hemisphere: the position has four mirror images: 1 (letterless.jpg)",
        "left out: not a picture that can be read: looks like an HTML page, such as a web server's error: 1 "
        "(page.jpg)",
        "left out: position 0, 0, which receivers and programs write when they know none: 1 (zero.jpg)",
    ]
    assert "a film, not a photo: 2 (first: film." in said[4]
    assert len(said) == 5


def test_no_position_at_all_says_why_of_each(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        truth(tmp_path, {"a.jpg": PLAIN, "b.jpg": b"", "c.mp4": film(), "c.xmp": XMP})
    assert "2 pictures; no GPS position: 1 (a.jpg)" in str(caught.value)
    assert "b.jpg" in str(caught.value)
    assert "a film, not a photo" in str(caught.value)


def test_a_void_position_is_kept_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    degrees = rationals((43, 1), (28, 1), (0, 1))
    gps = [(1, 2, 2, b"N\0"), (2, 5, 3, degrees), (3, 2, 2, b"E\0"), (4, 5, 3, degrees), (9, 2, 2, b"V\0")]
    void = encode(photo(), "JPEG", exif=exif_block([], gps))
    assert len(truth(tmp_path, {"a.jpg": void, "b.jpg": located()})) == 2
    assert "GPSStatus V): 1 (a.jpg)" in warnings_of(caplog)[0]


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("IMG_1.jpg", "IMG_1.jpg.xmp"),
        ("IMG_1.jpg", "IMG_1.xmp"),
        ("trip/IMG_1.JPG", "trip/img_1.XMP"),
        ("a.b/IMG.1.jpg", "a.b/IMG.1.xmp"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_xmp_files_beside_photos_are_read(tmp_path: Path, name: str, beside: str, kind: str) -> None:
    files = {name: PLAIN, beside: XMP, "elsewhere/IMG_1.jpg": PLAIN}
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
            for member, data in files.items():
                archive.writestr(member, data)
        files = {}
    frame = truth(tmp_path, files)
    assert frame["id"].tolist() == [name]
    assert frame[["latitude", "longitude"]].iloc[0].tolist() == pytest.approx(
        [-23.541667, -46.633333], abs=1e-5
    )


LONG = "a_name_of_more_than_forty-six_characters_as_other_programs_write"
TAKEOUT_NAMES = [
    ("IMG_1.jpg", "IMG_1.jpg.json"),
    ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
    ("IMG_1.jpg", "IMG_1.jpg.supplemental-me.json"),
    ("IMG_1.jpg", "IMG_1.jpg.s.json"),
    ("IMG_1(2).jpg", "IMG_1.jpg(2).json"),
    ("IMG_1(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
    ("IMG_1-edited.jpg", "IMG_1.jpg.json"),
    (f"{LONG}.jpg", f"{LONG[:46]}.json"),
    (f"{LONG}.jpg", f"{LONG[:44]}.json"),
    ("Photos from 2019/IMG_1.HEIC.jpg", "Photos from 2019/IMG_1.HEIC.jpg.json"),
]


@pytest.mark.parametrize(("name", "beside"), TAKEOUT_NAMES)
def test_the_json_of_a_takeout_is_found_by_its_many_names(tmp_path: Path, name: str, beside: str) -> None:
    frame = truth(tmp_path, {name: PLAIN, beside: takeout(), "other.jpg": PLAIN})
    assert frame["id"].tolist() == [name]
    assert frame["latitude"].iloc[0] == -23.541667


def test_what_a_takeout_says_is_told_apart_from_the_camera(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"a.jpg": located(), "a.jpg.json": takeout(), "b.jpg": PLAIN, "b.jpg.json": takeout()}
    frame = truth(tmp_path, files).set_index("id")
    assert frame.loc["a.jpg", "latitude"] == pytest.approx(43.467447, abs=1e-5)
    assert frame.loc["b.jpg", "latitude"] == -23.541667
    assert warnings_of(caplog) == ["position from Google Takeout (geoData): 1 (b.jpg)"]


def test_zeros_in_a_takeout_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {"a.jpg": located(), "b.jpg": PLAIN, "b.jpg.json": takeout(0.0, 0.0)}
    assert truth(tmp_path, files)["id"].tolist() == ["a.jpg"]
    assert warnings_of(caplog) == ["left out: no GPS position: 1 (b.jpg)"]


def test_a_takeout_in_two_zips_joins_photo_and_json(tmp_path: Path) -> None:
    for name, member, data in (("1", "Takeout/a.jpg", PLAIN), ("2", "Takeout/a.jpg.json", takeout())):
        with zipfile.ZipFile(tmp_path / f"takeout-00{name}.zip", "w") as archive:
            archive.writestr(member, data)
    assert truth(tmp_path, {})["id"].tolist() == ["Takeout/a.jpg"]


def test_json_of_other_kinds_beside_photos_changes_nothing(tmp_path: Path) -> None:
    files = {"a.jpg": located(), "a.json": b"[1, 2", "b.jpg": PLAIN, "b.jpg.json": b'{"label": 3}'}
    assert truth(tmp_path, files)["id"].tolist() == ["a.jpg"]


def test_photos_behind_links_are_taken_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.jpg").write_bytes(located())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.jpg").symlink_to(tmp_path / "disk/a.jpg")
    with pytest.raises(DataError) as refused:
        truth(tmp_path / "mine", {})
    assert "--follow-links" in str(refused.value.fix)
    assert truth(tmp_path / "mine", {}, follow_links=True)["id"].tolist() == ["a.jpg"]


def test_a_motion_photo_is_a_photo(tmp_path: Path) -> None:
    noisy = with_segment(located(), 0xE2, b"MPF\0" + bytes(20))
    assert len(truth(tmp_path, {"PXL_1.MP.jpg": noisy + film()})) == 1
