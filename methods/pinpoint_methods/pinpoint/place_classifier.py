"""The stage `cells`: a classifier of places that says how likely the cell of each candidate is.

    cells.parquet       three partitions of the galleries' rows, from coarse to fine
    model.safetensors   the head, from a unit raw feature to the cells of all partitions
    <source>.npy        int64 (rows, 3): in each partition the cell of each row of the gallery

The head learns from A alone and the pass that places most of C is kept. That of the method `cells` is no
substitute: it holds out authors of its own, so it has seen B and C, and a reranker would learn to trust it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.search import HostRows, place
from pinpoint_harness.training import Checkpoints, StageContext

from ..common.head import Head, HeadParams, HeadTrainer, HeldOut, chosen, head_files, load_head
from ..common.place_cells.labels import hard_loss, likeliest
from ..common.place_cells.quadtree import codes_of
from ..common.place_cells.table import CellTable
from .config import PinpointConfig, part
from .gallery import SourceGallery, read_labels
from .side_by_side import unit_features
from .splits import C

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

_COARSER = (20, 4, 1)
"""Most photos in a cell of each partition, in those of the finest: 25 makes 500, 100, 25, as in `cells`."""


class PlaceClassifier:
    """A trained head, and in which cells the rows of some galleries lie."""

    def __init__(self, head: Head, sizes: Sequence[int], cells: Sequence[Tensor]) -> None:
        """`sizes` are the partitions', `cells[i]` `(rows, partitions)` those of gallery `i`."""
        self._head, self._sizes, self._cells = head, list(sizes), cells

    @classmethod
    def read(cls, folder: Path, sources: Sequence[str], device: str) -> PlaceClassifier:
        """Of a finished stage, for the galleries of these sources."""
        cells = [np.load(folder / f"{source}.npy", allow_pickle=False) for source in sources]
        placed = [torch.from_numpy(some).to(device) for some in cells]
        return cls(load_head(folder, device), CellTable.read(folder).sizes, placed)

    def features(self, raw: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """Log probability of each candidate's cell in each partition, `(n, c, partitions)`.

        `raw` `(n, width)` are the queries' unit features, `rows[i]` `(n, k)` candidates of gallery `i`; row 0
        stands in for none.
        """
        with torch.no_grad():
            outputs = torch.split(self._head(raw.float()), self._sizes, dim=1)
        log_p = [part.log_softmax(dim=1) for part in outputs]
        cells = torch.cat(
            [known[row.clamp(min=0)] for known, row in zip(self._cells, rows, strict=True)], dim=1
        )
        each = [part.gather(1, cell) for part, cell in zip(log_p, cells.unbind(dim=2), strict=True)]
        return torch.stack(each, dim=2)


class OneAfterAnother:
    """The rows of several matrices as those of one; each lies where there is room for it, see `place`."""

    def __init__(self, parts: Sequence[Tensor | HostRows]) -> None:
        self._parts, self.width = parts, int(parts[0].shape[1])
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def index_select(self, dimension: int, rows: Tensor, /) -> Tensor:
        taken = torch.empty(len(rows), self.width, dtype=torch.float16, device=rows.device)
        which = torch.searchsorted(self._ends.to(rows.device), rows, right=True)
        for number, matrix in enumerate(self._parts):
            (at,) = torch.nonzero(which == number, as_tuple=True)
            taken[at] = matrix.index_select(dimension, rows[at] - int(self._ends[number]) + len(matrix))
        return taken


def make_cells(
    stage_context: StageContext, config: PinpointConfig, seed: int, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """Partitions of the galleries of all sources, and a head trained on their rows."""
    device, raw = stage_context.context.device, stage_context.inputs["raw"]
    galleries = {source: SourceGallery(source, raw, raw, device) for source in stores}
    codes = {source: codes_of(gallery.coordinates) for source, gallery in galleries.items()}
    table = CellTable.of(
        np.concatenate([gallery.coordinates for gallery in galleries.values()]),
        np.concatenate(list(codes.values())),
        [config.cells * times for times in _COARSER],
        smallest=1,
    )
    cells = {source: table.labels(some) for source, some in codes.items()}
    labels = torch.from_numpy(np.concatenate(list(cells.values()))).to(device)
    features = OneAfterAnother(
        [place(gallery.mapped("raw"), device, f"{source}, raw") for source, gallery in galleries.items()]
    )
    params = HeadParams(seed=seed, batch=min(HeadParams.batch, len(features)))
    head = Head(features.width, params.depth, params.hidden, sum(table.sizes)).initialise(seed)
    trainer = HeadTrainer(
        params,
        head,
        features,
        lambda outputs, rows: hard_loss(outputs, labels[rows], table.sizes),
        stage_context.context,
        figures=partial(_figures, head, table, _held_out(stage_context, stores)),
        worth=itemgetter("mean"),
    )
    curve = trainer.run(Checkpoints(stage_context))
    head.load_state_dict(trainer.best)
    shape = {**part(config, "cells"), **chosen(params, "depth", "hidden")}
    rows = {f"{source}.npy": partial(np.save, arr=some) for source, some in cells.items()}
    return {**head_files(head, shape, curve, cells=table.sizes), **table.file(), **rows}


def _held_out(stage_context: StageContext, stores: Mapping[str, FeatureStore]) -> HeldOut:
    """C of each source, as the head sees it."""
    labels = read_labels(stage_context.inputs["splits"], stores)
    sets: dict[str, tuple[Tensor, Floats]] = {}
    for source, store in stores.items():
        rows = np.flatnonzero(labels[source] == C)
        features = unit_features(store, rows).to(stage_context.context.device)
        sets[source] = features, store.coordinates()[rows]
    return HeldOut(sets)


def _figures(head: Head, table: CellTable, held_out: HeldOut) -> dict[str, float]:
    """Shares of C placed by the mean place of the likeliest cell, and their mean."""
    places = table.places[-1]
    hierarchy = table.hierarchy(str(next(head.parameters()).device))

    def answer(features: Tensor) -> Floats:
        _, best = likeliest(hierarchy.log_probabilities(head(features.float())), 1)
        found: Floats = places[best[:, 0].cpu().numpy()]
        return found

    shares = held_out.look(answer)
    return {**shares, "mean": sum(shares.values()) / len(shares)}
