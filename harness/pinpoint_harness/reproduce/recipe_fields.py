"""The fields of a recipe's TOML, and where in the file one of them is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import DataError, HarnessError, unknown_name

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_steps(value: Any) -> bool:
    return isinstance(value, list) and all(_are_words(step) and step for step in value)


def _are_lanes(value: Any) -> bool:
    return _is_text(value) or (
        isinstance(value, list) and all(_is_text(item) or (_are_words(item) and item) for item in value)
    )


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_lists(value: Any) -> bool:
    return isinstance(value, dict) and all(_are_words(words) and words for words in value.values())


def _are_figures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_resources(value: Any) -> bool:
    """Tables of resources by command: whole numbers of GPUs and cores, positive numbers of the others."""
    return isinstance(value, dict) and all(
        isinstance(asked, dict)
        and asked.keys() <= {"gpus", "cores", "gigabytes", "hours"}
        and all(_is_number(amount) and amount >= (name == "cores") for name, amount in asked.items())
        and all(isinstance(asked.get(name, 0), int) for name in ("gpus", "cores"))
        and all(asked.get(name, 1) > 0 for name in ("gigabytes", "hours"))
        for asked in value.values()
    )


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


WORDS: dict[Check, str] = {
    _is_text: "a text",
    _are_lanes: "a text, or a list of texts and lists of texts",
    _is_number: "a number",
    _is_flag: "true or false",
    _are_steps: 'lists of words, such as [["run", "nearest-photo", "yfcc4k"]]',
    _are_lists: "names with lists of texts",
    _are_figures: "metrics with numbers, such as { acc_1km = 8.2 }",
    _are_resources: "commands with what a job asks for: whole gpus and cores, gigabytes, hours",
    _are_tables: "tables",
}
FIELDS: dict[str, Check] = {
    "title": _is_text,
    "status": _is_text,
    "steps": _are_steps,
    "more": _are_steps,
    "next": _are_steps,
    "each": _are_lists,
    "lanes": _are_lanes,
    "hours": _is_number,
    "jobs": _are_resources,
    "source": _is_text,
    "needs": _are_tables,
    "expected": _are_tables,
}
PARTS: dict[str, dict[str, Check]] = {
    "needs": {
        "dataset": _is_text,
        "weights": _is_text,
        "method": _is_text,
        "images": _is_flag,
        "gigabytes": _is_number,
        "get": _is_text,
    },
    "expected": {"run": _is_text, "protocol": _is_text, "tolerance": _is_number, "cells": _are_figures},
}
REQUIRED = {"": ("title", "status", "steps"), "needs": (), "expected": tuple(PARTS["expected"])}


def check_fields(content: Mapping[str, Any], text: str, name: str) -> None:
    """An error that names the line and the field of the first that is unknown, missing or of another kind."""
    _check(content, FIELDS, REQUIRED[""], text, 1, f"recipe '{name}'")
    for part, fields in PARTS.items():
        for number, item in enumerate(content.get(part, [])):
            _check(item, fields, REQUIRED[part], text, _line_of_table(text, part, number), f"recipe '{name}'")
    for number, item in enumerate(content.get("expected", [])):
        _check_expectation(item, text, _line_of_table(text, "expected", number), f"recipe '{name}'")


def _check_expectation(item: Mapping[str, Any], text: str, first_line: int, recipe: str) -> None:
    """A protocol or metric that is not there would be found out after all the steps."""
    from ..evaluation import ADMIN_METRICS, PROTOCOLS, metric_names, radius_of

    metrics = (*metric_names(), *ADMIN_METRICS)
    known = [("protocol", item["protocol"], tuple(PROTOCOLS))]
    known += [("metric", metric, metrics) for metric in item["cells"] if radius_of(metric) is None]
    for kind, word, words in known:
        if word not in words:
            field = "protocol" if kind == "protocol" else "cells"
            where = f"{recipe}, line {_line_of_field(text, field, first_line)}"
            raise unknown_name(f"{where}: there is no {kind} '{word}'", word, words)


def _check(
    content: Mapping[str, Any],
    fields: Mapping[str, Check],
    required: tuple[str, ...],
    text: str,
    first_line: int,
    recipe: str,
) -> None:
    for field, value in content.items():
        where = f"{recipe}, line {_line_of_field(text, field, first_line)}"
        if field not in fields:
            raise _unknown(where, field, fields)
        if not fields[field](value):
            raise DataError(f"{where}: {field} is {WORDS[fields[field]]}", found=repr(value)[:100])
    for field in required:
        if field not in content:
            raise DataError(
                f"{recipe}, line {first_line}: the field '{field}' is missing",
                fix=f"add {field} = ..., {WORDS[fields[field]]}",
            )


def _unknown(where: str, field: str, fields: Mapping[str, Check]) -> HarnessError:
    return unknown_name(f"{where}: there is no field '{field}'", field, fields)


def _line_of_field(text: str, field: str, first_line: int) -> int:
    """Where `field =` or `[field]` stands from a line on; that line where it is written otherwise."""
    pattern = re.compile(rf"""\s*(\[+\s*)?["']?{re.escape(field)}["']?\s*[\].=]""")
    for number, line in enumerate(text.splitlines()[first_line - 1 :], first_line):
        if pattern.match(line):
            return number
    return first_line


def _line_of_table(text: str, name: str, number: int) -> int:
    """Where the `number`-th `[[name]]` stands, from 0."""
    lines = [
        at for at, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[\[\s*{name}\s*\]\]", line)
    ]
    return lines[number] if number < len(lines) else 1
