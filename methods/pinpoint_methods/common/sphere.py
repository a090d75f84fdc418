"""Vectors in space as places in degrees; `pinpoint_harness.geo.unit_xyz` is the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


def degrees_of(xyz: Floats) -> Floats:
    """Degrees `(..., 2)` that vectors `(..., 3)` of any length but 0 point to."""
    x, y, z = np.moveaxis(np.asarray(xyz, np.float64), -1, 0)
    degrees: Floats = np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=-1))
    return degrees
