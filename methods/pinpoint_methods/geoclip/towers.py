"""GeoCLIP's own networks: a place on Earth, and CLIP's feature of a photo, as vectors of one space.

Computed in float32 in the order of the authors' code: the finest scale has phases of thousands of
radians, where another order of the same operations would move the last digits by a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pinpoint_harness.devices import whole_float32

A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
"""Of the Equal Earth projection (Šavrič, Patterson, Jenny 2018, doi:10.1080/13658816.2018.1504949)."""

_SCALE = 66.50336
"""By which the authors bring the projection to about [-1, 1], together with 180."""

Weights = Mapping[str, Tensor]


def equal_earth(coordinates: Tensor) -> Tensor:
    """`(latitude, longitude)` in degrees on GeoCLIP's plane, `(n, 2)` to `(n, 2)`."""
    latitude, longitude = torch.deg2rad(coordinates).unbind(dim=1)
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(latitude))
    slope = 3 * (9 * A4 * theta**8 + 7 * A3 * theta**6 + 3 * A2 * theta**2 + A1)
    x = 2 * math.sqrt(3) * longitude * torch.cos(theta) / slope
    y = A4 * theta**9 + A3 * theta**7 + A2 * theta**3 + A1 * theta
    return torch.stack([x, y], dim=1) * _SCALE / 180


class Capsule(nn.Module):
    """One scale: random Fourier features, three hidden layers and a linear head.

    `frequencies` `(f, 2)` were drawn once from a normal distribution, whose width (1, 16 or 256)
    is the scale, and are stored with the weights.
    """

    frequencies: Tensor

    def __init__(self, frequencies: Tensor, width: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.empty_like(frequencies))
        sizes = [2 * len(frequencies), width, width, width]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.head = nn.Linear(width, embedding)

    def forward(self, plane: Tensor) -> Tensor:  # (n, 2) -> (n, embedding)
        with whole_float32():
            phase = 2 * math.pi * plane @ self.frequencies.T  # (n, f)
        x = torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)  # (n, 2 f)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        out: Tensor = self.head(x)
        return out


class LocationEncoder(nn.Module):
    """The sum of one capsule for each scale, over the Equal Earth projection."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        scales = len({name.partition(".")[0] for name in weights})
        own = {_own_name(name): value for name, value in weights.items()}
        self.capsules = nn.ModuleList(
            Capsule(
                own[f"capsules.{scale}.frequencies"],
                width=own[f"capsules.{scale}.head.weight"].shape[1],
                embedding=own[f"capsules.{scale}.head.weight"].shape[0],
            )
            for scale in range(scales)
        )
        self.load_state_dict(own)

    def forward(self, coordinates: Tensor) -> Tensor:  # (n, 2) degrees -> (n, embedding)
        plane = equal_earth(coordinates)
        total: Tensor = sum(capsule(plane) for capsule in self.capsules)
        return total


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


_PARTS = {
    "capsule.0.b": "frequencies",
    "capsule.1.": "hidden.0.",
    "capsule.3.": "hidden.1.",
    "capsule.5.": "hidden.2.",
    "head.0.": "head.",
}
"""Names of the authors' file, within one scale, and ours."""


def _own_name(name: str) -> str:
    """`LocEnc0.capsule.3.weight` as `capsules.0.hidden.1.weight`; KeyError for a stranger's."""
    scale, _, inner = name.partition(".")
    known = [theirs for theirs in _PARTS if inner.startswith(theirs)]
    if not known or not scale.startswith("LocEnc"):
        raise KeyError(name)
    return f"capsules.{scale.removeprefix('LocEnc')}.{_PARTS[known[0]]}{inner.removeprefix(known[0])}"
