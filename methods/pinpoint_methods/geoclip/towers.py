"""GeoCLIP's own networks: a place on Earth, and CLIP's feature of a photo, as vectors of one space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..common import location_encoder
from ..common.location_encoder import Weights

A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
"""Of the Equal Earth projection (Šavrič, Patterson, Jenny 2018, doi:10.1080/13658816.2018.1504949)."""

_SCALE = 66.50336
"""By which the authors bring the projection to about [-1, 1], together with 180."""


def equal_earth(coordinates: Tensor) -> Tensor:
    """`(latitude, longitude)` in degrees on GeoCLIP's plane, `(n, 2)` to `(n, 2)`."""
    latitude, longitude = torch.deg2rad(coordinates).unbind(dim=1)
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(latitude))
    slope = 3 * (9 * A4 * theta**8 + 7 * A3 * theta**6 + 3 * A2 * theta**2 + A1)
    x = 2 * math.sqrt(3) * longitude * torch.cos(theta) / slope
    y = A4 * theta**9 + A3 * theta**7 + A2 * theta**3 + A1 * theta
    return torch.stack([x, y], dim=1) * _SCALE / 180


class LocationEncoder(location_encoder.LocationEncoder):
    """The sum of one capsule for each scale, over the Equal Earth projection."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights, equal_earth)


class ImageHead(nn.Sequential):
    """From CLIP's projected feature of a photo to the space of places."""

    def __init__(self, weights: Weights) -> None:
        hidden, width = weights["0.weight"].shape
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, weights["2.weight"].shape[0]))
        self.load_state_dict(dict(weights))

    @property
    def width(self) -> int:
        """Of the feature it takes."""
        first: Any = self[0]
        return int(first.in_features)
