"""The baseline's network as it is published: a fine-tuned CLIP, two small networks, and the cells."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from pinpoint_harness.reading import reading

from ..common.checkpoints import below

Weights = Mapping[str, Tensor]

_GROUPS = 4
_HEAD_WIDTH = 64
"""Of CLIP's heads of attention, in every size of it."""

_REACH = 1.2
"""By how much an answer may leave the middle of its cell, where 1 is the cell's edge."""

_EDGES = ("min_lat", "min_lon", "max_lat", "max_lon", "mean_lat", "mean_lon")


class Head(nn.Sequential):
    """LayerNorm, and linear layers with GroupNorm and GELU between them; sizes are those of the weights."""

    def __init__(self, weights: Weights) -> None:
        width = len(weights["0.weight"])
        layers: list[nn.Module] = [nn.LayerNorm(width)]
        for index in count(1, 3):
            out, inner = weights[f"{index}.weight"].shape
            layers.append(nn.Linear(inner, out))
            if f"{index + 1}.weight" not in weights:
                break
            layers += [nn.GroupNorm(_GROUPS, out), nn.GELU()]
        super().__init__(*layers)
        self.out = len(weights[f"{index}.weight"])
        self.load_state_dict(dict(weights))


class Cells:
    """Of each cell the centroid of its photos, and how far it reaches above and below that.

    All `(cells, 2)` float64, latitudes in units of 90 degrees and longitudes of 180.
    """

    def __init__(self, center: Tensor, up: Tensor, down: Tensor) -> None:
        self.center, self.up, self.down = (values.double() for values in (center, up, down))

    @classmethod
    def of_table(cls, path: Path) -> Cells:
        """From the published table of the quadtree, `quadtree_10_1000.csv`."""
        fix = f"give quadtree_10_1000.csv as published, with the columns {', '.join(_EDGES)}"
        with reading(path, what="a quadtree of OSV-5M from", fix=fix):
            table = pd.read_csv(path)[list(_EDGES)].astype(float)
        low, high, mean = (
            torch.from_numpy(table[[f"{edge}_lat", f"{edge}_lon"]].to_numpy() / [90.0, 180.0])
            for edge in ("min", "max", "mean")
        )
        return cls(mean, high - mean, mean - low)

    def places(self, cell: Tensor, moved: Tensor) -> Tensor:
        """Degrees `(n, k, 2)` of the offsets `moved` `(n, k, 2)` in the cells `(n, k)`."""
        moved = moved.double()
        reach = torch.where(moved > 0, self.up[cell], self.down[cell])
        share = (self.center[cell] + moved * reach).clamp(-1, 1)
        return share * torch.tensor([90.0, 180.0], dtype=torch.float64)


class Baseline(nn.Module):
    """Pixels to logits of all cells and, for each, where in it."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        own = {name.removeprefix("model."): value for name, value in weights.items()}
        self.clip = _clip(below(own, "backbone.clip."))
        self.classif, self.reg = Head(below(own, "mid.classif.")), Head(below(own, "mid.reg."))
        if self.reg.out != 2 * self.classif.out:
            raise ValueError(f"{self.classif.out} cells, {self.reg.out} numbers that say where in them")
        names = [f"head.cell_{part}" for part in ("center", "size_up", "size_down")]
        self.cells = Cells(*(own[name] for name in names)) if all(name in own for name in names) else None
        self.float().eval().requires_grad_(False)

    @property
    def side(self) -> int:
        """Of the pictures it takes, in pixels."""
        side: Any = self.clip.config.image_size
        return int(side)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Of pixels `(n, 3, side, side)`: logits `(n, cells)`, offsets in each cell `(n, cells, 2)`."""
        token = self.clip(pixel_values=pixels).last_hidden_state[:, 0]  # (n, width)
        offsets = _REACH * torch.tanh(self.reg(token))
        return self.classif(token), offsets.view(len(token), -1, 2)


def _clip(weights: Weights) -> CLIPVisionModel:
    """CLIP's vision tower, of the size of its weights; those of LAION have a plain GELU."""
    inner = {name.removeprefix("vision_model."): value for name, value in weights.items()}
    inner.pop("embeddings.position_ids", None)
    width, _, patch, _ = inner["embeddings.patch_embedding.weight"].shape
    layers = {name.split(".")[2] for name in inner if name.startswith("encoder.layers.")}
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=len(inner["encoder.layers.0.mlp.fc1.weight"]),
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        patch_size=patch,
        image_size=patch * round((len(inner["embeddings.position_embedding.weight"]) - 1) ** 0.5),
        hidden_act="gelu",
    )
    model = CLIPVisionModel(config)
    names = model.state_dict()
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in names) else ""
    model.load_state_dict({f"{prefix}{name}": value for name, value in inner.items()})
    return model
