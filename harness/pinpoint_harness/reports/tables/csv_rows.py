"""Rows as CSV, unrounded: the columns of the published files, then what only measured rows have.

`write` writes rows of every kind; `read` reads published ones alone.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...errors import DataError, UsageError
from ...evaluation import Estimate
from ...types import STATUS
from .formats import plain
from .row import UNSTATED, Metric, Row, find_metric, leading_integer

LEADING = ("method", "source", "mllm", "web")
TRAILING = ("protocol", "views", "n", "gallery", "author_filter", "verified", "note")
_COUNTS = {"ok": "scored", **{word: word.replace(" ", "_") for word in STATUS[1:]}}
_MEASURED = (
    "kind",
    "complete",
    "total",
    *_COUNTS.values(),
    "clusters",
    "present_n",
    "present_ids_sha256",
    "footnotes",
)
_ESTIMATE = ("low", "high", "standard_error", "n", "present", "letters")

_YES_NO = ("yes", "no", UNSTATED)
_VERIFIED = ("copied", "recomputed", "approximate", "unverified", UNSTATED)
_AUTHOR_FILTER = (*_YES_NO, "leakage-aware")

# A cell that begins like this is run as a formula by spreadsheets; an apostrophe makes it text.
# Apostrophes already there are counted in, so that taking one off gives back what was written.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def write(rows: Iterable[Row], metrics: Sequence[str]) -> str:
    """The rows with these metrics, unrounded, with a header line."""
    estimate_columns = [f"{metric}_{part}" for metric in metrics for part in _ESTIMATE]
    columns = [*LEADING, *metrics, *TRAILING, *estimate_columns, *_MEASURED]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_record(row, metrics) for row in rows)
    return text.getvalue()


def read(text: str, name: str) -> list[Row]:
    """The published rows of one file; a blank cell is a metric the row does not have.

    Raises DataError naming `name` and the line for a column that is missing, unknown or twice
    there, a line of another width, a word or number that cannot be, an accuracy that falls as
    the radius grows, or a published row given twice.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines = []
    try:
        header = [column.strip() for column in next(reader, [])]
        metrics = _check_header(header, name)
        for cells in reader:
            if cells:
                lines.append(_line(f"{name}, line {reader.line_num}", header, cells))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: not CSV", found=str(error)) from error
    rows = [_row(line, metrics) for line in lines]
    _refuse_duplicates(rows, lines)
    return rows


def _record(row: Row, metrics: Sequence[str]) -> dict[str, str]:
    record = {column: _guarded(getattr(row, column)) for column in (*LEADING, *TRAILING)}
    record |= {"kind": row.kind, "complete": "yes" if row.complete else "no", "total": _digits(row.total)}
    record |= {column: _digits(row.counts.get(word)) for word, column in _COUNTS.items()}
    record |= {"clusters": _guarded(row.clusters), "footnotes": "\n".join(map(_guarded, row.footnotes))}
    if row.present:
        record |= {
            "present_n": _digits(row.present.n),
            "present_ids_sha256": _guarded(row.present.ids_sha256),
        }
        record |= {f"{metric}_present": _digits(row.present.values.get(metric)) for metric in metrics}
    for metric in metrics:
        estimate = row.cells.get(metric)
        if estimate is not None and estimate.value is not None:
            record[metric] = _digits(estimate.value)
            record |= {f"{metric}_{part}": _digits(getattr(estimate, part)) for part in _ESTIMATE[:3]}
            record[f"{metric}_n"] = _digits(estimate.n)
        record[f"{metric}_letters"] = _guarded(row.letters.get(metric, ""))
    return record


def _digits(value: float | None) -> str:
    """Shortest text that reads back as the same number; numpy's own repr would name its type."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, int) else repr(float(value))


def _guarded(text: str) -> str:
    text = plain(text)
    return f"'{text}" if _FORMULA.match(text) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


@dataclass(frozen=True)
class _Line:
    """One line of a file, which knows where it stands so that errors can say so."""

    where: str
    fields: Mapping[str, str]

    def text(self, column: str, default: str = "") -> str:
        return _unguarded(self.fields.get(column, "").strip()) or default

    def word(self, column: str, known: Sequence[str], default: str = UNSTATED) -> str:
        word = self.text(column, default)
        if word not in known:
            raise DataError(f"{self.where}: {column} '{word}' is unknown", fix=f"one of: {' '.join(known)}")
        return word

    def number(self, column: str, maximum: float = math.inf) -> float | None:
        text = self.text(column)
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)) or not 0 <= float(text) <= maximum:
            allowed = "a number from 0 up" if math.isinf(maximum) else f"a number from 0 to {maximum:g}"
            raise DataError(f"{self.where}: {column} is '{text}'", fix=f"{allowed}, or blank")
        return float(text)


def _check_header(header: Sequence[str], name: str) -> list[Metric]:
    if missing := [column for column in (*LEADING, *TRAILING) if column not in header]:
        raise DataError(
            f"{name}, line 1: no column {', '.join(missing)}", found=", ".join(header) or "nothing"
        )
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise DataError(f"{name}, line 1: column {', '.join(twice)} occurs more than once")
    metrics = [metric for column in header if (metric := _metric_or_none(column))]
    known = {*LEADING, *TRAILING, *(metric.name for metric in metrics)}
    if unknown := [column for column in header if column not in known]:
        raise DataError(
            f"{name}, line 1: unknown column {', '.join(unknown)}",
            fix=f"columns are {', '.join(LEADING)}, metrics such as acc_25km, {', '.join(TRAILING)}; what "
            "`pinpoint table --format csv` writes after them is of measured rows, which their runs show",
        )
    return metrics


def _metric_or_none(column: str) -> Metric | None:
    try:
        return find_metric(column)
    except UsageError:
        return None


def _line(where: str, header: Sequence[str], cells: Sequence[str]) -> _Line:
    if len(cells) != len(header):
        raise DataError(
            f"{where}: {len(header)} cells expected", found=f"{len(cells)}", fix="quote cells with commas"
        )
    return _Line(where, dict(zip(header, cells, strict=True)))


def _refuse_duplicates(rows: Sequence[Row], lines: Sequence[_Line]) -> None:
    first: dict[tuple[str, ...], str] = {}
    for row, line in zip(rows, lines, strict=True):
        key = (row.method, row.source, row.protocol, row.views, row.n, row.gallery, row.author_filter)
        if key in first:
            raise DataError(
                f"{line.where}: '{row.method}' ({row.source}) stands there twice", found=first[key]
            )
        first[key] = line.where


def _row(line: _Line, metrics: Sequence[Metric]) -> Row:
    if not line.text("method"):
        raise DataError(f"{line.where}: the row has no method")
    return Row(
        method=line.text("method"),
        cells=_cells(line, metrics),
        kind="published",
        protocol=line.text("protocol", UNSTATED),
        source=line.text("source"),
        mllm=line.word("mllm", _YES_NO),
        web=line.word("web", _YES_NO),
        views=line.text("views", UNSTATED),
        n=line.text("n", UNSTATED),
        gallery=line.text("gallery", UNSTATED),
        author_filter=line.word("author_filter", _AUTHOR_FILTER),
        verified=line.word("verified", _VERIFIED),
        note=line.text("note"),
    )


def _cells(line: _Line, metrics: Sequence[Metric]) -> dict[str, Estimate]:
    n = leading_integer(line.text("n")) or 0
    values = {metric.name: line.number(metric.name, metric.maximum) for metric in metrics}
    _check_monotone(line, metrics)
    return {name: Estimate(value, None, None, None, n) for name, value in values.items() if value is not None}


def _check_monotone(line: _Line, metrics: Sequence[Metric]) -> None:
    by_radius = sorted((metric.radius_km, metric.name) for metric in metrics if metric.radius_km is not None)
    reported = [(name, value) for _, name in by_radius if (value := line.number(name)) is not None]
    for (narrow, inner), (wide, outer) in pairwise(reported):
        if inner > outer:
            raise DataError(f"{line.where}: {narrow} is above {wide}", found=f"{inner:g} and {outer:g}")
