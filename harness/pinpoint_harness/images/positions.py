"""Where a photo says it was taken: EXIF, XMP, and the files that editors and Google Takeout put beside it.

A position is read or there is a reason why not, which can be counted; a doubtful one is never
guessed. Everything here treats its bytes as hostile and raises nothing over them.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import PIL.ExifTags
import PIL.Image

from .decode import open_picture, what_it_is
from .structure import png_chunk

MAX_SIDECAR_BYTES = 16 * 2**20
"""An .xmp file with a long editing history has a few MB."""

NO_POSITION = "no GPS position"
ZERO = "position 0, 0, which receivers and programs write when they know none"
NO_LETTER = "no letter for the hemisphere: the position has four mirror images"
NEGATIVE = "negative degrees beside a letter for the hemisphere"
NO_NUMBER = "degrees, minutes or seconds are no numbers"
OUT_OF_RANGE = "degrees, minutes or seconds beyond what there is"

_GPS = PIL.ExifTags.GPS
_AXES = (
    ("GPSLatitude", "GPSLatitudeRef", ("N", "NORTH"), ("S", "SOUTH"), 90.0),
    ("GPSLongitude", "GPSLongitudeRef", ("E", "EAST"), ("W", "WEST"), 180.0),
)
_XMP_ANGLE = re.compile(r"([0-9.]{1,40})(?:,([0-9.]{1,40}))?(?:,([0-9.]{1,40}))?\s*([A-Za-z]{0,5})")
_XMP_LABEL = b"XML:com.adobe.xmp\0"


@dataclass(frozen=True)
class Position:
    """Degrees, WGS84; `origin` says who wrote it down. `is_void`: the receiver itself called it invalid."""

    latitude: float
    longitude: float
    origin: str
    is_void: bool = False


@dataclass(frozen=True)
class NoPosition:
    """Why a photo has none, in words that are equal for equal reasons."""

    reason: str = NO_POSITION


def position_of(
    data: bytes, beside: Sequence[Callable[[], Position | NoPosition]] = ()
) -> Position | NoPosition:
    """The first position found in EXIF, in XMP, and then in what lies `beside` the photo, read in turn.

    Where none is found, the first reason that says more than that there is none.
    """
    reasons = []
    for found in itertools.chain(_inside(data), (read() for read in beside)):
        if isinstance(found, Position):
            return found
        if found.reason != NO_POSITION:
            reasons.append(found)
    return reasons[0] if reasons else NoPosition()


def _inside(data: bytes) -> Iterator[Position | NoPosition]:
    """What EXIF says, then what XMP says; read from the file's structure, whatever size it declares."""
    io.BytesIO(data)  # outside, so that a caller who passes no bytes gets a TypeError
    try:
        with open_picture(data) as image:
            if image.format == "PNG":
                _add_late_chunks(image.info, data)
            # The base class: a PNG's own method decodes the picture to look for EXIF behind it.
            block = dict(PIL.Image.Image.getexif(image).get_ifd(PIL.ExifTags.IFD.GPSInfo))
            yield position_in_exif(block)
            packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    except PIL.UnidentifiedImageError:
        yield NoPosition(f"not a picture that can be read: {what_it_is(data)}")
        return
    except Exception:  # noqa: BLE001
        # The same boundary as in `images.decode`.
        yield NoPosition("damaged before or in its EXIF")
        return
    yield position_in_xmp(packet.encode() if isinstance(packet, str) else bytes(packet))


def _add_late_chunks(info: dict[Any, Any], data: bytes) -> None:
    """EXIF and XMP that a PNG keeps behind its pixels, or that were too long for Pillow."""
    if "exif" not in info and (exif := png_chunk(data, b"eXIf")):
        info["exif"] = b"Exif\0\0" + exif
    if "xmp" not in info and (text := png_chunk(data, b"iTXt", _XMP_LABEL)):
        info["xmp"] = text.removeprefix(_XMP_LABEL)


def position_in_exif(block: Mapping[int, Any]) -> Position | NoPosition:
    """The position in a GPS directory of EXIF, tag number to value.

    An angle is one, two or three rationals: degrees, minutes, seconds. The hemisphere is a letter
    or its English word.
    """
    names = {tag.name: tag.value for tag in _GPS}
    parts = []
    for name, *_ in _AXES:
        value = block.get(names[name])
        if value is None:
            return NoPosition()
        parts.append(value if isinstance(value, tuple) else (value,))
    letters = [_text(block.get(names[reference])) for _, reference, *_ in _AXES]
    is_void = _text(block.get(_GPS.GPSStatus)) == "V"
    return _position(parts, letters, "EXIF", is_void)


def position_in_xmp(packet: bytes, origin: str = "XMP") -> Position | NoPosition:
    """The position in an XMP packet or an .xmp file: `exif:GPSLatitude` is `23,32.5S` or `23,32,30S`.

    Found by its name and not by parsing XML, which may ask for more memory than there is.
    """
    is_utf16 = packet.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = packet[:MAX_SIDECAR_BYTES].decode("utf-16" if is_utf16 else "utf-8", "replace")
    parts, letters = [], []
    for name, reference, *_ in _AXES:
        value = _xmp_value(text, name)
        if not value:
            return NoPosition()
        found = _XMP_ANGLE.fullmatch(value)
        if found is None:
            return NoPosition(NEGATIVE if value.startswith("-") else NO_NUMBER)
        parts.append(tuple(part for part in found.groups()[:3] if part))
        letters.append(_text(found[4] or _xmp_value(text, reference)))
    return _position(parts, letters, origin, _xmp_value(text, "GPSStatus") == "V")


def position_in_takeout(data: bytes) -> Position | NoPosition:
    """The position in the JSON that Google Takeout puts beside a photo; zeros stand for none.

    `geoDataExif` is what the camera wrote; `geoData` may have been set or estimated later.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return NoPosition()
    reason = NO_POSITION
    for key in ("geoDataExif", "geoData"):
        place = record.get(key) if isinstance(record, dict) else None
        if not isinstance(place, dict):
            continue
        latitude, longitude = place.get("latitude"), place.get("longitude")
        if not _is_number(latitude) or not _is_number(longitude):
            reason = NO_NUMBER
        elif latitude == 0 and longitude == 0:
            continue
        elif not (abs(latitude) <= 90 and abs(longitude) <= 180):
            reason = OUT_OF_RANGE
        else:
            return Position(float(latitude), float(longitude), f"Google Takeout ({key})")
    return NoPosition(reason)


def _position(
    parts: Sequence[Sequence[object]], letters: Sequence[str], origin: str, is_void: bool
) -> Position | NoPosition:
    """A position from the two angles and the two letters, latitude first."""
    angles = []
    for pieces, (*_, limit_deg) in zip(parts, _AXES, strict=True):
        angle = _angle(pieces, limit_deg)
        if isinstance(angle, NoPosition):
            return angle
        angles.append(angle)
    if angles == [0.0, 0.0]:
        return NoPosition(ZERO)
    signed = []
    for angle, letter, (_, _, positive, negative, _) in zip(angles, letters, _AXES, strict=True):
        if letter not in (*positive, *negative):
            return NoPosition(NO_LETTER)
        signed.append(math.copysign(angle, 1 if letter in positive else -1))
    return Position(signed[0], signed[1], origin, is_void)


def _angle(parts: Sequence[object], limit_deg: float) -> float | NoPosition:
    """Degrees from up to three numbers: degrees, minutes, seconds, each of which may have decimals."""
    try:
        numbers = [float(part) for part in parts]  # type: ignore[arg-type]  # hostile: anything may be there
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return NoPosition(NO_NUMBER)
    if not 1 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        return NoPosition(NO_NUMBER)
    if min(numbers) < 0:
        return NoPosition(NEGATIVE)
    degrees, minutes, seconds = (*numbers, 0.0, 0.0)[:3]
    angle = degrees + minutes / 60 + seconds / 3600
    return angle if max(minutes, seconds) <= 60 and angle <= limit_deg else NoPosition(OUT_OF_RANGE)


def _text(value: object) -> str:
    """A short text of EXIF in capitals, without what fills it up."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ").upper() if isinstance(value, str) else ""


def _xmp_value(text: str, name: str) -> str:
    """The value of a property of XMP's EXIF, written as an attribute or as an element; empty if absent."""
    attribute = re.search(rf"\bexif:{name}\s{{0,9}}=\s{{0,9}}([\"'])([^\"'<]{{0,99}})\1", text)
    if attribute:
        return attribute[2].strip()
    element = re.search(rf"<exif:{name}(?:\s[^<>]{{0,99}})?>([^<]{{0,99}})</exif:{name}", text)
    return element[1].strip() if element else ""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
