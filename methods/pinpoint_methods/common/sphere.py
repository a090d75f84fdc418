"""Vectors in space as places in degrees (`pinpoint_harness.geo.unit_xyz` is the way back), and distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pinpoint_harness.geo import haversine_km

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


def degrees_of(xyz: Floats) -> Floats:
    """Degrees `(..., 2)` that vectors `(..., 3)` of any length but 0 point to."""
    x, y, z = np.moveaxis(np.asarray(xyz, np.float64), -1, 0)
    degrees: Floats = np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=-1))
    return degrees


def pairwise_km(places: Floats) -> Floats:
    """Distances between the places of each list, `(n, k, 2)` in degrees: `(n, k, k)`."""
    n, k, _ = places.shape
    pairs = (n, k, k, 2)
    one, other = (
        np.broadcast_to(side, pairs).reshape(-1, 2) for side in (places[:, :, None], places[:, None])
    )
    km: Floats = haversine_km(one, other).reshape(n, k, k)
    return km
