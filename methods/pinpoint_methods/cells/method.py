"""Answers by cell: its mean place, or that of the prototype which resembles the query most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import read_json
from pinpoint_harness.training import Stage, open_stages
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..common.head import CHECK_WITH, load_head, made_by
from ..common.place_cells.labels import likeliest
from ..common.place_cells.table import CellTable
from .prototypes import Near, Prototypes
from .stages import CellsParams, cells_stages, nearest

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

_OF_THE_ANSWER = ("refine", "candidates")


class Cells:
    """The likeliest of the cells that training photos were divided into.

    Candidates are cells, or with `refine=prototypes` prototypes of the likeliest cells, with their
    probabilities; the first one's is the confidence. The head runs in float32 on a whole tile.
    """

    Params: ClassVar[type[CellsParams]] = CellsParams
    check_with: ClassVar[Mapping[str, Any]] = CHECK_WITH
    answer_version: ClassVar[int] = 1

    def __init__(self, params: CellsParams, context: Context) -> None:
        self.input = params.backbone
        self.params, self._device = params, context.device
        needed = ["head"] if params.refine == "none" else ["temperature"]
        stages = self.stages(params, context)
        self._stages = open_stages(stages, params.models or context.models, context, needed)
        self._cells = CellTable.read(self._stages["partition"].folder)
        self._hierarchy = self._cells.hierarchy(context.device)
        self._head = load_head(self._stages["head"].folder, context.device)
        if params.refine == "prototypes":
            folder = self._stages["prototypes"].folder
            self._prototypes = Prototypes.read(folder, len(self._cells.finest), context.device)
            self._temperature = float(
                read_json(self._stages["temperature"].folder / "config.json")["temperature"]
            )

    @classmethod
    def stages(cls, params: CellsParams, context: Context) -> list[Stage]:
        return cells_stages(params, context)

    def content(self) -> Mapping[str, Any]:
        """The stages by their keys; what only made them stands in those already."""
        return {
            **made_by(self.params, _OF_THE_ANSWER),
            "stages": {name: stage.key for name, stage in self._stages.items()},
        }

    @torch.no_grad()
    def predict(self, queries: Queries) -> Predictions:
        if self.params.refine == "none":
            return self._by_cell(queries.input)
        near = nearest(self._head, self._hierarchy, self._prototypes, queries.input, self.params.refine_cells)
        return self._by_prototype(near)

    def _by_cell(self, features: Tensor) -> Predictions:
        outputs = self._head(features.float())
        values, cells = likeliest(self._hierarchy.log_probabilities(outputs), self.params.candidates)
        places = self._cells.places[-1][cells.cpu().numpy()]  # (tile, k, 2)
        return _predictions(places, values.exp().cpu().numpy())

    def _by_prototype(self, near: Sequence[Near]) -> Predictions:
        kept = self.params.candidates
        places = np.full((len(near), kept, 2), np.nan)
        probability = np.full((len(near), kept), np.nan)
        for query, some in enumerate(near):
            values, best = some.probability(self._temperature).topk(min(kept, len(some.rows)))
            places[query, : len(best)] = self._prototypes.places[some.rows[best.cpu().numpy()]]
            probability[query, : len(best)] = values.cpu().numpy()
        return _predictions(places, probability)


def _predictions(places: Floats, probability: Floats) -> Predictions:
    return Predictions(
        places[:, 0], confidence=probability[:, 0], candidates=Candidates(places, probability=probability)
    )
