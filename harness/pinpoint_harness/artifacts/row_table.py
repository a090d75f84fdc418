"""Tables made row range by row range: resumable, and never whole in memory while they are made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import ArtifactError
from ..progress import phase
from ..reading import reading
from .artifact import Artifact

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_SUFFIX = ".npy"
_TABLE = "table.npy"


def fill(
    artifact: Artifact, title: str, rows: int, shard_rows: int, make: Callable[[int, int], NDArray[Any]]
) -> None:
    """Make every missing shard with `make(start, stop)`, then the table; shards that stand are kept."""
    if artifact.complete:
        return
    starts = range(0, rows, shard_rows)
    with artifact.work():
        finished = artifact.finished_shards(_SUFFIX)
        done = sum(min(shard_rows, rows - starts[index]) for index in finished)
        with phase(title, rows, done=done, unit="rows") as advance:
            for index, start in enumerate(starts):
                if index in finished:
                    continue
                shard = make(start, min(start + shard_rows, rows))
                artifact.write_shard(index, _SUFFIX, partial(np.save, arr=shard))
                advance(len(shard))
    paths = [artifact.shard_path(index, _SUFFIX) for index in range(len(starts))]
    artifact.finish({_TABLE: partial(_join, paths, rows)})


def _join(paths: list[Path], rows: int, stream: BinaryIO) -> None:
    """All shards as one array, read one at a time."""
    first = np.load(paths[0], mmap_mode="r", allow_pickle=False)
    write_npy_header(stream, (rows, *first.shape[1:]), first.dtype)
    for path in paths:
        stream.write(np.load(path, allow_pickle=False).tobytes())


def write_npy_header(stream: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Begin a `.npy` file of this shape, whose values follow row by row."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, header)


def read(folder: Path) -> NDArray[Any]:
    """The whole table, in row order, mapped from the disk."""
    if not (folder / "manifest.json").exists():
        raise ArtifactError(
            f"'{folder}' is not finished", found="no manifest", fix="run the command that makes it again"
        )
    with reading(folder / _TABLE, ArtifactError, fix=f"remove '{folder}' and give the command again"):
        table: NDArray[Any] = np.load(folder / _TABLE, mmap_mode="r", allow_pickle=False)
    return table
