"""Which gallery rows are near-duplicates of a query: pairs worth a look, evidence, and how much of it.

A pair counts as near-duplicates on any one of three grounds: its features are alike, its
perceptual hashes are, or one photographer took both on one spot, which gives the place away even
where the pictures differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..features import FeatureStore
from ..geo import geodesic_km
from ..processes import current_processes
from ..search import Gallery, own_rows, place, search, unit_rows
from ..search.rows import LabelIndex
from . import perceptual
from .identical import Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 8
"""Most similar gallery rows that are looked at, per query, gallery and kind of likeness."""

FAR_KM = 25.0
ALLOWED = 0.001
GROUNDS = ("by_features", "by_hash", "by_place")
_CHUNK_ROWS = 8192
_ALMOST_EQUAL = 0.999
"""Equal rows have a cosine of 1 but for the rounding of both to fp16; only such pairs are compared."""


@dataclass(frozen=True)
class Limits:
    """From where on a pair counts as near-duplicates.

    `cosine` is measured where it is None: see `calibrate`. 31 of 256 bits is what PDQ, a hash of
    the same make and size, is matched at (Facebook, "The TMK+PDQF Video-Hashing Algorithm and the
    PDQ Image-Hashing Algorithm", 2019). 30 m are some paces and the error of two phones; 0 judges
    by the pictures alone.
    """

    cosine: float | None = None
    hamming_bits: int = 31
    spot_m: float = 30.0


@dataclass(frozen=True)
class Side:
    """A query set or a gallery: features, and pictures and photographers in the order of their rows."""

    store: FeatureStore
    author_token: NDArray[np.uint64]
    pictures: Pictures | None


@dataclass(frozen=True)
class Found:
    """What one gallery holds for the queries that have features.

    `pairs` has the columns `query, row, cosine, equal, hamming, distance_km, same_author`; `equal`
    features are so to the last bit, and a hash that could not be taken is NaN. `far_cosine`, `(n,)`,
    bounds from above how alike the most similar row is that lies `FAR_KM` away or more.
    """

    pairs: pd.DataFrame
    far_cosine: NDArray[np.float64]


def compare(
    queries: Side, gallery: Side, *, device: str, spot_m: float, every_hash: Path | None = None
) -> Found:
    """Every pair worth a look between the rows of two stores, and what speaks for it.

    The most similar rows come from the exact search. Hashes are taken of the pairs it finds, or,
    with `every_hash`, of the whole gallery, kept in that folder and searched as exactly.
    """
    count = len(gallery.store)
    own, held = (
        place(matrix, device, f"features of '{side.store.dataset}'", rewrite=unit_rows)
        for side, matrix in (
            (queries, queries.store.matrix),
            (gallery, gallery.store.matrix[own_rows(count)]),
        )
    )
    others = Gallery.of({"raw": held}, whole=count)
    hits = search(others, {"raw": own}, {"raw": NEIGHBOURS})["raw"]
    similar = _listed(hits.rows.cpu().numpy())
    author = LabelIndex(gallery.author_token)
    places = queries.store.coordinates(), gallery.store.coordinates()
    pairs = [similar, _same_spot(author, queries.author_token, places, spot_m)]
    hashes = None
    if queries.pictures is not None and gallery.pictures is not None and every_hash is not None:
        hashes = _Hashes.of_all(queries, gallery, every_hash)
        pairs.append(hashes.nearest(device))
    frame = pd.concat(pairs).drop_duplicates(ignore_index=True)
    query, row = np.array(frame["query"]), np.array(frame["row"])  # writable, as torch asks
    frame["cosine"] = _cosines(own, others, query, row)
    frame["equal"] = _are_equal(queries.store, gallery.store, frame)
    frame["distance_km"] = geodesic_km(places[0][query], places[1][row])
    token = queries.author_token[query]
    frame["same_author"] = (token != 0) & (token == gallery.author_token[row])
    if hashes is None and queries.pictures is not None and gallery.pictures is not None:
        hashes = _Hashes.of_pairs(queries.pictures, gallery.pictures, query, row)
    frame["hamming"] = np.nan if hashes is None else hashes.differing(query, row)
    return Found(frame, _far_cosine(hits, places))


def calibrate(far_cosine: Sequence[NDArray[np.float64]], photos: NDArray[np.bool_]) -> float:
    """A cosine that at most one query in a thousand reaches with a row at least `FAR_KM` away.

    Such a row is hardly a near-duplicate, so this bounds the share of false alarms, whatever the
    backbone: some call any two streets 0.99 alike. Placeholders and identical files do not count.
    """
    far = np.max(np.stack(far_cosine), axis=0)[photos]
    far = np.sort(far[~np.isnan(far)])[::-1]
    if not len(far):
        return 1.0
    return float(np.nextafter(far[int(ALLOWED * len(far))], np.inf))


def judge(pairs: pd.DataFrame, limits: Limits, cosine: float) -> pd.DataFrame:
    """The pairs with the grounds on which each is a near-duplicate."""
    place = pairs["same_author"] & (pairs["distance_km"] * 1000 <= limits.spot_m)
    return pairs.assign(
        by_features=pairs["cosine"] >= cosine,
        by_hash=pairs["hamming"] <= limits.hamming_bits,
        by_place=place if limits.spot_m > 0 else np.zeros(len(pairs), dtype=bool),
    )


class _Hashes:
    """Hashes of some rows of two sides; a row is found by its number."""

    def __init__(self, own: Any, others: Any, query: NDArray[np.int64], row: NDArray[np.int64]) -> None:
        (self._own, self._own_there), (self._others, self._others_there) = own, others
        self._query, self._row = query, row  # sorted numbers of the hashed rows

    @classmethod
    def of_pairs(
        cls, queries: Pictures, gallery: Pictures, query: NDArray[np.int64], row: NDArray[np.int64]
    ) -> _Hashes:
        query, row = np.unique(query), np.unique(row)
        own, others = current_processes().by_first(
            lambda: (perceptual.hash_pictures(queries, query), perceptual.hash_pictures(gallery, row))
        )
        return cls(own, others, query, row)

    @classmethod
    def of_all(cls, queries: Side, gallery: Side, folder: Path) -> _Hashes:
        asked, searched = queries.pictures, gallery.pictures
        assert asked is not None
        assert searched is not None
        every = np.arange(len(queries.store))
        ids = gallery.store.table["id"].to_pylist()
        processes = current_processes()
        others = processes.in_turn(lambda first: perceptual.hash_all(folder, ids, searched))
        own = processes.by_first(lambda: perceptual.hash_pictures(asked, every))
        return cls(own, others, every, np.arange(len(gallery.store)))

    def nearest(self, device: str) -> pd.DataFrame:
        """The rows with the fewest differing bits, by the exact search."""
        import torch

        known, readable = np.flatnonzero(self._own_there), np.flatnonzero(self._others_there)
        if not len(known) or not len(readable):
            return _pairs(np.empty(0, np.int64), np.empty(0, np.int64))
        vectors = torch.from_numpy(perceptual.as_vectors(self._others[readable])).to(device)
        asked = torch.from_numpy(perceptual.as_vectors(self._own[known])).to(device)
        hits = search(Gallery.of({"hash": vectors}), {"hash": asked}, {"hash": NEIGHBOURS})["hash"]
        listed = _listed(hits.rows.cpu().numpy())
        return _pairs(known[listed["query"]], readable[listed["row"]])

    def differing(self, query: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.float64]:
        own, other = np.searchsorted(self._query, query), np.searchsorted(self._row, row)
        bits = perceptual.hamming(self._own[own], self._others[other]).astype(np.float64)
        bits[~(self._own_there[own] & self._others_there[other])] = np.nan
        return bits


def _pairs(query: NDArray[np.int64], row: NDArray[np.int64]) -> pd.DataFrame:
    return pd.DataFrame({"query": query, "row": row})


def _listed(rows: NDArray[np.int64]) -> pd.DataFrame:
    """The pairs of a search's answer, `(n, k)` with -1 as padding."""
    query, slot = np.nonzero(rows >= 0)
    return _pairs(query, rows[query, slot])


def _same_spot(
    author: LabelIndex, token: NDArray[np.uint64], places: tuple[Any, Any], spot_m: float
) -> pd.DataFrame:
    """Pairs by one photographer no further apart than that."""
    query, row = author.pairs(token)
    near = geodesic_km(places[0][query], places[1][row]) * 1000 <= spot_m
    return _pairs(query[near], row[near])


def _cosines(own: Any, others: Gallery, query: NDArray[np.int64], row: NDArray[np.int64]) -> Any:
    """Inner products of pairs in float64, rounded as the search rounds them."""
    import torch

    cosines = np.empty(len(query))
    for start in range(0, len(query), _CHUNK_ROWS):
        some = slice(start, start + _CHUNK_ROWS)
        left = own.index_select(0, torch.from_numpy(query[some]).to(own.device)).double()
        right = others.vectors("raw", torch.from_numpy(row[some]).to(own.device)).double()
        cosines[some] = (left * right).sum(dim=1).float().cpu().numpy()
    return cosines


def _are_equal(queries: FeatureStore, gallery: FeatureStore, pairs: pd.DataFrame) -> NDArray[np.bool_]:
    equal = pairs["cosine"].to_numpy() > _ALMOST_EQUAL
    query, row = pairs["query"].to_numpy()[equal], pairs["row"].to_numpy()[equal]
    equal[equal] = (queries.matrix[query] == gallery.matrix[row]).all(axis=1)
    return equal


def _far_cosine(hits: Any, places: tuple[Any, Any]) -> NDArray[np.float64]:
    """Cosine of the most similar far row; where all of those found lie near, that of the last of them.

    The rest of the gallery is less similar than the last one found, so this is never too low.
    """
    rows, scores = hits.rows.cpu().numpy(), hits.scores.double().cpu().numpy()  # (n, k)
    query, slot = np.nonzero(rows >= 0)
    far = np.zeros(rows.shape, dtype=bool)
    far[query, slot] = geodesic_km(places[0][query], places[1][rows[query, slot]]) >= FAR_KM
    first = np.where(far.any(axis=1), far.argmax(axis=1), (rows >= 0).sum(axis=1) - 1)
    chosen: NDArray[np.float64] = scores[np.arange(len(rows)), first]
    return chosen
