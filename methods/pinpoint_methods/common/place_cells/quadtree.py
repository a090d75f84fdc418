"""A quadtree over the sphere: six faces of a cube, each cut into four until few enough photos are left.

A place is a number, its code: three bits of the face, then two bits for each cut. A cell is an
interval of codes, so cells of one tree are nested or apart, and finding a place's cell is a search
in a sorted list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.geo import unit_xyz

from ..sphere import degrees_of

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

DEPTH = 24
"""Cuts at most: cells of less than a metre, so more photos in one are photos of one spot."""

Codes = NDArray[np.int64]
Rows = NDArray[np.int64]

_NONE = -1


def codes_of(coordinates: Floats) -> Codes:
    """The code of each place; what is one place in two spellings, at a pole or 180 degrees, has one."""
    # Without rounding, sin(180 degrees) is 1e-16 and -1e-16, on two sides of an edge; this is 6 micrometres.
    xyz = unit_xyz(coordinates).round(12)
    axis = np.abs(xyz).argmax(axis=1)
    row = np.arange(len(xyz))
    main = xyz[row, axis]
    code: Codes = (2 * axis + (main < 0)).astype(np.int64)
    side = 1 << DEPTH
    place = []
    for step in (1, 2):
        # The arctangent makes cells of one depth about equally large, at a corner as in the middle.
        angle = np.arctan(xyz[row, (axis + step) % 3] / np.abs(main))
        share = (angle * 4 / np.pi + 1) / 2
        place.append(np.clip((share * side).astype(np.int64), 0, side - 1))
    for bit in range(DEPTH - 1, -1, -1):
        code = code << 2 | (place[0] >> bit & 1) << 1 | (place[1] >> bit & 1)
    return code


@dataclass(frozen=True)
class Partition:
    """Cells that do not overlap, ordered by code.

    A cell's codes go from `first` to before `end`; `count` of the places it was made from are in it.
    """

    first: Codes  # (c,)
    end: Codes  # (c,)
    count: NDArray[np.int64]  # (c,)

    def __len__(self) -> int:
        return len(self.first)

    def find(self, codes: Codes) -> Rows:
        """The cell of each code, -1 where there is none."""
        if not len(self):
            return np.full(len(codes), _NONE, dtype=np.int64)
        cell = np.searchsorted(self.first, codes, side="right") - 1
        inside = (cell >= 0) & (codes < self.end[cell])
        return np.where(inside, cell, _NONE)


def quadtree(codes: Codes, largest: int, smallest: int = 1) -> Partition:
    """Cells of at most `largest` places, except where more share a cell that cannot be cut again.

    Those of fewer than `smallest` are left out.
    """
    ordered = np.sort(codes)
    faces = np.arange(6, dtype=np.int64)
    first, width = faces << (2 * DEPTH), np.int64(1) << (2 * DEPTH)
    leaves: list[tuple[Codes, Codes, NDArray[np.int64]]] = []
    while len(first):
        count = np.searchsorted(ordered, first + width) - np.searchsorted(ordered, first)
        whole = (count <= largest) | (width == 1)
        kept = whole & (count >= max(1, smallest))
        leaves.append((first[kept], first[kept] + width, count[kept]))
        if width > 1:
            width >>= 2
        first = (first[~whole, None] + width * np.arange(4)).ravel()
    starts, ends, counts = (np.concatenate(parts) for parts in zip(*leaves, strict=True))
    order = np.argsort(starts)
    return Partition(starts[order], ends[order], counts[order])


def members(partition: Partition, codes: Codes) -> tuple[Rows, Rows]:
    """The places of each cell: `rows[start[c]:start[c + 1]]`, in the order of their codes and then rows."""
    order = np.argsort(codes, kind="stable")
    cell = partition.find(codes[order])
    rows = order[cell >= 0]
    start = np.searchsorted(cell[cell >= 0], np.arange(len(partition) + 1))
    return rows, start


def mean_places(coordinates: Floats, rows: Rows, start: Rows) -> Floats:
    """Where the mean of each cell's places on the unit sphere points, `(c, 2)` degrees."""
    if len(start) < 2:
        return np.empty((0, 2))
    sums = np.add.reduceat(unit_xyz(coordinates[rows]), start[:-1], axis=0)
    return degrees_of(sums)
