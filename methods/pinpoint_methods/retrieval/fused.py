"""Retrieval through several backbones at once, and one place out of what they agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pinpoint_harness.errors import UsageError
from pinpoint_harness.features import PhotoGallery
from pinpoint_harness.params import param
from pinpoint_harness.types import Context, Predictions, Queries

from ..common.fusion import FusionParams, fuse_photos
from .knn import BACKBONE


@dataclass(frozen=True, kw_only=True)
class FusedParams(FusionParams):
    gallery: str = param(help="dataset to search, or a store's folder; several separated by commas")
    backbones: str = param(
        f"{BACKBONE},dinov3-vitl16",
        "names, Hugging Face ids or folders, separated by commas",
    )
    gallery_data: Path | None = param(
        None, "where the gallery's files lie [default: $PINPOINT_DATA]", in_title=False
    )
    author_filter: bool = param(False, "leave out gallery photos by the query's photographer")


class FusedRetrieval:
    """Chipoint 2's fusion and consensus over raw features of any backbones, without trained heads.

    The nearest photos by each backbone get the z-scores of their cosines among these; the sums rank them, and
    the best make the answer: by default the mean, weighted by the score to the fourth, of those within 250,
    500 or 1000 km of the first, whichever holds three. A photo never finds itself.
    """

    Params: ClassVar[type[FusedParams]] = FusedParams
    check_with: ClassVar[Mapping[str, Any]] = {"gallery": "a gallery", "top": 40}
    answer_version: ClassVar[int] = 1

    def __init__(self, params: FusedParams, context: Context) -> None:
        names = [name.strip() for name in params.backbones.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise UsageError(
                f"backbones='{params.backbones}' does not name backbones, each once",
                fix=f"backbones={BACKBONE},dinov3-vitl16",
            )
        self.input = ",".join(names)
        self.params = params
        self._galleries = [
            PhotoGallery.open(
                context, params.gallery, name, params.gallery_data, author_filter=params.author_filter
            )
            for name in names
        ]

    def content(self) -> Mapping[str, Any]:
        """The galleries by what their stores hold, and not by their names or places."""
        keys = [gallery.keys for gallery in self._galleries]
        return {"gallery": keys, "gallery_data": None, "backbones": None}

    def predict(self, queries: Queries) -> Predictions:
        each = (queries.input,) if len(self._galleries) == 1 else queries.input
        found = [
            gallery.search(replace(queries, input=features), self.params.top)
            for gallery, features in zip(self._galleries, each, strict=True)
        ]
        answer = fuse_photos(found, self._galleries, self.params.pool).answer(self.params)
        return replace(answer, notes=self._galleries[0].notes)
