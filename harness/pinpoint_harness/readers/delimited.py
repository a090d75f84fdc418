"""Reading any table: delimiter, header and encoding are found out, and every cell stays text.

Nothing is interpreted on the way: `NA` is Namibia, `NaN` is three letters in a cell, an id of 16
digits never passes through a float. What a cell means is decided by whoever asked for the column.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..errors import DataError
from ..reading import reads
from .cells import AUTHOR_NAMES
from .parquet_tables import parquet_form, read_parquet
from .table_form import TableForm, as_text, decode, encoding_of, shorten, unreadable

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": (
        "img_id", "img_file", "image", "image_path", "file_name", "photo_id", "id", "key",
        "image_id", "image_file", "filename",
    ),
    "latitude": ("lat", "latitude", "gt_lat", "gt_latitude"),
    "longitude": ("lon", "lng", "long", "longitude", "gt_long", "gt_lon", "gt_lng", "gt_longitude"),
    "author": AUTHOR_NAMES,
    "source": ("source",),
}  # fmt: skip
"""Column names in use for each role, in lower case; the first one found wins."""

_SAMPLE_BYTES = 1 << 16  # below the limit csv sets for one cell, so that no sample exceeds it
_SAMPLE_ROWS = 50
_BLOCK_BYTES = 1 << 21  # no row may be longer than a block
_MAX_INFLATION, _INFLATION_IS_HARMLESS_BYTES = 200, 1 << 26
"""Unpacked over packed size; tables pack 3 to 20 to 1, and a bomb a thousand to 1."""

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())

_MARK = "\ufeff"
_NAMED_DELIMITER = re.compile(r"\"?sep=([\t;|,])\"?[\t;|,]*", re.IGNORECASE)
"""What Excel is told by the first line of a file, which other programs may have quoted or filled up."""

_WHITESPACE = " "
_DELIMITERS = ("\t", ";", "|", ",")  # the comma last: it occurs inside the cells of the others
_DATA_CELL = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|https?://.*|.*\.(jpe?g|png|webp)", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class Table:
    """The columns asked for: text without nulls, an absent value being the empty string.

    Those asked for as numbers are float64, and those asked for as repeated are dictionaries, where the file
    allows. `notes` are sentences about how it had to be read.
    """

    form: TableForm
    cells: pa.Table
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.cells.column(name)

    def text(self, name: str) -> pa.ChunkedArray:
        """The cells as they are spelled; those of numbers are read again: meant for error messages."""
        cells = self.column(name)
        return read_table(self.form, [name]).column(name) if pa.types.is_floating(cells.type) else cells

    def where(self, rows: Iterable[int]) -> list[str]:
        """`line 7`, as an editor counts, for each row from 0; `row 5` where there are no lines.

        Walks the file again: meant for error messages.
        """
        if self.form.kind != "text":
            return [f"row {row + 1}" for row in rows]
        asked = list(rows)
        wanted = set(asked)
        walk = islice(enumerate(_rows_by_line(self.form)), max(wanted, default=-1) + 1)
        lines = {row: line for row, (line, _) in walk if row in wanted}
        return [f"line {lines[row]}" if row in lines else f"row {row + 1}" for row in asked]


@reads()
def sniff(
    path: Path, *, delimiter: str | None = None, header: bool | None = None, quoting: bool = True
) -> TableForm:
    """Find out how the table at `path` is written, from its content and not from its name.

    What the caller knows already is taken as given. Raises DataError for a file that is empty or
    is no table: a web page, a Git LFS pointer, JSON, binary data.
    """
    if path.is_dir():
        return parquet_form(path)
    head, compressed, truncated = _head(path)
    if head.startswith(b"PAR1"):
        return parquet_form(path)
    encoding = encoding_of(head)
    _refuse_other_content(path, head, encoding)
    text = _sample_text(head, encoding, truncated)
    lead_lines, named_delimiter = _lead(text)
    text = "".join(text.splitlines(keepends=True)[lead_lines:])
    delimiter = named_delimiter or delimiter
    if delimiter is None:
        delimiter = _guess_delimiter(text, quoting)
    rows = _split(text, delimiter, quoting)
    has_header = bool(rows) and (_is_header(rows[0]) if header is None else header)
    if truncated and len(rows) <= has_header:
        raise DataError(f"'{path}' is not a table", found=f"no row ends within {_SAMPLE_BYTES:,} bytes")
    return TableForm(
        path=path,
        kind="text",
        names=tuple(cell.strip() for cell in rows[0]) if has_header else _numbers(len(rows[0])),
        has_header=has_header,
        sample=tuple(tuple(row) for row in rows[has_header:]),
        delimiter=delimiter,
        quoting=quoting,
        encoding=encoding,
        lead_lines=lead_lines,
        names_delimiter=bool(named_delimiter),
        compressed=compressed,
    )


@reads(of=lambda source: source.path if isinstance(source, TableForm) else source)
def read_table(
    source: Path | TableForm,
    columns: Sequence[str] | None = None,
    *,
    numbers: Collection[str] = (),
    repeated: Collection[str] = (),
) -> Table:
    """The named columns of a table (all of them without names), every cell as text.

    Only these columns are converted, so a few columns of a table of millions of rows take seconds. Of a text
    file in UTF-8 whose `numbers` are all plain, these become float64, and those of `repeated` dictionaries,
    each a fraction of the memory. Bytes that are not UTF-8 are read as Windows-1252, and a note says so.
    Raises DataError for a column that is not there, and for a ragged row, naming its line.
    """
    form = source if isinstance(source, TableForm) else sniff(source)
    names = list(form.names if columns is None else columns)
    positions = [_position(form, name) for name in names]
    if not form.sample:
        arrays = [pa.chunked_array([], pa.large_string()) for _ in names]
    elif form.kind == "parquet":
        arrays = read_parquet(form, positions)
    elif form.cells is not None:
        arrays = [form.cells.column(position) for position in positions]
    else:
        kinds = dict.fromkeys(names, pa.large_string())
        kinds |= dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(repeated, _DICTIONARY)
        arrays = _read_text(form, positions, [kinds[name] for name in names])
    decoded, notes = [], list(form.notes)
    for name, array in zip(names, arrays, strict=True):
        is_kept = form.kind == "text" and array.type in (pa.float64(), _DICTIONARY)
        text, note = (array, []) if is_kept else as_text(name, array)
        decoded.append(text)
        notes.extend(note)
    if form.kind == "text" and form.sample:
        _refuse_joined(form, dict(zip(positions, decoded, strict=True)))
    return Table(form, pa.table(decoded, names=names), tuple(notes))


def pick_column(names: Sequence[str], aliases: Sequence[str]) -> list[str]:
    """The columns called like one of `aliases`, whatever their case, in the order of the aliases."""
    return [name for alias in aliases for name in names if name.lower() == alias.lower()]


def _position(form: TableForm, name: str) -> int:
    found = [index for index, candidate in enumerate(form.names) if candidate == name]
    if not found:
        raise DataError(f"'{form.path}' has no column '{name}'", found=form.describe())
    if len(found) > 1:
        raise DataError(
            f"'{form.path}' has {len(found)} columns called '{name}'",
            found=form.describe(),
            fix="rename all but one in a copy of the file",
        )
    return found[0]


# The beginning of a file


def _open(path: Path, compressed: bool) -> Any:
    return io.BufferedReader(_Unpacked(path)) if compressed else path.open("rb")


class _Unpacked(io.RawIOBase):
    """What a gzipped file holds; DataError where it is far more than the file of a table can hold."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed = path.open("rb")
        self._gzip = gzip.GzipFile(fileobj=self._packed)
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._gzip.read(len(buffer))
        buffer[: len(data)] = data
        self._bytes += len(data)
        if self._bytes > max(_MAX_INFLATION * self._packed.tell(), _INFLATION_IS_HARMLESS_BYTES):
            raise DataError(
                f"'{self._path}' is not a table",
                found=f"it unpacks to more than {_MAX_INFLATION} times its size",
                fix="unpack it, if it is what you think, and give that",
            )
        return len(data)

    def close(self) -> None:
        self._gzip.close()
        self._packed.close()
        super().close()


def _head(path: Path) -> tuple[bytes, bool, bool]:
    """The first bytes, whether the file is compressed, and whether there is more."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with _open(path, compressed) as stream:
            return stream.read(_SAMPLE_BYTES), compressed, bool(stream.read(1))
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


_ARCHIVES = {
    rb"PK\x03\x04": "zip, or a spreadsheet such as xlsx",
    rb"BZh[1-9]1AY&SY": "bzip2",
    rb"\xfd7zXZ\0": "xz",
    rb"\x28\xb5\x2f\xfd": "zstd",
    rb"7z\xbc\xaf\x27\x1c": "7z",
}
"""First bytes of what is packed otherwise than by gzip, which is read as it is."""


def _refuse_other_content(path: Path, head: bytes, encoding: str) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    found, fix = "", "give the table itself"
    if not start.strip(b"\xff\xfe"):
        found, fix = "an empty file", "fetch it again"
    elif start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        found, fix = "a web page", "the download stopped at a login or consent page: fetch the file itself"
    elif start.startswith(b"version https://git-lfs"):
        found, fix = "a Git LFS pointer, which stands for the file", "run `git lfs pull` where it was cloned"
    elif start.startswith((b"{", b"[")):
        found = "JSON"
    elif archive := next((name for start, name in _ARCHIVES.items() if re.match(start, head)), ""):
        found, fix = f"an archive ({archive})", "unpack it, or save a spreadsheet as CSV, and give that"
    elif encoding == "utf-8-sig" and b"\0" in head:
        found, fix = (
            "binary data",
            "give the table itself; if it is one in UTF-16 or UTF-32, save it as UTF-8",
        )
    if found:
        raise DataError(f"'{path}' is not a table", found=found, fix=fix)


def _sample_text(head: bytes, encoding: str, truncated: bool) -> str:
    text = head.decode(encoding, "replace") if encoding != "utf-8-sig" else ""
    if not text:
        end = max(head.rfind(b"\n"), head.rfind(b"\r")) + 1 if truncated else len(head)
        return decode(head[:end]).removeprefix("\ufeff")
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1] if truncated else text


def _lead(text: str) -> tuple[int, str]:
    """How many lines stand before the table, and the delimiter that one of them names: "" for none."""
    lines = text.splitlines()
    filled = [index for index, line in enumerate(lines) if line] or [0]
    named = _NAMED_DELIMITER.fullmatch(lines[filled[0]]) if lines else None
    return (filled[0], "") if named is None or len(filled) == 1 else (filled[1], named[1])


def _guess_delimiter(text: str, quoting: bool) -> str:
    """The one that cuts most rows as it cuts the first; blanks only where they cut all alike."""
    best, best_share = "", 0.0
    for delimiter in (*_DELIMITERS, _WHITESPACE):
        widths = [len(row) for row in _split(text, delimiter, quoting)]
        share = sum(width == widths[0] for width in widths) / len(widths) if widths else 0.0
        eligible = widths and widths[0] > 1 and (delimiter != _WHITESPACE or (share == 1.0 and not best))
        if eligible and share > best_share:
            best, best_share = delimiter, share
    return best or ","


def _split(text: str, delimiter: str, quoting: bool) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    return [cells for _, cells in islice(_number_rows(lines, delimiter, quoting), _SAMPLE_ROWS)]


def _number_rows(lines: Iterable[str], delimiter: str, quoting: bool) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of its first line."""
    if delimiter == _WHITESPACE:
        yield from ((number, line.split()) for number, line in enumerate(lines, 1) if line.strip())
        return
    rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE)
    last_line = 0
    for cells in rows:
        if cells:
            yield last_line + 1, cells
        last_line = rows.line_num


def _rows_by_line(form: TableForm) -> Iterator[tuple[int, list[str]]]:
    """Every row of the whole file below its header, with the number of its first line."""
    with _open(form.path, form.compressed) as stream:
        lines = io.TextIOWrapper(stream, encoding=form.encoding, errors="replace", newline="")
        rows = _number_rows(lines, form.delimiter, form.quoting)
        yield from islice(rows, form.has_header + form.names_delimiter, None)


def _is_header(row: Sequence[str]) -> bool:
    """Whether a row names columns: one of the known names decides, else any number, URL or image."""
    known = {alias for aliases in ALIASES.values() for alias in aliases}
    if any(cell.strip().lower() in known for cell in row):
        return True
    return not any(_DATA_CELL.fullmatch(cell.strip()) for cell in row)


def _numbers(width: int) -> tuple[str, ...]:
    return tuple(str(index) for index in range(width))


# Delimited text


def _read_text(
    form: TableForm, positions: Sequence[int], kinds: Sequence[pa.DataType]
) -> list[pa.ChunkedArray]:
    """Columns of these kinds where every cell is that, else as bytes.

    Any byte may be anything then, and decoding is left to the caller.
    """
    with contextlib.suppress(pa.ArrowInvalid):
        return _parse_text(form, positions, kinds)
    try:
        return _parse_text(form, positions, [pa.binary()] * len(positions))
    except (pa.ArrowInvalid, OSError, UnicodeError) as error:
        raise _explain(form, error) from error


def _parse_text(
    form: TableForm, positions: Sequence[int], kinds: Sequence[pa.DataType]
) -> list[pa.ChunkedArray]:
    names = _numbers(len(form.names))
    whitespace = form.delimiter == _WHITESPACE
    quoting = form.quoting and not whitespace
    table = pacsv.read_csv(
        _normalised(form) if whitespace else _stream(form),
        pacsv.ReadOptions(
            column_names=list(names),
            skip_rows=0 if whitespace else form.lead_lines,
            skip_rows_after_names=int(form.has_header),
            encoding="utf8" if whitespace else form.encoding.removesuffix("-sig"),
            block_size=_BLOCK_BYTES,
        ),
        pacsv.ParseOptions(
            delimiter="\t" if whitespace else form.delimiter,
            quote_char='"' if quoting else False,
            newlines_in_values=quoting,
        ),
        pacsv.ConvertOptions(
            include_columns=[names[place] for place in sorted(set(positions))],
            column_types={names[place]: kind for place, kind in zip(positions, kinds, strict=True)},
            strings_can_be_null=False,
            null_values=[],
        ),
    )
    return [table.column(names[index]) for index in positions]


def _stream(form: TableForm) -> Any:
    return pa.PythonFile(_open(form.path, True)) if form.compressed else pa.input_stream(str(form.path))


def _normalised(form: TableForm) -> Any:
    """A whitespace-separated file with one tab for each run of blanks."""
    with _open(form.path, form.compressed) as stream:
        raw = stream.read()
    if form.encoding != "utf-8-sig":
        raw = raw.decode(form.encoding, "replace").encode()
    return pa.BufferReader(b"\n".join(b"\t".join(line.split()) for line in raw.splitlines()) + b"\n")


def _refuse_joined(form: TableForm, columns: Mapping[int, pa.ChunkedArray]) -> None:
    """Refuse a file that was joined from several, each with a byte order mark or a header of its own.

    `columns` are the cells that were asked for, by their place. They only tell whether there may be such a
    row; it is looked for in the file where there may.
    """
    text = {place: cells for place, cells in columns.items() if cells.type == pa.large_string()}
    has_mark = pc.match_substring if len(form.names) == 1 else pc.starts_with
    is_marked = 0 in text and pc.any(has_mark(text[0], _MARK)).as_py()
    is_repeated = form.has_header and text and not any(pa.types.is_floating(c.type) for c in columns.values())
    if is_repeated:  # each column holds its own name somewhere
        is_repeated = all(pc.any(pc.equal(cells, form.names[place])).as_py() for place, cells in text.items())
    for line, cells in _rows_by_line(form) if is_marked or is_repeated else ():
        marked = is_marked and _MARK in cells[0] and (len(cells) == 1 or cells[0].startswith(_MARK))
        if [cell.strip(_MARK + " ") for cell in cells] == list(form.names):
            raise _joined(form, line, "repeats the header")
        if marked:
            raise _joined(form, line, "holds a byte order mark (U+FEFF)")


def _joined(form: TableForm, line: int, what: str) -> DataError:
    return DataError(
        f"'{form.path}' seems to be joined from several files",
        found=f"line {line} {what}",
        fix="join their rows alone: each file without its header, but for the first, and without its mark",
    )


def _explain(form: TableForm, error: Exception) -> DataError:
    """The first ragged row with its line, or what the reader said where there is none."""
    width = len(form.names)
    try:
        for line, cells in _rows_by_line(form):
            if len(cells) != width:
                model = "header" if form.has_header else "first row"
                return DataError(
                    f"'{form.path}' is not a table: line {line} has {len(cells)} cells, the {model} {width}",
                    found=shorten(form.delimiter.join(cells)),
                    fix="correct the line; a cell that holds the delimiter must stand in quotes",
                )
    except (csv.Error, OSError, EOFError, UnicodeError, zlib.error) as walk_error:
        return unreadable(form.path, walk_error)
    return unreadable(form.path, error)
