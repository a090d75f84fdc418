"""The vision tower of a Hugging Face checkpoint, and nothing else of it in memory."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...artifacts import file_sha256, read_json
from ...errors import DataError
from ...types import Context
from .preprocess import Preprocess
from .weights import load_tower, weights_sha256

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Tower:
    """How one family gives what its full model's `get_image_features` gives.

    `model` is the class of `transformers` that holds the vision part alone; `output` the field of
    its answer; `width` the field of its configuration that says how wide that is. With `class_token` the
    output holds a vector for every token, of which the first is the feature.
    """

    model: str
    output: str
    width: str
    class_token: bool = False


_CLIP = Tower("CLIPVisionModelWithProjection", "image_embeds", "projection_dim")
_SIGLIP = Tower("SiglipVisionModel", "pooler_output", "hidden_size")
_DINO = Tower("AutoModel", "pooler_output", "hidden_size")

TOWERS: Mapping[str, Tower] = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,  # SigLIP 2 at fixed resolution as well
    "siglip_vision_model": _SIGLIP,
    "dinov2": _DINO,  # its pooled output is the class token after the last LayerNorm
    "dinov2_with_registers": _DINO,
    "dinov3_vit": _DINO,
}
"""By the `model_type` of the checkpoint's config.json."""

_TILE = {"cpu": 32, "cuda": 256}


class HuggingFaceTower:
    """SigLIP 2, SigLIP, CLIP and its kin, DINOv2 and DINOv3, from a folder in the Hugging Face format.

    Configuration and preprocessing come from the checkpoint's own files. The network is loaded
    when the first features are asked for: on a GPU compiled, with weights cast once to the
    context's dtype.
    """

    takes_any_tile = True

    def __init__(self, weights: Path, context: Context) -> None:
        self._folder = weights
        self._context = context
        self._kind = str(read_json(weights / "config.json").get("model_type"))
        if self._kind not in TOWERS:
            raise DataError(
                f"'{weights}' holds a model of the type '{self._kind}'",
                found=f"known are {', '.join(TOWERS)}",
                fix="of SigLIP 2 take a checkpoint of fixed resolution, whose type is 'siglip', such as "
                "google/siglip2-giant-opt-patch16-384; for others write a backbone plugin",
            )
        self._preprocess = Preprocess.of_folder(weights)
        self._device = context.device.partition(":")[0]
        self.tile = _TILE.get(self._device, _TILE["cuda"])

    @property
    def width(self) -> int:
        return int(getattr(self._config, self.tower.width))

    @property
    def tower(self) -> Tower:
        """Which part of the checkpoint gives the features, and which of its outputs they are."""
        return TOWERS[self._kind]

    def content(self) -> dict[str, Any]:
        return {
            "tower": self._kind,
            "config_sha256": file_sha256(self._folder / "config.json"),
            "weights_sha256": weights_sha256(self._folder),
            "preprocess": self._preprocess.record(),
            "compiled": self._compiled,
        }

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return self._preprocess.pixels(image)

    def features(self, images: Sequence[Tensor]) -> Tensor:
        import torch

        batch = torch.stack(list(images))  # (tile, 3, h, w), uint8
        if self._device == "cuda":
            batch = batch.pin_memory().to(self._context.device, non_blocking=True)
        with torch.inference_mode():
            pixels = self._preprocess.normalised(batch).to(self._dtype)
            answer = self._network(pixel_values=pixels)
        features: Tensor = getattr(answer, self.tower.output)
        return features[:, 0] if self.tower.class_token else features  # (tile, width)

    @property
    def _compiled(self) -> bool:
        """Where there is what compiling takes; in the key, since fused kernels give other last digits."""
        compiler = any(map(shutil.which, ("cc", "gcc", "clang")))
        return self._device == "cuda" and compiler and importlib.util.find_spec("triton") is not None

    @property
    def _dtype(self) -> Any:
        import torch

        return getattr(torch, self._context.dtype)

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        whole = AutoConfig.from_pretrained(self._folder, local_files_only=True)
        vision = getattr(whole, "vision_config", whole)
        if hasattr(whole, "projection_dim"):
            vision.projection_dim = whole.projection_dim  # the full model projects to this one
        return vision

    @cached_property
    def _network(self) -> Any:
        import torch
        import transformers

        weights_sha256(self._folder)  # refuses a folder without safetensors, by name
        model_class = getattr(transformers, self.tower.model)
        network = load_tower(model_class, self._folder, self._config, self._dtype, "vision tower")
        network = network.to(self._context.device)
        return torch.compile(network) if self._compiled else network
