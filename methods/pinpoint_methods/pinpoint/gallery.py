"""The gallery of each source: what queries are compared with, row by row, and who stands near each row.

    <source>.raw.npy        fp16 (rows, width), unit vectors, normalised in float64
    <source>.image.npy      fp16 (rows, embedding), the image tower's
    <source>.location.npy   fp16 (rows, embedding), the location tower's at the rows' own coordinates
    <source>.rows.parquet   id, latitude, longitude, author

Rows are those of split A in the order of their ids, so a row's number is the rank of its id.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import ArtifactError
from pinpoint_harness.features import write_matrix_header
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Gallery, Rows, SupportIndex, own_rows, unit_rows, xyz_of
from pinpoint_harness.training import StageContext, describe

from .config import PinpointConfig
from .embedder import load_embedders
from .splits import A
from .towers import TILE, Embedders, in_tiles

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

_SUPPORT_ROWS = 65_536

Chunks = Callable[[int, int], Any]


def make_gallery(
    stage_context: StageContext, stores: Mapping[str, FeatureStore], embedders: Sequence[str]
) -> dict[str, Content]:
    """The files of every source's gallery, embedded in fixed tiles by the towers of `embedders`."""
    folders = [stage_context.inputs[name] for name in embedders]
    towers = load_embedders(folders, stage_context.context.device)
    labels = read_labels(stage_context.inputs["splits"], stores)
    files: dict[str, Content] = {}
    rows_of: dict[str, int] = {}
    for source, store in stores.items():
        rows = np.flatnonzero(labels[source] == A)
        rows_of[source] = len(rows)
        xyz = xyz_of(store.coordinates()[rows])
        for channel, width, chunk in _channels(
            towers, source, store, rows, xyz, stage_context.context.device
        ):
            files[f"{source}.{channel}.npy"] = partial(_write, len(rows), width, chunk)
        files[f"{source}.rows.parquet"] = _table(store, rows)
    record = describe({"sources": list(stores)}, rows=rows_of)
    return {**files, "config.json": record}


def _channels(
    towers: Embedders,
    source: str,
    store: FeatureStore,
    rows: NDArray[np.int64],
    xyz: NDArray[Any],
    device: str,
) -> list[tuple[str, int, Chunks]]:
    """Name, width and a function `(start, stop) -> fp16 tensor` of each matrix."""

    def features(start: int, stop: int) -> Tensor:
        return torch.from_numpy(store.matrix[rows[start:stop]])

    def raw(start: int, stop: int) -> Tensor:
        found: Tensor = unit_rows(features(start, stop))
        return found

    def image(start: int, stop: int) -> Tensor:
        return in_tiles(partial(towers.image, source=source), features(start, stop), device)

    def location(start: int, stop: int) -> Tensor:
        return in_tiles(towers.location, torch.from_numpy(xyz[start:stop]), device)

    width = towers.width
    return [("raw", store.width, raw), ("image", width, image), ("location", width, location)]


def _write(rows: int, width: int, chunk: Chunks, stream: BinaryIO) -> None:
    write_matrix_header(stream, rows, width)
    for start in range(0, rows, TILE):
        stream.write(chunk(start, min(start + TILE, rows)).numpy().tobytes())


def _table(store: FeatureStore, rows: NDArray[np.int64]) -> bytes:
    stream = io.BytesIO()
    columns = store.table.select(["id", "latitude", "longitude", "author"])
    pq.write_table(columns.take(pa.array(rows)), stream, compression="zstd")
    return stream.getvalue()


def make_support(
    stage_context: StageContext, config: PinpointConfig, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """For each gallery row the rows of the other source's gallery nearest to it, nearest first.

    `<source>.support.npy` `(rows, k)` int32, -1 where none is left within the radius; the distances
    beside it. Many more are kept than are used, since each query hides some.
    """
    labels = read_labels(stage_context.inputs["splits"], stores)
    places = {source: xyz_of(store.coordinates()[labels[source] == A]) for source, store in stores.items()}
    files: dict[str, Content] = {}
    within: dict[str, float] = {}
    for source, other in zip(stores, reversed(list(stores)), strict=True):
        index = SupportIndex(Rows(xyz=places[other]))
        found = [
            index.nearest(
                places[source][start : start + _SUPPORT_ROWS], config.support_neighbours, config.support_km
            )
            for start in range(0, len(places[source]), _SUPPORT_ROWS)
        ]
        rows = np.concatenate([part.rows for part in found])
        files[f"{source}.support.npy"] = partial(np.save, arr=rows)
        distance = np.concatenate([part.distance_km for part in found])
        files[f"{source}.support_km.npy"] = partial(np.save, arr=distance)
        within[source] = float((rows[:, 0] >= 0).mean())
    return {**files, "config.json": describe({"sources": list(stores)}, share_with_support=within)}


def read_labels(folder: Path, sources: Sequence[str] | Mapping[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """The split of each row of each source's store."""
    return {source: np.load(folder / f"{source}.npy", allow_pickle=False) for source in sources}


@dataclass(frozen=True)
class SourceGallery:
    """One source's gallery on a device: searched by channel, its rows known by number."""

    source: str
    folder: Path
    device: str

    @cached_property
    def table(self) -> pa.Table:
        return pq.read_table(self.folder / f"{self.source}.rows.parquet").combine_chunks()

    @cached_property
    def coordinates(self) -> Floats:
        """`(latitude, longitude)` of each row."""
        return np.stack([self.table["latitude"].to_numpy(), self.table["longitude"].to_numpy()], axis=1)

    @cached_property
    def rows(self) -> Rows:
        """Who took each row and where; its key is that of the photo as a query."""
        return Rows(
            key=hash_ids(self.table["id"].to_pylist()),
            author_token=hash_ids(self.table["author"].to_pylist()),
            xyz=xyz_of(self.coordinates),
        )

    def matrix(self, channel: str) -> Tensor:
        """`(rows, width)` fp16, the file itself, mapped."""
        path = self.folder / f"{self.source}.{channel}.npy"
        try:
            array = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"the gallery's '{path}' cannot be read", found=str(error), fix="train again with --fresh"
            ) from error
        if array.dtype != np.float16 or len(array) != len(self.table):
            raise ArtifactError(
                f"the gallery's '{path}' does not fit its rows",
                found=f"{array.dtype} of shape {array.shape} for {len(self.table):,} rows",
                fix="train again with --fresh",
            )
        return torch.from_numpy(array)

    @cached_property
    def _searchable(self) -> dict[tuple[str, ...], Gallery]:
        return {}

    def searchable(self, channels: Sequence[str]) -> Gallery:
        """The channels as one gallery of the search; opened once, of several processes a slice by each."""
        wanted = tuple(channels)
        if wanted not in self._searchable:
            count = len(self.table)
            own = {c: self.vectors(c)[own_rows(count)].to(self.device) for c in wanted}
            self._searchable[wanted] = Gallery.of(own, self.rows, whole=count)
        return self._searchable[wanted]

    @cached_property
    def _vectors(self) -> dict[str, Tensor]:
        return {}

    def vectors(self, what: str) -> Tensor:
        """A channel's matrix, or the rows' places as `xyz` `(rows, 3)`; taken to the device once.

        What is searched in slices stays on the host: no device holds all of it.
        """
        if what not in self._vectors:
            xyz = what == "xyz"
            whole = torch.from_numpy(self.rows.needed("xyz", self.rows.xyz)) if xyz else self.matrix(what)
            in_slices = len(whole[own_rows(len(whole))]) < len(whole)
            self._vectors[what] = whole if in_slices else whole.to(self.device)
        return self._vectors[what]
