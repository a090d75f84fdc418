"""The stage `candidates`: what the photos of B and C find in the galleries, under their splits' rules.

    <source>.<set>.rows.npy        rows of the source's store that ask, int64 (n,)
    <source>.<set>.image.npy       their image embeddings, fp16 (n, embedding)
    <source>.<set>.<gallery>.npy   the rows each channel found, `image`, `raw`, `location`: int32 (n, kept)

A set is what trains (`train`), and C (`held`), their photographers' gallery photos out of sight; and
the same with them in sight (`train-open`, of photos only where `photos_lists` asks for it, and
`held-open`). All channels are searched as deep as any ablation needs, so that all share one search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import DataError
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Exclusion, search, xyz_of
from pinpoint_harness.training import StageContext, describe

from ..common.candidates import CHANNELS
from ..common.splits import md5_number
from .config import PinpointConfig, part
from .embedder import load_embedders
from .gallery import SourceGallery, read_labels
from .side_by_side import unit_features
from .splits import A, B, C
from .towers import in_tiles

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

SETS = {"train": True, "train-open": False, "held": True, "held-open": False}
"""The sets, and whether their photographers' own photos are out of sight."""

TRAINING = {"hidden": ("train",), "seen": ("train-open",), "both": ("train", "train-open")}
"""The sets that teach the reranker of a source, by `photos_lists` and `streetview_lists`."""

OF_CANDIDATES = ("candidates_kept", "reranker_queries", "exclude_km", "photos_lists")


@dataclass(frozen=True)
class QueryBatch:
    """One set of one source: who asks, what they found, and what they may not see."""

    image: Tensor  # (n, embedding) fp16
    raw: Tensor  # (n, width) fp16
    coordinates: Floats  # (n, 2), the truth
    found: Mapping[str, Mapping[str, NDArray[np.int32]]]  # by gallery, by channel
    hidden: Mapping[str, Exclusion]  # by gallery

    def __len__(self) -> int:
        return len(self.image)


def make_candidates(
    stage_context: StageContext, config: PinpointConfig, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """Search every gallery for every set of every source."""
    device = stage_context.context.device
    towers = load_embedders([stage_context.inputs[name] for name in config.embedder_stages], device)
    labels = read_labels(stage_context.inputs["splits"], stores)
    rows = {source: _sets(source, store, labels[source], config) for source, store in stores.items()}
    images = {
        (source, name): in_tiles(
            partial(towers.image, source=source), torch.from_numpy(store.matrix[rows[source][name]]), device
        )
        for source, store in stores.items()
        for name in rows[source]
    }
    files: dict[str, Content] = {}
    for (source, name), image in images.items():
        files[f"{source}.{name}.rows.npy"] = partial(np.save, arr=rows[source][name])
        files[f"{source}.{name}.image.npy"] = partial(np.save, arr=image.numpy())
    for other in stores:  # one gallery after the other: none waits in memory for its turn
        gallery = SourceGallery(other, stage_context.inputs["gallery"], stage_context.inputs["raw"], device)
        for (source, name), image in images.items():
            asking = rows[source][name]
            exclusion = _exclusion(stores[source], asking, source, other, config, SETS[name])
            table = _found(gallery, image, stores[source], asking, exclusion, config.candidates_kept)
            files[f"{source}.{name}.{other}.npy"] = partial(np.save, arr=table)
    counts = {f"{source}.{name}": len(image) for (source, name), image in images.items()}
    return {**files, "config.json": describe(part(config, *OF_CANDIDATES), asking=counts)}


def _found(
    gallery: SourceGallery,
    image: Tensor,
    store: FeatureStore,
    rows: NDArray[np.int64],
    exclusion: Exclusion,
    kept: int,
) -> NDArray[Any]:
    """Rows of a gallery by channel, `(n,)` records of `kept` each."""
    raw = unit_features(store, rows)
    queries = {"image": image, "raw": raw, "location": image}
    hits = search(gallery.searchable(CHANNELS), queries, dict.fromkeys(CHANNELS, kept), exclusion)
    table = np.empty(len(rows), dtype=[(channel, "<i4", (kept,)) for channel in CHANNELS])
    for channel in CHANNELS:
        table[channel] = hits[channel].rows.cpu().numpy()
    return table


def read_queries(
    folder: Path,
    source: str,
    name: str,
    store: FeatureStore,
    galleries: Sequence[str],
    config: PinpointConfig,
) -> QueryBatch:
    """A set of the finished stage."""

    def load(what: str) -> Any:
        return np.load(folder / f"{source}.{name}.{what}.npy", allow_pickle=False)

    rows = load("rows")
    tables = {other: load(other) for other in galleries}
    return QueryBatch(
        torch.from_numpy(load("image")),
        unit_features(store, rows),
        store.coordinates()[rows],
        {other: {c: table[c] for c in CHANNELS} for other, table in tables.items()},
        {other: _exclusion(store, rows, source, other, config, SETS[name]) for other in galleries},
    )


def training_sets(source: str, config: PinpointConfig) -> tuple[str, ...]:
    """The sets whose lists train the reranker of a source."""
    return TRAINING[config.streetview_lists if source == "streetview" else config.photos_lists]


def _sets(
    source: str, store: FeatureStore, labels: NDArray[np.uint8], config: PinpointConfig
) -> dict[str, NDArray[np.int64]]:
    train, held = (np.flatnonzero(labels == label) for label in (B, C))
    if config.reranker_queries == "A":
        # As many as B has, so that an ablation of whom to train on is not one of how many.
        gallery = np.flatnonzero(labels == A)
        ids = store.table["id"].take(gallery).to_pylist()
        first = np.argsort([md5_number(name) % (1 << 62) for name in ids], kind="stable")
        train = np.sort(gallery[first[: len(train)]])
    seen = {"train-open": train} if source == "streetview" or config.photos_lists != "hidden" else {}
    sets = {"train": train, **seen, "held": held, "held-open": held}
    for name, rows in sets.items():
        if not len(rows):
            raise DataError(
                f"nobody of '{store.dataset}' is in the set '{name}' of the reranker",
                found=f"{len(store):,} rows, none of them in that split",
                fix="choose other splits: see photos_a_percent and the settings beside it",
            )
    return sets


def _exclusion(
    store: FeatureStore,
    rows: NDArray[np.int64],
    source: str,
    gallery: str,
    config: PinpointConfig,
    by_others: bool,
) -> Exclusion:
    """What these rows may not see of a gallery, as candidate or as support.

    Street view of a test set lies apart from that of the gallery, not from its photos.
    """
    apart = source == gallery == "streetview"
    return Exclusion(
        own_key=hash_ids(store.table["id"].take(rows)),
        author_token=hash_ids(store.table["author"].take(rows)) if by_others else None,
        xyz=xyz_of(store.coordinates()[rows]) if apart else None,
        radius_km=config.exclude_km if apart else None,
    )
