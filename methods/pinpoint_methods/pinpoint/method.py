"""Answers that need no reranker: the place of the best row of one channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.params import param
from pinpoint_harness.search import Exclusion
from pinpoint_harness.training import Stage, models_root, open_stages, train_command
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..knn import unit_rows
from .config import SOURCES, PinpointConfig, config_of, settings_class
from .embedder import load_towers
from .gallery import SourceGallery
from .stages import pinpoint_stages
from .towers import in_tiles

_OWN: list[tuple[str, Any, Any]] = [
    (
        "instance",
        str,
        param("auto", "gallery to search; auto: that of each query's source", choices=("auto", *SOURCES)),
    ),
    ("author_filter", bool, param(False, "leave out gallery photos by the query's photographer")),
    ("candidates", int, param(10, "alternatives to report", minimum=1, maximum=1000)),
]
_OF_THE_ANSWER = ("models", *(name for name, _, _ in _OWN))


class PinpointTop1:
    """The place of the gallery row that one channel likes best.

    Each query is answered by the instance of its source: photos by the gallery of photos, street
    view by that of street view. Towers run in float32 on a whole tile for each source in it.
    """

    Params: ClassVar[type[Any]] = settings_class("PinpointTop1Params", _OWN)
    answer_version: ClassVar[int] = 2
    name: ClassVar[str]
    channel: ClassVar[str]

    def __init__(self, params: Any, context: Context) -> None:
        self.params, self.config = params, config_of(params)
        self.input = self.config.backbone
        self._device = context.device
        command = train_command(self.name, params, but=_OF_THE_ANSWER)
        stages = self.stages(params, context)
        self._stages = open_stages(stages, models_root(params.models), context, command, ["gallery"])
        self._galleries = {s: SourceGallery(s, self._stages["gallery"].folder, self._device) for s in SOURCES}
        self._searchable: dict[str, Any] = {}

    @classmethod
    def stages(cls, params: Any, context: Context) -> list[Stage]:
        return pinpoint_stages(params, context)

    def content(self) -> Mapping[str, Any]:
        """The stages by their keys; what only made them stands in those already."""
        made = dict.fromkeys(["config", "seed", "models", *(item.name for item in fields(PinpointConfig))])
        return {**made, "stages": {name: stage.key for name, stage in self._stages.items()}}

    @cached_property
    def _towers(self) -> Any:
        return load_towers(self._stages["embedder"].folder, self._device)

    def predict(self, queries: Queries) -> Predictions:
        instance = self._instances(queries.source)
        count, kept = len(queries), self.params.candidates
        places = np.full((count, kept, 2), np.nan)
        scores = np.full(count, np.nan)
        rows = np.full((count, kept), -1, dtype=np.int64)
        for source in sorted(set(instance)):
            mine = np.flatnonzero(instance == source)
            found = self._search(source, queries, mine)
            rows[mine] = found.rows.cpu().numpy()
            there = rows[mine] >= 0
            coordinates = self._galleries[source].coordinates
            places[mine] = np.where(there[..., None], coordinates[rows[mine]], np.nan)
            scores[mine] = np.where(there[:, 0], found.scores[:, 0].double().cpu().numpy(), np.nan)
        named = np.where(rows >= 0, instance[:, None], "")
        return Predictions(
            places[:, 0], confidence=scores, candidates=Candidates(places, source=named, row=rows)
        )

    def _instances(self, sources: Sequence[str]) -> NDArray[np.str_]:
        """The instance that answers each query."""
        if self.params.instance != "auto":
            return np.full(len(sources), self.params.instance)
        unknown = sorted(set(sources) - set(SOURCES))
        if unknown:
            raise DataError(
                f"no instance of Pinpoint is for the source '{unknown[0]}'",
                found=f"instances for {' and '.join(SOURCES)}",
                fix="choose one: --set instance=photos",
            )
        return np.array(sources)

    def _search(self, source: str, queries: Queries, mine: NDArray[np.int64]) -> Any:
        gallery = self._gallery(source)
        exclusion = self._exclusion(source, queries, mine)
        vectors = self._embed(source, queries.input)[torch.from_numpy(mine).to(self._device)]
        from pinpoint_harness.search import search

        k = {self.channel: self.params.candidates}
        return search(gallery, {self.channel: vectors}, k, exclusion)[self.channel]

    def _embed(self, source: str, features: Any) -> Any:
        """Query vectors of the whole tile, `(tile, width)` fp16: their shape never depends on its mix."""
        if self.channel == "raw":
            return unit_rows(features)
        tower = partial(self._towers.image, source=source)
        return in_tiles(tower, features, self._device, tile=len(features))

    def _gallery(self, source: str) -> Any:
        """The source's gallery, opened when first asked for: half of all runs need one of them only."""
        if source not in self._searchable:
            self._searchable[source] = self._galleries[source].searchable([self.channel])
        return self._searchable[source]

    def _exclusion(self, source: str, queries: Queries, mine: NDArray[np.int64]) -> Exclusion:
        """The query's own photo, should it stand in the gallery, and with the filter its author's."""
        key = queries.key[mine]
        if not self.params.author_filter:
            return Exclusion(own_key=key)
        token = queries.author_token[mine]
        if not token.all():
            raise DataError(
                "author_filter needs the photographer of every query",
                found=f"{int((token == 0).sum())} of {len(token)} queries of a tile are by nobody known",
                fix="name the column of authors (--column author=NAME), or leave the filter off",
            )
        if (
            not self._galleries[source]
            .rows.needed("author_token", self._galleries[source].rows.author_token)
            .any()
        ):
            raise DataError(
                f"author_filter needs the photographers of the gallery '{source}'",
                found="none is known",
                fix="embed the gallery from a table with authors, or leave the filter off",
            )
        return Exclusion(own_key=key, author_token=token)


class Top1GPS(PinpointTop1):
    """The gallery coordinate whose location embedding the query's image embedding likes best."""

    name = "pinpoint-top1-gps"
    channel = "location"


class Top1Image(PinpointTop1):
    """The place of the photo with the nearest image embedding."""

    name = "pinpoint-top1-image"
    channel = "image"


class Top1Raw(PinpointTop1):
    """The place of the photo with the nearest raw feature, in the same gallery."""

    name = "pinpoint-top1-raw"
    channel = "raw"
