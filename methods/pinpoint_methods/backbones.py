"""Towers as published methods used them: other pixels, or another output, than the checkpoint's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinpoint_harness.features.backbones.tower import HuggingFaceTower, Tower

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from pinpoint_harness.types import Context

_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class SquareDINOv2(HuggingFaceTower):
    """The class token of DINOv2 for the middle square of a photo, at 336 pixels, bicubic: as PLONK saw it."""

    def __init__(self, weights: Path, context: Context) -> None:
        super().__init__(weights, context)
        self._preprocess = replace(
            self._preprocess,
            mode="bicubic",
            shortest=None,
            size=(336, 336),
            crop=None,
            scale=1 / 255,
            **_IMAGENET,
        )

    def content(self) -> dict[str, Any]:
        return {**super().content(), "square": True}

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        height, width = image.shape[:2]
        side = min(height, width)
        # Of an odd remainder torchvision's crop takes the even half.
        top, left = round((height - side) / 2), round((width - side) / 2)
        return super().prepare(image[top : top + side, left : left + side].copy())


class CLIPClassToken(HuggingFaceTower):
    """The class token of CLIP's last layer, before its norm and projection: as PLONK read StreetCLIP."""

    tower = Tower("CLIPVisionModel", "last_hidden_state", "hidden_size", class_token=True)


class BicubicSigLIP(HuggingFaceTower):
    """SigLIP over pixels resized bicubically, as OpenCLIP does; the checkpoint's own file says bilinear."""

    def __init__(self, weights: Path, context: Context) -> None:
        super().__init__(weights, context)
        self._preprocess = replace(self._preprocess, mode="bicubic")


class CroppedDINOv3(HuggingFaceTower):
    """DINOv3 over the middle 224 pixels of a photo whose shorter side is 256; its own file squeezes it."""

    def __init__(self, weights: Path, context: Context) -> None:
        super().__init__(weights, context)
        self._preprocess = replace(
            self._preprocess, mode="bilinear", shortest=256, size=None, crop=(224, 224)
        )
