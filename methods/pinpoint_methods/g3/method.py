"""G3's image and location projections over any gallery of coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones.weights import remembered_sha256
from pinpoint_harness.params import param
from pinpoint_harness.progress import phase
from pinpoint_harness.readers import read_coordinates
from pinpoint_harness.types import Context, Predictions, Queries

from ..common.checkpoints import below, build_from, find_release
from ..common.location_encoder import LocationEncoder, Weights
from ..common.place_gallery import most_similar_places

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

_WEIGHTS = "g3.pth"
_CHUNK_ROWS = 4096
_HIGHEST_DEG = 89.9
"""Latitudes beyond are taken for it: Mercator's projection puts the poles at infinity."""

_FIX = (
    "the published g3.pth is a pickle of the program's own object, which can run any code when it is opened: "
    "it is never opened here; where you trust it, in the authors' environment, write its tensors with "
    "`torch.save(torch.load('g3.pth').state_dict(), 'g3-tensors.pth')` and give --set weights=g3-tensors.pth"
)


@dataclass(frozen=True)
class G3Params:
    gallery: Path = param(help="table of the places to choose from", in_title=False)
    weights: str = param(
        "Jia-py/G3-checkpoint",
        "file of G3's tensors (state_dict, .pth or .safetensors), or Hugging Face id or folder with g3.pth",
    )
    backbone: str = param("clip-vit-large-patch14", "CLIP ViT-L/14, whose features are projected")
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


class G3Retrieval:
    """The place whose location vector is most similar to the photo's.

    The whole of G3 has candidates proposed by retrieval and by a multimodal language model, and chooses
    among them by this similarity; here it ranks the places of a table.
    """

    Params: ClassVar[type[G3Params]] = G3Params
    answer_version: ClassVar[int] = 1

    def __init__(self, params: G3Params, context: Context) -> None:
        self.input = params.backbone
        self.params, self._device = params, context.device
        given = Path(params.weights).expanduser()
        self._file = given if given.is_file() else find_release(params.weights, (_WEIGHTS,), "G3") / _WEIGHTS

    def content(self) -> Mapping[str, Any]:
        return {"weights": remembered_sha256(self._file), "backbone": None}

    @torch.inference_mode()
    def predict(self, queries: Queries) -> Predictions:
        return most_similar_places(self.logits(queries.input), self._coordinates, self.params.candidates)

    @torch.inference_mode()
    def logits(self, features: Tensor) -> Tensor:
        """Of every place for every photo, `(n, rows)`, from CLIP's projected features `(n, width)`."""
        network = self._network
        if features.shape[1] != network.width:
            raise DataError(
                f"G3 projects features of width {network.width}",
                found=f"'{self.params.backbone}' gives {features.shape[1]}",
                fix="leave --set backbone= out",
            )
        vectors = normalize(network.image(features.float()), dim=1)
        return network.scale * (vectors @ self._vectors.T)

    @cached_property
    def _coordinates(self) -> Floats:
        return read_coordinates(self.params.gallery)

    @cached_property
    def _vectors(self) -> Tensor:
        """Unit vectors of all places, `(rows, width)`: encoded by the first tile."""
        points, parts = torch.from_numpy(self._coordinates).float(), []
        with phase("g3 gallery", len(points), unit="points") as advance:
            for chunk in torch.split(points, _CHUNK_ROWS):
                parts.append(normalize(self._network.location(chunk.to(self._device)), dim=1))
                advance(len(chunk))
        return torch.cat(parts)

    @cached_property
    def _network(self) -> G3Network:
        network = build_from(self._file, G3Network, "G3's projections", _FIX, untrusted=_FIX)
        return network.to(self._device)


class G3Network(nn.Module):
    """What G3 compares images and locations by; its text side and CLIP are left out."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.image = _projection(below(weights, "vision_projection_else_2."))
        self._location_encoder = LocationEncoder(below(weights, "location_encoder."), mercator)
        self._location_projection = _projection(below(weights, "location_projection_else."))
        self.scale = float(weights["logit_scale2"].exp())
        self.eval().requires_grad_(False)

    @property
    def width(self) -> int:
        """Of the features it projects."""
        first: Any = self.image[0]
        return int(first.in_features)

    def location(self, coordinates: Tensor) -> Tensor:
        """Degrees `(n, 2)` to `(n, width)`."""
        projected: Tensor = self._location_projection(self._location_encoder(coordinates))
        return projected


def mercator(coordinates: Tensor) -> Tensor:
    """Degrees `(n, 2)` on the web's Mercator map, `(n, 2)`: up, then right, in units of half its width."""
    latitude, longitude = coordinates.double().unbind(dim=1)
    angle = torch.deg2rad(latitude.clamp(-_HIGHEST_DEG, _HIGHEST_DEG))
    up = torch.log(torch.tan(math.pi / 4 + angle / 2)) / math.pi
    return torch.stack([up, longitude / 180], dim=1).float()


def _projection(weights: Weights) -> nn.Sequential:
    """Linear, ReLU, linear."""
    hidden, inner = weights["0.weight"].shape
    layers = nn.Sequential(nn.Linear(inner, hidden), nn.ReLU(), nn.Linear(hidden, len(weights["2.weight"])))
    layers.load_state_dict(dict(weights))
    return layers
