"""Scores that are exact, and the order they give.

Every fp16 value is a multiple of 2^-24, so a product is a multiple of 2^-48 with at most 22
significant bits: exact in float32. Sums of such products, taken in float64, are exact as long as
they stay below 2^5, which Cauchy-Schwarz promises for normalised rows. Longer rows are summed in
three exact parts, which hold whatever fp16 holds. Either way the result is the correctly rounded inner
product, whatever the order of summation: no batch, neighbour, thread, shard or device can change a bit
of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .gallery import Channel

LARGEST_WIDTH = 1 << 16
"""Products are below 2^32, so as many multiples of 2^-5 have a sum that float64 holds."""

_PLAIN_LIMIT = 2.0**5
_COARSE, _MIDDLE = 1.5 * 2.0**47, 1.5 * 2.0**26
"""Adding and subtracting one rounds a float64 to a multiple of 2^-5, of 2^-26."""

_CHUNK_ELEMENTS = {"cpu": 1 << 17, "cuda": 1 << 24}
_LOW_WORD = 0xFFFFFFFF


def exact_scores(channel: Channel, queries: Tensor, query: Tensor, row: Tensor) -> Tensor:
    """Inner products of (query, row) pairs, correctly rounded to float64 and then to float32.

    `queries` is `(n, width)` float32 with fp16 values; the result is float32 without -0.0.
    """
    reach = channel.largest_norm * _longest(queries)
    scores = torch.empty(len(query), dtype=torch.float32, device=queries.device)
    step = max(1, _CHUNK_ELEMENTS[queries.device.type] // channel.width)
    for start in range(0, len(query), step):
        piece = slice(start, start + step)
        # Twice as fast as indexing with brackets, for the same rows.
        products = channel.matrix.index_select(0, row[piece]).float()
        products *= queries.index_select(0, query[piece])
        scores[piece] = _exact_sum(products, reach)
    return scores + 0.0


def _longest(queries: Tensor) -> float:
    return float(torch.linalg.vector_norm(queries, dim=1).max()) * 1.001


def _exact_sum(products: Tensor, reach: float) -> Tensor:
    if reach < _PLAIN_LIMIT:
        return products.sum(dim=1, dtype=torch.float64).float()
    wide = products.double()
    coarse = (wide + _COARSE) - _COARSE
    rest = wide - coarse  # up to 2^-6
    middle = (rest + _MIDDLE) - _MIDDLE
    fine = (rest - middle).sum(dim=1)
    # Multiples of 2^-48 below 1 are all that these two lose: their sum is exact, and the last one rounds.
    small, lost = _sum_and_loss(middle.sum(dim=1), fine)
    total, lost_too = _sum_and_loss(coarse.sum(dim=1), small)
    return (total + (lost_too + lost)).float()


def _sum_and_loss(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """A rounded sum and, exactly, what the rounding took from it (Knuth, TAOCP 4.2.2)."""
    total = left + right
    taken = total - left
    return total, (left - (total - taken)) + (right - taken)


def order_key(scores: Tensor, ranks: Tensor) -> Tensor:
    """One int64 that is larger for a higher score and, at equal scores, for a lower rank."""
    bits = scores.view(torch.int32)
    ascending = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ascending << 32) | (_LOW_WORD - ranks)


def scores_of(keys: Tensor) -> Tensor:
    ascending = (keys >> 32).int()
    return torch.where(ascending < 0, ascending ^ 0x7FFFFFFF, ascending).view(torch.float32)


def topk_per_query(
    query: Tensor, key: Tensor, row: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The best `shape[1]` pairs of each of `shape[0]` queries, best first.

    Returns keys, rows (-1 where there is none) and how many there are.
    """
    queries, k = shape
    order = torch.argsort(key, descending=True)
    order = order[torch.argsort(query[order], stable=True)]
    query = query[order]
    firsts = torch.searchsorted(query, torch.arange(queries + 1, device=query.device))
    slot = torch.arange(len(query), device=query.device) - firsts[query]
    kept = slot < k
    keys = torch.full(shape, torch.iinfo(torch.int64).min, dtype=torch.int64, device=key.device)
    rows = torch.full(shape, -1, dtype=torch.int64, device=key.device)
    keys[query[kept], slot[kept]] = key[order][kept]
    rows[query[kept], slot[kept]] = row[order][kept]
    return keys, rows, (firsts[1:] - firsts[:-1]).clamp(max=k)
