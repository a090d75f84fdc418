"""Where a photo says it was taken, in all the places and spellings in use, and why some say nothing."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.support.photo_files import (
    XMP_HEADER,
    encode,
    exif_block,
    located,
    photo,
    png,
    rationals,
    with_chunk,
    with_segment,
    xmp_packet,
)

from pinpoint_harness.images.positions import (
    NEGATIVE,
    NO_LETTER,
    NO_NUMBER,
    NO_POSITION,
    OUT_OF_RANGE,
    ZERO,
    NoPosition,
    Position,
    position_in_takeout,
    position_in_xmp,
    position_of,
)


def place(data: bytes) -> tuple[float, float]:
    """The position a photo has."""
    found = position_of(data)
    assert isinstance(found, Position), found
    return found.latitude, found.longitude


def reason(found: Position | NoPosition) -> str:
    assert isinstance(found, NoPosition), found
    return found.reason


SAO_PAULO = pytest.approx((-23.541667, -46.633333), abs=1e-5)


# Positions in EXIF.


def test_a_position_is_read_from_degrees_minutes_and_seconds() -> None:
    position = place(located())
    assert position == pytest.approx((43 + 28 / 60 + 2.81 / 3600, 11 + 53 / 60 + 6.45 / 3600), abs=1e-12)


@pytest.mark.parametrize(
    ("references", "signs"),
    [((b"S\0", b"W\0"), (-1, -1)), ((b"n\0", b"w\0"), (1, -1)), ((b"S", b"E "), (-1, 1))],
)
def test_the_letters_give_the_hemisphere(references: tuple[bytes, bytes], signs: tuple[int, int]) -> None:
    position = place(located(references=references))
    assert (np.sign(position[0]), np.sign(position[1])) == signs


def test_decimal_degrees_and_decimal_minutes_are_positions_too() -> None:
    position = place(located(((435, 10), (0, 1), (0, 1)), ((11, 1), (5325, 100), (0, 1))))
    assert position == pytest.approx((43.5, 11.8875))


DEGREES = ((43, 1), (28, 1), (281, 100))
ZEROS = ((0, 1), (0, 1), (0, 1))


@pytest.mark.parametrize("latitude", [((235416667, 10_000_000),), ((23, 1), (325, 10))], ids=["one", "two"])
def test_one_and_two_rationals_are_degrees_and_minutes(latitude: tuple[tuple[int, int], ...]) -> None:
    data = located(latitude, ((46, 1), (38, 1), (0, 1)), (b"S\0", b"W\0"))
    assert place(data) == SAO_PAULO


@pytest.mark.parametrize(
    "references", [(b"South\0", b"West\0"), (b"SOUTH", b"WEST"), (b"south ", b" west\0"), (b"S\0\0\0", b"W")]
)
def test_the_hemisphere_may_be_a_word(references: tuple[bytes, bytes]) -> None:
    data = located(((23, 1), (32, 1), (30, 1)), ((46, 1), (38, 1), (0, 1)), references)
    assert place(data) == SAO_PAULO


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a picture"),
        (b"<html>", "HTML"),
        (encode(photo(), "JPEG"), NO_POSITION),
        (located(references=(None, b"E\0")), NO_LETTER),
        (located(references=(b"N\0", None)), NO_LETTER),
        (located(references=(b"E\0", b"N\0")), NO_LETTER),
        (located(references=(b"NE", b"E\0")), NO_LETTER),
        (located(references=(b"O", b"O")), NO_LETTER),
        (located(latitude=((43, 0), (28, 1), (0, 1))), NO_NUMBER),
        (located(latitude=((43, 1), (28, 1), (0, 0))), NO_NUMBER),
        (located(latitude=(*DEGREES, (1, 1))), NO_NUMBER),
        (located(latitude=((43, 1), (61, 1), (0, 1))), OUT_OF_RANGE),
        (located(latitude=((90, 1), (0, 1), (1, 1))), OUT_OF_RANGE),
        (located(longitude=((180, 1), (1, 1), (0, 1))), OUT_OF_RANGE),
        (located(ZEROS, ZEROS), ZERO),
        (located(ZEROS, ZEROS, (None, None)), ZERO),
        (located(((0, 1),), ((0, 1),), (b"S", b"W")), ZERO),
    ],
)
def test_a_position_that_cannot_be_trusted_is_none_and_says_why(data: bytes, words: str) -> None:
    assert words in reason(position_of(data))


def test_negative_degrees_beside_a_letter_are_not_guessed_at() -> None:
    signed = b"".join(struct.pack(">ii", *pair) for pair in ((-23, 1), (32, 1), (30, 1)))
    gps = [(1, 2, 2, b"S\0"), (2, 10, 3, signed), (3, 2, 2, b"W\0"), (4, 5, 3, rationals(*DEGREES))]
    assert reason(position_of(encode(photo(), "JPEG", exif=exif_block([], gps)))) == NEGATIVE


def test_one_zero_is_the_equator_or_greenwich() -> None:
    assert place(located(ZEROS, DEGREES)) == pytest.approx((0, 43.467447), abs=1e-5)
    assert place(located(DEGREES, ZEROS)) == pytest.approx((43.467447, 0), abs=1e-5)


@pytest.mark.parametrize(("status", "is_void"), [(b"V\0", True), (b"A\0", False), (None, False)])
def test_what_the_receiver_called_void_is_kept_and_marked(status: bytes | None, is_void: bool) -> None:
    gps = [
        (1, 2, 2, b"N\0"),
        (2, 5, 3, rationals(*DEGREES)),
        (3, 2, 2, b"E\0"),
        (4, 5, 3, rationals(*DEGREES)),
    ]
    gps += [(9, 2, 2, status)] if status else []
    found = position_of(encode(photo(), "JPEG", exif=exif_block([], gps)))
    assert isinstance(found, Position)
    assert found.is_void is is_void


# The position is read from the header, whatever the picture is.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_every_format_may_hold_a_position(kind: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x8825] = {1: "S", 2: (23.0, 32.0, 30.0), 3: "W", 4: (46.0, 38.0, 0.0)}
    read_back = PIL.Image.Exif()
    read_back.load(exif.tobytes())
    assert place(encode(photo(), kind, exif=read_back if kind == "TIFF" else exif)) == SAO_PAULO


def test_the_position_of_a_heic_is_read() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = PIL.Image.Exif()
    exif[0x8825] = {1: "S", 2: (23.0, 32.0, 30.0), 3: "W", 4: (46.0, 38.0, 0.0)}
    stream = io.BytesIO()
    pillow_heif.from_pillow(photo(64, 48)).save(stream, exif=exif.tobytes())
    assert place(stream.getvalue()) == SAO_PAULO


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_the_position_is_read_before_any_check_of_the_size(side: int) -> None:
    jpeg = located(((23, 1), (32, 1), (30, 1)), ((46, 1), (38, 1), (0, 1)), (b"S", b"W"))
    frame = jpeg.index(b"\xff\xc0")
    assert place(jpeg[: frame + 5] + struct.pack(">HH", side, side) + jpeg[frame + 9 :]) == SAO_PAULO
    exif = exif_block(
        [],
        [
            (1, 2, 2, b"S"),
            (2, 5, 1, rationals((235416667, 10**7))),
            (3, 2, 2, b"W"),
            (4, 5, 1, rationals((46633333, 10**6))),
        ],
    )[6:]
    header = png(side, side, 8, 2, b"", extra=b"eXIf" + exif)
    assert place(header) == SAO_PAULO
    assert place(with_chunk(png(side, side, 8, 2, b""), b"eXIf", exif, behind_pixels=True)) == SAO_PAULO


# XMP.


def with_xmp(packet: bytes) -> bytes:
    return with_segment(encode(photo(), "JPEG"), 0xE1, XMP_HEADER + packet)


@pytest.mark.parametrize(
    "packet",
    [
        xmp_packet('exif:GPSLatitude="23,32.5S" exif:GPSLongitude="46,38.0W"'),
        xmp_packet("exif:GPSLatitude='23,32,30S' exif:GPSLongitude = '46,38,0W'"),
        xmp_packet(
            "", "<exif:GPSLatitude>23,32.5S</exif:GPSLatitude><exif:GPSLongitude>46,38.0W</exif:GPSLongitude>"
        ),
        xmp_packet(
            'exif:GPSLatitude="23.541667" exif:GPSLatitudeRef="South" '
            'exif:GPSLongitude="46.633333" exif:GPSLongitudeRef="W"'
        ),
    ],
    ids=["attributes", "seconds", "elements", "references"],
)
def test_a_position_in_xmp_alone_counts(packet: bytes) -> None:
    assert place(with_xmp(packet)) == SAO_PAULO
    assert place(encode(photo(), "WEBP", xmp=packet)) == SAO_PAULO
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    for behind in (False, True):
        assert place(with_chunk(encode(photo(), "PNG"), b"iTXt", text, behind)) == SAO_PAULO


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (xmp_packet(""), NO_POSITION),
        (xmp_packet('exif:GPSLatitude="23,32.5S"'), NO_POSITION),
        (xmp_packet('exif:GPSLatitude="23,32.5" exif:GPSLongitude="46,38.0"'), NO_LETTER),
        (xmp_packet('exif:GPSLatitude="-23.5" exif:GPSLongitude="46,38.0W"'), NEGATIVE),
        (xmp_packet('exif:GPSLatitude="1.2.3S" exif:GPSLongitude="46,38.0W"'), NO_NUMBER),
        (xmp_packet('exif:GPSLatitude="23,5416S" exif:GPSLongitude="46,38.0W"'), OUT_OF_RANGE),
        (xmp_packet('exif:GPSLatitude="0,0.0N" exif:GPSLongitude="0,0.0E"'), ZERO),
        (b"\xff\xfe\xff", NO_POSITION),
        (b"<" * 100_000, NO_POSITION),
    ],
)
def test_xmp_that_gives_no_position_says_why(packet: bytes, words: str) -> None:
    assert reason(position_in_xmp(packet)) == words


def test_exif_comes_before_xmp_and_a_fault_in_it_does_not_hide_xmp() -> None:
    packet = xmp_packet('exif:GPSLatitude="23,32.5S" exif:GPSLongitude="46,38.0W"')
    both = with_segment(located(), 0xE1, XMP_HEADER + packet)
    assert place(both) == pytest.approx((43.467447, 11.885125), abs=1e-5)
    assert place(with_segment(located(ZEROS, ZEROS), 0xE1, XMP_HEADER + packet)) == SAO_PAULO
    assert reason(position_of(with_segment(located(ZEROS, ZEROS), 0xE1, XMP_HEADER + xmp_packet("")))) == ZERO


# Google Takeout.


def takeout(latitude: Any, longitude: Any, key: str = "geoData") -> bytes:
    return json.dumps({"title": "a.jpg", key: {"latitude": latitude, "longitude": longitude}}).encode()


def test_takeout_gives_what_the_camera_wrote_before_what_was_set_later() -> None:
    assert position_in_takeout(takeout(-23.5, -46.6)) == Position(-23.5, -46.6, "Google Takeout (geoData)")
    both = {
        "geoData": {"latitude": 1.0, "longitude": 2.0},
        "geoDataExif": {"latitude": -23.5, "longitude": -46.6},
    }
    assert position_in_takeout(json.dumps(both).encode()) == Position(
        -23.5, -46.6, "Google Takeout (geoDataExif)"
    )
    both["geoDataExif"] = {"latitude": 0.0, "longitude": 0.0}
    assert position_in_takeout(json.dumps(both).encode()) == Position(1.0, 2.0, "Google Takeout (geoData)")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (takeout(0.0, 0.0), NO_POSITION),
        (takeout(0, 0, "geoDataExif"), NO_POSITION),
        (takeout(91, 0), OUT_OF_RANGE),
        (takeout("1", 2), NO_NUMBER),
        (takeout(True, 2), NO_NUMBER),
        (takeout(10**400, 2), OUT_OF_RANGE),
        (b'{"geoData": {"latitude": NaN, "longitude": 1}}', NO_NUMBER),
        (b'{"geoData": []}', NO_POSITION),
        (b"[" * 100_000, NO_POSITION),
        (b"[]", NO_POSITION),
        (b"\xff\xfe", NO_POSITION),
    ],
)
def test_takeout_without_a_position_says_why(data: bytes, words: str) -> None:
    assert reason(position_in_takeout(data)) == words


def test_what_lies_beside_is_read_only_where_the_photo_has_nothing() -> None:
    def never() -> Position | NoPosition:
        raise AssertionError("was read")

    asked: list[Callable[[], Position | NoPosition]] = [lambda: NoPosition(), lambda: Position(1, 2, "XMP")]
    assert position_of(located(), [never]) == position_of(located())
    assert position_of(located(ZEROS, ZEROS), asked) == Position(1, 2, "XMP")
    assert reason(position_of(located(ZEROS, ZEROS), asked[:1])) == ZERO


def test_a_mistake_of_the_caller_is_not_taken_for_a_bad_picture() -> None:
    with pytest.raises(TypeError):
        position_of("a path")  # type: ignore[arg-type]


@pytest.mark.realdata
def test_nine_camera_photos_lie_in_arezzo(real_data: Path) -> None:
    positions = [place(path.read_bytes()) for path in sorted((real_data / "exif").glob("*.jpg"))]
    assert len(positions) == 9
    assert np.abs(np.array(positions) - (43.467, 11.885)).max() < 0.01
