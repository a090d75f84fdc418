"""PLONK's network: the velocity of a point in space, given what a photo shows and how far it has come.

Modules are named as in the published files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..common.linear import AlignedLinear

_TIME_SCALE = 1000.0
"""By which the progress, 0 to 1, is multiplied before its sines and cosines are taken."""


class Progress(nn.Module):
    """How far a point has come, `(1,)` from 0 to 1, as a vector `(1, dim)`: waves, two layers."""

    def __init__(self, dim: int, waves: int) -> None:
        super().__init__()
        self.encode_time = nn.Module()
        self.encode_time.register_buffer("freqs", torch.empty(waves))
        self.map_time = nn.Sequential(nn.Linear(2 * waves, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, progress: Tensor) -> Tensor:
        frequencies: Tensor = self.encode_time.get_buffer("freqs")
        phase = torch.outer(progress * _TIME_SCALE, frequencies)
        waves = torch.cat([phase.cos(), phase.sin()], dim=1)
        spread = waves.std(dim=1, keepdim=True)
        mapped: Tensor = self.map_time((waves - waves.mean(dim=1, keepdim=True)) / spread)
        return mapped


class Block(nn.Module):
    """A residual layer whose norm is scaled and moved, and its output weighed, by the condition (AdaLN)."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, inner), nn.GELU(), nn.Identity(), nn.Linear(inner, dim))
        self.ada_map = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.ln = nn.LayerNorm(dim, elementwise_affine=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift, weight = self.ada_map(condition).chunk(3, dim=1)  # (n, dim) each
        changed: Tensor = self.mlp((1 + scale) * self.ln(x) + shift)
        added: Tensor = x + changed * weight
        return added


class VelocityNetwork(nn.Module):
    """Points `(n, 3)` and conditions `(n, width)` to velocities `(n, 3)`; sizes are those of the weights."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        dim, self.width = weights["cond_mapper.weight"].shape
        inner = len(weights["blocks.0.mlp.0.weight"])
        blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
        self.time_embedder = Progress(dim, len(weights["time_embedder.encode_time.freqs"]))
        self.cond_mapper = nn.Linear(self.width, dim)
        self.initial_mapper = nn.Linear(3, dim)
        self.blocks = nn.ModuleList(Block(dim, inner) for _ in blocks)
        self.final_adaln = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))
        self.final_ln = nn.LayerNorm(dim, elementwise_affine=False)
        self.final_linear = AlignedLinear(dim, 3)
        self.load_state_dict(dict(weights))
        self.float().eval().requires_grad_(False)

    def condition(self, features: Tensor) -> Tensor:
        """What a photo shows, `(n, width)`, in the width of the blocks: once for all steps."""
        mapped: Tensor = self.cond_mapper(features)
        return mapped

    def forward(self, points: Tensor, condition: Tensor, progress: Tensor) -> Tensor:
        """`condition` as `condition()` gives it, `progress` `(1,)`."""
        condition = condition + self.time_embedder(progress)
        x = self.initial_mapper(points)  # (n, dim)
        for block in self.blocks:
            x = block(x, condition)
        scale, shift = self.final_adaln(condition).chunk(2, dim=1)
        velocity: Tensor = self.final_linear((1 + scale) * self.final_ln(x) + shift)
        return velocity
