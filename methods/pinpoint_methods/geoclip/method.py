"""GeoCLIP asked tile by tile: image vectors, logits over the gallery, the best points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pinpoint_harness.devices import usable_cores
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.features.backbones.weights import fetch_weights
from pinpoint_harness.params import param
from pinpoint_harness.types import Context, Predictions, Queries

from ..common.place_gallery import most_similar_places
from .files import CLIP, TowerFiles, missing
from .views import EVAL, PREDICT, ViewTower

BACKBONE = "clip-vit-large-patch14"
STORE = "store"


@dataclass(frozen=True)
class GeoCLIPParams:
    views: int = param(1, "1: as the package's predict; 10: ten crops, as in the paper", choices=(1, 10))
    preprocess: str = param(
        PREDICT,
        "predict, eval: as in these functions of the package; store: shared features, fp16, one view",
        choices=(PREDICT, EVAL, STORE),
    )
    backbone: str = param(BACKBONE, "CLIP ViT-L/14: this name, its Hugging Face id or a folder")
    towers: Path | None = param(
        None,
        "folder laid out like geoclip/model, or a release's folder or id [default: the installed package]",
    )
    models: Path | None = param(
        None, "where the encoded gallery is kept [default: models in --home]", in_title=False
    )
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


class GeoCLIP:
    """The point of a gallery of 100,000 whose location vector is most similar to the photo's.

    Logits are cosines times a learned scale, probabilities their softmax over the gallery. Of ten
    crops the authors average the logits; the logits being linear in the photo's vector, that is
    the logit of the crops' mean unit vector, so ten crops cost one product.
    """

    Params: ClassVar[type[GeoCLIPParams]] = GeoCLIPParams
    answer_version: ClassVar[int] = 2

    def __init__(self, params: GeoCLIPParams, context: Context) -> None:
        if params.preprocess == STORE and params.views > 1:
            raise UsageError(
                "a feature store holds one view of each photo",
                found=f"views={params.views}",
                fix="give --set preprocess=eval or predict, which look at the pictures",
            )
        self.params, self._context = params, context
        self._files = TowerFiles.find(params.towers)
        self._head = self._files.image_head().to(context.device)
        self._scale = self._files.logit_scale()
        self._clip = None if params.preprocess == STORE else _clip(params, self._files.clip, context)
        self.input = params.backbone if self._clip is None else "image"
        if self._clip is not None:
            self._check_width(self._clip.width)

    def content(self) -> Mapping[str, Any]:
        """Towers, gallery and CLIP by what they hold, and not by their places."""
        clip = None if self._clip is None else self._clip.content()
        return {"towers": self._files.digests(), "models": None, "backbone": clip}

    @torch.inference_mode()
    def predict(self, queries: Queries) -> Predictions:
        return most_similar_places(self.logits(queries.input), self._coordinates, self.params.candidates)

    @torch.inference_mode()
    def logits(self, given: Any) -> Tensor:
        """Of every gallery point for every photo, `(n, rows)` float32; from pictures or CLIP's features."""
        if self._clip is None:
            self._check_width(given.shape[1])
            vectors = self._vectors(given.float())  # (n, 512)
        else:
            per_view = self._vectors(self._features(self._clip, given))  # (n * views, 512)
            vectors = per_view.reshape(len(given), self.params.views, -1).mean(dim=1)
        return self._scale * (vectors @ self._gallery.T)

    def _features(self, clip: ViewTower, images: Sequence[Any]) -> Tensor:
        """CLIP's features of all views, those of one photo together: `(n * views, width)`."""
        with ThreadPoolExecutor(usable_cores()) as threads:  # Pillow resizes without Python's lock
            prepared = threads.map(clip.prepare, images)
            views = (view for views_of_photo in prepared for view in views_of_photo)
            return clip.features_of_views(views, len(images) * self.params.views)

    def _vectors(self, features: Tensor) -> Tensor:
        vectors: Tensor = functional.normalize(self._head(features), dim=1)
        return vectors

    @cached_property
    def _gallery(self) -> Tensor:
        """Opened by the first tile: a run that is complete needs none."""
        return self._files.gallery_vectors(self._context, self.params.models)

    @cached_property
    def _coordinates(self) -> Any:
        return self._files.coordinates()

    def _check_width(self, width: int) -> None:
        if width != self._head.width:
            raise DataError(
                f"GeoCLIP's image tower takes features of width {self._head.width}",
                found=f"'{self.params.backbone}' gives {width}",
                fix=f"leave --set backbone= out, or give a folder with {CLIP}",
            )


def _clip(params: GeoCLIPParams, trained_on: str, context: Context) -> ViewTower:
    source = trained_on if params.backbone == BACKBONE else params.backbone
    try:
        folder = fetch_weights(source)
    except WeightsError as error:
        raise missing(f"{error.problem}: {error.found}") from error
    return ViewTower(folder, context, params.preprocess, params.views)
