"""CLIP and GeoCLIP in the real formats, of random weights and small enough for any test."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from tests.support.processors import CLIPImageProcessorPil
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

WIDTH = 24
"""Of the features of all of them."""

GEOCLIP_SIDE, STREETCLIP_SIDE = 35, 32
"""Sides of the pictures their towers see."""

POINTS = 300
"""Of GeoCLIP's gallery."""


def gallery_table(count: int = POINTS) -> pd.DataFrame:
    """Places all over, the last tenth of them a second time, to six digits as in the package."""
    random = np.random.default_rng(5)
    places = np.stack([random.uniform(-85, 85, count), random.uniform(-180, 180, count)], axis=1).round(6)
    places[-count // 10 :] = places[: count // 10]
    return pd.DataFrame(places, columns=["LAT", "LON"])


def small_towers(folder: Path, *, seed: int = 0, embedding: int = 12) -> Path:
    """Random towers, saved by torch under the authors' names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, width: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * width

    def linear(name: str, inner: int, outer: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": draw(outer, inner, width=inner**-0.5), f"{name}.bias": draw(outer)}

    location: dict[str, torch.Tensor] = {}
    for scale, sigma in enumerate((1.0, 16.0, 256.0)):
        inner: dict[str, torch.Tensor] = {"capsule.0.b": draw(8, 2, width=sigma)}
        for layer, width in (("1", 16), ("3", 20), ("5", 20)):
            inner |= linear(f"capsule.{layer}", width, 20)
        inner |= linear("head.0", 20, embedding)
        location |= {f"LocEnc{scale}.{name}": value for name, value in inner.items()}
    (folder / "weights").mkdir(parents=True)
    (folder / "gps_gallery").mkdir()
    torch.save(location, folder / "weights" / "location_encoder_weights.pth")
    image = {**linear("0", WIDTH, 18), **linear("2", 18, embedding)}
    torch.save(image, folder / "weights" / "image_encoder_mlp_weights.pth")
    torch.save(torch.tensor(2.5), folder / "weights" / "logit_scale_weights.pth")
    gallery_table().to_csv(folder / "gps_gallery" / "coordinates_100K.csv", index=False)
    return folder


def small_clip(folder: Path, width: int = WIDTH, spread: float = 1.0) -> Path:
    """A CLIP in the real format, of random weights; `spread` widens them, and so tells pictures apart."""
    torch.manual_seed(0)
    part = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **part, "vocab_size": 64, "max_position_embeddings": 8,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        },
        vision_config={**part, "image_size": GEOCLIP_SIDE, "patch_size": 7, "initializer_factor": spread},
        projection_dim=width,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": GEOCLIP_SIDE}, crop_size=GEOCLIP_SIDE).save_pretrained(
        folder
    )
    return folder


def tokenizer() -> Any:
    """CLIP's byte-level tokenizer with an alphabet and no merges: a letter is a token."""
    letters = [chr(code) for code in range(33, 127)]
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    with TemporaryDirectory() as folder:  # constructors differ among releases of transformers, files do not
        vocabulary = {name: number for number, name in enumerate(names)}
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary))
        Path(folder, "merges.txt").write_text("#version: 0.2\n")
        return CLIPTokenizerFast.from_pretrained(folder)


def small_streetclip(folder: Path, seed: int = 0) -> Path:
    """A random CLIP with tokenizer and preprocessing, as `save_pretrained` leaves it."""
    words = tokenizer()
    tower = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **tower,
        "hidden_size": 16,
        "vocab_size": len(words),
        "max_position_embeddings": 77,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    vision = {**tower, "hidden_size": 32, "image_size": STREETCLIP_SIDE, "patch_size": 8}
    torch.manual_seed(seed)
    # The projection's width stands at the top of the configuration, the text part has another default.
    model: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))
    for parameter in model.text_model.parameters():
        parameter.data.mul_(3)  # so that captions differ from one another
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    side = STREETCLIP_SIDE
    size: dict[str, Any] = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    CLIPImageProcessorPil(**size, resample=3).save_pretrained(folder)
    return folder
