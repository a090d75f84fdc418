"""What a search answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

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
    counts: Tensor  # (queries,), int64

    @classmethod
    def of(cls, keys: Tensor, rows: Tensor, counts: Tensor) -> Hits:
        return cls(rows, torch.where(rows >= 0, exact.scores_of(keys), -torch.inf), counts)


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
