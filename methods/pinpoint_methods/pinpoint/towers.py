"""The two towers: features of a picture, and a place on Earth, as unit vectors of one space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pinpoint_harness.devices import whole_float32

from .config import SOURCES, RetrievalConfig


class Block(nn.Module):
    """x + Linear(GELU(Linear(LayerNorm(x))))"""

    drop: Callable[[Tensor], Tensor] | None = None
    """What training takes away of the inner numbers; a trainer's, and no part of the model."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:  # (b, width) -> (b, width)
        inner = functional.gelu(self.up(self.norm(x)))
        if self.training and self.drop is not None:
            inner = self.drop(inner)
        out: Tensor = x + self.down(inner)
        return out


class Head(nn.Module):
    """LayerNorm and Linear into the shared space, then length 1 in float32."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, embedding)

    def forward(self, x: Tensor) -> Tensor:  # (b, width) -> (b, embedding)
        out: Tensor = self.out(self.norm(x))
        return functional.normalize(out if out.dtype == torch.float64 else out.float(), dim=1)


class ImageTower(nn.Module):
    """An adapter for each source, then a trunk that all share."""

    def __init__(self, config: RetrievalConfig, width: int, sources: Iterable[str]) -> None:
        super().__init__()
        self.width = width
        hidden, expansion = config.hidden, config.expansion
        self.adapters = nn.ModuleDict(
            {
                source: nn.Sequential(
                    nn.LayerNorm(width),
                    nn.Linear(width, hidden),
                    nn.GELU(),
                    *(Block(hidden, expansion) for _ in range(config.adapter_depth)),
                )
                for source in sources
            }
        )
        self.trunk = nn.Sequential(*(Block(hidden, expansion) for _ in range(config.trunk_depth)))
        self.head = Head(hidden, config.embedding)

    def forward(self, features: Tensor, source: str) -> Tensor:
        x = self.adapters[source](features)  # (b, width) -> (b, hidden)
        x = self.trunk(x)
        out: Tensor = self.head(x)  # (b, embedding)
        return out


class LocationTower(nn.Module):
    """Learned Fourier features of xyz on the unit sphere: no projection, so no seam and no poles."""

    def __init__(self, config: RetrievalConfig) -> None:
        super().__init__()
        # A step of so many cycles would be nothing to a high frequency and all to a low one: their logarithms
        # are learned. Directions stay as drawn.
        self.log_frequency = nn.Parameter(torch.zeros(config.frequencies))
        self.direction = nn.Parameter(torch.zeros(config.frequencies, 3), requires_grad=False)
        self.embed = nn.Linear(2 * config.frequencies, config.location_hidden)
        blocks = (Block(config.location_hidden, config.expansion) for _ in range(config.location_depth))
        self.trunk = nn.Sequential(*blocks)
        self.head = Head(config.location_hidden, config.embedding)

    def forward(self, xyz: Tensor) -> Tensor:
        out: Tensor = self.head(self.trunk(self.embed(self.waves(xyz))))
        return out  # (b, embedding)

    @property
    def frequencies(self) -> Tensor:
        """Waves over the radius of the Earth along each axis, `(frequencies, 3)`."""
        return self.direction * self.log_frequency.exp()[:, None]

    def waves(self, xyz: Tensor) -> Tensor:
        # 2^13 waves leave 10 bits of fp32 for the phase, and none of bf16.
        with torch.autocast(xyz.device.type, enabled=False):
            with whole_float32():
                cycles = xyz @ self.frequencies.T  # (b, 3) -> (b, frequencies)
            phase = 2 * math.pi * (cycles - cycles.detach().round())
            return torch.cat([phase.sin(), phase.cos()], dim=1)


class Towers(nn.Module):
    """All that the embedder learns: both towers, and t and b of each source's loss."""

    def __init__(self, config: RetrievalConfig, width: int, sources: Iterable[str] = SOURCES) -> None:
        super().__init__()
        self.sources = tuple(sources)
        self.image = ImageTower(config, width, self.sources)
        self.location = LocationTower(config)
        start = math.log(config.temperature)
        self.log_temperature = nn.ParameterDict({s: nn.Parameter(torch.tensor(start)) for s in self.sources})
        self.bias_of = nn.ParameterDict({s: nn.Parameter(torch.tensor(config.bias)) for s in self.sources})

    def initialise(self, config: RetrievalConfig, seed: int) -> Towers:
        """Weights drawn from the seed alone, the same on every device.

        Blocks begin as the identity (their last layer is zero), so depth does not slow the start.
        """
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.zeros_(module.down.weight)
        with torch.no_grad():
            directions = torch.randn(config.frequencies, 3, generator=generator)
            lowest, highest = math.log(config.lowest_frequency), math.log(config.highest_frequency)
            self.location.direction.copy_(functional.normalize(directions, dim=1))
            self.location.log_frequency.copy_(torch.linspace(lowest, highest, config.frequencies))
        return self


class Embedders:
    """Several towers as one, whose vectors lie side by side: a similarity is the mean of theirs.

    Cosines of towers that differ in the seed alone have one spread, so they count alike. Each is given by
    source: usually the same for all, or for each source with weights of its own.
    """

    def __init__(self, members: Sequence[Mapping[str, Towers]]) -> None:
        self._members = members

    @property
    def width(self) -> int:
        """Of a vector, which is of unit length."""
        return sum(next(iter(member.values())).image.head.out.out_features for member in self._members)

    def image(self, features: Tensor, source: str) -> Tensor:
        """`(b, width)`, from features that all share, or that lie side by side, of a backbone each."""
        widths = [member[source].image.width for member in self._members]
        own = torch.split(features, widths, dim=1) if features.shape[1] == sum(widths) else None
        seen = own or [features] * len(widths)
        pairs = zip(self._members, seen, strict=True)
        return self._joined([member[source].image(part, source) for member, part in pairs])

    def location(self, xyz: Tensor, source: str) -> Tensor:
        """`(b, width)`, for the gallery of a source."""
        return self._joined([member[source].location(xyz) for member in self._members])

    def _joined(self, vectors: Sequence[Tensor]) -> Tensor:
        return torch.cat([vector * len(vectors) ** -0.5 for vector in vectors], dim=1)


TILE = 4096
"""Rows in one pass when galleries are embedded; always as many, so that a row's neighbours do not count."""


def in_tiles(tower: Callable[[Tensor], Tensor], rows: Tensor, device: str, tile: int = TILE) -> Tensor:
    """Unit vectors of all rows in fp16, float32 inside: `(n, embedding)` on the rows' device.

    The last tile is filled up, since kernels differ with the shape of their input.
    """
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), tile):
            piece = rows[start : start + tile].to(device).float()
            filled = torch.cat([piece, piece[-1:].expand(tile - len(piece), -1)])  # (tile, width)
            parts.append(tower(filled)[: len(piece)].half().to(rows.device))
    return torch.cat(parts)
