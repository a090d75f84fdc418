"""Candidate lists: what the searches find for a query, a slot each, and what is known of every candidate.

Slots stand in a fixed order, so that a slot's number says where it comes from: the instance's own
gallery first, in each the channels in the order of `CHANNELS`, in each the best first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinpoint_harness.types import RADII_KM

EARTH_KM = 6371.0088
"""Mean radius: distances here only order candidates and count them within a radius."""

FARTHEST = float(np.log1p(np.pi * EARTH_KM))
"""Log distance to a first candidate that does not exist."""


_PAIRS = 1 << 23
"""Pairs of candidates compared at once: some 250 MB with all that is computed of a pair."""

CHANNELS = ("image", "raw", "location")


@dataclass(frozen=True)
class Slots:
    """Where each of a list's slots comes from."""

    sources: tuple[str, ...]  # the galleries, the instance's own first
    gallery: Tensor  # (c,), number of the gallery
    channel: Tensor  # (c,), number of the channel
    rank: Tensor  # (c,), 0 for the best

    def __len__(self) -> int:
        return len(self.rank)

    @property
    def per_gallery(self) -> int:
        """Slots of each gallery; they lie together."""
        return len(self) // len(self.sources)


@dataclass(frozen=True)
class CandidateBatch:
    """The candidates of n queries: all small things that are known of them."""

    query: Tensor  # (n, e), unit image embeddings, float32
    row: Tensor  # (n, c), of the slot's gallery, -1 for none
    valid: Tensor  # (n, c), false for none and for what an earlier slot holds
    scores: Tensor  # (n, c, 3), similarity by channel, float32
    xyz: Tensor  # (n, c, 3), unit vectors, float32
    support: Tensor  # (n, c, m), rows of the support's gallery, -1 for none
    support_facts: Tensor  # (n, c, 3), highest and mean similarity of the support, log of how much there is
    features: Tensor  # (n, c, f), hand-made
    short: int = 0  # candidates whose table of support was too short to fill what masking took

    def __len__(self) -> int:
        return len(self.query)

    def take(self, rows: Tensor | slice) -> CandidateBatch:
        """Some of the queries."""
        return replace(
            self, **{f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "short"}
        )


def join_batches(parts: Sequence[CandidateBatch]) -> CandidateBatch:
    """The lists of all queries, one part after the other."""
    tensors: dict[str, Any] = {
        f.name: torch.cat([getattr(part, f.name) for part in parts])
        for f in fields(CandidateBatch)
        if f.name != "short"
    }
    return CandidateBatch(**tensors, short=sum(part.short for part in parts))


def slices(count: int, size: int) -> Iterator[slice]:
    """Consecutive pieces of so many queries, `size` each but the last."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def queries_at_once(candidates: int) -> int:
    """Queries whose candidates are compared with one another in one piece: a power of two up to 512.

    Lists as long as a pool are cut finer, so that what they take of memory is bounded.
    """
    fit = _PAIRS // max(1, candidates * candidates)
    return min(512, 1 << max(0, fit.bit_length() - 1))


def chord_km(a: Tensor, b: Tensor) -> Tensor:
    """Great-circle distance of unit vectors `(..., 3)` from their difference: exact where they are close."""
    return arc_km((a - b).norm(dim=-1))


def between_km(lists: CandidateBatch) -> Tensor:
    """Distances between the candidates of each list, `(n, c, c)`, as `chord_km` measures them."""
    return arc_km(torch.cdist(lists.xyz, lists.xyz, compute_mode="donot_use_mm_for_euclid_dist"))


def arc_km(chord: Tensor) -> Tensor:
    """Great-circle distance of unit vectors so far apart in a straight line."""
    return 2 * EARTH_KM * torch.asin(chord.clamp(max=2.0) / 2)


def share_of_radii(km: Tensor) -> Tensor:
    """Of the five radii, the share that a distance stays within: what the field's tables count."""
    return torch.stack([km < radius for radius in RADII_KM]).float().mean(dim=0)


def found_by(lists: CandidateBatch, slots: Slots, chosen: Tensor) -> NDArray[np.str_]:
    """Which searches found the candidates in the slots `chosen` `(n, k)`, and at which rank, in words.

    `(n, k)` of `image 1, location 3`: a row that several channels of its gallery found stands once in a list.
    """
    gallery, channel, rank = (t.to(chosen.device) for t in (slots.gallery, slots.channel, slots.rank))
    row = lists.row.gather(1, chosen)  # (n, k)
    same = (
        (lists.row[:, None] == row[..., None])
        & (gallery == gallery[chosen][..., None])
        & (row >= 0)[..., None]
    )
    ranks = [
        torch.where(same & (channel == number), rank + 1, 0).amax(dim=2) for number in range(len(CHANNELS))
    ]
    return ranks_in_words(torch.stack(ranks, dim=2))


def ranks_in_words(ranks: Tensor) -> NDArray[np.str_]:
    """Ranks in each channel from 1, 0 where it did not find the row, `(n, k, channels)` to `(n, k)`."""
    # Few combinations among many candidates: words are made once for each.
    each = ranks.reshape(-1, len(CHANNELS)).cpu().numpy()
    kinds, at = np.unique(each, axis=0, return_inverse=True)
    words = [
        ", ".join(f"{name} {place}" for name, place in zip(CHANNELS, kind, strict=True) if place)
        for kind in kinds.tolist()
    ]
    named: NDArray[np.str_] = np.array(words, dtype=np.str_)[at.reshape(ranks.shape[:2])]
    return named


def feature_count(galleries: int) -> int:
    """Width of `hand_features`."""
    return galleries * (2 * len(CHANNELS) + 1) + 2


def hand_features(lists: CandidateBatch, slots: Slots, same: Tensor) -> Tensor:
    """What a person would look at, `(n, c, f)`: where a candidate ranks and who agrees with it.

    For each gallery: the inverse rank in each channel; the best learned similarity within 1 km
    relative to the query's best; the log distance to each channel's first. Then the log number of
    candidates within 1 and 25 km. `same` `(n, c, c)` says which slots hold one row.
    """
    km = between_km(lists)
    channel, rank = (t.to(km.device) for t in (slots.channel, slots.rank))
    given = same * (1.0 / (1.0 + rank))  # (n, c, c): the inverse rank that a slot gives its row
    inverse = torch.stack([(given * (channel == kind)).amax(dim=2) for kind in range(len(CHANNELS))], dim=2)
    away = torch.zeros(*lists.valid.shape, len(slots.sources), len(CHANNELS), device=km.device)
    for number in range(len(slots.sources)):
        for kind in range(len(CHANNELS)):
            # Asked on the host: each look at a GPU waits for all that was begun there.
            (places,) = torch.nonzero((slots.gallery == number) & (slots.channel == kind), as_tuple=True)
            if len(places):  # a channel that was dropped says nothing
                first = int(places[0])
                there = lists.row[:, first, None] >= 0
                away[:, :, number, kind] = torch.where(there, torch.log1p(km[:, :, first]), FARTHEST)
    return features_of(lists, km, slots.gallery.to(km.device), inverse, away)


def features_of(
    lists: CandidateBatch, km: Tensor, gallery: Tensor, inverse: Tensor, away: Tensor, lowest: float = -1.0
) -> Tensor:
    """Those features from what the searches say, `(n, c, f)`.

    `km` `(n, c, c)` are distances between candidates, `gallery` `(c,)` is each slot's; `inverse`
    `(n, c, channels)` one over the rank, `away` `(n, c, galleries, channels)` the log distance to the first
    of a channel, `lowest` a similarity that is none.
    """
    image = lists.scores[..., 0]
    found: list[Tensor] = []
    for number in range(away.shape[2]):
        mine = gallery == number  # (c,)
        best = image.masked_fill(~(lists.valid & mine), lowest)  # (n, c)
        near = best[:, None].masked_fill(km >= RADII_KM[0], lowest).amax(dim=2)
        found.append(near - best.amax(dim=1, keepdim=True))
        for kind in range(len(CHANNELS)):
            found += [inverse[..., kind] * mine, away[:, :, number, kind]]
    others = lists.valid[:, None].float()
    found += [torch.log1p(((km < radius) * others).sum(dim=2)) for radius in RADII_KM[:2]]
    return torch.stack(found, dim=2)
