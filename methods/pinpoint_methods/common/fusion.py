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

if TYPE_CHECKING:
    from pinpoint_harness.features import Neighbours, PhotoGallery
    from pinpoint_harness.types import Floats

_APART = "\x1f"
"""Between the names of a dataset and a photo; numpy cuts a NUL off the end of a text."""

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
    """The best of each query, best first: keys `(n, pool)` (-1 for none), scores and places, NaN for none."""

    key: NDArray[np.int64]
    score: Floats
    coordinates: Floats
    source: NDArray[np.str_] | None = None
    photo_id: NDArray[np.str_] | None = None

    def answer(self, params: FusionParams) -> Predictions:
        """The consensus of each query's photos; the best one's score is the confidence."""
        weight = np.maximum(np.nan_to_num(self.score), 0) ** params.power
        kept = slice(None, params.candidates)
        return Predictions(
            decode(params.decoding, self.coordinates, np.where(self.key >= 0, weight, 0)),
            confidence=self.score[:, 0],
            candidates=Candidates(
                self.coordinates[:, kept],
                source=None if self.source is None else self.source[:, kept],
                photo_id=None if self.photo_id is None else self.photo_id[:, kept],
            ),
        )


def standardised(cosine: Floats) -> Floats:
    """One query's similarities `(k,)` less their mean, by their standard deviation; NaN is not there."""
    spread: Floats = (cosine - np.nanmean(cosine)) / (np.nanstd(cosine) + _TINY)
    return spread


def fuse(found: Sequence[Neighbours], key: Sequence[NDArray[np.int64]], pool: int) -> Fused:
    """The photos that backbones found, by the sum of their standardised similarities.

    `key` `(n, k)` names a photo alike for all backbones. A photo that a backbone did not find gets nothing
    from it. Of equal sums the photo that was seen first, by backbone and then by rank, comes first.
    """
    count = len(key[0])
    keys = np.full((count, pool), -1, np.int64)
    scores, places = np.full((count, pool), np.nan), np.full((count, pool, 2), np.nan)
    for query in range(count):
        total: dict[int, float] = {}
        place: dict[int, Any] = {}
        for one, names in zip(found, key, strict=True):
            there = one.row[query] >= 0
            if not there.any():
                continue
            score = standardised(one.cosine[query][there]).tolist()
            seen = zip(names[query][there].tolist(), score, one.coordinates[query][there], strict=True)
            for name, value, where in seen:
                total[name] = total.get(name, 0.0) + value
                place.setdefault(name, where)
        best = sorted(total, key=lambda name: -total[name])[:pool]  # stable: the first seen of equals
        keys[query, : len(best)] = best
        scores[query, : len(best)] = [total[name] for name in best]
        if best:
            places[query, : len(best)] = [place[name] for name in best]
    return Fused(keys, scores, places)


def fuse_photos(found: Sequence[Neighbours], galleries: Sequence[PhotoGallery], pool: int) -> Fused:
    """As `fuse`, of galleries of the same photos: one is known by its dataset and id, whatever its row."""
    names = [gallery.photos(one.row) for gallery, one in zip(galleries, found, strict=True)]
    spelled = [
        np.char.add(np.char.add(source.astype(str), _APART), photo.astype(str)) for source, photo in names
    ]
    known, number = np.unique(np.concatenate([some.ravel() for some in spelled]), return_inverse=True)
    sizes = np.cumsum([some.size for some in spelled])[:-1]
    keys = [part.reshape(some.shape) for part, some in zip(np.split(number, sizes), spelled, strict=True)]
    fused = fuse(found, keys, pool)
    label = np.where(fused.key >= 0, known[fused.key], _APART)
    parts = np.array([text.split(_APART, 1) for text in label.ravel()]).reshape(*label.shape, 2)
    return replace(fused, source=parts[..., 0], photo_id=parts[..., 1])
