"""The `mini` backbone: a small frozen network that turns 64 x 64 pictures into 512 numbers.

It was trained to name the attributes of pictures drawn at random, with no world behind them
(`pretrain.py`), so it has seen neither a coordinate nor any mini-Earth. Its labels were the renderer's
own parameters all the same, which makes it more privileged on these pictures than SigLIP 2 is on photos.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from pinpoint_harness.errors import UsageError
from pinpoint_harness.types import Context

from .drawing.attributes import PLACE
from .drawing.canvas import SIDE
from .infos import MINI

WEIGHTS = "mini.safetensors"
TILE = 256
"""Pictures in one call; always as many, so that a feature does not depend on its neighbours."""


_PREPROCESS = "squeeze-to-64/1"


@dataclass(frozen=True)
class MiniConfig:
    patch: int = 4  # side of the squares that become one position each, 16 x 16 of them
    stem: int = 64  # channels at 16 x 16
    width: int = 128  # channels at 8 x 8; twice as many at 4 x 4
    features: int = 512
    attributes: int = len(PLACE)


def _layer(wide: int, out: int, *, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    convolution = nn.Conv2d(wide, out, kernel, stride=stride, padding=padding, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU()]


class MiniBackbone(nn.Module):
    """`(b, 3, 64, 64)` in [0, 1] to `(b, 512)`; `head` names attributes and serves training only.

    Dense convolutions: on two cores they run several times faster than the depthwise kind. What
    stands where is kept to the end, in rows and in a grid, since a skyline is where it is.
    """

    def __init__(self, config: MiniConfig = MiniConfig()) -> None:
        super().__init__()
        self.config = config
        stem, width = config.stem, config.width
        self.near = nn.Sequential(
            *_layer(3, stem, kernel=config.patch, stride=config.patch, padding=0),  # (b, 64, 16, 16)
            *_layer(stem, width, kernel=3, stride=2, padding=1),  # (b, 128, 8, 8)
            *_layer(width, width, kernel=3, stride=1, padding=1),
        )
        self.wide = nn.Sequential(*_layer(width, 2 * width, kernel=3, stride=2, padding=1))  # (b, 256, 4, 4)
        rows = SIDE // config.patch // 2
        self.project = nn.Linear(2 * width * rows + 2 * width * (rows // 2) ** 2, config.features)
        self.head = nn.Linear(config.features, config.attributes)

    def forward(self, pictures: Tensor) -> Tensor:
        near = self.near((pictures - 0.45) * 4)  # about zero mean and unit variance
        along = torch.cat([near.mean(dim=3), near.amax(dim=3)], dim=1)  # (b, 256, 8) wherever in its row
        described = torch.cat([along.flatten(1), self.wide(near).flatten(1)], dim=1)  # (b, 6144)
        features: Tensor = functional.relu(self.project(described))
        return features

    def attributes(self, pictures: Tensor) -> Tensor:
        named: Tensor = 0.5 + self.head(self(pictures))
        return named


def load_mini() -> MiniBackbone:
    """The frozen network with the weights that come with the package, in fp32 on the CPU."""
    data = (importlib.resources.files(__package__) / WEIGHTS).read_bytes()
    # Pictures come with their channels last; weights in the same order save 40 % of the time in fp32.
    network = MiniBackbone().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.load_state_dict({name: value.float() for name, value in load(data).items()})
    frozen: MiniBackbone = network.eval().requires_grad_(False)
    return frozen


def to_mini_size(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Any picture `(h, w, 3)` at 64 x 64, squeezed rather than cropped: nothing of it is lost."""
    if picture.shape[:2] == (SIDE, SIDE):
        return picture
    from pinpoint_harness.images import resize

    return resize(picture, SIDE, SIDE)


def features(
    pictures: NDArray[np.uint8], network: MiniBackbone | None = None, dtype: torch.dtype = torch.float32
) -> NDArray[np.float32]:
    """Features `(n, 512)` of pictures `(n, 64, 64, 3)`, not normalised, in fixed tiles."""
    network = copy.deepcopy(network or load_mini()).to(dtype)
    found = np.empty((len(pictures), network.config.features), np.float32)
    for start in range(0, len(pictures), TILE):
        tile = pictures[start : start + TILE]
        padded = np.zeros((TILE, *pictures.shape[1:]), np.uint8)
        padded[: len(tile)] = tile
        with torch.inference_mode():
            batch = torch.from_numpy(padded).permute(0, 3, 1, 2).to(dtype) / 255
            found[start : start + len(tile)] = network(batch)[: len(tile)].float().numpy()
    return found


def config_of(network: MiniBackbone) -> dict[str, int]:
    return asdict(network.config)


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
