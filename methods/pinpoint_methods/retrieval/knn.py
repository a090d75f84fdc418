"""Nearest neighbours on raw features: what a frozen backbone and a gallery are worth by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pinpoint_harness.features import Neighbours, PhotoGallery
from pinpoint_harness.params import param
from pinpoint_harness.types import Context, Predictions, Queries

from ..common.equal_lists import equally_long
from ..common.sphere import pairwise_km

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

BACKBONE = "siglip2-giant-opt-patch16-384"


@dataclass(frozen=True)
class KNNParams:
    gallery: str = param(help="dataset to search, or a store's folder; several separated by commas")
    backbone: str = param(BACKBONE, "registered name, Hugging Face id or folder")
    gallery_data: Path | None = param(
        None, "where the gallery's files lie [default: $PINPOINT_DATA]", in_title=False
    )
    author_filter: bool = param(False, "leave out gallery photos by the query's photographer")
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


class NearestPhoto:
    """The place of the most similar gallery photo, by the cosine of raw features.

    A photo is never its own neighbour: the gallery's row with the query's id is left out.
    """

    Params: ClassVar[type[KNNParams]] = KNNParams
    check_with: ClassVar[Mapping[str, Any]] = {"gallery": "a gallery"}
    answer_version: ClassVar[int] = 3

    def __init__(self, params: KNNParams, context: Context) -> None:
        self.input = params.backbone
        self.params = params
        self._gallery = PhotoGallery.open(
            context,
            params.gallery,
            params.backbone,
            params.gallery_data,
            author_filter=params.author_filter,
        )

    def content(self) -> Mapping[str, Any]:
        """The gallery by what its stores hold, and not by its name or place."""
        return {"gallery": self._gallery.keys, "gallery_data": None, "backbone": None}

    @property
    def neighbours(self) -> int:
        """How many neighbours are looked up."""
        return self.params.candidates

    def predict(self, queries: Queries) -> Predictions:
        (answer,) = self.predict_tiles([queries])
        return answer

    def predict_tiles(self, tiles: Sequence[Queries]) -> Iterator[Predictions]:
        for found in self._gallery.search_tiles(tiles, self.neighbours):
            yield replace(self.answer(found), notes=self._gallery.notes)

    def answer(self, found: Neighbours) -> Predictions:
        return Predictions(
            found.coordinates[:, 0],
            confidence=found.cosine[:, 0],
            candidates=self._gallery.candidates(found, self.params.candidates),
        )


@dataclass(frozen=True)
class KNNVoteParams(KNNParams):
    k: int = param(16, "neighbours that vote", minimum=1, maximum=4096)
    radius_km: float = param(25.0, "a neighbour votes for every place within this distance", minimum=0)


class KNNVote(NearestPhoto):
    """The neighbour with most votes: each of k gives its cosine to all places within a radius.

    Among equals the more similar one is taken.
    """

    Params: ClassVar[type[KNNParams]] = KNNVoteParams
    params: KNNVoteParams

    @property
    def neighbours(self) -> int:
        return max(self.params.k, self.params.candidates)

    def answer(self, found: Neighbours) -> Predictions:
        k = self.params.k
        votes = votes_of(found.cosine[:, :k], found.coordinates[:, :k], self.params.radius_km)
        best = np.where(np.isnan(votes), -1.0, votes).argmax(axis=1)  # the first of equals
        queries = np.arange(len(best))
        return Predictions(
            found.coordinates[queries, best],
            confidence=votes[queries, best],
            candidates=self._gallery.candidates(found, self.params.candidates),
        )


def votes_of(cosine: Floats, coordinates: Floats, radius_km: float) -> Floats:
    """What each of the k nearest gets of all, `(n, k)`; NaN where there is none, which stand at the end."""
    votes = np.full(cosine.shape, np.nan)
    for count, some in equally_long((~np.isnan(cosine)).sum(axis=1)):
        places, given = coordinates[some, :count], np.maximum(cosine[some, :count], 0.0)
        near = pairwise_km(places) <= radius_km
        votes[some, :count] = np.where(near, given[:, None], 0.0).sum(axis=2)
    return votes
