"""The gallery of each source: what queries are compared with, row by row, and who stands near each row.

Of the stage `raw`, which no training changes:

    <source>.raw.npy        fp16 (rows, width), unit vectors, normalised in float64
    <source>.rows.parquet   id, latitude, longitude, author
    <source>.tokens.npy     uint64 (2, rows), hashes of ids and of authors

of the stage `gallery`:

    <source>.image.npy      fp16 (rows, embedding), the image tower's
    <source>.location.npy   fp16 (rows, embedding), the location tower's at the rows' own coordinates

and beside each matrix `<source>.<channel>.survey.npz`, what a search must know of it beforehand.

Rows are those of split A in the order of their ids, so a row's number is the rank of its id.
"""

from __future__ import annotations

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
from pinpoint_harness.search import (
    Gallery,
    HostRows,
    Rows,
    SupportIndex,
    Survey,
    Surveyor,
    own_rows,
    place,
    xyz_of,
)
from pinpoint_harness.training import StageContext, describe

from .config import PinpointConfig
from .embedder import load_embedders
from .side_by_side import unit_features
from .splits import A
from .towers import TILE, in_tiles

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

_SUPPORT_ROWS = 65_536

Take = Callable[["slice | NDArray[np.int64]"], "Tensor"]
"""Rows of a matrix that is made, fp16, by their numbers."""


def make_raw(stage_context: StageContext, stores: Mapping[str, FeatureStore]) -> dict[str, Content]:
    """The rows of every source's gallery as their stores have them: unit vectors, and who took them where."""
    files: dict[str, Content] = {}
    rows_of = _rows_of_a(stage_context, stores)
    for source, rows in rows_of.items():
        store = stores[source]
        files |= _matrix(f"{source}.raw", len(rows), store.width, partial(_raw, store, rows))
        files[f"{source}.rows.parquet"] = partial(_write_table, store, rows)
        files[f"{source}.tokens.npy"] = partial(_write_tokens, store, rows)
    return {**files, "config.json": _description(rows_of)}


def make_gallery(
    stage_context: StageContext, stores: Mapping[str, FeatureStore], embedders: Sequence[str]
) -> dict[str, Content]:
    """The embeddings of every source's gallery, in fixed tiles by the towers of `embedders`."""
    device = stage_context.context.device
    towers = load_embedders([stage_context.inputs[name] for name in embedders], device)
    files: dict[str, Content] = {}
    rows_of = _rows_of_a(stage_context, stores)
    for source, rows in rows_of.items():
        store = stores[source]
        image = partial(_image, partial(towers.image, source=source), store, rows, device)
        tower = partial(towers.location, source=source)
        location = partial(_location, tower, xyz_of(store.coordinates()[rows]), device)
        files |= _matrix(f"{source}.image", len(rows), towers.width, image)
        files |= _matrix(f"{source}.location", len(rows), towers.width, location)
    return {**files, "config.json": _description(rows_of)}


def _rows_of_a(
    stage_context: StageContext, stores: Mapping[str, FeatureStore]
) -> dict[str, NDArray[np.int64]]:
    """The rows of every source's store that are its gallery."""
    labels = read_labels(stage_context.inputs["splits"], stores)
    return {source: np.flatnonzero(labels[source] == A) for source in stores}


def _description(rows_of: Mapping[str, NDArray[np.int64]]) -> Content:
    counts = {source: len(rows) for source, rows in rows_of.items()}
    return describe({"sources": list(rows_of)}, rows=counts)


def _raw(store: FeatureStore, rows: NDArray[np.int64], some: slice | NDArray[np.int64]) -> Tensor:
    return unit_features(store, rows[some])


def _image(
    tower: Any, store: FeatureStore, rows: NDArray[np.int64], device: str, some: slice | NDArray[np.int64]
) -> Tensor:
    return in_tiles(tower, torch.from_numpy(store.matrix[rows[some]]), device)


def _location(tower: Any, xyz: NDArray[Any], device: str, some: slice | NDArray[np.int64]) -> Tensor:
    return in_tiles(tower, torch.from_numpy(xyz[some]), device)


def _matrix(name: str, rows: int, width: int, take: Take) -> dict[str, Content]:
    """The files of one matrix: itself, written a tile at a time, and then its survey."""
    surveyor = Surveyor(name, rows, width)

    def write(stream: BinaryIO) -> None:
        write_matrix_header(stream, rows, width)
        for start in range(0, rows, TILE):
            part = take(slice(start, min(start + TILE, rows)))
            surveyor.add(part)
            stream.write(part.numpy().tobytes())

    def write_survey(stream: BinaryIO) -> None:
        stream.write(surveyor.survey(lambda some: take(some.numpy())).to_bytes())

    return {f"{name}.npy": write, f"{name}.survey.npz": write_survey}


def _write_table(store: FeatureStore, rows: NDArray[np.int64], stream: BinaryIO) -> None:
    columns = store.table.select(["id", "latitude", "longitude", "author"])
    pq.write_table(columns.take(pa.array(rows)), stream, compression="zstd")


def _write_tokens(store: FeatureStore, rows: NDArray[np.int64], stream: BinaryIO) -> None:
    np.save(stream, np.stack([hash_ids(store.table[name])[rows] for name in ("id", "author")]))


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
        shape = (len(places[source]), config.support_neighbours)
        rows, distance = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.float32)
        for start in range(0, len(rows), _SUPPORT_ROWS):
            some = slice(start, start + _SUPPORT_ROWS)
            near = index.nearest(places[source][some], config.support_neighbours, config.support_km)
            rows[some], distance[some] = near.rows, near.distance_km
        files[f"{source}.support.npy"] = partial(np.save, arr=rows)
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
    raw: Path
    device: str

    @cached_property
    def table(self) -> pa.Table:
        return pq.read_table(self.raw / f"{self.source}.rows.parquet").combine_chunks()

    @cached_property
    def coordinates(self) -> Floats:
        """`(latitude, longitude)` of each row."""
        return np.stack([self.table["latitude"].to_numpy(), self.table["longitude"].to_numpy()], axis=1)

    @cached_property
    def rows(self) -> Rows:
        """Who took each row and where; its key is that of the photo as a query."""
        key, author = np.load(self.raw / f"{self.source}.tokens.npy", mmap_mode="c", allow_pickle=False)
        return Rows(key=key, author_token=author, xyz=xyz_of(self.coordinates))

    def mapped(self, channel: str) -> Tensor:
        """`(rows, width)` fp16: the file itself, mapped."""
        path = self._path(channel, "npy")
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

    def _path(self, channel: str, suffix: str) -> Path:
        folder = self.raw if channel == "raw" else self.folder
        return folder / f"{self.source}.{channel}.{suffix}"

    def _placed(self, channel: str) -> Tensor | HostRows:
        """The rows that this process searches, on the device, or where they can be read from there."""
        own = self.mapped(channel)[own_rows(len(self.table))]
        return place(own, self.device, f"{channel} vectors of {self.source}")

    @property
    def _in_slices(self) -> bool:
        return own_rows(len(self.table)) != slice(0, len(self.table))

    @cached_property
    def _searchable(self) -> dict[tuple[str, ...], Gallery]:
        return {}

    def searchable(self, channels: Sequence[str]) -> Gallery:
        """The channels as one gallery of the search; opened once, of several processes a slice by each."""
        wanted = tuple(channels)
        if wanted not in self._searchable:
            own = self._placed if self._in_slices else self.vectors
            known = {channel: Survey.read(self._path(channel, "survey.npz")) for channel in wanted}
            matrices = {channel: own(channel) for channel in wanted}
            self._searchable[wanted] = Gallery.of(matrices, self.rows, known, whole=len(self.table))
        return self._searchable[wanted]

    @cached_property
    def _vectors(self) -> dict[str, Tensor | HostRows]:
        return {}

    def vectors(self, what: str) -> Tensor | HostRows:
        """A channel's matrix, or the rows' places as `xyz` `(rows, 3)`; placed once.

        What is searched in slices is read from its file here: no device holds all of it.
        """
        if what not in self._vectors:
            whole: Tensor | HostRows
            if what == "xyz":
                whole = torch.from_numpy(self.rows.needed("xyz", self.rows.xyz)).to(self.device)
            elif self._in_slices:
                whole = HostRows(self.mapped(what), self.device)
            else:
                whole = self._placed(what)
            self._vectors[what] = whole
        return self._vectors[what]

    def gathered(self, what: str) -> Tensor | HostRows:
        """The same to take some rows from: what is not searched here and gathered once stays on the host."""
        if what in self._vectors or what != "raw":
            return self.vectors(what)
        return HostRows(self.mapped(what), self.device)
