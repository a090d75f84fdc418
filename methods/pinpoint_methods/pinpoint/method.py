"""The methods: from a tile of queries to answers, with the stages' help.

`PinpointTop1` names the best row of one channel. `Pinpoint` is the method itself; its ablations are
presets of its parameters, see `variants`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import build_exclusion, take_ids
from pinpoint_harness.search import Exclusion, search
from pinpoint_harness.training import Stage, open_stages
from pinpoint_harness.types import RADII_KM, Candidates, Context, Predictions, Queries

from ..common.candidates import CandidateBatch
from ..common.decoding import Answer, TemperatureScaling, decide, overall
from .config import PinpointConfig, RetrievalConfig
from .embedder import load_embedders
from .parameters import PinpointParams, Top1Params
from .reranker_training import load_reranker, read_calibration, scores_of
from .retriever import TOLD, SourceRetriever, galleries_of, open_retriever
from .selection import depths
from .side_by_side import parts_of, unit_parts
from .small import CHECK_RETRIEVAL_WITH, CHECK_WITH
from .stages import pinpoint_stages, retrieval_stages
from .towers import in_tiles


class _FromStages(ABC):
    """What both have in common: the stages, the instance of each query, and what it may not see."""

    answer_version: ClassVar[int] = 3
    choices: ClassVar[type[RetrievalConfig]]
    """The part of its parameters that stages depend on."""
    of_answer: ClassVar[tuple[str, ...]] = ()
    """Those of them that no stage depends on."""

    def __init__(self, params: PinpointParams | Top1Params, context: Context) -> None:
        self.params = params
        self.input = params.backbone
        self._device = context.device
        self._sources = tuple(params.sources.split(","))
        stages = self.stages(params, context)
        needed = [stages[-1].name]
        self._stages = open_stages(stages, params.models or context.models, context, needed)
        self._galleries = galleries_of(
            self._folder("gallery"), self._folder("raw"), self._sources, self._device
        )

    @classmethod
    @abstractmethod
    def stages(cls, params: Any, context: Context) -> list[Stage]:
        """All that is made in training; it answers with the last and what that is made from."""

    def content(self) -> Mapping[str, Any]:
        """The stages by their keys; what only made them stands in those already."""
        made = dict.fromkeys(["config", "seed", "models", *(item.name for item in fields(self.choices))])
        answer = {name: getattr(self.params, name) for name in self.of_answer}
        return {**made, **answer, "stages": {name: stage.key for name, stage in self._stages.items()}}

    def predict(self, queries: Queries) -> Predictions:
        """Each query is answered by the instance of its source; all answers of a tile are put together."""
        (answer,) = self.predict_tiles([queries])
        return answer

    def predict_tiles(self, tiles: Sequence[Queries]) -> Iterator[Predictions]:
        """The answers to several tiles, for which each gallery is read once."""
        asked: dict[str, list[_Asked]] = {}
        for number, queries in enumerate(tiles):
            instance = self._instances(queries.source)
            for source in sorted(set(instance)):
                mine = np.flatnonzero(instance == source)
                asked.setdefault(source, []).append(self._ask(source, number, queries, mine))
        found = {
            source: dict(zip([one.tile for one in those], self._found(source, those), strict=True))
            for source, those in asked.items()
        }
        for number, queries in enumerate(tiles):
            of_tile = [
                (source, one) for source, those in asked.items() for one in those if one.tile == number
            ]
            parts = [(one.mine, self._answer(source, one, found[source][number])) for source, one in of_tile]
            yield self._assembled(len(queries), parts)

    def _assembled(self, count: int, parts: Sequence[tuple[NDArray[np.int64], _Part]]) -> Predictions:
        kept = self.params.candidates
        places, scores = np.full((count, kept, 2), np.nan), np.full(count, np.nan)
        source_of, photo_of, found_by = np.full((3, count, kept), "", dtype=object)
        probability, own = np.full((2, count, kept), np.nan)
        within = np.full((count, len(RADII_KM)), np.nan)
        for mine, part in parts:
            places[mine], source_of[mine], photo_of[mine] = part.places, part.sources, part.photo_ids
            scores[mine], probability[mine], own[mine] = part.confidence, part.probability, part.score
            found_by[mine], within[mine] = part.found_by, part.within
        known = not np.isnan(probability).all()
        candidates = Candidates(
            places,
            probability=probability if known else None,
            source=source_of.astype(np.str_),
            photo_id=photo_of.astype(np.str_),
            score=own,
            found_by=found_by.astype(np.str_),
        )
        stated = within if known else None
        return Predictions(places[:, 0], confidence=scores, candidates=candidates, within=stated)

    @abstractmethod
    def _ask(self, source: str, tile: int, queries: Queries, mine: NDArray[np.int64]) -> _Asked:
        """What one instance looks for, for the queries `mine` of a tile."""

    @abstractmethod
    def _found(self, source: str, asked: Sequence[_Asked]) -> Sequence[Any]:
        """What the galleries hold for each of them, by one search."""

    @abstractmethod
    def _answer(self, source: str, asked: _Asked, found: Any) -> _Part:
        """Answers of one instance to its queries of a tile."""

    def _folder(self, stage: str) -> Path:
        return self._stages[stage].folder

    @cached_property
    def _towers(self) -> Any:
        folders = [self._folder(name) for name in self.params.embedder_stages]
        return load_embedders(folders, self._device)

    def _instances(self, sources: Sequence[str]) -> NDArray[np.str_]:
        """The instance that answers each query; where there is but one, it answers all."""
        if self.params.instance != "auto":
            if self.params.instance not in self._sources:
                raise UsageError(
                    f"Pinpoint has no instance '{self.params.instance}'", found=", ".join(self._sources)
                )
            return np.full(len(sources), self.params.instance)
        if len(self._sources) == 1:
            return np.full(len(sources), self._sources[0])
        unknown = sorted(set(sources) - set(self._sources))
        if unknown:
            raise DataError(
                f"no instance of Pinpoint is for the source '{unknown[0]}'",
                found=f"instances for {' and '.join(self._sources)}",
                fix="choose one: --set instance=photos",
            )
        return np.array(sources)

    def _image(self, source: str, features: Any) -> Any:
        """Image embeddings of the whole tile: the shape never depends on the mix of sources in it."""
        joined = torch.cat(parts_of(features), dim=1)
        return in_tiles(partial(self._towers.image, source=source), joined, self._device, len(joined))

    def _exclusion(self, gallery: str, queries: Queries, mine: NDArray[np.int64]) -> Exclusion:
        """The query's own photo, should it stand in the gallery, and with the filter its author's."""
        rows = self._galleries[gallery].rows
        if self.params.author_filter and not rows.needed("author_token", rows.author_token).any():
            raise DataError(
                f"author_filter needs the photographers of the gallery '{gallery}'",
                found="none is known",
                fix="embed the gallery from a table with authors, or leave the filter off",
            )
        return build_exclusion(queries.key[mine], queries.author_token[mine], self.params.author_filter)


@dataclass(frozen=True)
class _Asked:
    """The queries of a tile that one instance answers, as its galleries are searched for them."""

    tile: int
    mine: NDArray[np.int64]  # (n,), their places in the tile
    image: Tensor  # (m, embedding), m of them where the answer needs whole tiles
    raw: Tensor  # (m, width)
    hidden: Sequence[Exclusion]  # of each gallery that is searched
    near: Sequence[Exclusion]  # of each gallery of the support


@dataclass(frozen=True)
class _Part:
    """Candidates of some queries, best first, `(n, candidates)`; "" and NaN where there are no more."""

    places: NDArray[np.float64]
    sources: NDArray[np.str_]  # names of datasets
    photo_ids: NDArray[np.str_]
    score: NDArray[np.float64]
    found_by: NDArray[np.str_]  # channels and the ranks in them, from 1
    probability: NDArray[np.float64]
    confidence: NDArray[np.float64]  # (n,)
    within: NDArray[np.float64]  # (n, 5), probability of the answer within each radius


class PinpointTop1(_FromStages):
    """The place of the gallery row that is most similar in one channel.

    Each query is answered by the instance of its source: photos by the gallery of photos, street
    view by that of street view. Towers run in float32 on a whole tile for each source in it.
    """

    Params: ClassVar[type[Top1Params]] = Top1Params
    params: Top1Params
    check_with: ClassVar[Mapping[str, Any]] = CHECK_RETRIEVAL_WITH
    choices = RetrievalConfig

    @classmethod
    def stages(cls, params: Top1Params, context: Context) -> list[Stage]:
        return retrieval_stages(params, params.seed, context)

    def _ask(self, source: str, tile: int, queries: Queries, mine: NDArray[np.int64]) -> _Asked:
        raw = self.params.channel == "raw"
        vectors = unit_parts(parts_of(queries.input)) if raw else self._image(source, queries.input)
        vectors = vectors[torch.from_numpy(mine).to(self._device)]
        return _Asked(tile, mine, vectors, vectors, [self._exclusion(source, queries, mine)], [])

    def _found(self, source: str, asked: Sequence[_Asked]) -> Sequence[Any]:
        channel, gallery = self.params.channel, self._galleries[source]
        asking = {channel: torch.cat([one.image for one in asked])}
        hidden = Exclusion.join([one.hidden[0] for one in asked])
        hits = search(gallery.searchable([channel]), asking, {channel: self.params.candidates}, hidden)
        edges = np.cumsum([len(one.mine) for one in asked])[:-1]
        rows, scores = hits[channel].rows.cpu().numpy(), hits[channel].scores.double().cpu().numpy()
        return list(zip(np.split(rows, edges), np.split(scores, edges), strict=True))

    def _answer(self, source: str, asked: _Asked, found: Any) -> _Part:
        channel, kept, gallery = self.params.channel, self.params.candidates, self._galleries[source]
        rows, scores = found
        valid = rows >= 0
        return _Part(
            places=np.where(valid[..., None], gallery.coordinates[rows], np.nan),
            sources=np.where(valid, self.params.dataset_of(source), ""),
            photo_ids=take_ids(gallery.table["id"], rows),
            score=np.where(valid, scores, np.nan),
            found_by=np.where(valid, [f"{channel} {rank + 1}" for rank in range(kept)], ""),
            probability=np.full(rows.shape, np.nan),
            confidence=np.where(valid[:, 0], scores[:, 0], np.nan),
            within=np.full((len(rows), len(RADII_KM)), np.nan),
        )


class Pinpoint(_FromStages):
    """Retrieve, then rerank: one of several candidates, each scored by what stands near it.

    Three exact searches in one pass over each gallery, support masked for each query, scores in
    float32 at the shape of the tile, probabilities within each radius as calibrated on split C. The
    confidence is the share of the five radii to expect; a candidate's probability the mean over them.
    """

    Params: ClassVar[type[PinpointParams]] = PinpointParams
    params: PinpointParams
    check_with: ClassVar[Mapping[str, Any]] = CHECK_WITH
    choices = PinpointConfig
    of_answer = ("decoding",)

    @classmethod
    def stages(cls, params: PinpointParams, context: Context) -> list[Stage]:
        return pinpoint_stages(params, params.seed, context)

    def _ask(self, source: str, tile: int, queries: Queries, mine: NDArray[np.int64]) -> _Asked:
        retriever, _, _ = self._opened(source)
        # A full tile whatever the mix: kernels differ with the shape of their input.
        padded = np.concatenate([mine, np.full(len(queries) - len(mine), mine[-1])])
        chosen = torch.from_numpy(padded).to(self._device)
        image = self._image(source, queries.input)[chosen]
        raw = unit_parts(parts_of(queries.input))[chosen]
        hidden = [self._exclusion(gallery.source, queries, padded) for gallery in retriever.galleries]
        near = [self._exclusion(gallery.source, queries, padded) for gallery in retriever.support]
        return _Asked(tile, mine, image, raw, hidden, near)

    def _found(self, source: str, asked: Sequence[_Asked]) -> Sequence[Any]:
        retriever, _, _ = self._opened(source)
        image, raw = torch.cat([one.image for one in asked]), torch.cat([one.raw for one in asked])
        hidden = [Exclusion.join(parts) for parts in zip(*(one.hidden for one in asked), strict=True)]
        found = retriever.find(image, raw, hidden, depths(self.params))
        edges = np.cumsum([len(one.image) for one in asked])
        return [
            [{name: rows[end - len(one.image) : end] for name, rows in of.items()} for of in found]
            for one, end in zip(asked, edges, strict=True)
        ]

    def _answer(self, source: str, asked: _Asked, found: Any) -> _Part:
        retriever, model, calibration = self._opened(source)
        lists = retriever.lists(found, asked.image, asked.raw, asked.near)
        scores = scores_of(model, retriever, lists)
        answer = decide(lists, scores, calibration, self.params.decoding)
        words = retriever.selection.found_by(lists, found, answer.slot[:, : self.params.candidates])
        return self._part(retriever, lists, overall(scores).double(), answer, words[: len(asked.mine)])

    def _opened(self, source: str) -> tuple[SourceRetriever, Any, TemperatureScaling]:
        """The retriever of a source, its reranker and its calibration, opened when first asked for."""
        if source not in self._open:
            told = {name: self._folder(name) for name in TOLD if name in self._stages}
            support = self._folder("support")
            retriever = open_retriever(self.params, source, self._galleries, support, **told)
            trained = self._folder("reranker") if self.params.reranker != "none" else None
            model = load_reranker(trained, source, self.params, self._device)
            calibration = read_calibration(self._folder("calibration"), source, self.params.author_filter)
            self._open[source] = retriever, model, calibration
        return self._open[source]

    @cached_property
    def _open(self) -> dict[str, tuple[SourceRetriever, Any, TemperatureScaling]]:
        return {}

    def _part(
        self,
        retriever: SourceRetriever,
        lists: CandidateBatch,
        scores: Tensor,
        answer: Answer,
        found_by: NDArray[np.str_],
    ) -> _Part:
        """The best candidates of the first lists, as many as `found_by` has, as the runner stores them."""
        count, kept = len(found_by), self.params.candidates
        slot = answer.slot[:count, :kept]
        valid = answer.valid[:count, :kept].cpu().numpy()
        row = np.where(valid, lists.row[:count].gather(1, slot).cpu().numpy(), -1)
        number = retriever.slots.gallery.to(slot.device)[slot].cpu().numpy()
        places = np.full((*row.shape, 2), np.nan)
        sources, photo_ids = np.full((2, *row.shape), "", dtype=object)
        for place, gallery in enumerate(retriever.galleries):
            mine = valid & (number == place)
            places[mine] = gallery.coordinates[row[mine]]
            sources[mine] = self.params.dataset_of(gallery.source)
            photo_ids[mine] = take_ids(gallery.table["id"], row[mine])
        share, within = (t[:count, 0].cpu().numpy() for t in (answer.expected_share, answer.within))
        part = _Part(
            places=places,
            sources=sources,
            photo_ids=photo_ids,
            score=np.where(valid, scores[:count].gather(1, slot).cpu().numpy(), np.nan),
            found_by=np.where(valid, found_by, ""),
            probability=np.where(valid, answer.probability[:count, :kept].cpu().numpy(), np.nan),
            confidence=np.where(valid[:, 0], share, np.nan),
            within=np.where(valid[:, :1], within, np.nan),
        )
        return _widened(part, kept)


def _widened(part: _Part, kept: int) -> _Part:
    """As many columns as are reported, the last of them empty where lists are shorter."""
    more = kept - part.sources.shape[1]
    if more <= 0:
        return part
    wider = ((0, 0), (0, more))
    return replace(
        part,
        places=np.pad(part.places, (*wider, (0, 0)), constant_values=np.nan),
        sources=np.pad(part.sources, wider, constant_values=""),
        photo_ids=np.pad(part.photo_ids, wider, constant_values=""),
        score=np.pad(part.score, wider, constant_values=np.nan),
        found_by=np.pad(part.found_by, wider, constant_values=""),
        probability=np.pad(part.probability, wider, constant_values=np.nan),
    )
