"""How a table is written, and the cells of any table as text."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError, name_list

_EXACT_BELOW = {"halffloat": 2.0**11, "float": 2.0**24, "double": 2.0**53}
"""Whole numbers a float type holds without gaps."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class TableForm:
    """How a table is written, told from its beginning.

    `names` are the columns as the header spells them, or `0`, `1`, ... where there is none.
    `sample` holds the first data rows, to recognise a file by. The delimiter `" "` stands for any
    run of blanks. `lead_lines` stand before the table: blank ones and, where `names_delimiter`, one that
    says `sep=;`, as Excel writes. `cells` are those of a file that had to be read whole to tell.
    """

    path: Path
    kind: Literal["text", "parquet", "json", "frame"]
    names: tuple[str, ...]
    has_header: bool = True
    sample: tuple[tuple[str, ...], ...] = ()
    delimiter: str = ","
    quoting: bool = True
    encoding: str = "utf-8-sig"
    lead_lines: int = 0
    names_delimiter: bool = False
    compressed: bool = False
    notes: tuple[str, ...] = ()
    cells: pa.Table | None = None

    def called(self) -> str:
        """A file in quotes, a table made in Python by its title."""
        return str(self.path) if self.kind == "frame" else f"'{self.path}'"

    def describe(self) -> str:
        """Its columns, in the words of an error message."""
        if self.has_header:
            return f"the columns {name_list(self.names)}"
        first = ", ".join(self.sample[0]) if self.sample else ""
        return f"{len(self.names)} columns without a header; the first row is {shorten(first)}"


def unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot read '{path}'", found=f"{type(error).__name__}: {error}")


def shorten(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."


def encoding_of(head: bytes) -> str:
    """What the byte order mark at the beginning of a text says; UTF-8 without one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")


def decode(raw: bytes) -> str:
    """UTF-8, else Windows-1252, else Latin-1, which has a character for every byte."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def as_text(name: str, column: Any) -> tuple[pa.ChunkedArray, list[str]]:
    """Text without nulls, and a note if some of it was not UTF-8."""
    column = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        return _float_text(column), []
    try:
        text = column.cast(pa.large_string())
        return pc.fill_null(text, "") if text.null_count else text, []
    except pa.ArrowInvalid:
        return _decode_cells(name, column)


def _decode_cells(name: str, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[str]]:
    raw = [cell or b"" for cell in column.to_pylist()]
    text = [decode(cell) for cell in raw]
    odd = [cell for cell, source in zip(text, raw, strict=True) if not _is_utf8(source)]
    note = (
        f"{len(odd)} cells of column '{name}' are not UTF-8 and were read as Windows-1252, "
        f"the first as '{shorten(odd[0])}'"
    )
    return pa.chunked_array([pa.array(text, pa.large_string())]), [note]


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _float_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The shortest text that reads back as the same number; whole numbers as integers.

    A whole number beyond the type's exact range keeps its exponent, and so shows that its digits
    are lost.
    """
    values = pc.fill_null(column, 0).to_numpy().astype(np.float64)
    whole = (np.abs(values) < _EXACT_BELOW[str(column.type)]) & (values == np.floor(values))
    whole &= column.is_valid().to_numpy()
    integers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.large_string())
    text = pc.if_else(pa.array(whole), integers, column.cast(pa.large_string()))
    return pc.fill_null(text, "")
