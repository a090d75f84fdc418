"""What a search answers with, and how answers over parts of a gallery become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import DataError
from . import exact

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Hits:
    """Nearest rows of each query in one channel, best first, padded where nothing is left.

    Scores are correctly rounded inner products; equal scores stand in the order of the ranks.
    """

    rows: Tensor  # (queries, k), int64, -1 as padding
    scores: Tensor  # (queries, k), float32, -inf as padding
    ranks: Tensor  # (queries, k), int64, -1 as padding
    counts: Tensor  # (queries,), int64

    @classmethod
    def of(cls, keys: Tensor, rows: Tensor, counts: Tensor) -> Hits:
        valid = rows >= 0
        scores = torch.where(valid, exact.scores_of(keys), -torch.inf)
        return cls(rows, scores, torch.where(valid, exact.ranks_of_keys(keys), -1), counts)


@dataclass(frozen=True)
class Statistics:
    """How one channel was searched: nothing in it changes the answer.

    `uncertified` queries had too many rows within the first kernel's error and were searched again
    in float32; `rescored` counts exact scores.
    """

    kernel: str
    queries: int
    uncertified: int
    rescored: int


@dataclass(frozen=True)
class SearchResult:
    """Hits and statistics by channel; `result["image"]` gives the hits of one."""

    hits: Mapping[str, Hits]
    statistics: Mapping[str, Statistics]

    def __getitem__(self, channel: str) -> Hits:
        return self.hits[channel]


def merge(parts: Sequence[SearchResult], first_rows: Sequence[int]) -> SearchResult:
    """One answer from answers over consecutive parts of a gallery, by (score, rank).

    `first_rows[i]` is the row of the whole gallery at which part i starts; the parts must carry
    ranks of the whole gallery, or their ties could not be compared.
    """
    if not parts or len(parts) != len(first_rows) or len({frozenset(part.hits) for part in parts}) > 1:
        raise DataError("parts to merge have the same channels and one first row each")
    hits = {name: _merged([part[name] for part in parts], first_rows) for name in parts[0].hits}
    statistics = {
        name: Statistics(
            kernel=parts[0].statistics[name].kernel,
            queries=parts[0].statistics[name].queries,
            uncertified=sum(part.statistics[name].uncertified for part in parts),
            rescored=sum(part.statistics[name].rescored for part in parts),
        )
        for name in parts[0].statistics
    }
    return SearchResult(hits, statistics)


def _merged(parts: Sequence[Hits], first_rows: Sequence[int]) -> Hits:
    shape = (parts[0].rows.shape[0], parts[0].rows.shape[1])
    rows = torch.cat(
        [
            torch.where(part.rows >= 0, part.rows + first, -1)
            for part, first in zip(parts, first_rows, strict=True)
        ],
        dim=1,
    )
    ranks = torch.cat([part.ranks for part in parts], dim=1)
    scores = torch.cat([part.scores for part in parts], dim=1)
    query, slot = torch.nonzero(rows >= 0, as_tuple=True)
    if len(torch.unique(query * (1 << 32) + ranks[query, slot])) < len(query):
        raise DataError(
            "parts of a gallery carry the ranks of the whole",
            found="one rank in two parts",
            fix="rank the ids of all parts together, then cut the ranks",
        )
    key = exact.order_key(scores[query, slot], ranks[query, slot])
    return Hits.of(*exact.topk_per_query(query, key, rows[query, slot], shape))
