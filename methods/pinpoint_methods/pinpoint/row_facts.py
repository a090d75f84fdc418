"""What is known of a gallery's rows whoever asks: how near each is to everything, how many stand around.

    hubness   <asking>.<gallery>.npy   float32 (rows, 3): by channel, the mean similarity of each row to the
                                       queries of B, of one source, that are nearest to it
    density   <gallery>.npy            float32 (rows,): log of 1 + km to the n-th nearest row of its gallery

Both stages are made where the configuration asks for them (`csls`, `density`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Exclusion, Gallery, Rows, search
from pinpoint_harness.training import StageContext, describe

from ..common.candidates import CHANNELS, arc_km
from .config import PinpointConfig, part
from .embedder import load_embedders
from .gallery import SourceGallery, read_labels
from .side_by_side import unit_features
from .splits import A, B
from .towers import in_tiles

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore

_CHUNK_ROWS = 65_536


def make_hubness(
    stage_context: StageContext, config: PinpointConfig, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """How similar each row of each gallery is to the queries of each source that are nearest to it."""
    device = stage_context.context.device
    towers = load_embedders([stage_context.inputs[name] for name in config.embedder_stages], device)
    labels = read_labels(stage_context.inputs["splits"], stores)
    made = stage_context.inputs
    galleries = {source: SourceGallery(source, made["gallery"], made["raw"], device) for source in stores}
    files: dict[str, Content] = {}
    for source, store in stores.items():
        asking = np.flatnonzero(labels[source] == B)
        features = torch.from_numpy(store.matrix[asking])
        image = in_tiles(partial(towers.image, source=source), features, device)
        vectors = {"image": image, "raw": unit_features(store, asking), "location": image}
        queries = Gallery.of(
            {channel: matrix.to(device) for channel, matrix in vectors.items()},
            Rows(key=hash_ids(store.table["id"].take(asking))),
        )
        for name, gallery in galleries.items():
            files[f"{source}.{name}.npy"] = partial(
                np.save, arr=_mean_similarity(gallery, queries, config.csls)
            )
    return {**files, "config.json": describe(part(config, "csls"))}


def _mean_similarity(gallery: SourceGallery, queries: Gallery, nearest: int) -> NDArray[np.float32]:
    """Mean similarity of each row to its nearest queries, itself not among them: `(rows, 3)`."""
    rows, found = len(gallery.table), []
    for start in range(0, rows, _CHUNK_ROWS):
        piece = slice(start, start + _CHUNK_ROWS)
        asked = {channel: gallery.mapped(channel)[piece].to(queries.device) for channel in CHANNELS}
        hidden = Exclusion(own_key=gallery.rows.needed("key", gallery.rows.key)[piece])
        hits = search(queries, asked, dict.fromkeys(CHANNELS, nearest), hidden)
        means = [_mean(hits[channel].scores) for channel in CHANNELS]
        found.append(torch.stack(means, dim=1).cpu().numpy())
    return np.concatenate(found)


def _mean(scores: Tensor) -> Tensor:
    there = scores > -torch.inf
    mean: Tensor = torch.where(there, scores, 0.0).sum(dim=1) / there.sum(dim=1).clamp(min=1)
    return mean


def make_density(
    stage_context: StageContext, config: PinpointConfig, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """How far the n-th nearest row of its own gallery is from each row."""
    labels = read_labels(stage_context.inputs["splits"], stores)
    files: dict[str, Content] = {}
    for source, store in stores.items():
        xyz = unit_xyz(store.coordinates()[labels[source] == A])
        chord = KDTree(xyz).query(xyz, k=[min(config.density + 1, len(xyz))])[0][:, 0]
        log_km = torch.log1p(arc_km(torch.from_numpy(chord))).float()
        files[f"{source}.npy"] = partial(np.save, arr=log_km.numpy())
    return {**files, "config.json": describe(part(config, "density"))}


def read_rows(folder: Path, *names: str) -> Tensor:
    """A table of a finished stage, by whose it is."""
    return torch.from_numpy(np.load(folder / f"{'.'.join(names)}.npy", allow_pickle=False))
