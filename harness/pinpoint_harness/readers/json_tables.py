"""Files of JSON, JSON lines and GeoJSON as tables of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DataError
from ..reading import reads
from .answer_columns import looks_like_truth
from .cells import place_of
from .json_rows import cell_text, parse_unique, read_text
from .nested import by_photo, flat, records_of


@reads()
def json_cells(path: Path, *, as_columns: bool) -> tuple[pd.DataFrame, dict[str, str]]:
    """The cells of any of the shapes of JSON, and the columns whose role the shape leaves no doubt about.

    Shapes are a list of objects or an object a line, GeoJSON, columns by name, `{image: [lat, lon]}`,
    `{image: {column: value}}` and `{image: {name: [lat, lon]}}`, which has several answers per photo:
    `as_columns` keeps these apart as columns. An object by image may stand under a name such as
    `predictions`, or in parts of one image a line. Null becomes an empty string.
    """
    value = by_photo(_parse_json(path))
    records = records_of(value)
    roles: dict[str, str] = {}
    if records is not None:
        names = list(dict.fromkeys(name for record in records for name in record))
        table = [[cell_text(record.get(name)) for name in names] for record in records]
    elif isinstance(value, dict):
        names, table = _by_image(path, value, as_columns)
        roles = {"answer": "answer"} if names in (["id", "answer"], ["id", "select", "answer"]) else {}
    else:
        raise _no_rows(path, type(value).__name__)
    return pd.DataFrame(table, columns=names, dtype=str), roles


def _by_image(path: Path, entries: dict[str, Any], as_columns: bool) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and rows, of an object by image."""
    kinds = {type(value) for value in entries.values() if value is not None}
    if kinds <= {list} or kinds == {str}:
        return ["id", "answer"], [[image, cell_text(value)] for image, value in entries.items()]
    if kinds != {dict}:
        raise _no_rows(path, f"values of type {', '.join(sorted(kind.__name__ for kind in kinds))}")
    # A record's own "id" says nothing: the key is what the file is organised by.
    records = {image: flat({**(value or {}), "id": image}) for image, value in entries.items()}
    names = list(dict.fromkeys(name for record in records.values() for name in record if name != "id"))
    answers = [
        name
        for name in names
        if not looks_like_truth(name)
        and any(isinstance(one := record.get(name), list) and place_of(one) for record in records.values())
    ]
    if answers and not as_columns:
        return ["id", "select", "answer"], [
            [image, name, cell_text(record.get(name))]
            for name in answers
            for image, record in records.items()
            if name in record or entries[image] is None
        ]
    wide = [[image, *(cell_text(record.get(name)) for name in names)] for image, record in records.items()]
    return ["id", *names], wide


def _parse_json(path: Path) -> Any:
    """The value of a file of JSON, or the list of the values of its lines."""
    text = read_text(path)
    try:
        return parse_unique(text, path)
    except (ValueError, RecursionError) as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not _is_json_value(lines[0][1], path):
            raise _invalid_json(path, error) from error
    return [_json_line(line, number, path) for number, line in lines]


def _is_json_value(line: str, path: Path) -> bool:
    """Whether a line is a value by itself, and its file thus one of JSON lines."""
    try:
        parse_unique(line, path)
    except (ValueError, RecursionError):
        return False
    return True


def _json_line(line: str, number: int, path: Path) -> Any:
    try:
        return parse_unique(line, path)
    except (ValueError, RecursionError) as error:
        raise _invalid_json(path, error, f"line {number}: ") from error


def _invalid_json(path: Path, error: ValueError | RecursionError, place: str = "") -> DataError:
    if isinstance(error, json.JSONDecodeError):
        fix = "write the file again; a last line that is cut short is the mark of a program that was stopped"
        return DataError(f"'{path}' is not valid JSON", found=f"{place}{error}", fix=fix)
    nested = isinstance(error, RecursionError)
    found = "lists or objects nested a thousand levels deep" if nested else "a number of thousands of digits"
    return DataError(
        f"'{path}' cannot be read as JSON", found=place + found, fix="write a photo's place as two numbers"
    )


def _no_rows(path: Path, found: str) -> DataError:
    return DataError(
        f"'{path}' is no JSON file of photos and places",
        found=found,
        fix='write {"image": [lat, lon]}, {"image": {"name": [lat, lon] or null}}, '
        '{"image": {"latitude": lat, "longitude": lon}}, or an object with id, latitude and longitude a line',
    )
