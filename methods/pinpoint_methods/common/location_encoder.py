"""GeoCLIP's kind of location encoder, which G3 has as well: a place on a plane as a vector.

Computed in float32 in the order of the authors' code: the finest scale has phases of thousands of
radians, where another order of the same operations would move the last digits by a hundredth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]


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
        phase = 2 * math.pi * plane @ self.frequencies.T  # (n, f)
        x = torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)  # (n, 2 f)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        out: Tensor = self.head(x)
        return out


class LocationEncoder(nn.Module):
    """The sum of one capsule for each scale, over a projection of degrees `(n, 2)` to a plane `(n, 2)`."""

    def __init__(self, weights: Weights, projection: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._projection = projection
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
        plane = self._projection(coordinates)
        total: Tensor = sum(capsule(plane) for capsule in self.capsules)
        return total


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
