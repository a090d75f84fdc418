"""Feature stores: one backbone's features of one dataset, a row per photo that could be read.

    results/stores/<dataset>/<backbone>/<key>/
        features.npy       fp16 (rows, width), sorted by id, to be mapped into memory
        rows.parquet       id, latitude, longitude, author, source of each row
        failures.parquet   the same of the photos without a feature, and why
        contents.parquet   what the bytes of each picture were, by their hash
        store.json         what was asked and what came out
        manifest.json      recipe, versions and sha256 of the files above; written last

Rows are found by id, never by position.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..artifacts import (
    Content,
    canonical_json,
    check_files,
    finished_folders,
    read_json,
    safe_name,
    undisturbed,
    was_finished,
)
from ..artifacts.row_table import write_npy_header
from ..errors import ArtifactError, UsageError, did_you_mean
from ..home import command
from ..reading import reading

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Matrix = NDArray[np.float16]

log = logging.getLogger(__name__)

ROWS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("latitude", pa.float64(), nullable=False),
        pa.field("longitude", pa.float64(), nullable=False),
        pa.field("author", pa.string()),
        pa.field("source", pa.string(), nullable=False),
    ]
)
FAILURES = ROWS.append(pa.field("status", pa.string(), nullable=False))

VERSION = 2
"""Of what a store's spec says, a part of it: raised whenever stores made before must not be taken."""

NOT_FINITE = "unreadable: its feature is not finite"
ALL_ZERO = "unreadable: its feature is zero"


class NotAStoreError(ArtifactError):
    """An artifact of another kind."""


def store_parent(root: Path, dataset: str, backbone: str) -> Path:
    """Where the stores of one dataset and backbone lie, a folder per key."""
    return root / safe_name(dataset) / safe_name(backbone)


@dataclass(frozen=True)
class FeatureStore:
    """One complete store; nothing but its record is read before it is needed."""

    folder: Path
    record: Mapping[str, Any]
    key: str

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """A complete store by its folder; ArtifactError for anything else."""
        return undisturbed(folder, lambda: cls._open(folder))

    @classmethod
    def _open(cls, folder: Path) -> FeatureStore:
        if not was_finished(folder):
            begun = (folder / "started.json").is_file()
            raise ArtifactError(
                f"'{folder}' is not a feature store",
                found="one that is not finished" if begun else "nothing that was stored as one",
                fix="give the same command again to resume it"
                if begun
                else "`pinpoint stores list` shows the stores there are",
            )
        with reading(folder, ArtifactError, what="the store"):
            check_files(folder, [])
            manifest = read_json(folder / "manifest.json")
            if (kind := manifest.get("kind")) != "features" and not (folder / "store.json").is_file():
                raise NotAStoreError(f"'{folder}' is not a feature store", found=f"a {kind}")
            check_files(folder, ["store.json"])
            store = cls(folder, read_json(folder / "store.json"), str(manifest["key"]))
            _ = len(store), store.width, store.dataset, store.backbone, store.spec
        if (version := store.spec.get("version", 1)) != VERSION:
            raise ArtifactError(
                f"store '{folder}' was made by another release",
                found=f"version {version} of what its key says, where this release has {VERSION}",
                fix=f"make it again: {store._remake_command()}",
            )
        return store

    def _remake_command(self) -> str:
        backbone = ["--backbone", self.backbone]
        made = ["stores", "import", self.dataset, "FILE"] if self.imported else ["embed", self.dataset]
        return command([*made, *backbone], self.folder.absolute().parents[2])

    @cached_property
    def finished_ns(self) -> int:
        """When it was completed, on the clock of the file system."""
        return (self.folder / "manifest.json").stat().st_mtime_ns

    def __len__(self) -> int:
        return int(self.record["rows"])

    @property
    def width(self) -> int:
        return int(self.record["width"])

    @property
    def dataset(self) -> str:
        return str(self.record["dataset"])

    @property
    def backbone(self) -> str:
        return str(self.record["backbone"])

    @property
    def spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self.record["recipe"]
        return spec

    @property
    def imported(self) -> bool:
        return "imported" in self.spec

    @cached_property
    def matrix(self) -> Matrix:
        """The features `(rows, width)` as they lie on disk, read-only."""
        check_files(self.folder, ["features.npy"])
        path = self.folder / "features.npy"
        with reading(path, ArtifactError, fix="embed or import again with --fresh"):
            matrix: Matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        if matrix.shape != (len(self), self.width) or matrix.dtype != np.float16:
            raise ArtifactError(
                f"'{self.folder / 'features.npy'}' does not fit its record",
                found=f"{matrix.dtype} of shape {matrix.shape}, expected float16 ({len(self)}, {self.width})",
                fix="embed or import again with --fresh",
            )
        return matrix

    @cached_property
    def table(self) -> pa.Table:
        """`id, latitude, longitude, author, source` of each row, each column in one chunk."""
        check_files(self.folder, ["rows.parquet"])
        return _read(self.folder / "rows.parquet", ROWS).combine_chunks()

    @cached_property
    def failures(self) -> dict[str, str]:
        """The status of each photo without a feature, by id."""
        check_files(self.folder, ["failures.parquet"])
        table = _read(self.folder / "failures.parquet", FAILURES)
        return dict(zip(table["id"].to_pylist(), table["status"].to_pylist(), strict=True))

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, -1 where there is none."""
        found = pc.index_in(pa.array(ids, pa.string()), self.table["id"].combine_chunks())
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)

    def coordinates(self) -> NDArray[np.float64]:
        """`(latitude, longitude)` of each row, `(rows, 2)`."""
        return np.stack([self.table["latitude"].to_numpy(), self.table["longitude"].to_numpy()], axis=1)


def take_ids(ids: pa.ChunkedArray, rows: NDArray[np.int64]) -> NDArray[np.str_]:
    """The ids at these row numbers, in the shape of `rows`; "" where a number is negative.

    Only those ids become strings: a column of a gallery has millions.
    """
    flat = rows.ravel()
    taken = pc.fill_null(ids.take(pa.array(flat, mask=flat < 0)), "")
    named: NDArray[np.str_] = taken.to_numpy().astype(np.str_).reshape(rows.shape)
    return named


def iter_stores(
    root: Path, dataset: str | None = None, backbone: str | None = None
) -> Iterator[FeatureStore]:
    """Every complete store under `root`, ordered by dataset, backbone and key.

    Those that are damaged or of another release are left out, with a warning.
    """
    stores, damaged = survey_stores(root)
    for folder, found in damaged.items():
        log.warning("store left out: '%s': %s", folder, found)
    for store in stores:
        if dataset in (None, store.dataset) and backbone in (None, store.backbone):
            yield store


def survey_stores(root: Path) -> tuple[list[FeatureStore], dict[Path, str]]:
    """The complete stores under `root`, and the folders of those that cannot be used, with the reason."""
    stores, damaged = [], {}
    for folder in finished_folders(root):
        try:
            stores.append(FeatureStore.open(folder))
        except ArtifactError as error:
            if not isinstance(error, NotAStoreError):
                damaged[folder] = " ".join(str(error).split())
    return stores, damaged


def find_store(text: str, root: Path) -> FeatureStore:
    """A store by its folder or by a unique beginning of its key."""
    if text and Path(text).is_dir():
        return FeatureStore.open(Path(text))
    stores = list(iter_stores(root))
    named = [store for store in stores if store.key.startswith(text)]
    if len(named) == 1:
        return named[0]
    known = "\n".join(f"{store.key[:8]}  {store.dataset}  {store.backbone}" for store in named or stores[:10])
    near = "" if named else did_you_mean(text, [store.key[: max(8, len(text))] for store in stores])
    raise UsageError(
        f"'{text}' names {len(named) or 'no'} store{'s' * (len(named) != 1)} under '{root}'",
        found=known or "no store at all",
        fix=f"{near} give a folder or a longer part of the key; `pinpoint stores list` shows them".lstrip(),
    )


def store_files(
    truth: pd.DataFrame, failures: Mapping[int, str], matrix: Content, record: Mapping[str, Any]
) -> dict[str, Content]:
    """The files of a store, from a truth sorted by id and the status of its rows without a feature."""
    failed = sorted(failures)
    lost = truth.iloc[failed].assign(status=[failures[row] for row in failed])
    return {
        "features.npy": matrix,
        "rows.parquet": _encode(truth.drop(index=failed), ROWS),
        "failures.parquet": _encode(lost, FAILURES),
        "store.json": canonical_json(dict(record)),
    }


def write_matrix_header(stream: BinaryIO, rows: int, width: int) -> None:
    """Begin a `.npy` file of fp16, whose rows follow."""
    write_npy_header(stream, (rows, width), np.float16)


def _encode(frame: pd.DataFrame, schema: pa.Schema) -> bytes:
    columns = [pa.array(frame[name], schema.field(name).type, from_pandas=True) for name in schema.names]
    stream = io.BytesIO()
    # Ids are all different: a dictionary of them would only be built and thrown away.
    pq.write_table(
        pa.table(columns, schema=schema),
        stream,
        version="2.6",
        compression="zstd",
        use_dictionary=[name for name in schema.names if name in ("author", "source", "status")],
    )
    return stream.getvalue()


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    with reading(path, ArtifactError), pq.ParquetFile(path) as file:
        found = file.schema_arrow
        if found.equals(schema):
            return file.read()
    raise ArtifactError(f"'{path}' is not a table of a feature store", found=", ".join(found.names))
