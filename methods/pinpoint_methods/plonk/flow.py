"""From noise to places and back: PLONK's sampler, and the density of its flow on the sphere."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from pinpoint_harness.types import RADII_KM

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


class Velocity(Protocol):
    """Of points `(n, 3)` at a progress `(1,)`, under conditions that are fixed: `(n, 3)`."""

    def __call__(self, points: Tensor, progress: Tensor) -> Tensor: ...


START, END = -7.0, 3.0
"""Of the sigmoid schedule of the published models."""

_EARTH_KM = 6371.0
_RING_POINTS, _RINGS = 8, 3
"""Around the answer between two radii, in equal steps of the azimuth and at Gauss-Legendre's nodes."""


def progress_at(time: Tensor) -> Tensor:
    """How far a point has come at a time, from 0 at time 1 (noise) to 1 at time 0 (the photo's place)."""
    first, last = torch.tensor([START, END], device=time.device).sigmoid()
    reached: Tensor = (last - (START + time * (END - START)).sigmoid()) / (last - first)
    return reached.clamp(min=1e-9, max=1.0)


def progress_slope(time: Tensor) -> Tensor:
    """The derivative of `progress_at` by time."""
    first, last = torch.tensor([START, END], device=time.device).sigmoid()
    value = (START + time * (END - START)).sigmoid()
    slope: Tensor = -(END - START) * value * (1 - value) / (last - first)
    return slope


def draw_places(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Where points of a normal distribution `(n, 3)` arrive, unit vectors `(n, 3)`: Euler, on the sphere."""
    times = 1 - torch.arange(steps + 1, dtype=torch.float32, device=noise.device) / steps
    progress = progress_at(times)
    points = noise
    for now, then in pairwise(progress):
        points = normalize(points + (then - now) * velocity(points, now[None]), dim=1)
    return points


def log_density(velocity: Velocity, places: Tensor, steps: int) -> Tensor:
    """Of unit vectors `(n, 3)`, the logarithm of the probability per steradian, `(n,)`.

    The flow's continuous form, kept on the sphere, is followed back to noise, which there is uniform: the
    density falls by as much as the flow spreads, its divergence on the sphere (Runge-Kutta of order 4).
    """
    flow = partial(_flow, velocity)
    size = 1.0 / steps
    points, gained = places, torch.zeros(len(places), device=places.device)
    for step in range(steps):
        time = step * size
        slopes: list[Tensor] = []
        spreads: list[Tensor] = []
        for ahead in (0.0, 0.5, 0.5, 1.0):
            moved = points + ahead * size * slopes[-1] if slopes else points
            slope, spread = flow(moved, torch.tensor([time + ahead * size], device=places.device))
            slopes.append(slope)
            spreads.append(spread)
        points = normalize(points + size * _weighted(slopes), dim=1)
        gained = gained + size * _weighted(spreads)
    return gained - math.log(4 * math.pi)


def _weighted(stages: list[Tensor]) -> Tensor:
    return (stages[0] + 2 * stages[1] + 2 * stages[2] + stages[3]) / 6


def _flow(velocity: Velocity, points: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """The motion along the sphere per unit of time, `(n, 3)`, and its divergence there, `(n,)`.

    With velocity v and its derivatives J at a unit vector x, the part along the sphere has the divergence
    tr J - x'Jx - 2 x'v.
    """
    slope = progress_slope(time)
    with torch.enable_grad():
        points = normalize(points.detach(), dim=1).requires_grad_()
        moved = velocity(points, progress_at(time))
        # No row depends on another, so the gradient of a sum holds the gradient of each.
        rows = [
            torch.autograd.grad(moved[:, axis].sum(), points, retain_graph=axis < 2)[0] for axis in range(3)
        ]
    points, moved = points.detach(), moved.detach()
    jacobian = torch.stack(rows, dim=1)  # (n, 3, 3), derivatives by the last axis
    outward = (points * moved).sum(dim=1)
    trace = jacobian.diagonal(dim1=1, dim2=2).sum(dim=1)
    radial = (points[:, :, None] * jacobian * points[:, None]).sum(dim=(1, 2))
    return slope * (moved - outward[:, None] * points), slope * (trace - radial - 2 * outward)


def points_around(place: Floats) -> tuple[Floats, Floats]:
    """Where a density is looked at to find its share within each radius of unit vectors `(n, 3)`.

    Returns unit vectors `(n, m, 3)` and the solid angle each stands for, `(radii, rings * points)` with
    m = radii * rings * points: the rings between one radius and the next.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_RINGS)
    edges = np.cos(np.array([0.0, *RADII_KM]) / _EARTH_KM)
    middle, half = (edges[:-1] + edges[1:]) / 2, (edges[:-1] - edges[1:]) / 2
    height = (middle[:, None] + half[:, None] * nodes).ravel()  # (radii * rings,)
    angle = 2 * np.pi * (np.arange(_RING_POINTS) + 0.5) / _RING_POINTS
    flat = np.sqrt(np.maximum(0.0, 1 - height**2))[:, None]
    local = np.stack(
        [flat * np.cos(angle), flat * np.sin(angle), np.repeat(height[:, None], _RING_POINTS, axis=1)], axis=2
    ).reshape(-1, 3)  # (m, 3), around the pole
    area = (half[:, None] * weights)[..., None] * np.full(_RING_POINTS, 2 * np.pi / _RING_POINTS)
    return np.einsum("mk,nkj->nmj", local, _frames(place)), area.reshape(len(RADII_KM), -1)


def _frames(place: Floats) -> Floats:
    """Three perpendicular unit vectors for each of `(n, 3)`, itself the last: `(n, 3, 3)`."""
    least = np.eye(3)[np.abs(place).argmin(axis=1)]
    east = np.cross(least, place)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    frames: Floats = np.stack([east, np.cross(place, east), place], axis=1)
    return frames


def normal_draws(key: NDArray[np.uint64], seed: int, count: int) -> Tensor:
    """`count` points of a normal distribution in space for each key, `(n, count, 3)` float32."""
    drawn = [np.random.default_rng([seed, int(one)]).standard_normal((count, 3)) for one in key]
    return torch.from_numpy(np.array(drawn, dtype=np.float32).reshape(len(key), count, 3))
