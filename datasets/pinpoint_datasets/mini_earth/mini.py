"""The `mini` backbone as the harness knows backbones."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pinpoint_harness.errors import UsageError
from pinpoint_harness.types import Context

from .backbone import TILE, WEIGHTS, load_mini, to_mini_size
from .infos import MINI

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PREPROCESS = "squeeze-to-64/1"


class Mini:
    """Carries its own weights; features are not normalised."""

    width = MINI.width
    tile = TILE

    def __init__(self, weights: Path | None, context: Context) -> None:
        if weights is not None:
            raise UsageError("the backbone 'mini' carries its own weights", fix="leave --weights away")
        self._device, self._dtype = context.device, getattr(torch, context.dtype)
        self._network = load_mini().to(self._device, self._dtype)

    def content(self) -> Mapping[str, Any]:
        data = (importlib.resources.files(__package__) / WEIGHTS).read_bytes()
        return {"weights_sha256": hashlib.sha256(data).hexdigest(), "preprocess": _PREPROCESS}

    def prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """`(h, w, 3)` to `(64, 64, 3)`, both uint8."""
        return torch.from_numpy(to_mini_size(image).copy())

    def features(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """`tile` prepared pictures to `(tile, 512)`."""
        batch = torch.stack(list(images)).permute(0, 3, 1, 2).to(self._device, self._dtype) / 255
        with torch.inference_mode():
            found: torch.Tensor = self._network(batch)
        return found
