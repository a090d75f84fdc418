"""Neighbours by several backbones as one ranked list: standardised similarities, summed (Chipoint 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.params import param
from pinpoint_harness.types import Candidates, Predictions

from .consensus import RULES, decode
from .equal_lists import equally_long

if TYPE_CHECKING:
    from pinpoint_harness.features import Neighbours, PhotoGallery
    from pinpoint_harness.types import Floats

_TINY = 1e-9
"""Added to the standard deviation, so that equal similarities standardise to 0."""


@dataclass(frozen=True)
class FusionParams:
    top: int = param(200, "nearest photos by each backbone", minimum=1, maximum=4096)
    pool: int = param(64, "best of all that are kept, and make the answer", minimum=1, maximum=4096)
    decoding: str = param("cluster", "how they make it", choices=tuple(RULES))
    power: float = param(4.0, "a photo weighs its score, where positive, to this power", minimum=0)
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


@dataclass(frozen=True)
class Fused:
    """The best photos of each query, best first.

    `slot` `(n, pool)` is where one was seen first in the lists of all backbones, one after the other, and
    -1 for none; scores `(n, pool)` and places `(n, pool, 2)` are NaN there.
    """

    slot: NDArray[np.int64]
    score: Floats
    coordinates: Floats
    source: NDArray[np.str_] | None = None
    photo_id: NDArray[np.str_] | None = None

    def answer(self, params: FusionParams) -> Predictions:
        """The consensus of each query's photos; the best one's score is the confidence."""
        weight = np.maximum(np.nan_to_num(self.score), 0) ** params.power
        kept = slice(None, params.candidates)
        return Predictions(
            decode(params.decoding, self.coordinates, np.where(self.slot >= 0, weight, 0)),
            confidence=self.score[:, 0],
            candidates=Candidates(
                self.coordinates[:, kept],
                source=None if self.source is None else self.source[:, kept],
                photo_id=None if self.photo_id is None else self.photo_id[:, kept],
            ),
        )


def standardised(cosine: Floats) -> Floats:
    """Similarities of queries `(..., k)` less their mean, by their standard deviation."""
    mean, deviation = cosine.mean(axis=-1, keepdims=True), cosine.std(axis=-1, keepdims=True)
    spread: Floats = (cosine - mean) / (deviation + _TINY)
    return spread


def _standard_scores(found: Neighbours) -> Floats:
    """Of what one backbone found, `(n, k)`."""
    valid = found.row >= 0
    scores = np.full(valid.shape, np.nan)
    for count, some in equally_long(valid.sum(axis=1)):
        query, slot = np.nonzero(valid[some])
        cosine = found.cosine[some[query], slot].reshape(-1, count)
        scores[some[query], slot] = standardised(cosine).ravel()
    return scores


def fuse(found: Sequence[Neighbours], key: Sequence[NDArray[Any]], pool: int) -> Fused:
    """The photos that backbones found, by the sum of their standardised similarities.

    `key` `(n, k)` names a photo alike for all backbones. A photo that a backbone did not find gets nothing
    from it. Of equal sums the photo that was seen first, by backbone and then by rank, comes first.
    """
    query, slot = np.nonzero(np.concatenate([one.row for one in found], axis=1) >= 0)  # as they are seen
    score = np.concatenate([_standard_scores(one) for one in found], axis=1)[query, slot]
    places = np.concatenate([one.coordinates for one in found], axis=1)
    known, number = np.unique(np.concatenate(key, axis=1)[query, slot], return_inverse=True)
    _, seen, photo = np.unique(query * len(known) + number, return_index=True, return_inverse=True)
    total = np.bincount(photo, weights=score, minlength=len(seen))  # added up backbone after backbone
    best = np.lexsort((seen, -total, query[seen]))
    asking = query[seen[best]]
    rank = np.arange(len(best)) - np.searchsorted(asking, asking)
    best, at = best[rank < pool], (asking[rank < pool], rank[rank < pool])
    slots, scores = np.full((len(places), pool), -1), np.full((len(places), pool), np.nan)
    slots[at], scores[at] = slot[seen[best]], total[best]
    listed = np.take_along_axis(places, np.maximum(slots, 0)[..., None], axis=1)
    return Fused(slots, scores, np.where(slots[..., None] >= 0, listed, np.nan))


def fuse_photos(found: Sequence[Neighbours], galleries: Sequence[PhotoGallery], pool: int) -> Fused:
    """As `fuse`, of galleries of the same photos: one is known by its dataset and id, whatever its row."""
    keys = [gallery.photo_keys(one.row) for gallery, one in zip(galleries, found, strict=True)]
    fused = fuse(found, keys, pool)
    lists = np.cumsum([0, *(one.row.shape[1] for one in found)])
    source, photo_id = np.full((2, *fused.slot.shape), "", dtype=np.str_)
    for number, (gallery, one) in enumerate(zip(galleries, found, strict=True)):
        mine = (fused.slot >= lists[number]) & (fused.slot < lists[number + 1])
        at = np.where(mine, fused.slot - lists[number], 0)
        named = gallery.photos(np.where(mine, np.take_along_axis(one.row, at, axis=1), -1))
        source, photo_id = (
            np.where(mine, new, old) for new, old in zip(named, (source, photo_id), strict=True)
        )
    return replace(fused, source=source, photo_id=photo_id)
