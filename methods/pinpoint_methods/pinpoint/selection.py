"""Which of the rows that the searches found become candidates: quotas of the channels, or the best of a pool.

A pool is all that the channels found for a query, many rows of each; of those the rows of the highest fused
score are taken. A similarity then counts as its standard score among all rows found for the query, in every
gallery; with several embedders as the mean of the standard scores by each, so that one whose cosines spread
widely weighs no more than the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..common.candidates import (
    CHANNELS,
    FARTHEST,
    CandidateBatch,
    Slots,
    between_km,
    chord_km,
    features_of,
    found_by,
    hand_features,
    ranks_in_words,
    slices,
)
from .config import PinpointConfig
from .gallery import SourceGallery

if TYPE_CHECKING:
    from numpy.typing import NDArray

RowsByChannel = Mapping[str, "NDArray[np.integer[Any]]"]
"""Rows of one gallery by channel, `(queries, k)`, best first, -1 where none is left."""

LOWEST = -8.0
"""A standard score that no candidate has: it stands where there is none."""

_TINY = 1e-6
"""Smallest deviation: rows that are all alike get scores of 0."""

_PIECE_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 28}
"""Numbers of a pool's vectors at hand at once."""


def quotas(config: PinpointConfig) -> dict[str, int]:
    """Candidates of each channel in each gallery."""
    return {channel: config.quota(channel) for channel in CHANNELS}


def depths(config: PinpointConfig) -> dict[str, int]:
    """Rows of each channel in each gallery that candidates are chosen from; 0 where a channel gives none."""
    return {channel: quota and (config.candidate_pool or quota) for channel, quota in quotas(config).items()}


def slots_of(config: PinpointConfig, sources: Sequence[str]) -> Slots:
    """The slots of a list; of a pool the number and the gallery alone are meant."""
    per_gallery = [
        (channel, rank)
        for channel, name in enumerate(CHANNELS)
        for rank in range(quotas(config)[name])
    ]  # fmt: skip
    listed = [(gallery, channel, rank) for gallery in range(len(sources)) for channel, rank in per_gallery]
    gallery, channel, rank = torch.tensor(listed).T
    return Slots(tuple(sources), gallery, channel, rank)


def taken(galleries: Sequence[SourceGallery], what: str, rows: Sequence[Tensor]) -> list[Tensor]:
    """Vectors of rows of each gallery, `(n, c, ..., width)`, where it lies; row 0 stands in for none."""
    each = []
    for gallery, row in zip(galleries, rows, strict=True):
        matrix = gallery.gathered(what)
        # Several times as fast as indexing with brackets, for the same rows.
        found = matrix.index_select(0, row.clamp(min=0).flatten().to(matrix.device))
        each.append(found.view(*row.shape, matrix.shape[1]))
    return each


class Selection(ABC):
    """How candidates are chosen among what the searches found in the galleries, and what is known of that."""

    def __init__(self, galleries: Sequence[SourceGallery], config: PinpointConfig, device: str) -> None:
        self.galleries, self.config, self.device = galleries, config, device
        self.slots = slots_of(config, [gallery.source for gallery in galleries])

    @abstractmethod
    def candidates(
        self, found: Sequence[RowsByChannel], queries: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows `(n, c)`, -1 for none; which of them count; their similarity by channel, `(n, c, 3)`.

        `queries` are the queries' vectors by channel, float32.
        """

    @abstractmethod
    def features(self, lists: CandidateBatch, found: Sequence[RowsByChannel]) -> Tensor:
        """The hand-made features of the lists, `(n, c, f)`."""

    @abstractmethod
    def found_by(
        self, lists: CandidateBatch, found: Sequence[RowsByChannel], chosen: Tensor
    ) -> NDArray[np.str_]:
        """Which searches found the candidates in the slots `chosen` `(n, k)`, and at which rank, in words."""


class Quotas(Selection):
    """The best of each channel in a fixed order; a row found twice fills one slot, the other stays empty."""

    def candidates(
        self, found: Sequence[RowsByChannel], queries: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted = quotas(self.config)
        each = [np.concatenate([rows[c][:, : wanted[c]] for c in CHANNELS if wanted[c]], 1) for rows in found]
        row = torch.from_numpy(np.concatenate(each, axis=1).astype(np.int64)).to(self.device)
        valid = (row >= 0) & ~self._same(row).tril(-1).any(dim=2)
        parts = torch.split(row, self.slots.per_gallery, dim=1)
        scores = [
            torch.einsum("ne,nce->nc", vectors, _joined(taken(self.galleries, channel, parts), self.device))
            for channel, vectors in queries.items()
        ]
        return row, valid, torch.stack(scores, dim=2)

    def features(self, lists: CandidateBatch, found: Sequence[RowsByChannel]) -> Tensor:
        return hand_features(lists, self.slots, self._same(lists.row))

    def found_by(
        self, lists: CandidateBatch, found: Sequence[RowsByChannel], chosen: Tensor
    ) -> NDArray[np.str_]:
        return found_by(lists, self.slots, chosen)

    def _same(self, row: Tensor) -> Tensor:
        """Which slots hold one row of one gallery, `(n, c, c)`."""
        gallery = self.slots.gallery.to(row.device)
        return (row[:, :, None] == row[:, None]) & (gallery[:, None] == gallery)


class Pool(Selection):
    """Of all rows that the searches found in a gallery, those of the highest fused score."""

    def __init__(
        self,
        galleries: Sequence[SourceGallery],
        config: PinpointConfig,
        device: str,
        hubness: Sequence[Tensor] = (),
    ) -> None:
        """`hubness` `(rows, 3)` of each gallery, where CSLS is on, is halved and taken from similarities."""
        super().__init__(galleries, config, device)
        self.hubness = [values.to(device) for values in hubness]
        self.depth = config.candidate_pool
        self._searched = [channel for channel, quota in quotas(config).items() if quota]

    def candidates(
        self, found: Sequence[RowsByChannel], queries: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        pools = [self._rows(rows) for rows in found]
        count, wide = len(pools[0]), sum(pool.shape[1] for pool in pools)
        width = max(vectors.shape[1] for vectors in queries.values())
        step = max(1, _PIECE_ELEMENTS[pools[0].device.type] // (wide * width))
        scores = torch.cat([self._scores(pools, queries, piece) for piece in slices(count, step)])
        each = torch.split(scores, [pool.shape[1] for pool in pools], dim=1)
        chosen = [self._best(pool, told) for pool, told in zip(pools, each, strict=True)]
        row, told = (torch.cat(parts, dim=1) for parts in zip(*chosen, strict=True))
        return row, row >= 0, told

    def _rows(self, found: RowsByChannel) -> Tensor:
        """The rows found in one gallery, each once, ascending: `(n, p)`, -1 for none."""
        listed = np.concatenate([found[channel][:, : self.depth] for channel in self._searched], axis=1)
        rows = torch.from_numpy(listed.astype(np.int64)).to(self.device).sort(dim=1).values
        again = torch.zeros_like(rows, dtype=torch.bool)
        again[:, 1:] = rows[:, 1:] == rows[:, :-1]
        return rows.masked_fill(again, -1)

    def _scores(self, pools: Sequence[Tensor], queries: Mapping[str, Tensor], piece: slice) -> Tensor:
        """Standard scores of some queries' pools, `(n, p, 3)`."""
        rows = [pool[piece] for pool in pools]
        valid = torch.cat(rows, dim=1) >= 0
        scores = []
        for number, (channel, vectors) in enumerate(queries.items()):
            members = 1 if channel == "raw" else self.config.embedders
            asking = vectors[piece].view(len(valid), members, -1)  # (n, m, e)
            rows_of = _joined(taken(self.galleries, channel, rows), self.device)
            each = torch.einsum("nme,npme->npm", asking, rows_of.view(*valid.shape, members, -1))
            if self.hubness:
                parts = zip(self.hubness, rows, strict=True)
                near = torch.cat([values[row.clamp(min=0), number] for values, row in parts], dim=1)
                each = each - near[..., None] / (2 * members)
            scores.append(standard_scores(each, valid))
        return torch.stack(scores, dim=2)

    def _best(self, pool: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and scores of the highest fused score, best first; of equal ones the lower row."""
        fused = retrieval_sum(scores, self.config).masked_fill(pool < 0, -torch.inf)
        order = fused.argsort(dim=1, descending=True, stable=True)[:, : self.slots.per_gallery]
        return pool.gather(1, order), scores.gather(1, order[..., None].expand(-1, -1, scores.shape[2]))

    def features(self, lists: CandidateBatch, found: Sequence[RowsByChannel]) -> Tensor:
        ranks = self._ranks(lists.row, found)
        inverse = torch.where(ranks > 0, 1.0 / ranks.clamp(min=1), 0.0)
        away = torch.zeros(*lists.valid.shape, len(found), len(CHANNELS), device=self.device)
        for number, (gallery, rows) in enumerate(zip(self.galleries, found, strict=True)):
            for channel in self._searched:
                first = torch.from_numpy(rows[channel][:, :1].astype(np.int64)).to(self.device)
                (place,) = taken([gallery], "xyz", [first])
                km = chord_km(lists.xyz, place.to(self.device))
                log_km = torch.where(first >= 0, torch.log1p(km), FARTHEST)
                away[:, :, number, CHANNELS.index(channel)] = log_km
        gallery_of_slot = self.slots.gallery.to(lists.row.device)
        return features_of(lists, between_km(lists), gallery_of_slot, inverse, away, LOWEST)

    def found_by(
        self, lists: CandidateBatch, found: Sequence[RowsByChannel], chosen: Tensor
    ) -> NDArray[np.str_]:
        ranks = self._ranks(lists.row, found)
        return ranks_in_words(ranks.gather(1, chosen[..., None].expand(-1, -1, len(CHANNELS))))

    def _ranks(self, row: Tensor, found: Sequence[RowsByChannel]) -> Tensor:
        """The rank from 1 that each channel gives the rows, 0 for none: `(n, c, 3)`."""
        ranks = torch.zeros(*row.shape, len(CHANNELS), dtype=torch.int64, device=row.device)
        parts = zip(
            *(torch.split(t, self.slots.per_gallery, dim=1) for t in (row, ranks)), found, strict=True
        )
        for mine, told, rows in parts:
            for channel in self._searched:
                listed = torch.from_numpy(rows[channel][:, : self.depth].astype(np.int64)).to(row.device)
                same = (mine[:, :, None] == listed[:, None]) & (mine >= 0)[..., None]  # (n, c, k)
                rank = torch.where(same.any(dim=2), same.int().argmax(dim=2) + 1, 0)
                told[..., CHANNELS.index(channel)] = rank
        return ranks


def standard_scores(similar: Tensor, valid: Tensor) -> Tensor:
    """Similarities `(n, p, embedders)` by their mean and deviation over a query's valid rows: `(n, p)`.

    0 where a row is not valid.
    """
    here = valid[..., None]
    count = here.sum(dim=1).clamp(min=1)
    mean = (similar * here).sum(dim=1) / count
    off = (similar - mean[:, None]) * here
    deviation = (off.square().sum(dim=1) / count).sqrt().clamp(min=_TINY)
    scores: Tensor = (off / deviation[:, None]).mean(dim=2)
    return scores


def retrieval_sum(similar: Tensor, config: PinpointConfig) -> Tensor:
    """What the retrieval says of candidates: the weighted sum of the channels, `(..., 3)` to `(...)`."""
    image, raw, location = similar.unbind(dim=-1)
    return image + config.retrieval_location * location + config.retrieval_raw * raw


def _joined(parts: Sequence[Tensor], device: str) -> Tensor:
    return torch.cat([part.to(device) for part in parts], dim=1).float()
