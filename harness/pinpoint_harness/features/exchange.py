"""Features made elsewhere as a store, a store as files for elsewhere, and whether two agree."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..artifacts import Artifact, Selection, Subset, file_sha256, write_atomic
from ..errors import DataError, UsageError
from ..photo_ids import match
from ..readers import ALIASES, pick_column, read_table, sniff
from ..reading import reading, reads
from .embed import EmbedRequest, complete
from .store import VERSION, FeatureStore, store_files, store_parent, write_matrix_header

if TYPE_CHECKING:
    from ..types import Dataset

Normalisation = Literal["none", "l2"]

_CHUNK_ROWS = 8192
_UNIT_TOLERANCE = 1e-2
"""fp16 moves the length of a unit vector by less than 1e-3; a file rounded twice, by a little more."""


@dataclass(frozen=True)
class External:
    """Features as a file holds them, and the id of each row."""

    matrix: NDArray[Any]
    ids: pd.Series[str]


@dataclass(frozen=True)
class ImportRequest:
    """A file of features and what its maker says of it."""

    dataset_name: str
    dataset: Dataset
    backbone: str
    width: int | None
    root: Path
    file: Path
    ids: Path | None
    normalisation: Normalisation
    fresh: bool = False


@dataclass(frozen=True)
class Agreement:
    """Cosines between a store's features and those embedded anew."""

    photos: int
    median: float
    minimum: float


@reads(of=lambda request: request.file)
def import_store(request: ImportRequest) -> FeatureStore:
    """A store of the dataset from a file; photos the file lacks are its failures.

    Rows are joined by id and never by position. Refused are features that fp16 cannot hold, rows
    that are zero or no numbers, and a normalisation other than the one declared.
    """
    external = read_external(request.file, request.ids, request.width)
    selection = Selection.of(request.dataset.truth()).by_id()
    truth = selection.truth
    rows = _joined(truth, external.ids, request.file)
    if request.width is not None and external.matrix.shape[1] != request.width:
        raise DataError(
            f"'{request.file}' does not hold features of '{request.backbone}'",
            found=f"width {external.matrix.shape[1]}, expected {request.width}",
        )
    spec = {
        "version": VERSION,
        **selection.spec(),
        "backbone": {"declared": request.backbone},
        "imported": {
            "file_sha256": file_sha256(request.file),
            "ids_sha256": None if request.ids is None else file_sha256(request.ids),
            "normalisation": request.normalisation,
        },
    }
    parent = store_parent(request.root, request.dataset_name, request.backbone)
    artifact = Artifact.begin(parent, "features", spec, fresh=request.fresh)
    if not artifact.complete:
        failures = dict.fromkeys(np.flatnonzero(rows < 0).tolist(), "missing")
        record = {
            "dataset": request.dataset_name,
            "backbone": request.backbone,
            "rows": len(truth) - len(failures),
            "width": int(external.matrix.shape[1]),
            "failed": len(failures),
            "normalisation": request.normalisation,
            "subset": None,
            "recipe": spec,
        }
        write = partial(_write_matrix, request, external, rows[rows >= 0])
        with artifact.work():
            pass  # leaves the mark of what is being made, and of the versions it is made with
        artifact.finish(store_files(truth, failures, write, record))
    return FeatureStore.open(artifact.folder)


@reads()
def read_external(file: Path, ids: Path | None, width: int | None = None) -> External:
    """Features from `.npy`, `.npz`, Parquet or, given a width, raw fp16; ids from the file or a table."""
    with reading(file, what="features from"):
        matrix, found = _read_matrix(file, width)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating) or 0 in matrix.shape:
        raise DataError(
            f"'{file}' must hold a matrix of floats, a row per photo",
            found=f"{matrix.dtype} of shape {matrix.shape}",
        )
    names = found if ids is None else read_ids(ids)
    if names is None:
        raise UsageError(
            f"'{file}' does not say which photo each row is of",
            fix="give a table of ids, a row each: --id-table",
        )
    if len(names) != len(matrix):
        raise DataError(f"'{file}' has {len(matrix):,} rows", found=f"{len(names):,} ids")
    return External(matrix, names)


@reads()
def read_ids(path: Path) -> pd.Series[str]:
    """The ids of a table in its order: the usual column, or the only one."""
    form = sniff(path)
    found = pick_column(form.names, ALIASES["id"])
    if not found and len(form.names) > 1:
        raise DataError(
            f"'{path}' has no column of ids",
            found=form.describe(),
            fix=f"name it one of: {', '.join(ALIASES['id'])}",
        )
    name = (found or form.names)[0]
    ids = read_table(form, [name]).column(name).to_pylist()
    # A list of nothing but ids has no header: its first line is an id like the others.
    listed = ids if found or name == "0" else [name, *ids]
    return pd.Series(listed, dtype=str)


def export_store(store: FeatureStore, file: Path) -> list[Path]:
    """Write the store in the form the file's ending names; returns the files written.

    `.npz` and `.parquet` hold ids and features in one file; beside `.npy` and `.f16` (raw, C order,
    little-endian) lies a table of ids and coordinates, `FILE.ids.parquet`.
    """
    beside = file.with_name(f"{file.name}.ids.parquet")
    if file.suffix == ".parquet":
        write_atomic(file, partial(_write_parquet, store))
        return [file]
    if file.suffix == ".npz":
        ids = np.array(store.table["id"].to_pylist(), dtype=np.str_)
        write_atomic(file, lambda stream: np.savez(stream, ids=ids, features=store.matrix))
        return [file]
    if file.suffix not in (".npy", ".f16"):
        raise UsageError(f"'{file}' has no known ending", fix="one of .npy, .npz, .parquet, .f16")
    write_atomic(file, partial(_write_rows, store.matrix, file.suffix == ".npy"))
    write_atomic(beside, lambda stream: pq.write_table(store.table, pa.PythonFile(stream, mode="w")))
    return [file, beside]


def compare(store: FeatureStore, request: EmbedRequest, limit: int) -> Agreement:
    """Embed some of the store's photos again and measure the cosine to what it holds."""
    ids = store.table["id"].to_pylist()
    sample = [ids[row] for row in np.unique(np.linspace(0, len(ids) - 1, min(limit, len(ids))).astype(int))]
    with tempfile.TemporaryDirectory() as folder:
        anew = complete(replace(request, root=Path(folder), subset=Subset(ids=sample)))
        rows = store.find(anew.table["id"].to_pylist())
        one, other = store.matrix[rows].astype(np.float64), anew.matrix.astype(np.float64)
    if one.shape != other.shape:
        raise DataError(
            f"the store's features are not those of '{request.source.name}'",
            found=f"width {one.shape[1]}, embedded anew {other.shape[1]}",
        )
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return Agreement(len(cosine), float(np.median(cosine)), float(cosine.min()))


def _read_matrix(file: Path, width: int | None) -> tuple[NDArray[Any], pd.Series[str] | None]:
    if file.suffix == ".npy":
        return np.load(file, mmap_mode="r", allow_pickle=False), None
    if file.suffix == ".npz":
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return _from_arrays({name: arrays[name] for name in arrays.files})
    if file.suffix in (".parquet", ".pq"):
        return _from_parquet(file)
    if width is None:
        raise ValueError("not .npy, .npz or .parquet; raw fp16 needs --width")
    return np.memmap(file, "<f2", "r").reshape(-1, width), None


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], pd.Series[str] | None]:
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    lists = [name for name, array in arrays.items() if array.ndim == 1 and array.dtype.kind in "USiu"]
    if len(matrices) != 1 or len(lists) > 1:
        raise ValueError(f"arrays are {', '.join(arrays)}; wanted one matrix and at most one list of ids")
    ids = pd.Series(arrays[lists[0]]).astype(str) if lists else None
    return arrays[matrices[0]], ids


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _from_parquet(file: Path) -> tuple[NDArray[Any], pd.Series[str] | None]:
    table = pq.read_table(file, partitioning=None)
    vectors = [field.name for field in table.schema if _is_list(field.type)]
    if len(vectors) != 1:
        raise ValueError(f"columns are {', '.join(table.column_names)}; wanted one of lists of floats")
    column = table[vectors[0]].combine_chunks()
    if column.null_count:
        raise ValueError(f"{column.null_count} rows have no feature")
    lengths = np.unique(pa.compute.list_value_length(column).to_numpy())
    if len(lengths) != 1:
        raise ValueError(f"features have {len(lengths)} different lengths")
    matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    names = pick_column(table.column_names, ALIASES["id"])
    ids = table[names[0]].cast(pa.string()).to_pandas() if names else None
    return matrix, ids


def _joined(truth: pd.DataFrame, ids: pd.Series[str], file: Path) -> NDArray[np.int64]:
    """The file's row of each photo, -1 for none: by its spelling, then by its key."""
    rows = match(truth["image"], ids)
    rest = np.flatnonzero(rows < 0)
    rows[rest] = match(truth["id"].iloc[rest], ids)
    used = np.bincount(rows[rows >= 0], minlength=len(ids))
    if not used.any():
        raise DataError(
            f"no row of '{file}' belongs to a photo of this dataset",
            found=f"ids like '{ids.iloc[0]}', the dataset's like '{truth['image'].iloc[0]}'",
            fix="check that the file is of this dataset",
        )
    if used.max() > 1:
        raise DataError(f"the row '{ids.iloc[int(used.argmax())]}' belongs to several photos")
    return rows


def _write_matrix(
    request: ImportRequest, external: External, rows: NDArray[np.int64], stream: BinaryIO
) -> None:
    """The rows as fp16 in the given order, each chunk checked before it is written."""
    write_matrix_header(stream, len(rows), external.matrix.shape[1])
    farthest = 0.0
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        with np.errstate(over="ignore"):
            half = external.matrix[chunk].astype("<f2")
        _refuse_unusable(request.file, external, chunk, half)
        deviation = np.abs(np.linalg.norm(half.astype(np.float32), axis=1) - 1).max()
        farthest = max(farthest, float(deviation))
        stream.write(half.tobytes())
    found: Normalisation = "l2" if farthest < _UNIT_TOLERANCE else "none"
    if found != request.normalisation:
        raise DataError(
            f"'{request.file}' was declared to be of normalisation '{request.normalisation}'",
            found=f"lengths differ from 1 by up to {farthest:.2g}, so it is '{found}'",
            fix=f"give --normalisation {found} if the file is what you think",
        )


def _refuse_unusable(
    file: Path, external: External, rows: NDArray[np.int64], half: NDArray[np.float16]
) -> None:
    """DataError for rows that hold nothing, or nothing in fp16, `half` being the `rows` of the file in it."""
    wide = np.asarray(external.matrix[rows])
    carried = np.abs(half) >= np.finfo(np.float16).smallest_normal  # (chunk, width)
    leave_out = "leave such rows out of the file: their photos become misses"
    normalise = "scale them in the file, for instance to length 1, and declare --normalisation l2"
    nothing = ~(wide != 0).any(axis=1)
    checks = (
        (~np.isfinite(half).all(axis=1), "are no finite fp16 numbers", leave_out),
        (nothing, "are zero, and so are like no photo more than any other", leave_out),
        (2 * carried.sum(axis=1) <= (wide != 0).sum(axis=1), "are too small for fp16", normalise),
    )
    for bad, words, fix in checks:
        if bad.any():
            first = external.ids.iloc[rows[int(bad.argmax())]]
            raise DataError(
                f"'{file}' holds features that {words}", found=f"the first is of '{first}'", fix=fix
            )


def _write_rows(matrix: NDArray[np.float16], header: bool, stream: BinaryIO) -> None:
    if header:
        write_matrix_header(stream, *matrix.shape)
    for chunk in _chunks(matrix):
        stream.write(chunk.tobytes())


def _write_parquet(store: FeatureStore, stream: BinaryIO) -> None:
    kind = pa.list_(pa.float16(), store.width)
    schema = store.table.schema.append(pa.field("features", kind))
    with pq.ParquetWriter(pa.PythonFile(stream, mode="w"), schema) as writer:
        for start, chunk in zip(range(0, len(store), _CHUNK_ROWS), _chunks(store.matrix), strict=True):
            features = pa.FixedSizeListArray.from_arrays(pa.array(chunk.reshape(-1)), store.width)
            rows = store.table.slice(start, len(chunk))
            writer.write_table(pa.table([*rows.columns, features], schema=schema))


def _chunks(matrix: NDArray[np.float16]) -> Iterator[NDArray[np.float16]]:
    for start in range(0, len(matrix), _CHUNK_ROWS):
        yield np.asarray(matrix[start : start + _CHUNK_ROWS])
