"""Chipoint 2 asked tile by tile: three projections of a photo, the nearest of each, and their consensus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pinpoint_harness.errors import DataError
from pinpoint_harness.features import Neighbours, PhotoGallery
from pinpoint_harness.features.backbones.weights import remembered_sha256
from pinpoint_harness.params import param
from pinpoint_harness.reading import reading
from pinpoint_harness.search import Gallery, search, unit_rows
from pinpoint_harness.types import Context, Predictions, Queries

from ..common.checkpoints import build_from, find_release
from ..common.fusion import FusionParams, fuse, fuse_photos

TOWERS: Mapping[str, str] = {
    "so400m256": "siglip2-so400m-256-openclip",
    "gopt": "siglip2-giant-opt-256-openclip",
    "dinov3": "dinov3-vitl16-cropped",
}
"""The release's names of its towers, and the backbones that they are."""

_COORDINATES = "street_gallery/gallery_all_C_so400m256.npy"
_CHANNEL = "projected"


def head_file(tower: str) -> str:
    """Where the release has a tower's projection head."""
    return f"weights/proj_head_{tower}.pt"


def gallery_file(tower: str) -> str:
    """Where it has the projected vectors of its gallery."""
    return f"street_gallery/proj_head_gallery_512_{tower}.npy"


@dataclass(frozen=True)
class ChipointParams(FusionParams):
    weights: str = param("chiikabu-labs/chipoint-2", "Hugging Face id, or a folder laid out like it")
    gallery: str | None = param(
        None, "datasets to search instead of the published gallery, separated by commas"
    )
    gallery_data: Path | None = param(
        None, "where the gallery's files lie [default: $PINPOINT_DATA]", in_title=False
    )
    author_filter: bool = param(False, "leave out gallery photos by the query's photographer")
    so400m256: str = param(TOWERS["so400m256"], "whose features the first head projects")
    gopt: str = param(TOWERS["gopt"], "whose features the second head projects")
    dinov3: str = param(TOWERS["dinov3"], "whose features the third head projects")


class ProjectionHead(nn.Module):
    """Features `(n, width)` to unit vectors `(n, 512)`: two linear layers over the feature's direction."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        hidden, self.width = weights["net.0.weight"].shape
        out = len(weights["net.3.weight"])
        self.net = nn.Sequential(
            nn.Linear(self.width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, out)
        )
        self.load_state_dict({name: value for name, value in weights.items() if name.startswith("net.")})
        self.float().eval().requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        return normalize(self.net(normalize(features.float(), dim=1)), dim=1)


class ChipointRetrieval:
    """Three towers' nearest of one gallery, fused, and the consensus of the best.

    Over the published gallery, pictures are known by their rows alone: no photo is left out, and candidates
    name none. Over galleries of photos, features are projected here, and a photo never finds itself.
    """

    Params: ClassVar[type[ChipointParams]] = ChipointParams
    check_with: ClassVar[Mapping[str, Any]] = {"gallery": "a gallery", "top": 40}
    answer_version: ClassVar[int] = 1

    def __init__(self, params: ChipointParams, context: Context) -> None:
        self.params, self._device = params, context.device
        self._backbones = [getattr(params, tower) for tower in TOWERS]
        self.input = ",".join(self._backbones)
        files = [head_file(tower) for tower in TOWERS]
        if params.gallery is None:
            files += [_COORDINATES, *(gallery_file(tower) for tower in TOWERS)]
            if params.author_filter:
                raise DataError(
                    "author_filter needs the photographers of the gallery",
                    found="the published gallery, which names none",
                    fix="--set gallery=osv5m-train, or leave the filter off",
                )
        self._folder = find_release(params.weights, files, "Chipoint 2")
        self._files = files
        self._heads = [self._head(tower) for tower in TOWERS]
        self._galleries = [] if params.gallery is None else self._opened(params.gallery, context)

    def content(self) -> Mapping[str, Any]:
        """Heads and gallery by what they hold; the towers are in the features' keys."""
        return {
            "weights": {name: remembered_sha256(self._folder / name) for name in self._files},
            "gallery": [gallery.keys for gallery in self._galleries] or None,
            "gallery_data": None,
            **dict.fromkeys(TOWERS),
        }

    @torch.no_grad()
    def predict(self, queries: Queries) -> Predictions:
        projected = [
            self._projected(head, features, backbone)
            for head, features, backbone in zip(self._heads, queries.input, self._backbones, strict=True)
        ]
        if not self._galleries:
            found = [self._nearest(*pair) for pair in zip(self._published, projected, strict=True)]
            fused = fuse(found, [one.row for one in found], self.params.pool)
            return replace(fused.answer(self.params), notes=("Chipoint 2 without its reranker",))
        found = [
            gallery.search(replace(queries, input=vectors), self.params.top)
            for gallery, vectors in zip(self._galleries, projected, strict=True)
        ]
        answer = fuse_photos(found, self._galleries, self.params.pool).answer(self.params)
        notes = ("Chipoint 2 without its reranker", *self._galleries[0].notes)
        return replace(answer, notes=notes)

    def _opened(self, names: str, context: Context) -> list[PhotoGallery]:
        return [
            PhotoGallery.open(
                context,
                names,
                backbone,
                self.params.gallery_data,
                author_filter=self.params.author_filter,
                project=partial(self._projected, head, backbone=backbone),
            )
            for head, backbone in zip(self._heads, self._backbones, strict=True)
        ]

    def _projected(self, head: ProjectionHead, features: Tensor, backbone: str) -> Tensor:
        """Unit vectors of features, `(n, 512)`."""
        if features.shape[1] != head.width:
            raise DataError(
                f"this head of Chipoint 2 takes features of width {head.width}",
                found=f"'{backbone}' gives {features.shape[1]}",
                fix=f"leave --set {', '.join(TOWERS)}= out",
            )
        with torch.no_grad():
            vectors: Tensor = head(features)
        return vectors

    def _nearest(self, gallery: Gallery, vectors: Tensor) -> Neighbours:
        """The nearest rows of the published gallery by one tower."""
        hits = search(gallery, {_CHANNEL: unit_rows(vectors)}, {_CHANNEL: self.params.top})[_CHANNEL]
        row = hits.rows.cpu().numpy()
        there = row >= 0
        return Neighbours(
            row=row,
            cosine=np.where(there, hits.scores.double().cpu().numpy(), np.nan),
            coordinates=np.where(there[..., None], self._coordinates[row], np.nan),
        )

    @cached_property
    def _published(self) -> Sequence[Gallery]:
        """Each tower's vectors of the published gallery, mapped into memory, on a GPU copied there."""
        galleries = []
        for tower in TOWERS:
            matrix = torch.from_numpy(self._array(gallery_file(tower), np.float16))
            if len(matrix) != len(self._coordinates):
                raise DataError(
                    f"'{self._folder}' has galleries of different lengths",
                    found=f"{len(self._coordinates):,} places, {len(matrix):,} vectors of {tower}",
                    fix="download the release anew",
                )
            galleries.append(Gallery.of({_CHANNEL: matrix.to(self._device)}))
        return galleries

    @cached_property
    def _coordinates(self) -> Any:
        return self._array(_COORDINATES, None).astype(np.float64)

    def _array(self, name: str, kind: Any) -> Any:
        """A matrix of the release; DataError for pickled objects and other shapes, which are not read."""
        path = self._folder / name
        fix = "download the release anew; pickled objects can run code and are never read"
        with reading(path, what="an array of numbers from", fix=fix):
            # Copied on write: torch takes no array that is read-only, and nothing is written.
            array = np.load(path, mmap_mode="c", allow_pickle=False)
        if array.ndim != 2 or (kind is not None and array.dtype != kind):
            raise DataError(
                f"'{path}' is not as Chipoint 2 publishes it",
                found=f"{array.dtype}, {array.shape}",
                fix="vectors are fp16, a row each",
            )
        return array

    def _head(self, tower: str) -> ProjectionHead:
        fix = "give the files of chiikabu-labs/chipoint-2"
        head = build_from(self._folder / head_file(tower), ProjectionHead, "a projection head", fix)
        return head.to(self._device)
