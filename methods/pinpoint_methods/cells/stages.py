"""Partition, head, prototypes, temperature: what `cells` is made from, and by which choices it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import UsageError
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.params import param
from pinpoint_harness.search import unit_rows, xyz_of
from pinpoint_harness.training import Checkpoints, Stage, StageContext, describe
from pinpoint_harness.types import Context

from ..common.head import (
    HEAD_CHOICES,
    Head,
    HeadParams,
    HeadTrainer,
    HeldOut,
    Loss,
    Photos,
    chosen,
    head_files,
    load_head,
    training_stores,
)
from ..common.place_cells.labels import Hierarchy, hard_loss, likeliest, smooth_loss
from ..common.place_cells.quadtree import codes_of
from ..common.place_cells.table import CellTable
from .prototypes import Near, Prototypes, choose_temperature, prototype_files

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

VERSION = 1
"""Of the stages' code: raised whenever the same recipe would give another content."""

_OF_PARTITION = ("levels", "smallest_cell", "held_out_one_in")
_OF_HEAD = (*HEAD_CHOICES, "smoothing_km", "seed")

_TILE = 256
"""Held-out photos in one pass."""

Maker = Callable[..., Mapping[str, Content]]


@dataclass(frozen=True)
class CellsParams(HeadParams):
    levels: str = param("500,100,25", "most photos in a cell, coarse to fine, one for each partition")
    smallest_cell: int = param(5, "cells with fewer photos are no answers", minimum=1)
    smoothing_km: float = param(0.0, "PIGEON's tau; 0 teaches a photo its own cell only", minimum=0)
    prototype_photos: int = param(1, "most photos in a prototype", minimum=1)
    refine_cells: int = param(5, "likeliest cells whose prototypes are compared", minimum=1, maximum=1000)
    refine: str = param(
        "none", "answer with the likeliest cell, or with its prototype", choices=("none", "prototypes")
    )
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


def cells_stages(params: CellsParams, context: Context) -> list[Stage]:
    """All four. Names of datasets and of the backbone are in no recipe: the keys of their stores are."""
    stores = training_stores(params, context)
    levels_of(params)

    def stage(name: str, make: Maker, needs: Sequence[str], *choices: str, **more: object) -> Stage:
        spec = {"version": VERSION, "config": chosen(params, *choices), **more}
        return Stage(name, f"cells-{name}", spec, partial(make, params=params, stores=stores), tuple(needs))

    keys = [store.key for store in stores]
    return [
        stage("partition", make_partition, (), *_OF_PARTITION, stores=keys),
        stage("head", train_head, ("partition",), *_OF_HEAD),
        stage("prototypes", make_prototypes, ("partition",), "prototype_photos"),
        stage("temperature", make_temperature, ("partition", "head", "prototypes"), "refine_cells"),
    ]


def levels_of(params: CellsParams) -> list[int]:
    """The most photos in a cell of each partition; UsageError unless each is finer than the one before."""
    words = [word.strip() for word in params.levels.split(",")]
    levels = [int(word) if word.isdecimal() else 0 for word in words]
    if min(levels) < 1 or any(fine >= coarse for coarse, fine in pairwise(levels)):
        raise UsageError(
            f"levels={params.levels} does not fit", fix="falling whole numbers, such as levels=500,100,25"
        )
    if max(params.smallest_cell, params.prototype_photos) > levels[-1]:
        raise UsageError(
            f"the finest cells hold at most {levels[-1]} photos",
            found=f"smallest_cell={params.smallest_cell}, prototype_photos={params.prototype_photos}",
            fix="set both to no more than that",
        )
    return levels


def make_partition(
    stage_context: StageContext, params: CellsParams, stores: Sequence[FeatureStore]
) -> Mapping[str, Content]:
    """The cells of all partitions, from the places of the training rows alone."""
    photos = Photos(stores, params.held_out_one_in)
    coordinates = photos.coordinates[photos.training]
    codes = codes_of(coordinates)
    cells = CellTable.of(coordinates, codes, levels_of(params), params.smallest_cell)
    in_none = (cells.labels(codes) < 0).sum(axis=0).tolist()
    outcome = {"photos": len(codes), "cells": cells.sizes, "photos_in_no_cell": in_none}
    return {**cells.file(), "config.json": describe(chosen(params, *_OF_PARTITION), **outcome)}


def train_head(
    stage_context: StageContext, params: CellsParams, stores: Sequence[FeatureStore]
) -> Mapping[str, Content]:
    """The network that names a photo's cells, watched on the photos held out."""
    device, photos = stage_context.context.device, Photos(stores, params.held_out_one_in)
    cells = CellTable.read(stage_context.inputs["partition"])
    hierarchy, places = cells.hierarchy(device), cells.places[-1]

    def answer(features: Tensor) -> Floats:
        _, best = likeliest(hierarchy.log_probabilities(head(features.float())), 1)
        found: Floats = places[best[:, 0].cpu().numpy()]
        return found

    head = Head(photos.width, params.depth, params.hidden, sum(cells.sizes)).initialise(params.seed)
    loss = _loss(params, cells, photos.coordinates[photos.training], device)
    features, held_out = photos.features(photos.training, device), HeldOut.of(photos, device)
    trainer = HeadTrainer(
        params, head, features, loss, stage_context.context, figures=lambda: held_out.look(answer)
    )
    curve = trainer.run(Checkpoints(stage_context))
    return head_files(head, chosen(params, *_OF_HEAD), curve, cells=cells.sizes)


def _loss(params: CellsParams, cells: CellTable, coordinates: Floats, device: str) -> Loss:
    sizes = cells.sizes
    if not params.smoothing_km:
        labels = torch.from_numpy(cells.labels(codes_of(coordinates))).to(device)
        return lambda outputs, rows: hard_loss(outputs, labels[rows], sizes)
    xyz = torch.from_numpy(xyz_of(coordinates)).to(device)
    places = [torch.from_numpy(xyz_of(some)).to(device) for some in cells.places]
    return lambda outputs, rows: smooth_loss(outputs, xyz[rows], places, sizes, params.smoothing_km)


def make_prototypes(
    stage_context: StageContext, params: CellsParams, stores: Sequence[FeatureStore]
) -> Mapping[str, Content]:
    """The prototypes of the finest cells; they need no network."""
    photos = Photos(stores, params.held_out_one_in)
    codes = codes_of(photos.coordinates[photos.training])
    cells = CellTable.read(stage_context.inputs["partition"]).finest
    files = prototype_files(photos, codes, cells, params.prototype_photos)
    return {**files, "config.json": describe(chosen(params, "prototype_photos"))}


def make_temperature(
    stage_context: StageContext, params: CellsParams, stores: Sequence[FeatureStore]
) -> Mapping[str, Content]:
    """How much a prototype's cosine weighs against its cell's probability, chosen on the photos held out."""
    device, photos = stage_context.context.device, Photos(stores, params.held_out_one_in)
    cells = CellTable.read(stage_context.inputs["partition"])
    head, hierarchy = load_head(stage_context.inputs["head"], device), cells.hierarchy(device)
    prototypes = Prototypes.read(stage_context.inputs["prototypes"], len(cells.finest), device)
    rows = np.concatenate([rows for _, rows in photos.watched()])
    near = []
    for features in torch.split(photos.features(rows, device), _TILE):
        near += nearest(head, hierarchy, prototypes, features, params.refine_cells)
    best, shares = choose_temperature(near, prototypes.places, photos.coordinates[rows])
    outcome = {"temperature": best, "mean_share_by_temperature": shares}
    return {"config.json": describe(chosen(params, "refine_cells"), **outcome)}


def nearest(
    head: Head, hierarchy: Hierarchy, prototypes: Prototypes, features: Tensor, count: int
) -> list[Near]:
    """The prototypes of each query's `count` likeliest cells; `features` `(b, width)`."""
    values, cells = likeliest(hierarchy.log_probabilities(head(features.float())), count)
    return prototypes.near(unit_rows(features), cells, values)
