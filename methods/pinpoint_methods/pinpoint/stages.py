"""From parameters to the stages: what each is made from, and by which choices it changes.

    splits -> embedder -> gallery -> candidates -> reranker -> calibration
    splits -> raw ------------^-------^
    splits -> support -------------------------------^

and, where they are asked for, `hubness`, `density`, `cells` and `weights`, on which the reranker depends
as well.

A choice stands in the recipe of the first stage it changes and in no other, so that ablations share
whatever they have in common.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import place, xyz_of
from pinpoint_harness.training import Stage, StageContext, describe
from pinpoint_harness.types import Context

from .candidate_search import OF_CANDIDATES, make_candidates
from .config import EMBEDDER, PinpointConfig, RetrievalConfig, part
from .embedder import TrainingRows, make_embedder
from .embedder_validation import Photos, Validation
from .gallery import make_gallery, make_raw, make_support, read_labels
from .place_classifier import make_cells
from .reranker_training import OF_RERANKER, make_calibration, make_reranker
from .retrieval_weights import OF_WEIGHTS, make_weights
from .row_facts import make_density, make_hubness
from .side_by_side import SideBySide, stores_of
from .splits import (
    A,
    C,
    counts,
    leave_out_look_alikes,
    leave_out_near_a,
    leave_out_people,
    leave_out_places,
    split_store,
)

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore

log = logging.getLogger(__name__)

VERSIONS = {"splits": 2, "embedder": 3, "gallery": 2, "candidates": 2, "reranker": 3, "calibration": 3}
"""Of a stage's code, 1 where none stands: raised whenever the same recipe would give another content."""

_OF_SPLITS = (
    "photos_spelling",
    "photos_a_percent",
    "photos_c_one_in",
    "streetview_b_percent",
    "streetview_c_one_in",
    "leave_out_cosine",
    "streetview_cell_km",
    "exclude_km",
)
_OF_SUPPORT = ("support_neighbours", "support_km")

Stores = Mapping[str, "FeatureStore"]


def retrieval_stages(config: RetrievalConfig, seed: int, context: Context) -> list[Stage]:
    """The stages up to the galleries, for the stores that a configuration names.

    Names of datasets and of the backbone are in no recipe: the keys of their stores are.
    """
    return _to_the_galleries(config, seed, context, _stores(config, context))


def _to_the_galleries(config: RetrievalConfig, seed: int, context: Context, stores: Stores) -> list[Stage]:
    tests = [stores_of(_store(context, name, config))[0] for name in config.benchmarks()]
    first, *others = _by_backbone(stores, config)
    of_splits = {
        "stores": _keys(first),
        "config": part(config, *_OF_SPLITS),
        "leave_out": [test.key for test in tests],
    }
    embedders = config.embedder_stages
    made_gallery = partial(make_gallery, stores=stores, embedders=embedders)
    own = [first, *others] if others else [first] * config.embedders
    return [
        _stage("splits", of_splits, partial(make_splits, config=config, stores=first, tests=tests), ()),
        *(
            _embedder_stage(name, own_seed, config.of_embedders()[name], features, features is first)
            for (name, own_seed), features in zip(config.embedder_seeds(seed).items(), own, strict=True)
        ),
        _stage("raw", _beside([*others]), partial(make_raw, stores=stores), ["splits"]),
        _stage("gallery", {}, made_gallery, ["splits", *embedders, "raw"]),
    ]


def _keys(stores: Stores) -> dict[str, str]:
    return {source: store.key for source, store in stores.items()}


def _by_backbone(stores: Stores, config: RetrievalConfig) -> list[Stores]:
    """The stores of each backbone by source; the first ones are those that are split."""
    return [
        {source: stores_of(store)[number] for source, store in stores.items()}
        for number in range(len(config.backbones))
    ]


def _beside(others: Sequence[Stores]) -> dict[str, Any]:
    """What a spec says of stores that are not in the key of the splits; nothing where there are none."""
    return {"stores": [_keys(stores) for stores in others]} if others else {}


def _embedder_stage(name: str, seed: int, config: RetrievalConfig, stores: Stores, split: bool) -> Stage:
    """One of the embedders: the same stage, whichever place it has among them.

    `split` says whether its stores are those in the key of the splits.
    """
    spec = {"sources": list(stores), "seed": seed, "config": part(config, *EMBEDDER)}
    spec |= _beside([] if split else [stores])
    made = partial(train_embedder, config=config, seed=seed, stores=stores)
    return _stage(name, spec, made, ["splits"], kind="embedder", together=True)


def pinpoint_stages(config: PinpointConfig, seed: int, context: Context) -> list[Stage]:
    """All stages of a configuration: those of the retrieval, then what is made of its candidates."""
    stores = _stores(config, context)
    made_from: dict[str, Any] = {"config": config, "stores": stores}
    stages = [
        *_to_the_galleries(config, seed, context, stores),
        _stage(
            "support",
            {"config": part(config, *_OF_SUPPORT)},
            partial(make_support, **made_from),
            ["splits"],
        ),
        _stage(
            "candidates",
            {"config": part(config, *OF_CANDIDATES)},
            partial(make_candidates, **made_from),
            ["splits", *config.embedder_stages, "raw", "gallery"],
            searches=True,
        ),
    ]
    told = _told_stages(config, seed, made_from)
    stages += told
    reranked = ["support", "raw", "gallery", "candidates", *(stage.name for stage in told)]
    if config.reranker != "none":
        spec = {"seed": seed, "config": part(config, *OF_RERANKER)}
        stages.append(_stage("reranker", spec, partial(make_reranker, seed=seed, **made_from), reranked))
        reranked = [*reranked, "reranker"]
    spec = {"config": part(config, *OF_RERANKER)}
    return [*stages, _stage("calibration", spec, partial(make_calibration, **made_from), reranked)]


def _told_stages(config: PinpointConfig, seed: int, made_from: Mapping[str, Any]) -> list[Stage]:
    """Those of `retriever.TOLD` that the configuration asks for."""
    seen, found = ["splits", *config.embedder_stages, "raw", "gallery"], ["raw", "gallery", "candidates"]
    stages = []
    if config.csls:
        made = partial(make_hubness, **made_from)
        stages.append(_stage("hubness", {"config": part(config, "csls")}, made, seen, searches=True))
    if config.density:
        made = partial(make_density, **made_from)
        stages.append(_stage("density", {"config": part(config, "density")}, made, ["splits"]))
    if config.cells:
        spec = {"seed": seed, "config": part(config, "cells")}
        made = partial(make_cells, seed=seed, **made_from)
        stages.append(_stage("cells", spec, made, ["splits", "raw"]))
    if config.retrieval_weights == "fitted":
        spec = {"config": part(config, *OF_WEIGHTS)}
        needs = [*found, "hubness"] if config.csls else found
        stages.append(_stage("weights", spec, partial(make_weights, **made_from), needs))
    return stages


def _stage(
    name: str, spec: Mapping[str, Any], make: Any, needs: Sequence[str], kind: str | None = None, **how: Any
) -> Stage:
    kind = kind or name
    versioned = {"version": VERSIONS.get(kind, 1), **spec}
    return Stage(name, f"pinpoint-{kind}", versioned, make, tuple(needs), **how)


def _stores(config: RetrievalConfig, context: Context) -> dict[str, FeatureStore]:
    """The store of each source in use."""
    return {
        source: _store(context, config.dataset_of(source), config) for source in config.sources.split(",")
    }


def _store(context: Context, dataset: str, config: RetrievalConfig) -> FeatureStore:
    if context.stores is None:
        raise UsageError("Pinpoint can be used in a run only", fix="use `pinpoint run` or `evaluate`")
    return SideBySide.of([context.stores.gallery(dataset, name) for name in config.backbones])


def make_splits(
    stage_context: StageContext, config: RetrievalConfig, stores: Stores, tests: Sequence[FeatureStore]
) -> dict[str, Content]:
    """A label for each row of each store."""
    files: dict[str, Content] = {}
    rows: dict[str, dict[str, int]] = {}
    left: dict[str, dict[str, int]] = {}
    for source, store in stores.items():
        labels = split_store(store, stage_context.truth(config.dataset_of(source)), source, config)
        left[source] = _leave_out(labels, store, source, config, tests, stage_context.context.device)
        rows[source] = counts(labels)
        told = ", ".join(f"{name} {count:,}" for name, count in (rows[source] | left[source]).items())
        log.info("%s: rows of the splits, and why B and C were left: %s", store.dataset, told)
        if not rows[source]["A"]:
            raise DataError(f"no row of '{store.dataset}' is in split A", found=str(rows[source]))
        files[f"{source}.npy"] = partial(np.save, arr=labels)
    return {**files, "config.json": describe(part(config, *_OF_SPLITS), rows=rows, left_out=left)}


def _leave_out(
    labels: NDArray[np.uint8],
    store: FeatureStore,
    source: str,
    config: RetrievalConfig,
    tests: Sequence[FeatureStore],
    device: str,
) -> dict[str, int]:
    """Take out of B and C what is known from A or a test set; how many rows left for which reason."""
    left: dict[str, int] = {}
    if source == "streetview":
        left[f"within {config.exclude_km:g} km of A"] = leave_out_near_a(labels, store, config.exclude_km)
    for test in tests:
        left[f"people of {test.dataset}"] = leave_out_people(labels, store, test)
        if source == "streetview":
            gone = leave_out_places(labels, store, test, config.exclude_km)
            left[f"within {config.exclude_km:g} km of {test.dataset}"] = gone
        else:
            gone = leave_out_look_alikes(labels, store, test, config.leave_out_cosine, device)
            left[f"look-alikes of {test.dataset}"] = gone
    return left


def train_embedder(
    stage_context: StageContext, config: RetrievalConfig, seed: int, stores: Stores
) -> Mapping[str, Content]:
    """The towers, trained on A and watched on C."""
    labels = read_labels(stage_context.inputs["splits"], stores)
    device = stage_context.context.device
    data, queries, galleries = {}, {}, {}
    for source, store in stores.items():
        rows, held = (np.flatnonzero(labels[source] == label) for label in (A, C))
        xyz = torch.from_numpy(xyz_of(store.coordinates()[rows])).to(device)
        features = place(store.matrix, device, f"features of {source} to train on", rows=rows)
        data[source] = TrainingRows(features, xyz)
        chosen = _first_by_md5(store, held, config.validation_queries)
        if len(chosen):
            queries[source] = _photos(store, chosen)
            galleries[source] = _photos(store, rows[:: -(-len(rows) // config.validation_gallery)])
    if (config.keep == "best" and not queries) or (
        config.keep == "best-of-source" and len(queries) < len(data)
    ):
        raise DataError(
            f"keep={config.keep} chooses on split C, in which there is nobody",
            fix="--set keep=last, or other splits: see photos_c_one_in and streetview_c_one_in",
        )
    exclude_km = {"photos": None, "streetview": config.exclude_km}
    watched = stage_context.processes.first and queries
    validation = Validation(queries, galleries, exclude_km, device) if watched else None
    return make_embedder(stage_context, config, seed, data, validation)


def _photos(store: FeatureStore, rows: NDArray[np.int64]) -> Photos:
    authors = hash_ids(store.table["author"].take(rows))
    return Photos(torch.from_numpy(store.matrix[rows]), store.coordinates()[rows], authors)


def _first_by_md5(store: FeatureStore, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """A sample that neither the order of the rows nor how many there are decides about."""
    ids = store.table["id"].take(rows).to_pylist()
    order = np.argsort([hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() for name in ids])
    return np.sort(rows[order[:count]])
