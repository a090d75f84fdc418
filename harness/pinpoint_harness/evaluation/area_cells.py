"""Cells of equal area on the sphere, by which candidates become regions and photos are weighed by area.

Bands of equal height, each divided into as many cells as give it the wished-for area most nearly: the
integerized sinusoidal grid of satellite products, of square cells where bands are long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..geo import EARTH_RADIUS_KM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Floats

EARTH_KM2 = 4 * np.pi * EARTH_RADIUS_KM**2
_LARGEST_KM2 = EARTH_KM2 / 16


def area_cells(coordinates: Floats, cell_km2: float) -> tuple[NDArray[np.int64], Floats]:
    """The cell of each place `(..., 2)` in degrees, -1 for NaN, and its area in km2, both `(...)`.

    The area differs from `cell_km2` where a band has few cells, by 5 % at most for cells up to 1,000,000 km2.
    """
    starts, columns, area = _bands(cell_km2)
    latitude, longitude = coordinates[..., 0], coordinates[..., 1]
    known = ~(np.isnan(latitude) | np.isnan(longitude))
    north = (np.where(known, latitude, 0.0) + 90.0) / 180.0
    band = np.clip((north * len(columns)).astype(np.int64), 0, len(columns) - 1)
    east = (np.where(known, longitude, 0.0) + 180.0) / 360.0 % 1.0
    column = np.minimum((east * columns[band]).astype(np.int64), columns[band] - 1)
    return np.where(known, starts[band] + column, -1), np.where(known, area[band], np.nan)


def cell_count(cell_km2: float) -> int:
    """How many cells the Earth has."""
    return int(_bands(cell_km2)[1].sum())


def _bands(cell_km2: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Of each band, from the south, the first cell's number, how many there are, and the area of one."""
    if not 0 < cell_km2 <= _LARGEST_KM2:
        raise UsageError(f"cells of {cell_km2:g} km2 do not divide the Earth", fix="give less, in km2")
    count = max(1, round(np.pi * EARTH_RADIUS_KM / np.sqrt(cell_km2)))
    edges = np.sin(np.linspace(-np.pi / 2, np.pi / 2, count + 1))
    whole = EARTH_KM2 / 2 * np.diff(edges)  # Archimedes: area goes by height
    columns = np.maximum(np.rint(whole / cell_km2).astype(np.int64), 1)
    return np.cumsum(columns) - columns, columns, whole / columns
