"""Answers made elsewhere, in any of the shapes people hold them in.

Recognising a file is a matter of the tables below: which pairs of columns are an answer, which
column tells several answers to one photo apart, which last rows are a summary. The truth often
stands in the same file, so a pair that may be the truth is never taken for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..geo import on_globe
from .delimited import ALIASES, pick_column, read_table, sniff
from .json_rows import cell_text, first_few, is_json, parse_unique

if TYPE_CHECKING:
    from ..types import Floats

Units = Literal["auto", "degrees", "radians"]

ANSWER_COLUMNS = (
    # Names of the latitude, names of the longitude, in lower case; in one file they may not mix.
    # Our own runs; GeoEstimation (TensorFlow).
    (("predicted_latitude", "predicted_lat"), ("predicted_longitude", "predicted_long", "predicted_lon")),
    # GeoEstimation (PyTorch); GLOBE.
    (("pred_latitude", "pred_lat"), ("pred_longitude", "pred_lng", "pred_lon", "pred_long")),
    # G3, GeoRanker.
    (("latitude_pred", "lat_pred"), ("longitude_pred", "lon_pred", "lng_pred", "long_pred")),
)
"""Pairs of columns that can only be an answer."""

PLAIN_COLUMNS = (("latitude", "lat"), ("longitude", "lon", "lng", "long"))
"""An answer only where no other column looks like one; otherwise they may be the truth."""

OPTIONAL_COLUMNS = {"confidence": ("confidence",), "select": ("p_key", "select")}
"""`select` tells several answers to one photo apart: GeoEstimation (PyTorch) has one per partitioning."""

SUMMARIES = (("street acc", 2),)
"""Start of the first cell and number of rows of a summary at the end: GeoEstimation (TensorFlow)."""

ROLES = ("id", "latitude", "longitude", "confidence", "select")

_RESEMBLES_ANSWER = re.compile(
    r"(?!gt_).*(pred|geodesic|distance|(\b|_)(lat|latitude|lon|lng|long|longitude)(\b|_))"
)
"""Matches a lower-case name from its start; `gt_` is how the field marks the truth itself."""
_NULLS = ("", "nan", "none", "null", "na", "n/a")
_SUSPICIOUS_RADIANS = 20


@dataclass(frozen=True)
class Answers:
    """One answer per id, in the file's order.

    `coordinates` are degrees, `(n, 2)`, NaN wherever the status is not `ok`; `notes` say what was
    read and every row that was left out.
    """

    ids: pd.Series[str]
    coordinates: Floats
    status: list[str]
    confidence: Floats | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read_answers(
    path: Path, *, select: str | None = None, columns: Mapping[str, str] | None = None, units: Units = "auto"
) -> Answers:
    """Read the answers in a delimited table, a Parquet file or a JSON object.

    `columns` maps a role (`id`, `latitude`, `longitude`, `confidence`, `select`) to a column where
    the file's own names do not tell; `select` picks one of several answers per photo. Units `auto`
    are degrees, and refuse what looks like radians.
    """
    if units not in get_args(Units):
        raise UsageError(f"there are no units '{units}'", fix=f"use one of: {', '.join(get_args(Units))}")
    rows, column_of, notes = _read_rows(path, columns or {})
    rows, summary = _without_summary(rows, path)
    rows, left_out = _selected(rows, column_of.get("select"), select, path)
    ids = _ids(rows["id"], path)
    coordinates, status, remarks = _judge(rows["latitude"], rows["longitude"], units, path)
    confidence, doubts = _confidence(rows)
    source = f"columns '{column_of['latitude']}' and '{column_of['longitude']}' of {path.name}"
    headline = f"{len(ids):,} answers read from {source}" + ", in radians" * (units == "radians")
    return Answers(
        ids, coordinates, status, confidence, (headline, *notes, *summary, *left_out, *remarks, *doubts)
    )


def _read_rows(
    path: Path, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, dict[str, str], tuple[str, ...]]:
    """Text under the name of each role, the file's own name of each, and the reader's notes."""
    notes: tuple[str, ...] = ()
    if is_json(path):
        table = _read_json(path)
        column_of = _Header(path, tuple(table.columns)).roles(columns)
    else:
        form = sniff(path)
        column_of = _Header(path, form.names).roles(columns)
        read = read_table(form, list(dict.fromkeys(column_of.values())))
        table, notes = read.cells.to_pandas(), read.notes
    return pd.DataFrame({role: table[name] for role, name in column_of.items()}), column_of, notes


@dataclass(frozen=True)
class _Header:
    """The columns of a file, found whatever their case; a name that fits two is refused."""

    path: Path
    names: tuple[str, ...]

    def roles(self, given: Mapping[str, str]) -> dict[str, str]:
        """The column of each role; what the user names comes before what is recognised."""
        column_of = {role: self._named(role, name) for role, name in given.items()}
        if ("latitude" in column_of) != ("longitude" in column_of):
            raise UsageError(
                f"'{self.path}': half of a coordinate is named",
                fix="name latitude_column and longitude_column",
            )
        if "latitude" not in column_of:
            column_of["latitude"], column_of["longitude"] = self._coordinates()
        if "id" not in column_of:
            found = pick_column(self.names, ALIASES["id"])
            if not found:
                raise self._unclear("has no column of ids", "id_column=NAME")
            column_of["id"] = found[0]
        for role, aliases in OPTIONAL_COLUMNS.items():
            if role not in column_of and (found := pick_column(self.names, aliases)):
                column_of[role] = found[0]
        return column_of

    def _coordinates(self) -> tuple[str, str]:
        """The one pair of columns that holds the answer; UsageError where that is not certain."""
        fix = "latitude_column=NAME longitude_column=NAME"
        found = [pair for columns in ANSWER_COLUMNS for pair in self._pairs(*columns)]
        if not found:
            found = self._pairs(*PLAIN_COLUMNS)
            others = {name.lower() for name in self.names} - {name.lower() for pair in found for name in pair}
            if found and any(_RESEMBLES_ANSWER.match(name) for name in others):
                raise self._unclear(f"has columns '{' and '.join(found[0])}' that may be the truth", fix)
        if len(found) != 1:
            problem = "several pairs of columns that may be answers" if found else "no columns of answers"
            raise self._unclear(f"has {problem}", fix)
        return found[0]

    def _pairs(self, latitudes: Sequence[str], longitudes: Sequence[str]) -> list[tuple[str, str]]:
        return list(product(pick_column(self.names, latitudes), pick_column(self.names, longitudes)))

    def _named(self, role: str, name: str) -> str:
        if role not in ROLES:
            raise UsageError(f"there is no column role '{role}'", fix=f"use one of: {', '.join(ROLES)}")
        found = [name] if name in self.names else pick_column(self.names, [name])
        if len(found) != 1:
            raise self._unclear(
                f"has {len(found) or 'no'} column '{name}' for the {role}", f"{role}_column=NAME"
            )
        return found[0]

    def _unclear(self, problem: str, fix: str) -> UsageError:
        found = f"columns {', '.join(self.names)}"
        return UsageError(f"'{self.path}' {problem}", found=found, fix=f"say which one: {fix}")


def _without_summary(rows: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows without the summary some tools write below them, and a note on what that was."""
    for start, length in SUMMARIES:
        begins = np.flatnonzero(rows["id"].str.startswith(start))
        if not len(begins):
            continue
        if begins[0] != len(rows) - length:
            raise DataError(
                f"'{path}' has a summary row in its middle",
                found=f"row {begins[0] + 1} of {len(rows)} begins with '{start}'",
                fix="split the file: it seems to be several put together",
            )
        first = rows["id"].iloc[begins[0]]
        return rows.iloc[: begins[0]], [
            f"{length} summary rows at the end left out, beginning with '{first}'"
        ]
    return rows, []


def _selected(
    rows: pd.DataFrame, column: str | None, select: str | None, path: Path
) -> tuple[pd.DataFrame, list[str]]:
    """One answer per photo where the file has several, and a note on those left out."""
    if column is None:
        if select is None:
            return rows, []
        raise UsageError(f"'{path}' has one answer per photo", fix=f"leave out select={select}")
    counts = rows["select"].value_counts(sort=False)
    listing = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
    if select is None and len(counts) > 1:
        raise UsageError(
            f"'{path}' has several answers per photo",
            found=f"{column}: {listing}",
            fix="say which one: select=NAME",
        )
    if select is not None and select not in counts.index:
        raise UsageError(f"'{path}' has no answers '{select}'", found=f"{column}: {listing}")
    if len(counts) <= 1:
        return rows, []
    kept = rows[rows["select"] == select]
    note = f"{len(rows) - len(kept):,} answers other than {column} '{select}' left out, of {listing}"
    return kept, [note]


def _ids(column: pd.Series[str], path: Path) -> pd.Series[str]:
    ids = column.str.strip().reset_index(drop=True)
    if ids.empty:
        raise DataError(f"'{path}' holds no answers")
    unnamed = int((ids == "").sum())
    if unnamed:
        raise DataError(
            f"'{path}' has {unnamed} of {len(ids)} rows without an id",
            fix="give those rows ids or remove them",
        )
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        raise DataError(
            f"'{path}' answers {len(repeated)} ids more than once",
            found=first_few(repeated.tolist()),
            fix="keep one row per id",
        )
    return ids


def _judge(
    latitude: pd.Series[str], longitude: pd.Series[str], units: Units, path: Path
) -> tuple[Floats, list[str], list[str]]:
    """Degrees, a status per row, and remarks on the rows that are no answer."""
    absent = _is_null(latitude) & _is_null(longitude)
    values = np.stack([_numbers(latitude), _numbers(longitude)], axis=1)  # (n, 2)
    if units == "radians":
        values = np.degrees(values)
    usable = on_globe(values)
    if units == "auto":
        _refuse_radians(values[usable], path)
    invalid = ~usable & ~absent
    size = np.abs(values)
    wrapped = invalid & (size[:, 0] <= 90) & (values[:, 1] > 180) & (values[:, 1] <= 360)
    exchanged = invalid & (size[:, 0] > 90) & (size[:, 0] <= 180) & (size[:, 1] <= 90)
    findings = (
        (absent, "answers are null: no prediction"),
        (invalid, "answers are no place on Earth: invalid coordinate"),
        (wrapped, "have longitudes that look like 0 to 360; subtract 360 from those above 180"),
        (exchanged, "look as if latitude and longitude were exchanged; name the columns the other way round"),
    )
    remarks = [f"{rows.sum():,} of {len(values):,} {words}" for rows, words in findings if rows.any()]
    status = np.where(absent, "no prediction", np.where(usable, "ok", "invalid coordinate"))
    return np.where(usable[:, None], values, np.nan), status.tolist(), remarks


def _confidence(rows: pd.DataFrame) -> tuple[Floats | None, list[str]]:
    """Finite numbers to rank by, NaN for none, and a remark on those that cannot be ranked."""
    if "confidence" not in rows:
        return None, []
    values = _numbers(rows["confidence"])
    odd = ~np.isfinite(values) & ~_is_null(rows["confidence"])
    remark = f"{odd.sum():,} of {len(values):,} confidences are no finite number and were left out"
    return np.where(odd, np.nan, values), [remark] if odd.any() else []


def _refuse_radians(values: Floats, path: Path) -> None:
    if len(values) < _SUSPICIOUS_RADIANS or (np.abs(values) > (np.pi / 2, np.pi)).any():
        return
    raise UsageError(
        f"the answers in '{path}' look like radians",
        found=f"all {len(values):,} latitudes within 1.5708 and longitudes within 3.1416 of zero",
        fix="say units=radians, or units=degrees if they really lie there",
    )


def _is_null(text: pd.Series[str]) -> NDArray[np.bool_]:
    return text.str.strip().str.lower().isin(_NULLS).to_numpy(dtype=bool)


def _numbers(text: pd.Series[str]) -> Floats:
    """float64, NaN where the text is no number."""
    return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)


def _read_json(path: Path) -> pd.DataFrame:
    """The rows of `{image: [lat, lon]}`, `{image: {column: value}}` or `{image: {name: [lat, lon]}}`.

    As strings, like any other table; null becomes an empty string.
    """
    entries = _parse_json(path)
    kinds = {type(value) for value in entries.values() if value is not None}
    if kinds <= {list}:
        rows = [(image, *_pair(value)) for image, value in entries.items()]
        return pd.DataFrame(rows, columns=["id", "latitude", "longitude"], dtype=str)
    if kinds != {dict}:
        raise _not_answers(path, f"values of type {', '.join(sorted(kind.__name__ for kind in kinds))}")
    records: dict[str, dict[str, Any]] = {image: value or {} for image, value in entries.items()}
    # A record's own "id" says nothing: the key is what the file is organised by.
    names = list(dict.fromkeys(name for record in records.values() for name in record if name != "id"))
    answers = [name for name in names if any(_is_place(record.get(name)) for record in records.values())]
    if answers:
        long = [
            (image, name, *_pair(record.get(name)))
            for name in answers
            for image, record in records.items()
            if name in record or entries[image] is None
        ]
        return pd.DataFrame(long, columns=["id", "select", "latitude", "longitude"], dtype=str)
    wide = [[image, *(cell_text(record.get(name)) for name in names)] for image, record in records.items()]
    return pd.DataFrame(wide, columns=["id", *names], dtype=str)


def _parse_json(path: Path) -> dict[str, Any]:
    try:
        entries = parse_unique(path.read_text(encoding="utf-8-sig"), path)
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}' is not valid JSON", found=str(error)) from error
    if not isinstance(entries, dict):
        raise _not_answers(path, type(entries).__name__)
    return entries


def _not_answers(path: Path, found: str) -> DataError:
    return DataError(
        f"'{path}' is no JSON file of answers",
        found=found,
        fix='write {"image": [lat, lon]}, {"image": {"name": [lat, lon] or null}} or '
        '{"image": {"latitude": lat, "longitude": lon}}',
    )


def _is_place(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(part) in (int, float) for part in value)


def _pair(value: Any) -> tuple[str, str]:
    if value is None:
        return "", ""
    # What is no pair becomes half a coordinate, which is an invalid one.
    return (
        (cell_text(value[0]), cell_text(value[1]))
        if isinstance(value, list) and len(value) == 2
        else (cell_text(value), "")
    )
