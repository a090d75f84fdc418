"""The stage `candidates`: what photos that train and photos that watch find in the galleries.

    <set>.rows.npy        rows of the training stores, counted through all of them, int64 (n,)
    <set>.<number>.npy    what they find in that gallery: `row` int32 (n, k), -1 for none; `cosine` float32

A set is what trains, and the held-out authors with and without their own photos in the galleries. Nobody
sees the photo itself; street view sees no street view nearby, as in the test sets of street view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import FeatureStore, Neighbours, PhotoGallery
from pinpoint_harness.params import param
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Exclusion, xyz_of
from pinpoint_harness.training import StageContext, describe
from pinpoint_harness.types import Context

from ..common.head import HeadParams, Photos, chosen

SETS = {"train": True, "held": True, "held-open": False}
"""The sets, and whether their photographers' own photos are out of sight."""

OF_CANDIDATES = ("k", "exclude_km", "held_out_one_in")

STREETVIEW = "streetview"

_CHUNK_QUERIES = 16_384


@dataclass(frozen=True)
class FeatureRerankerParams(HeadParams):
    train: str = param(
        "mini-earth/photos,mini-earth/streetview",
        "datasets whose photos outside the galleries train it, or folders of stores, separated by commas",
    )
    gallery: str = param(
        "mini-earth/gallery-photos,mini-earth/gallery-streetview",
        "datasets to search, or folders of stores, separated by commas; the same for training and answers",
    )
    gallery_data: Path | None = param(
        None, "where the gallery's files lie [default: $PINPOINT_DATA]", in_title=False
    )
    k: int = param(16, "candidates from each gallery", minimum=1, maximum=1024)
    exclude_km: float = param(
        1.0, "street view that trains sees no street view this close, as that of its test sets", minimum=0
    )
    depth: int = param(2, "hidden layers", minimum=0, maximum=8)
    hidden: int = param(64, "width of a hidden layer", minimum=1)
    epochs: int = param(4, "passes over its queries; the best by held-out authors is kept", minimum=1)
    batch: int = param(128, "queries a step", minimum=1)
    loss: str = param(
        "listwise",
        "cross-entropy against a soft target; margin: the candidate nearest the truth above all others",
        choices=("listwise", "margin"),
    )
    decoding: str = param(
        "argmax",
        "the best candidate; expected: the one with the highest expected share of the five radii",
        choices=("argmax", "expected"),
    )
    author_filter: bool = param(False, "leave out gallery photos by the query's photographer")
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


def gallery_stores(params: FeatureRerankerParams, context: Context) -> list[FeatureStore]:
    """The stores that `gallery` names, each a gallery of its own."""
    if context.stores is None:
        raise UsageError("a gallery can be opened in a run only", fix="use `pinpoint run` or `evaluate`")
    names = [name.strip() for name in params.gallery.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"gallery='{params.gallery}' does not name galleries, each once", fix="gallery=mp16,osv5m-train"
        )
    return [context.stores.gallery(name, params.backbone, params.gallery_data) for name in names]


class PlacedGallery(PhotoGallery):
    """One gallery, from which a neighbourhood can be left out."""

    def __init__(self, store: FeatureStore, device: str) -> None:
        super().__init__([store], device, by_place=True)
        self.name = store.dataset
        # One that mixes sources counts as street view: rather too much is hidden than too little.
        self.of_streetview = STREETVIEW in store.table["source"].unique().to_pylist()


@dataclass(frozen=True)
class QueryBatch:
    """The rows of the training stores as queries, those left out included."""

    photos: Photos
    key: NDArray[np.uint64]
    author_token: NDArray[np.uint64]
    source: NDArray[np.str_]

    @classmethod
    def of(cls, stores: Sequence[FeatureStore], held_out_one_in: int) -> QueryBatch:
        def column(name: str) -> list[str | None]:
            return [value for store in stores for value in store.table[name].to_pylist()]

        key, author_token = hash_ids(column("id")), hash_ids(column("author"))
        return cls(Photos(stores, held_out_one_in), key, author_token, np.array(column("source")))

    def hidden(self, rows: NDArray[np.int64], authors: bool, nearby_km: float | None) -> Exclusion:
        """What these rows may not see: themselves, and perhaps their authors' photos and what lies near."""
        return Exclusion(
            own_key=self.key[rows],
            author_token=self.author_token[rows] if authors else None,
            xyz=None if nearby_km is None else xyz_of(self.photos.coordinates[rows]),
            radius_km=nearby_km,
        )


def make_candidates(
    stage_context: StageContext,
    params: FeatureRerankerParams,
    stores: Sequence[FeatureStore],
    galleries: Sequence[FeatureStore],
) -> Mapping[str, Content]:
    """Search every gallery for every set."""
    if len({store.width for store in (*stores, *galleries)}) > 1:
        found = ", ".join(f"{store.dataset} {store.width}" for store in (*stores, *galleries))
        raise DataError("training photos and galleries must hold features of one width", found=found)
    askers = QueryBatch.of(stores, params.held_out_one_in)
    rows, left_out = _who_asks(askers, params, galleries)
    files: dict[str, Content] = {f"{name}.rows.npy": partial(np.save, arr=rows[name]) for name in SETS}
    for number, store in enumerate(galleries):
        gallery = PlacedGallery(store, stage_context.context.device)
        for name, by_others in SETS.items():
            table = _found(askers, rows[name], gallery, by_others, params, stage_context.context.device)
            files[f"{name}.{number}.npy"] = partial(np.save, arr=table)
    asking = {name: len(some) for name, some in rows.items()}
    config = describe(chosen(params, *OF_CANDIDATES), asking=asking, left_out=left_out)
    return {**files, "config.json": config}


def _who_asks(
    askers: QueryBatch, params: FeatureRerankerParams, galleries: Sequence[FeatureStore]
) -> tuple[dict[str, NDArray[np.int64]], dict[str, int]]:
    """The rows of each set, and how many of the stores' rows are in none."""
    for store in galleries:
        if store.table["author"].null_count == len(store):
            raise DataError(
                f"training needs the photographers of the gallery '{store.dataset}'",
                found="none is known, so that a query might see its own photographer's photos",
                fix="embed it from a table with authors (--column author=NAME)",
            )
    standing = np.zeros(len(askers.key), dtype=bool)
    for store in galleries:
        standing |= np.isin(askers.key, hash_ids(store.table["id"].to_pylist()))
    nobodys = (askers.author_token == 0) & ~standing
    asks = ~standing & ~nobodys
    training, watching = (some[asks[some]] for some in (askers.photos.training, askers.photos.watching))
    left_out = {"in the galleries": int(standing.sum()), "without a known author": int(nobodys.sum())}
    if not len(training) or not len(watching):
        raise DataError(
            f"train='{params.train}' has no photos to train on, or none by held-out authors",
            found=f"{len(training)} and {len(watching)} outside the galleries with a known author; "
            f"{left_out['in the galleries']:,} stand in the galleries, "
            f"{left_out['without a known author']:,} are without a known author",
            fix="name datasets with more than the galleries hold, or another --set held_out_one_in=N",
        )
    return {"train": training, "held": watching, "held-open": watching}, left_out


def _found(
    askers: QueryBatch,
    rows: NDArray[np.int64],
    gallery: PlacedGallery,
    by_others: bool,
    params: FeatureRerankerParams,
    device: str,
) -> NDArray[np.void]:
    """What these rows find in a gallery, `(n,)` of `row` and `cosine`."""
    table = np.empty(len(rows), dtype=[("row", "<i4", (params.k,)), ("cosine", "<f4", (params.k,))])
    for source in np.unique(askers.source[rows]).tolist():
        mine = np.flatnonzero(askers.source[rows] == source)
        apart = gallery.of_streetview and source == STREETVIEW
        for start in range(0, len(mine), _CHUNK_QUERIES):
            piece = mine[start : start + _CHUNK_QUERIES]
            hidden = askers.hidden(rows[piece], by_others, params.exclude_km if apart else None)
            nearest = gallery.nearest(askers.photos.features(rows[piece], device), params.k, hidden)
            table["row"][piece], table["cosine"][piece] = nearest.row, nearest.cosine
    return table


def read_neighbours(
    folder: Path, name: str, galleries: Sequence[FeatureStore]
) -> tuple[NDArray[np.int64], list[Neighbours]]:
    """The rows of a set of the finished stage, and what they found in each gallery."""
    found = []
    for number, store in enumerate(galleries):
        table = np.load(folder / f"{name}.{number}.npy", allow_pickle=False)
        row = table["row"].astype(np.int64)
        places = np.where(row[..., None] >= 0, store.coordinates()[row], np.nan)
        found.append(Neighbours(row, table["cosine"].astype(np.float64), places))
    return np.load(folder / f"{name}.rows.npy", allow_pickle=False), found
