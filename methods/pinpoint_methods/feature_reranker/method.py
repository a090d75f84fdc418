"""Answers from candidate lists that a small network has ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint_harness.artifacts import read_json
from pinpoint_harness.errors import DataError
from pinpoint_harness.features import Neighbours, build_exclusion
from pinpoint_harness.training import Stage, open_stages
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..common.decoding import Answer, TemperatureScaling, decide, overall
from ..common.head import CHECK_WITH, chosen, made_by, training_stores
from .candidates import OF_CANDIDATES, FeatureRerankerParams, PlacedGallery, gallery_stores, make_candidates
from .training import OF_RERANKER, Shape, lists_of, load_ranker, make_reranker, state_of

VERSIONS = {"candidates": 2, "reranker": 3}
"""Of each stage's code: raised whenever the same recipe would give another content."""

_OF_THE_ANSWER = ("decoding", "author_filter", "candidates")


class FeatureReranker:
    """The best of the nearest photos by their ranks, and by who of the others is near and how similar.

    The network is told of which source a query is. Probabilities come from a temperature and a "none of
    these" logit for each radius, fitted on held-out authors; the confidence is the share of the five
    radii to expect. Scores are computed in float32 on a whole tile.
    """

    Params: ClassVar[type[FeatureRerankerParams]] = FeatureRerankerParams
    check_with: ClassVar[Mapping[str, Any]] = CHECK_WITH
    answer_version: ClassVar[int] = 3

    def __init__(self, params: FeatureRerankerParams, context: Context) -> None:
        self.input = params.backbone
        self.params, self._device = params, context.device
        self._stages = open_stages(self.stages(params, context), params.models or context.models, context)
        self._galleries = [PlacedGallery(store, context.device) for store in gallery_stores(params, context)]
        folder, state = self._stages["reranker"].folder, state_of(params.author_filter)
        fitted = read_json(folder / "config.json")["calibration"]
        self._calibrations = [TemperatureScaling.of(states[state]) for states in fitted.values()]
        self._shape = Shape.of([gallery.name for gallery in self._galleries], params.k, list(fitted))
        self._ranker = load_ranker(folder, params, self._shape.features, context.device)

    @classmethod
    def stages(cls, params: FeatureRerankerParams, context: Context) -> list[Stage]:
        """Names of datasets and of the backbone are in no recipe: the keys of their stores are."""
        stores, galleries = training_stores(params, context), gallery_stores(params, context)
        made_from: dict[str, Any] = {"params": params, "stores": stores, "galleries": galleries}

        def stage(name: str, make: Any, needs: Sequence[str], *choices: str, **more: object) -> Stage:
            spec = {"version": VERSIONS[name], "config": chosen(params, *choices), **more}
            return Stage(name, f"feature-{name}", spec, partial(make, **made_from), tuple(needs))

        keys = {
            "stores": [store.key for store in stores],
            "galleries": [store.key for store in galleries],
        }
        return [
            replace(stage("candidates", make_candidates, (), *OF_CANDIDATES, **keys), searches=True),
            stage("reranker", make_reranker, ("candidates",), *OF_RERANKER),
        ]

    def content(self) -> Mapping[str, Any]:
        """The stages by their keys; the galleries and what else made them stand in those."""
        return {
            **made_by(self.params, _OF_THE_ANSWER),
            "stages": {name: stage.key for name, stage in self._stages.items()},
        }

    @torch.no_grad()
    def predict(self, queries: Queries) -> Predictions:
        exclusion = build_exclusion(queries.key, queries.author_token, self.params.author_filter)
        found = [gallery.nearest(queries.input, self.params.k, exclusion) for gallery in self._galleries]
        source = self._source_numbers(queries.source)
        lists = lists_of(found, source, self._shape, self._device)
        scores = self._ranker.scores(lists)
        # Every calibration on the whole tile: last digits may hang on a shape, and so on the neighbours.
        by_source = [decide(lists, scores, fitted, self.params.decoding) for fitted in self._calibrations]
        return self._predictions(found, overall(scores).double().cpu().numpy(), by_source, source)

    def _predictions(
        self,
        found: Sequence[Neighbours],
        scores: NDArray[np.float64],
        by_source: Sequence[Answer],
        source: NDArray[np.int64],
    ) -> Predictions:
        """Of each query the answer by the calibration of its source, with its candidates best first."""

        def ordered(what: str) -> NDArray[Any]:
            each = np.stack([getattr(answer, what).cpu().numpy() for answer in by_source])
            kept: NDArray[Any] = each[source, np.arange(len(source)), : self.params.candidates]
            return kept

        slot, valid = ordered("slot"), ordered("valid")
        rank = self._shape.slots.rank.numpy()[slot]
        places = np.concatenate([one.coordinates for one in found], axis=1)  # (n, c, 2)
        named = [gallery.photos(one.row) for gallery, one in zip(self._galleries, found, strict=True)]
        source_of, photo_of = (np.concatenate(names, axis=1) for names in zip(*named, strict=True))
        candidates = Candidates(
            np.where(valid[..., None], np.take_along_axis(places, slot[..., None], axis=1), np.nan),
            probability=np.where(valid, ordered("probability"), np.nan),
            source=np.where(valid, np.take_along_axis(source_of, slot, axis=1), ""),
            photo_id=np.where(valid, np.take_along_axis(photo_of, slot, axis=1), ""),
            score=np.where(valid, np.take_along_axis(scores, slot, axis=1), np.nan),
            found_by=np.where(valid, np.char.add("neighbour ", (rank + 1).astype(np.str_)), ""),
        )
        return Predictions(
            candidates.coordinates[:, 0],
            confidence=np.where(valid[:, 0], ordered("expected_share")[:, 0], np.nan),
            candidates=candidates,
            within=np.where(valid[:, :1], ordered("within")[:, 0], np.nan),
            notes=self._notes,
        )

    def _source_numbers(self, sources: Sequence[str]) -> NDArray[np.int64]:
        """The number of each query's source; where only one was trained on, it answers for all."""
        known = self._shape.sources
        if len(known) == 1:
            return np.zeros(len(sources), dtype=np.int64)
        unknown = sorted(set(sources) - set(known))
        if unknown:
            raise DataError(
                f"feature-reranker was not trained on photos of the source '{unknown[0]}'",
                found=f"trained on {' and '.join(known)}",
                fix="name a dataset of that source in `train`, or only one, which then answers for all",
            )
        return np.array([known.index(source) for source in sources])

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        token = np.concatenate([gallery.author_token for gallery in self._galleries])
        unknown = int((token == 0).sum())
        if not self.params.author_filter or not unknown:
            return ()
        return (f"{unknown:,} of {len(token):,} gallery photos have no author and pass the author filter",)
