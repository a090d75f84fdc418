"""PLONK, OSV-5M's baseline, G3 and Chipoint 2 as they are published, of random weights and small."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.support.small_clips import WIDTH
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel

from pinpoint_methods.chipoint.method import gallery_file, head_file

PLONK_DIM, PLONK_BLOCKS = 32, 3
BASELINE_CELLS, BASELINE_WIDTH, BASELINE_SIDE = 12, 64, 28
G3_INNER = 16


def plonk_weights(
    seed: int = 0, spread: float = 1.0, dim: int = PLONK_DIM, blocks: int = PLONK_BLOCKS, slow: bool = False
) -> dict[str, torch.Tensor]:
    """A network of random weights under the published names; `spread` widens what it answers.

    A `slow` one changes with the progress as smoothly as one that was trained: its waves are long.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}

    def linear(name: str, inner: int, outer: int, width: float = 1.0) -> None:
        scale = width * inner**-0.5
        weights[f"{name}.weight"] = torch.randn(outer, inner, generator=generator) * scale
        weights[f"{name}.bias"] = torch.randn(outer, generator=generator) * 0.3 * width

    waves = dim // 8
    weights["time_embedder.encode_time.freqs"] = 1e-4 ** (torch.arange(waves) / waves) * (1e-3 if slow else 1)
    linear("time_embedder.map_time.0", 2 * waves, dim)
    linear("time_embedder.map_time.2", dim, dim)
    linear("cond_mapper", WIDTH, dim)
    linear("initial_mapper", 3, dim)
    for number in range(blocks):
        linear(f"blocks.{number}.mlp.0", dim, 4 * dim)
        linear(f"blocks.{number}.mlp.3", 4 * dim, dim)
        linear(f"blocks.{number}.ada_map.1", dim, 3 * dim, 0.3)
    linear("final_adaln.1", dim, 2 * dim, 0.3)
    linear("final_linear", dim, 3, spread)
    return weights


def plonk_release(folder: Path, **options: Any) -> Path:
    """As `PyTorchModelHubMixin` saves it: the arguments of the network, and its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = plonk_weights(**options)
    config = {"input_dim": 3, "dim": PLONK_DIM, "depth": PLONK_BLOCKS, "expansion": 4, "cond_dim": WIDTH}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors")
    return folder


def quadtree(seed: int = 0) -> pd.DataFrame:
    """Cells anywhere, with centroids off their middles, as published: edges, means, a number."""
    random = np.random.default_rng(seed)
    low = random.uniform([-80, -170], [60, 150], (BASELINE_CELLS, 2))
    high = low + random.uniform(2, 20, (BASELINE_CELLS, 2))
    mean = low + (high - low) * random.uniform(0.2, 0.8, (BASELINE_CELLS, 2))
    columns = {"cluster_id": np.arange(BASELINE_CELLS)}
    for edge, values in (("min", low), ("max", high), ("mean", mean)):
        columns |= {f"{edge}_lat": values[:, 0], f"{edge}_lon": values[:, 1]}
    return pd.DataFrame(columns)


def baseline_weights(seed: int = 0, *, with_cells: bool = True) -> dict[str, torch.Tensor]:
    """A state of the published module, every part under two names, as `Geolocalizer` saves it."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=BASELINE_WIDTH, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1,
        patch_size=14, image_size=BASELINE_SIDE, hidden_act="gelu",
    )  # fmt: skip
    state = CLIPVisionModel(config).state_dict()
    weights = {
        f"backbone.clip.vision_model.{name.removeprefix('vision_model.')}": value * 3
        for name, value in state.items()
    }
    weights["backbone.clip.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    for part, out in (("classif", BASELINE_CELLS), ("reg", 2 * BASELINE_CELLS)):
        sizes = [BASELINE_WIDTH, BASELINE_WIDTH, 32, out]
        weights[f"mid.{part}.0.weight"] = torch.rand(BASELINE_WIDTH) + 0.5
        weights[f"mid.{part}.0.bias"] = torch.randn(BASELINE_WIDTH)
        for number, (inner, outer) in enumerate(pairwise(sizes)):
            weights[f"mid.{part}.{1 + 3 * number}.weight"] = torch.randn(outer, inner) * inner**-0.5
            weights[f"mid.{part}.{1 + 3 * number}.bias"] = torch.randn(outer)
            if number < 2:
                weights[f"mid.{part}.{2 + 3 * number}.weight"] = torch.rand(outer) + 0.5
                weights[f"mid.{part}.{2 + 3 * number}.bias"] = torch.randn(outer)
    if with_cells:
        table = quadtree()
        low, high, mean = (
            torch.from_numpy(table[[f"{edge}_lat", f"{edge}_lon"]].to_numpy() / [90.0, 180.0])
            for edge in ("min", "max", "mean")
        )
        weights |= {
            "head.cell_center": mean,
            "head.cell_size_up": high - mean,
            "head.cell_size_down": mean - low,
        }
    return {**weights, **{f"model.{name}": value for name, value in weights.items()}}


def g3_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """G3's projections under the authors' names, and a tensor of the sides that are not read."""
    generator = torch.Generator().manual_seed(seed)

    def linear(name: str, inner: int, outer: int) -> dict[str, torch.Tensor]:
        weight = torch.randn(outer, inner, generator=generator) * inner**-0.5
        return {f"{name}.weight": weight, f"{name}.bias": torch.randn(outer, generator=generator)}

    weights = {"logit_scale2": torch.tensor(2.0), "text_projection.weight": torch.zeros(2, 2)}
    for scale, sigma in enumerate((1.0, 16.0)):
        name = f"location_encoder.LocEnc{scale}"
        weights[f"{name}.capsule.0.b"] = torch.randn(8, 2, generator=generator) * sigma
        for layer, inner in (("1", 16), ("3", 20), ("5", 20)):
            weights |= linear(f"{name}.capsule.{layer}", inner, 20)
        weights |= linear(f"{name}.head.0", 20, G3_INNER)
    for projection, sizes in (
        ("vision_projection_else_1", (WIDTH, WIDTH, WIDTH)),
        ("vision_projection_else_2", (WIDTH, WIDTH, WIDTH)),
        ("location_projection_else", (G3_INNER, G3_INNER, WIDTH)),
    ):
        weights |= linear(f"{projection}.0", sizes[0], sizes[1])
        weights |= linear(f"{projection}.2", sizes[1], sizes[2])
    return weights


def _head(width: int, seed: int, inner: int = 24, out: int = 16) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "net.0.weight": torch.randn(inner, width, generator=generator) * width**-0.5,
        "net.0.bias": torch.randn(inner, generator=generator) * 0.1,
        "net.3.weight": torch.randn(out, inner, generator=generator) * inner**-0.5,
        "net.3.bias": torch.randn(out, generator=generator) * 0.1,
        "log_temperature": torch.tensor(1.0),
    }


def chipoint_release(
    folder: Path, coordinates: NDArray[Any], features: Mapping[str, NDArray[np.float16]], seed: int = 0
) -> Path:
    """Heads, and a gallery that they projected, laid out and named as on the hub.

    `coordinates` `(rows, 2)` are those of the pictures with `features` `(rows, width)` by tower.
    """
    (folder / "weights").mkdir(parents=True)
    (folder / "street_gallery").mkdir()
    np.save(folder / "street_gallery" / "gallery_all_C_so400m256.npy", coordinates.astype(np.float32))
    for number, (tower, matrix) in enumerate(features.items()):
        weights = _head(matrix.shape[1], seed + number)
        torch.save(weights, folder / head_file(tower))
        np.save(folder / gallery_file(tower), _projected(weights, torch.from_numpy(matrix)).half().numpy())
    return folder


def _projected(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    x = functional.normalize(x.double(), dim=1)
    hidden = functional.gelu(x @ weights["net.0.weight"].double().T + weights["net.0.bias"].double())
    return functional.normalize(
        hidden @ weights["net.3.weight"].double().T + weights["net.3.bias"].double(), dim=1
    )
