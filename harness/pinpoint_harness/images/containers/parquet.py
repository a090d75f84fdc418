"""Parquet files whose rows hold pictures: Hugging Face's `{bytes, path}`, or a column of bytes beside an id.

Read in place and a few rows at a time: a file may be one row group of many gigabytes, and a file of a
few kilobytes may say one long value a million times.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .common import (
    BROKEN_ARCHIVE,
    INFLATION_IS_HARMLESS_BYTES,
    MAX_INFLATION,
    MAX_MEMBERS,
    Choice,
    Failure,
    NameColumn,
    Notes,
    changed,
    is_passing,
    stamp_of,
    unsafe_because,
)

NAME_COLUMNS = (
    "img_id", "img_file", "image_path", "file_name", "filename", "photo_id", "image_id", "id", "key",
    "__key__", "name", "path",
)  # fmt: skip
"""Where a picture's name stands if the picture itself brings none; the first one there is taken."""

PICTURE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "image_bytes", "bytes")
"""What columns of plain bytes are called; a struct of bytes and path is known by its fields."""

MAX_KEPT_BYTES = 256 * 2**20
"""Pictures passed on the way to another one, kept for all files of a store together."""

_MAX_CURSORS = 4
_ROWS_AT_ONCE = 16
_NAMES_AT_ONCE = 4096
_BYTES_AT_ONCE = 2**28
_BUFFER_BYTES = 2**20

BROKEN_PARQUET = (*BROKEN_ARCHIVE, pa.ArrowException)


@dataclass(frozen=True)
class Columns:
    """The paths of the leaves with a picture's bytes and with its name."""

    picture: str
    name: str


class ParquetRows:
    """Reads single rows out of many files; one for a whole store, so that its memory is bounded.

    Rows are cheap in the order of the file. Another order costs reading a row group from its start,
    unless the row was passed lately.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._cursors: OrderedDict[Path, _Cursor] = OrderedDict()

    def read(self, path: Path, column: str, stamp: tuple[int, int], row: int) -> bytes | None:
        """The bytes of a row, None where there are none; raises one of BROKEN_PARQUET."""
        with self._lock:
            if (path, row) in self._kept:
                self._kept.move_to_end((path, row))
                return self._kept[path, row]
            cursor = self._cursors.pop(path, None)
            if cursor is None or not cursor.position <= row < cursor.stop:
                cursor = _Cursor(path, column, stamp, row)
            value = None
            while cursor.position <= row:
                value = cursor.next()
                self._keep((path, cursor.position - 1), value)
            self._cursors[path] = cursor
            while len(self._cursors) > _MAX_CURSORS:
                self._cursors.popitem(last=False)
            return value

    def _keep(self, key: tuple[Path, int], value: bytes | None) -> None:
        if value is None or key in self._kept:
            return
        self._kept[key] = value
        self._kept_bytes += len(value)
        while self._kept_bytes > MAX_KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)


class _Cursor:
    """Walks the rows of the row group that holds one; `position` is the row that comes next."""

    def __init__(self, path: Path, column: str, stamp: tuple[int, int], row: int) -> None:
        if _stamp(path) != stamp:
            raise changed(path)
        file = _open(path)
        self.position = self.stop = 0
        group = -1
        while self.stop <= row:
            group += 1
            self.position = self.stop
            self.stop += file.metadata.row_group(group).num_rows
        self._values = self._walk(file, column, group)

    def next(self) -> bytes | None:
        try:
            value = next(self._values)
        except StopIteration:
            raise EOFError("a row group has fewer rows than it declares") from None
        self.position += 1
        return value

    @staticmethod
    def _walk(file: pq.ParquetFile, column: str, group: int) -> Iterator[bytes | None]:
        yield from _values(file, column, group, _ROWS_AT_ONCE)


class ParquetContainer:
    """The pictures of one Parquet file, called by their path or by their row's id.

    `name_column` says by which, where the file's own names are not those that are looked for.
    """

    def __init__(
        self, path: Path, columns: Columns, rows: ParquetRows, notes: Notes, label: str, choice: Choice
    ) -> None:
        self.label = label
        self._path, self._column, self._rows = path, columns.picture, rows
        self._stamp = _stamp(path)
        names, numbers = NameColumn(), []
        for number, name in enumerate(_names(path, columns, notes, label)):
            reason = choice(name) if name else ""
            if reason is None:
                names.append(name)
                numbers.append(number)
            elif reason:
                notes.add(label, reason, name)
        self.names: pa.ChunkedArray = names.finish()
        self._numbers = np.array(numbers, np.int64)

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        try:
            data = self._rows.read(self._path, self._column, self._stamp, int(self._numbers[row]))
        except BROKEN_PARQUET as error:
            if is_passing(error):
                raise
            return Failure("unreadable", f"Parquet: {error}")
        if data is None:
            return Failure("missing", "the row holds no bytes")
        if len(data) > max_bytes:
            return Failure("unreadable", f"Parquet row has {len(data)} bytes, allowed {max_bytes}")
        return data

    def size(self, row: int) -> int:
        return -1

    def stamps(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows' numbers in a file of one size and time of change."""
        stamp = np.full(len(rows), stamp_of([self._stamp]))
        return np.stack([stamp, np.zeros(len(rows), np.int64), self._numbers[rows]], axis=1)


def picture_columns(path: Path, name_column: str = "") -> Columns | None:
    """Where a Parquet file holds pictures and their names, None if it holds none; from its footer.

    Raises one of BROKEN_PARQUET for a damaged file.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    fields = {field.name: field.type for field in schema}
    found = [name for name, kind in fields.items() if _holds_pictures(name, kind)]
    if not found:
        return None
    first = found[0]
    kind = fields[first]
    if name_column in fields and _is_name(fields[name_column]):
        return Columns(f"{first}.bytes" if pa.types.is_struct(kind) else first, name_column)
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        return Columns(f"{first}.bytes", f"{first}.path")
    lowered = {name.lower(): name for name, kind in fields.items() if _is_name(kind)}
    name = next((lowered[candidate] for candidate in NAME_COLUMNS if candidate in lowered), "")
    return Columns(f"{first}.bytes" if pa.types.is_struct(kind) else first, name)


def holds_pictures(path: Path) -> bool:
    """Whether a file is a Parquet file with pictures in it; damage is left to whoever reads it."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return False
        columns = picture_columns(path)
        return columns is not None and not _is_empty(path, columns.picture)
    except BROKEN_PARQUET:
        return False


def _is_empty(path: Path, column: str) -> bool:
    """Whether a column has no value at all, as where a table names pictures that lie beside it."""
    with _open(path) as file:
        groups = range(file.num_row_groups)
        known = [_chunk(file, column, group).statistics for group in groups]
        return all(one is not None and one.null_count and not one.num_values for one in known)


def _holds_pictures(name: str, kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind) and name.lower() in PICTURE_COLUMNS


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_name(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer))


def _open(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _values(file: pq.ParquetFile, column: str, group: int, most_rows: int) -> Iterator[Any]:
    """The values of a row group one by one, so many at a time that even the longest find room."""
    longest = max(_chunk(file, column, group).total_uncompressed_size, 1)
    rows = max(1, min(most_rows, _BYTES_AT_ONCE // longest))
    for batch in file.iter_batches(rows, row_groups=[group], columns=[column]):
        values = batch.column(0)
        if pa.types.is_struct(values.type):
            values = values.flatten()[0]
        for value in values:
            yield value.as_py()


def _chunk(file: pq.ParquetFile, column: str, group: int) -> Any:
    """What the footer says of a column in a row group; ValueError if it lacks the column."""
    row_group = file.metadata.row_group(group)
    for place in range(row_group.num_columns):
        chunk = row_group.column(place)
        if chunk.path_in_schema == column:
            return chunk
    raise ValueError(f"a row group has no column {column}")


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _names(path: Path, columns: Columns, notes: Notes, label: str) -> Iterator[str]:
    """The name of every row in order; empty for one that has none or cannot be trusted, which is noted."""
    if not columns.name:
        notes.add(label, f"pictures without names: none of the columns {', '.join(NAME_COLUMNS)}")
        return
    with _open(path) as file:
        if file.metadata.num_rows > MAX_MEMBERS:
            notes.add(label, f"more than {MAX_MEMBERS} rows, the file is not read")
            return
        _refuse_inflation(file, columns)
        for group in range(file.num_row_groups):
            for value in _values(file, columns.name, group, _NAMES_AT_ONCE):
                yield _trusted(value, notes, label)


def _trusted(value: object, notes: Notes, label: str) -> str:
    name = "" if value is None else str(value).replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":":
        name = name.rpartition("/")[2]  # the path on the machine that wrote the file
    reason = unsafe_because(name)
    if reason:
        notes.add(label, f"row's {reason}", name)
        return ""
    return name


def _refuse_inflation(file: pq.ParquetFile, columns: Columns) -> None:
    for group in range(file.num_row_groups):
        for column in (columns.picture, columns.name):
            chunk = _chunk(file, column, group)
            unpacked, packed = chunk.total_uncompressed_size, chunk.total_compressed_size
            if unpacked > max(MAX_INFLATION * packed, INFLATION_IS_HARMLESS_BYTES):
                raise ValueError(f"a row group unpacks to more than {MAX_INFLATION} times its size")
