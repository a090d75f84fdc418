"""Tables in Parquet: one file, or a folder of files with the same columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..artifacts import file_sha256
from ..errors import DataError
from .nested import LONGEST_LIST, holds_lists, leaf, leaf_names
from .table_form import TableForm, as_text, unreadable

_SAMPLE_ROWS = 50
_HARMLESS_ROWS, _MOST_ROWS_A_BYTE = 5_000_000, 4


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or the shards of a folder in the order of their names; none for another folder."""
    return [path] if path.is_file() else sorted(path.glob("*.parquet"))


def content_sha256(path: Path) -> str:
    """The digest of a file; of a folder of Parquet, that of the digests of its files in their order."""
    if path.is_dir():
        return hashlib.sha256("".join(map(file_sha256, parquet_files(path))).encode()).hexdigest()
    return file_sha256(path)


def parquet_form(path: Path) -> TableForm:
    """The columns of a file or folder.

    A struct counts as one for each of its fields, `outer.inner`; pictures and features count as none.
    """
    files = parquet_files(path)
    if not files:
        raise DataError(f"the folder '{path}' holds no Parquet files", fix="give the file of the table")
    try:
        with pq.ParquetFile(files[0]) as file:
            found = [leaf_names(field) for field in file.schema_arrow]
            names = [name for kept, _ in found for name in kept]
            first = next(file.iter_batches(batch_size=_SAMPLE_ROWS, columns=names), None)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    sample = pa.Table.from_batches([first]) if first is not None else pa.table({})
    read = names if first is not None else []
    columns = {name: as_text(name, leaf(sample, name))[0].to_pylist() for name in read}
    lists = [name for name in columns if holds_lists(sample, name)]
    long = {name for name in lists if max(map(len, columns[name])) > LONGEST_LIST}
    left_out = [name for kept, out in found for name in (*filter(long.__contains__, kept), *out)]
    kept = tuple(name for name in names if name not in long)
    rows = tuple(zip(*(columns[name] for name in kept), strict=True)) if columns else ()
    note = f"columns that hold long lists or pictures are left out: {', '.join(left_out)}"
    return TableForm(path=path, kind="parquet", names=kept, sample=rows, notes=(note,) if left_out else ())


def read_parquet(form: TableForm, positions: Sequence[int]) -> list[pa.ChunkedArray]:
    """Columns of all files; those with lists, and those of several files, as text."""
    names = [form.names[index] for index in positions]
    parts = [_read_file(path, names) for path in parquet_files(form.path)]
    if len(parts) == 1:
        return [parts[0][name] for name in names]
    return [_joined([as_text(name, part[name])[0] for part in parts]) for name in names]


def _joined(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.large_string())


def _refuse_bomb(path: Path, rows: int) -> None:
    """Refuse millions of rows that all say the same: the photos of a table have names of their own."""
    if rows > _HARMLESS_ROWS and rows > _MOST_ROWS_A_BYTE * path.stat().st_size:
        raise DataError(
            f"'{path}' is not a table of photos",
            found=f"{rows:,} rows in a file of {path.stat().st_size:,} bytes",
            fix="write it with a row per photo",
        )


def _read_file(path: Path, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    try:
        with pq.ParquetFile(path) as file:
            known = {name for field in file.schema_arrow for name in leaf_names(field)[0]}
            if lacking := [name for name in names if name not in known]:
                raise DataError(
                    f"'{path}' has no column '{lacking[0]}' as the files beside it have",
                    fix="give a folder that holds the files of one table only",
                )
            _refuse_bomb(path, file.metadata.num_rows)
            table = file.read(columns=list(names))
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    return {name: leaf(table, name) for name in names}
