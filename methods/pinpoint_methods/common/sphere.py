"""Places in degrees as vectors in space, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


def unit_vectors(places: Floats) -> Floats:
    """Degrees `(..., 2)` as unit vectors `(..., 3)`."""
    latitude, longitude = np.radians(np.moveaxis(np.asarray(places, np.float64), -1, 0))
    flat = np.cos(latitude)
    xyz: Floats = np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=-1)
    return xyz


def degrees_of(xyz: Floats) -> Floats:
    """Degrees `(..., 2)` that vectors `(..., 3)` of any length but 0 point to."""
    x, y, z = np.moveaxis(np.asarray(xyz, np.float64), -1, 0)
    degrees: Floats = np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=-1))
    return degrees
