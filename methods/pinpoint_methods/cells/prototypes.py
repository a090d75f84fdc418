"""Prototypes: the mean features of the photos of still smaller cells, compared with the query's.

PIGEON clusters the photos of a cell by OPTICS; here the quadtree of the cells goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.features import write_matrix_header
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.search import unit_rows
from pinpoint_harness.types import RADII_KM

from ..common.head import Photos
from ..common.place_cells.quadtree import Codes, Partition, mean_places, members, quadtree

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

TEMPERATURES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the cosine, as one is chosen on held-out photos: from the prototype alone to hardly at all."""

_CHUNK_ROWS = 16_384


def prototype_files(photos: Photos, codes: Codes, cells: Partition, most_photos: int) -> dict[str, Content]:
    """The prototypes of all cells, ordered by cell: places in a table, mean unit features in a matrix.

    `codes` are those of the training rows. Photos in no cell are in no prototype.
    """
    small = quadtree(codes, most_photos)
    cell = cells.find(small.first)
    inside = cell >= 0
    small = Partition(small.first[inside], small.end[inside], small.count[inside])
    rows, start = members(small, codes)
    rows = photos.training[rows]
    places = mean_places(photos.coordinates, rows, start)
    columns = {
        "cell": cell[inside],
        "photos": small.count,
        "latitude": places[:, 0],
        "longitude": places[:, 1],
    }
    return {
        "prototypes.parquet": partial(pq.write_table, pa.table(columns), compression="zstd"),
        "features.npy": partial(_write_means, photos, rows, start),
    }


def _write_means(photos: Photos, rows: NDArray[np.int64], start: NDArray[np.int64], stream: BinaryIO) -> None:
    """Mean unit features, unit again, in fp16; a piece at a time, since photos may not fit in memory."""
    write_matrix_header(stream, len(start) - 1, photos.width)
    done = 0
    while done < len(start) - 1:
        last = max(done + 1, int(np.searchsorted(start, start[done] + _CHUNK_ROWS, side="right")) - 1)
        unit = unit_rows(photos.features(rows[start[done] : start[last]])).double().numpy()
        sums = np.add.reduceat(unit, start[done:last] - start[done], axis=0)
        stream.write(unit_rows(torch.from_numpy(sums)).numpy().tobytes())
        done = last


@dataclass(frozen=True)
class Near:
    """Prototypes of one query: their numbers, cosines, and the logarithms of their cells' probabilities.

    `share` is what all those cells have together.
    """

    rows: NDArray[np.int64]  # (m,)
    cosine: Tensor  # (m,)
    prior: Tensor  # (m,)
    share: Tensor  # ()

    def log_scores(self, temperature: float) -> Tensor:
        """A cell's probability times exp(cosine / temperature), `(m,)`."""
        return self.prior + self.cosine / temperature

    def probability(self, temperature: float) -> Tensor:
        """The cells' share, divided among their prototypes, `(m,)`."""
        return self.share * torch.softmax(self.log_scores(temperature), dim=0)


@dataclass(frozen=True)
class Prototypes:
    """Prototypes resident on a device; those of cell c are the rows `start[c]` to `start[c + 1]`."""

    vectors: Tensor  # (m, width), fp16, unit
    places: Floats  # (m, 2)
    start: NDArray[np.int64]  # (cells + 1,)

    @classmethod
    def read(cls, folder: Path, cells: int, device: str) -> Prototypes:
        """The prototypes of a finished stage, of so many cells."""
        table = pq.read_table(folder / "prototypes.parquet")
        places = np.stack([table["latitude"].to_numpy(), table["longitude"].to_numpy()], axis=1)
        start = np.searchsorted(table["cell"].to_numpy(), np.arange(cells + 1))
        vectors = torch.from_numpy(np.load(folder / "features.npy", allow_pickle=False)).to(device)
        return cls(vectors, places, start)

    def near(self, unit: Tensor, cells: Tensor, log_probabilities: Tensor) -> list[Near]:
        """The prototypes of each query's likely cells.

        `unit` `(n, width)` are features; `cells` and `log_probabilities` `(n, k)`. Products are made for a
        query at a time, so that none sees another: their last digits hang on their shapes.
        """
        chosen = cells.cpu().numpy()
        counts = self.start[chosen + 1] - self.start[chosen]  # (n, k)
        ends, flat = np.cumsum(counts), counts.ravel()
        rows = np.arange(flat.sum()) + np.repeat(self.start[chosen].ravel() - ends + flat, flat)
        at = torch.from_numpy(rows).to(unit.device)
        prior = log_probabilities.flatten().repeat_interleave(torch.from_numpy(flat).to(unit.device))
        lengths, edges = counts.sum(axis=1).tolist(), ends[counts.shape[1] - 1 :: counts.shape[1]][:-1]
        return [
            Near(mine, (self.vectors[places].float() @ feature).double(), log_p, share)
            for mine, places, log_p, feature, share in zip(
                np.split(rows, edges),
                torch.split(at, lengths),
                torch.split(prior, lengths),
                unit.float(),
                log_probabilities.exp().sum(dim=1),
                strict=True,
            )
        ]


def choose_temperature(near: Sequence[Near], places: Floats, truth: Floats) -> tuple[float, dict[str, float]]:
    """The temperature with the highest mean share over the five radii, and that share for each."""
    shares = {}
    for temperature in TEMPERATURES:
        best = [some.rows[int(some.log_scores(temperature).argmax())] for some in near]
        error_km = haversine_km(truth, places[best])
        shares[temperature] = float(np.mean([(error_km < radius).mean() for radius in RADII_KM]))
    best_one = max(TEMPERATURES, key=shares.__getitem__)
    return best_one, {f"{temperature:g}": share for temperature, share in shares.items()}
