"""What one cell of a table says: nothing, an angle, a place.

There is one list of words for "nothing" and one way to read an angle, for truths, answers and
galleries alike. Numbers as programs write them are read by Arrow, millions in a second; only what is
left is looked at cell by cell.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..types import Floats

Axis = Literal["latitude", "longitude"]
Pair = tuple[float, float]

NULL_WORDS = (
    "", "nan", "-nan", "none", "null", "nil", "na", "n/a", "n.a.", "#n/a", "<na>", "nat", "\\n", "undefined",
    "unknown", "missing", "-", "--", "?", "point empty",
)  # fmt: skip
"""What people write where they have nothing, in lower case. Not for place names: NA is Namibia."""

AUTHOR_NAMES = ("author", "ownernsid", "creator_id", "user")
"""Columns of photographers, in lower case."""

LATITUDE_NAMES = ("latitude", "lat")
LONGITUDE_NAMES = ("longitude", "lon", "lng", "long")

_PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_SPELLINGS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-")
    | dict.fromkeys("\u00ba\u02da", "°")
    | dict.fromkeys("\u00a0\u2009\u202f\u3000", " ")
    | dict.fromkeys("\u2032\u2018\u2019\u00b4`", "'")
    | dict.fromkeys("\u2033\u201c\u201d", '"')
)
_NUMBER = r"(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)"
_START = r"(?P<before>[NSEW])?\s*(?P<sign>[+-])?\s*"
_END = r"\s*(?P<after>[NSEW])?"
_ONE_NUMBER = re.compile(
    rf"{_START}(?P<degrees>{_NUMBER}(?:e[+-]?[0-9]+)?)\s*(?P<mark>°|deg(?:rees)?)?{_END}", re.IGNORECASE
)
_SEXAGESIMAL = re.compile(
    rf"{_START}(?P<degrees>[0-9]{{1,3}})\s*(?P<mark>°|deg|d|:|\s)\s*(?P<minutes>{_NUMBER})\s*(?:'|min|m|:|\s|$)?"
    rf"\s*(?:(?P<seconds>{_NUMBER})\s*(?:\"|''|sec|s(?![a-z])|s$)?)?{_END}",
    re.IGNORECASE,
)
_LETTERS: dict[Axis, str] = {"latitude": "NS", "longitude": "EW"}
_SPLITS = (r";", r"\s*,\s+", r"\s+", r",")
"""What may stand between latitude and longitude in one cell; a comma alone last, it may be a decimal one."""

_VALUE = (
    r"[\"'*]*\s*(?:is|of|[:=])?\s*[\"'*]*\s*"
    r"([+-]?[0-9]{1,3}(?:\.[0-9]+)?)(?![0-9.,]*[0-9])\s*(°?\s*[NSEW]\b)?"
)
_LABELLED = {
    "latitude": re.compile(rf"\blat(?:itude)?\b{_VALUE}", re.IGNORECASE),
    "longitude": re.compile(rf"\b(?:longitude|long|lon|lng)\b{_VALUE}", re.IGNORECASE),
}
_HEMISPHERE = {
    axis: re.compile(rf"(?<![0-9.,+-])([0-9]{{1,3}}(?:\.[0-9]+\s*°?|\s*°)\s*[{letters}])\b")
    for axis, letters in _LETTERS.items()
}
"""An angle whose letter says which axis it is of; with a decimal point or a degree sign, unlike a road."""
_BRACKETED = re.compile(r"[\[(]\s*([+-]?[0-9]{1,3}\.[0-9]+)\s*,\s*([+-]?[0-9]{1,3}\.[0-9]+)\s*[\])]")

_SIGNED = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_WKT = re.compile(
    rf"(?:SRID=4326;\s*)?POINT\s*(?:Z|M|ZM)?\s*\(\s*({_SIGNED})\s+({_SIGNED})(?:\s+{_SIGNED}){{0,2}}\s*\)",
    re.IGNORECASE,
)
"""Well-known text of a point (OGC 06-103r4): x before y, which is longitude before latitude."""
_IN_BRACKETS = re.compile(r"\(([^\[\](){}]+)\)|\[([^\[\](){}]+)\]")
_LONGITUDE_FIRST = re.compile(r"(lon|lng|long|longitude)_?(lat|latitude)", re.IGNORECASE)


@dataclass(frozen=True)
class Angles:
    """A column of angles: degrees, `(n,)`, NaN where a cell holds none, and notations other than plain."""

    degrees: Floats
    notations: tuple[str, ...]


def is_null(text: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which cells say "nothing", `(n,)`."""
    lowered = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    found = pc.is_in(lowered, value_set=pa.array(NULL_WORDS, lowered.type))
    return np.asarray(found.to_numpy(), dtype=np.bool_)


def read_angles(text: pa.ChunkedArray, axis: Axis) -> Angles:
    """Every cell of a latitude or longitude column, in whatever notation it is clear in.

    Beside plain numbers: minus signs of print, decimal commas, degree signs, hemisphere letters, and
    degrees with minutes and seconds. A column that was read as numbers is taken as it is.
    """
    if pa.types.is_floating(text.type):
        return Angles(np.asarray(text.to_numpy(), dtype=np.float64), ())
    text = pc.utf8_trim_whitespace(text)
    try:
        return Angles(np.asarray(text.cast(pa.float64()).to_numpy(), dtype=np.float64), ())
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(text, _PLAIN)
    degrees = np.array(pc.if_else(plain, text, "nan").cast(pa.float64()).to_numpy(), dtype=np.float64)
    notations: dict[str, None] = {}
    for row in np.flatnonzero(~plain.to_numpy() & ~is_null(text)).tolist():
        found = read_angle(text[row].as_py(), axis)
        if found is not None:
            degrees[row], notation = found
            notations |= dict.fromkeys(notation)
    return Angles(degrees, tuple(notations))


def read_angle(cell: str, axis: Axis) -> tuple[float, tuple[str, ...]] | None:
    """Degrees, and the notations other than plain numbers; None for what is no angle of this axis."""
    clean = cell.translate(_SPELLINGS).strip()
    found = _ONE_NUMBER.fullmatch(clean) or _SEXAGESIMAL.fullmatch(clean)
    if found is None:
        return None
    parts = found.groupdict()
    letters = [letter.upper() for letter in (parts["before"], parts["after"]) if letter]
    numbers = [_decimal(parts.get(name)) for name in ("degrees", "minutes", "seconds")]
    bare_blank = "minutes" in parts and not parts["mark"].strip() and not letters
    wrong_letter = len(letters) > 1 or any(letter not in _LETTERS[axis] for letter in letters)
    if wrong_letter or bare_blank or (letters and parts["sign"]) or max(numbers[1:]) >= 60:
        return None
    sign = -1.0 if parts["sign"] == "-" or letters in (["S"], ["W"]) else 1.0
    named = {
        "minus signs that are not '-'": "-" in clean and "-" not in cell,
        "decimal commas": "," in clean,
        "degrees, minutes and seconds": "minutes" in parts,
        "degree signs": bool(parts["mark"]) and "minutes" not in parts,
        "hemisphere letters": bool(letters),
    }
    degrees, minutes, seconds = numbers
    return sign * (degrees + minutes / 60 + seconds / 3600), tuple(name for name in named if named[name])


def read_place(cell: str, *, prose: bool = False, longitude_first: bool = False) -> Pair | None:
    """The `(latitude, longitude)` one cell holds, None where it holds none, or more than one.

    A list `[lat, lon]` or `[lat, lon, probability]`, a list of such lists from the best on, an object
    with both names, a GeoJSON or WKT point (which are longitude first), or two angles, perhaps in brackets;
    with `prose` also the one place that a sentence names. `longitude_first` is for numbers that do not
    say which they are.
    """
    clean = cell.translate(_SPELLINGS).strip()
    if point := _WKT.fullmatch(clean):
        return _pair(float(point[2]), float(point[1]))
    if clean[:1] in ("[", "(", "{") and (value := _structure(clean)) is not None:
        return place_of(value, longitude_first)
    inner = _IN_BRACKETS.fullmatch(clean)
    found = _two_angles((inner[1] or inner[2]).strip() if inner else clean, longitude_first)
    return found or (_told_in_prose(clean, longitude_first) if prose else None)


def is_longitude_first(name: str) -> bool:
    """Whether a column's name says that its cells begin with the longitude, as `lonlat` does."""
    return bool(_LONGITUDE_FIRST.search(name))


def place_of(value: Any, longitude_first: bool = False) -> Pair | None:
    """The same of a value of JSON."""
    if isinstance(value, dict):
        return _place_of_object(value, longitude_first)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(item, list | dict) for item in value):
        return place_of(value[0], longitude_first) if _best_first(value) else None
    probability = value[2] if len(value) == 3 else 0
    if len(value) in (2, 3) and _is_number(probability) and 0 <= probability <= 1:
        latitude, longitude = (value[1], value[0]) if longitude_first else value[:2]
        return _pair(latitude, longitude)
    return None


def _place_of_object(value: dict[str, Any], longitude_first: bool) -> Pair | None:
    if value.get("type") == "Feature":
        return place_of(value.get("geometry"), longitude_first)
    if value.get("type") == "Point":  # GeoJSON, RFC 7946: longitude, latitude
        point = value.get("coordinates")
        return _pair(point[1], point[0]) if isinstance(point, list) and len(point) in (2, 3) else None
    axes = [
        [entry for name, entry in value.items() if name.strip().lower() in names]
        for names in (LATITUDE_NAMES, LONGITUDE_NAMES)
    ]
    if all(len(entries) == 1 for entries in axes):
        return _pair(axes[0][0], axes[1][0])
    if any(axes):
        return None
    inner = [place for entry in value.values() if (place := place_of(entry, longitude_first)) is not None]
    return inner[0] if len(inner) == 1 else None


def _best_first(candidates: Sequence[Any]) -> bool:
    """Whether candidates with a third number, their probability, stand in the order of it."""
    stated = [item[2] for item in candidates if isinstance(item, list) and len(item) == 3]
    return all(map(_is_number, stated)) and stated == sorted(stated, reverse=True)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _pair(latitude: Any, longitude: Any) -> Pair | None:
    found = []
    for value, axis in ((latitude, "latitude"), (longitude, "longitude")):
        if _is_number(value):
            found.append(float(value))
        elif isinstance(value, str) and (angle := read_angle(value, axis)):  # type: ignore[arg-type]
            found.append(angle[0])
    return (found[0], found[1]) if len(found) == 2 and all(map(math.isfinite, found)) else None


def _structure(text: str) -> Any:
    """JSON, or a Python literal of lists, tuples, dictionaries and numbers; None for anything else."""
    pythonic = text.translate(str.maketrans("()'", '[]"')).replace("None", "null")
    spaced = re.sub(r"(?<=[0-9.])\s+(?=[-+0-9.])", ", ", pythonic)  # as numpy prints an array
    for spelling in (text, pythonic, spaced):
        try:
            return json.loads(spelling)
        except (ValueError, RecursionError):
            continue
    return None


def _two_angles(text: str, longitude_first: bool) -> Pair | None:
    has_letters = re.search("[NSEW]", text, re.IGNORECASE) is not None
    for split in _SPLITS:
        parts = re.split(split, text)
        if len(parts) != 2:
            continue
        given = parts[::-1] if longitude_first else parts
        for order in (given, given[::-1]) if has_letters else (given,):
            angles = [read_angle(*pair) for pair in zip(order, _LETTERS, strict=True)]
            if angles[0] and angles[1]:
                return angles[0][0], angles[1][0]
    return None


def _told_in_prose(text: str, longitude_first: bool) -> Pair | None:
    labelled = [_LABELLED[axis].findall(text) for axis in ("latitude", "longitude")]
    if all(len(set(found)) == 1 for found in labelled):
        pair = [
            read_angle(number + letter.strip(), axis)
            for ((number, letter), *_), axis in zip(labelled, _LETTERS, strict=True)
        ]
        return (pair[0][0], pair[1][0]) if pair[0] and pair[1] else None
    if any(labelled):
        return None
    lettered = [set(_HEMISPHERE[axis].findall(text)) for axis in ("latitude", "longitude")]
    if all(len(found) == 1 for found in lettered):
        return _pair(lettered[0].pop(), lettered[1].pop())
    bracketed = set(_BRACKETED.findall(text))
    if len(bracketed) != 1 or any(lettered):
        return None
    first, second = bracketed.pop()
    return _pair(second, first) if longitude_first else _pair(first, second)


def _decimal(text: str | None) -> float:
    return float(text.replace(",", ".")) if text else 0.0
