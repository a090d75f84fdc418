"""Files of answers in words: which columns hold them, whatever shape the file has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.readers import ALIASES, cell_text, is_json, parse_unique, pick_column, read_table, sniff
from pinpoint_harness.reading import reads

ANSWER_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "city": ("pred_city", "predicted_city"),
    "region": ("pred_region", "predicted_region", "pred_state", "predicted_state"),
    "country": ("pred_country", "predicted_country"),
    "place": ("pred_place", "predicted_place", "pred_location", "answer", "response", "prediction", "text"),
}
"""Names that can only be an answer; of a whole place none is read where city or country stand apart."""

PLAIN_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "city": ("city",),
    "region": ("region", "state"),
    "country": ("country",),
    "place": ("place", "location"),
}
"""An answer only where the file has no coordinates, beside which they may be the truth."""

FIELDS = ("city", "region", "country")
ROLES = ("id", "place", *FIELDS, "confidence")

_SHOWN = 5


@dataclass(frozen=True)
class PlaceAnswers:
    """`rows` has the columns `id`, `place` or any of `FIELDS`, and perhaps `confidence`, all of them text."""

    rows: pd.DataFrame
    notes: tuple[str, ...]


@reads()
def read_place_answers(path: Path, columns: Mapping[str, str] | None = None) -> PlaceAnswers:
    """The answers of a table (CSV, TSV, Parquet), of a JSON file or of JSON lines.

    JSON is `{id: "Paris, France"}`, `{id: {"city": ..., "country": ...}}` or a list of objects with an
    id each, as are JSON lines. `columns` maps a role to a column where names do not tell.
    """
    table, notes = _read_cells(path)
    column_of = _roles(path, list(table.columns), columns or {})
    rows = pd.DataFrame({role: table[name].str.strip() for role, name in column_of.items()})
    repeated = rows["id"][rows["id"].duplicated()].unique().tolist()
    if rows.empty:
        raise DataError(f"'{path}' holds no answers")
    if (rows["id"] == "").any():
        raise DataError(f"'{path}' has {int((rows['id'] == '').sum())} rows without an id")
    if repeated:
        shown = ", ".join(repeated[:_SHOWN]) + ", ..." * (len(repeated) > _SHOWN)
        raise DataError(
            f"'{path}' answers {len(repeated)} ids more than once", found=shown, fix="keep one of each"
        )
    named = " and ".join(f"'{name}'" for role, name in column_of.items() if role in (*FIELDS, "place"))
    return PlaceAnswers(rows, (f"{len(rows):,} answers read from {named} of {path.name}", *notes))


def _roles(path: Path, names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The column of each role; what the user names comes before what is recognised."""
    for role, name in given.items():
        if name not in names:
            raise _unclear(path, names, f"has no column '{name}' for the {role}", role)
    column_of = dict(given)
    if not set(given) & {*FIELDS, "place"}:
        column_of |= _recognised(path, names)
    for role, aliases in (("id", ALIASES["id"]), ("confidence", ("confidence",))):
        if role not in column_of and (found := pick_column(names, aliases)):
            column_of[role] = found[0]
    if "id" not in column_of:
        raise _unclear(path, names, "has no column of ids", "id")
    return column_of


def _recognised(path: Path, names: Sequence[str]) -> dict[str, str]:
    found = _picked(names, ANSWER_COLUMNS)
    plain = _picked(names, PLAIN_COLUMNS)
    if not found and plain and any(pick_column(names, ALIASES[axis]) for axis in ("latitude", "longitude")):
        raise _unclear(
            path, names, f"has a column '{next(iter(plain.values()))}' that may be the truth", "city"
        )
    found = found or plain
    if not found:
        raise _unclear(path, names, "has no column of place names", "place")
    if "place" in found and not {"city", "country"} & set(found):
        return {"place": found["place"]}
    return {role: name for role, name in found.items() if role in FIELDS}


def _picked(names: Sequence[str], columns: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    found = {role: pick_column(names, aliases) for role, aliases in columns.items()}
    return {role: picked[0] for role, picked in found.items() if picked}


def _unclear(path: Path, names: Sequence[str], problem: str, role: str) -> UsageError:
    return UsageError(
        f"'{path}' {problem}",
        found=f"columns {', '.join(names)}",
        fix=f"say which one: {role}_column=NAME (roles: {', '.join(ROLES)})",
    )


# Cells


def _read_cells(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Every cell as text under the file's own names, and the reader's notes."""
    if is_json(path):
        return _read_json(path), ()
    table = read_table(sniff(path))
    return table.cells.to_pandas(), table.notes


def _read_json(path: Path) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig")
    try:
        value = parse_unique(text, path)
    except ValueError:
        value = _json_lines(path, text)
    if isinstance(value, dict):
        value = [_record(path, name, entry) for name, entry in value.items()]
    if not all(isinstance(record, dict) for record in value):
        raise _no_answers(path, "a list of other things than objects")
    names = list(dict.fromkeys(name for record in value for name in record))
    cells = [[cell_text(record.get(name)) for name in names] for record in value]
    return pd.DataFrame(cells, columns=names, dtype=str)


def _json_lines(path: Path, text: str) -> list[Any]:
    try:
        return [parse_unique(line, path) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise _no_answers(path, str(error)) from error


def _record(path: Path, name: str, entry: Any) -> dict[str, Any]:
    """One row of an object by id, whose entries are texts, or objects whose own id says nothing."""
    if entry is None or isinstance(entry, str):
        return {"id": name, "answer": entry}
    if isinstance(entry, dict):
        return {"id": name} | {key: value for key, value in entry.items() if key.lower() not in ALIASES["id"]}
    raise _no_answers(path, f"'{name}' is {json.dumps(entry)[:80]}")


def _no_answers(path: Path, found: str) -> DataError:
    return DataError(
        f"'{path}' is no JSON file of place names",
        found=found,
        fix='write {"image": "Paris, France"}, {"image": {"city": "Paris", "country": "France"}}, or one '
        'object a line: {"id": "image", "answer": "Paris, France"}',
    )
