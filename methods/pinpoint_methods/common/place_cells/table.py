"""The cells of all partitions as a table, from coarse to fine, in the order of the network's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import DataError

from .labels import Hierarchy
from .quadtree import Codes, Partition, mean_places, members, quadtree

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

_NAME = "cells.parquet"


@dataclass(frozen=True)
class CellTable:
    """Partitions and, for each, where its cells answer: `(cells, 2)` degrees."""

    partitions: tuple[Partition, ...]
    places: tuple[Floats, ...]

    @classmethod
    def of(cls, coordinates: Floats, codes: Codes, levels: Sequence[int], smallest: int) -> CellTable:
        """A partition for each of `levels`, the most photos in a cell, answering with their mean place."""
        partitions = tuple(quadtree(codes, largest, smallest) for largest in levels)
        for largest, cells in zip(levels, partitions, strict=True):
            if not len(cells):
                raise DataError(
                    f"no cell of at most {largest} photos has {smallest} or more",
                    found=f"{len(codes)} photos to train on",
                    fix="a lower --set smallest_cell, or higher --set levels",
                )
        places = tuple(mean_places(coordinates, *members(cells, codes)) for cells in partitions)
        return cls(partitions, places)

    @classmethod
    def read(cls, folder: Path) -> CellTable:
        """The table of a finished stage."""
        table = pq.read_table(folder / _NAME)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        partitions, places = [], []
        for level in np.unique(columns["level"]):
            first, end, count, latitude, longitude = (
                columns[name][columns["level"] == level]
                for name in ("first_code", "end_code", "photos", "latitude", "longitude")
            )
            partitions.append(Partition(first, end, count))
            places.append(np.stack([latitude, longitude], axis=1))
        return cls(tuple(partitions), tuple(places))

    def file(self) -> dict[str, Content]:
        """The table as a file of a stage."""
        cells, places = self.partitions, np.concatenate(self.places)
        columns = {
            "level": np.repeat(np.arange(len(cells), dtype=np.int8), self.sizes),
            "first_code": np.concatenate([part.first for part in cells]),
            "end_code": np.concatenate([part.end for part in cells]),
            "photos": np.concatenate([part.count for part in cells]),
            "latitude": places[:, 0],
            "longitude": places[:, 1],
        }
        return {_NAME: partial(pq.write_table, pa.table(columns), compression="zstd")}

    @property
    def sizes(self) -> list[int]:
        return [len(cells) for cells in self.partitions]

    @property
    def finest(self) -> Partition:
        return self.partitions[-1]

    def hierarchy(self, device: str) -> Hierarchy:
        """The table as the network's outputs are read by."""
        # Cells of one tree are nested, so the first code of a cell lies in its parents.
        parents = [torch.from_numpy(cells.find(self.finest.first)) for cells in self.partitions[:-1]]
        return Hierarchy(self.sizes, [parent.to(device) for parent in parents])

    def labels(self, codes: Codes) -> NDArray[np.int64]:
        """The cell of each place in each partition, `(n, partitions)`, -1 where there is none."""
        return np.stack([cells.find(codes) for cells in self.partitions], axis=1)
