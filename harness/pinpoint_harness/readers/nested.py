"""Nested data as the rows of a table: objects become columns `outer.inner`, lists stay one cell of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .cells import LATITUDE_NAMES, LONGITUDE_NAMES

LONGEST_LIST = 400
"""Characters of a list that may still be an answer; what is longer are features and is not read."""

_WRAPPER = re.compile(
    r"(prediction|pred|answer|response|output|guess(e)?|estimate|result|photo|image|record|item|row|annotation"
    r"|truth|ground_?truth|gt|data|location|coordinate)s?"
)
"""Names under which all rows of a file of JSON stand, in lower case."""
_ABOUT = re.compile(r"config|configuration|meta|metadata|args|params|parameters|settings|info")
"""Names of what a file says about itself."""


# Parquet


def leaf_names(field: pa.Field, prefix: str = "") -> tuple[list[str], list[str]]:
    """The columns a field of a schema stands for, and those in it that cannot be cells (pictures)."""
    name = f"{prefix}{field.name}"
    if pa.types.is_struct(field.type):
        children = [field.type.field(index) for index in range(field.type.num_fields)]
        inner = [leaf_names(child, f"{name}.") for child in children]
        return [leaf for kept, _ in inner for leaf in kept], [leaf for _, out in inner for leaf in out]
    is_bytes = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
    unreadable = pa.types.is_map(field.type) or (bool(prefix) and is_bytes)
    return ([], [name]) if unreadable else ([name], [])


def leaf(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The column of a table that a name of `leaf_names` stands for, as text if it holds lists."""
    column = _leaf(table, name)
    return list_text(column) if is_list(column.type) else column


def holds_lists(table: pa.Table, name: str) -> bool:
    return is_list(_leaf(table, name).type)


def _leaf(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name in table.column_names:
        return table.column(name)
    top = max((one for one in table.column_names if name.startswith(f"{one}.")), key=len)
    return pc.struct_field(table.column(top), name[len(top) + 1 :].split("."))


def is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def list_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists as JSON; an absent one stays null."""
    cells = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(cells, pa.large_string())])


# JSON


def records_of(value: Any) -> list[dict[str, Any]] | None:
    """A list of objects, GeoJSON features or columns by name as flat records; None for anything else.

    A feature's position becomes `geometry.latitude` and `geometry.longitude`: GeoJSON is longitude
    first (RFC 7946).
    """
    if isinstance(value, dict) and isinstance(value.get("features"), list):
        value = [_feature(item) if isinstance(item, dict) else item for item in value["features"]]
    if isinstance(value, dict):
        value = _by_column(value) or _only_list(value)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    return [flat(_feature(item)) for item in value]


def by_photo(value: Any) -> Any:
    """`{image: ...}` of what holds it under a name, or in objects of one image; else the value itself."""
    if isinstance(value, dict):
        return _under_a_name(value) or value
    if not isinstance(value, list) or len(value) < 2:
        return value
    if not all(isinstance(item, dict) and len(item) == 1 for item in value):
        return value
    whole = {image: entry for item in value for image, entry in item.items()}
    return whole if len(whole) == len(value) else value


def _under_a_name(value: dict[str, Any]) -> dict[str, Any] | None:
    objects = {name: item for name, item in value.items() if isinstance(item, dict | list)}
    rows = [item for name, item in objects.items() if not _ABOUT.fullmatch(name.lower())]
    if len(rows) != 1 or not isinstance(rows[0], dict) or not rows[0]:
        return None
    (name,) = (name for name, item in objects.items() if item is rows[0])
    entries = {type(entry) for entry in rows[0].values() if entry is not None}
    return rows[0] if _WRAPPER.fullmatch(name.lower()) and entries and entries <= {dict, list} else None


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An object with the objects in it unfolded: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        inner = (
            flat(value, f"{prefix}{name}.")
            if isinstance(value, dict) and value
            else {f"{prefix}{name}": value}
        )
        found.update(inner)
    return found


def _feature(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type") != "Feature":
        return item
    geometry = item.get("geometry") or {}
    point = geometry.get("coordinates") if geometry.get("type") == "Point" else None
    longitude, latitude, *_ = point if isinstance(point, list) and len(point) in (2, 3) else (None, None)
    named = {"id": item["id"]} if "id" in item else {}
    position = {"geometry": {"latitude": latitude, "longitude": longitude}}
    return {**named, **(item.get("properties") or {}), **position}


def _by_column(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Rows of `{column: {row: cell}}` or `{column: [cell, ...]}`, as pandas writes a table."""
    names = {name.lower() for name in value}
    if not any(names & set(axis) for axis in (LATITUDE_NAMES, LONGITUDE_NAMES)):
        return None
    columns = [dict(enumerate(cells)) if isinstance(cells, list) else cells for cells in value.values()]
    if not all(isinstance(cells, dict) and cells.keys() == columns[0].keys() for cells in columns):
        return None
    return [dict(zip(value, cells, strict=True)) for cells in _rows(columns)]


def _rows(columns: list[dict[Any, Any]]) -> Iterable[list[Any]]:
    return ([cells[row] for cells in columns] for row in columns[0])


def _only_list(value: dict[str, Any]) -> list[Any] | None:
    """The rows of `{"predictions": [{...}, ...]}`, where nothing else in the object could be rows."""
    lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
    others = [item for item in value.values() if isinstance(item, dict)]
    return lists[0] if len(lists) == 1 and not others else None
