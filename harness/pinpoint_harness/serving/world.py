"""The world as paths of SVG in Mercator's projection, in which a small circle stays one.

x is the longitude, y runs down; both in units of degrees at the equator.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..geo import EARTH_RADIUS_KM
from ..reports.outlines import border_lines, coast_lines, land_rings

if TYPE_CHECKING:
    from ..reports.outlines import Lines
    from ..types import Floats

NORTHERNMOST_DEG = 85.0
"""Nearer to the poles nothing is drawn: they lie at infinity."""

STEPS = 100
"""A unit of the paths, in degrees: 0.01."""


def project(places: Any) -> Floats:
    """`(n, 2)` latitude and longitude as `(n, 2)` x and y."""
    latitude, longitude = np.asarray(places, np.float64).reshape(-1, 2).T
    bounded = np.radians(np.clip(latitude, -NORTHERNMOST_DEG, NORTHERNMOST_DEG))
    return np.stack([longitude, -np.degrees(np.arcsinh(np.tan(bounded)))], axis=1)


def circle(place: tuple[float, float], radius_km: float, points: int = 180) -> Floats:
    """What lies within a radius of a place, as a polygon `(n, 2)` of x and y, its x near the place's.

    A circle around a pole is the band up to the edge of the map.
    """
    latitude, longitude = np.radians(place)
    angle = min(radius_km / EARTH_RADIUS_KM, np.pi)
    bearing = np.linspace(0, 2 * np.pi, points)
    sine = np.sin(latitude) * np.cos(angle) + np.cos(latitude) * np.sin(angle) * np.cos(bearing)
    ring_latitude = np.arcsin(np.clip(sine, -1, 1))
    turn = np.arctan2(
        np.sin(bearing) * np.sin(angle) * np.cos(latitude), np.cos(angle) - np.sin(latitude) * sine
    )
    ring = np.degrees(np.stack([ring_latitude, longitude + turn], axis=1))
    if abs(latitude) + angle <= np.pi / 2:
        return project(ring)
    # Its edge goes once around the world: the shape is closed along the pole that lies within.
    ring = ring[np.argsort(turn, kind="stable")]
    pole = np.copysign(90.0, latitude)
    west, east = np.degrees(longitude) + np.array([-180.0, 180.0])
    ends = [[pole, west], [ring[0, 0], west]], [[ring[-1, 0], east], [pole, east]]
    return project(np.concatenate([ends[0], ring, ends[1]]))


def path(lines: list[Floats], closed: bool = False) -> str:
    """Lines of x and y as the `d` of a path, in whole steps, each point relative to the one before."""
    parts = []
    for line in lines:
        steps = np.round(np.asarray(line) * STEPS).astype(np.int64)
        moves = np.diff(steps, axis=0)
        moves = moves[(moves != 0).any(axis=1)]
        if len(moves):
            ways = " ".join(f"{x} {y}" for x, y in moves.tolist())
            parts.append(f"M{steps[0, 0]} {steps[0, 1]}l{ways}" + "z" * closed)
    return "".join(parts)


@functools.cache
def outlines() -> dict[str, str]:
    """The paths of `land` (filled by even-odd), `coast` and `borders`."""

    def drawn(lines: Lines, closed: bool = False) -> str:
        return path([project(line[:, ::-1]) for line in lines], closed)

    return {
        "land": drawn(land_rings(), closed=True),
        "coast": drawn(coast_lines()),
        "borders": drawn(border_lines()),
    }
