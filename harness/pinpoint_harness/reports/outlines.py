"""Coastlines and country borders of the world, offline: Natural Earth 1:50m (public domain).

`outlines.npz` is made by `build_outlines.py`: simplified to 0.02 degree (2 km). Borders are as Natural
Earth has them, by who controls the ground.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Lines = list[NDArray[np.float32]]
    """Each `(n, 2)`: longitude and latitude in degrees, longitudes from -180 to 180."""

STEPS_A_DEGREE = 182
"""Coordinates are whole numbers of 1/182 degree (600 m): int16 holds 180 degrees."""


def land_rings() -> Lines:
    """Closed rings around all land, `(n, 2)` float32 longitude and latitude, the first point last again.

    Rings around water within land, such as the Caspian Sea, are among them and run the other way, so
    that a fill by winding and one by even-odd leave them open. What lies across the antimeridian is cut
    there: its rings run along it, and Antarctica's along 90°S. `coast_lines` is without these edges.
    """
    return _outlines()["land"]


def border_lines() -> Lines:
    """Borders between countries on land, `(n, 2)` float32 longitude and latitude; each is there once."""
    return _outlines()["borders"]


@functools.cache
def coast_lines() -> Lines:
    """The rings of `land_rings` as lines, without the edges where the map is cut: 180° and 90°S."""
    lines = []
    for ring in land_rings():
        on_edge = (np.abs(ring[:, 0]) == 180) | (ring[:, 1] == -90)
        cut = np.flatnonzero(on_edge[:-1] & on_edge[1:])
        lines += [part for part in np.split(ring, cut + 1) if len(part) > 1]
    return lines


def pack(lines: Lines) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """All points as differences from the one before, `(n, 2)`, and the number of points of each line."""
    points = np.round(np.concatenate(lines) * STEPS_A_DEGREE).astype(np.int16)
    # Leaps from one line to the next may overflow; adding them up overflows back.
    return np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int16)), np.array(list(map(len, lines)), "i4")


def unpack(differences: NDArray[np.int16], lengths: NDArray[np.int32]) -> Lines:
    points = np.cumsum(differences, axis=0, dtype=np.int16).astype(np.float32) / STEPS_A_DEGREE
    points.setflags(write=False)
    return np.split(points, np.cumsum(lengths)[:-1])


@functools.cache
def _outlines() -> dict[str, Lines]:
    data = (importlib.resources.files(__package__) / "outlines.npz").read_bytes()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {
                name: unpack(file[f"{name}_differences"], file[f"{name}_lengths"])
                for name in ("land", "borders")
            }
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            "the outlines of land cannot be read", found=str(error), fix="reinstall pinpoint-geo"
        ) from error
