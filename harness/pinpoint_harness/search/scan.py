"""One pass over a channel: block maxima pick the rows that may be in the answer, exact scores decide.

A tile of rows is scored approximately, excluded cells are blanked, and the maximum of every block
of rows is taken. Any k blocks hold k different rows, so the k-th largest maximum of all blocks,
less the kernel's error, is a floor under the exact k-th score; a row is worth an exact score only
if its approximate one plus the error reaches that floor. The floor rises as the pass goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from . import exact
from .exclusion import Blocked
from .kernels import Kernel

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_BLOCK = 64
SMALLEST_BLOCK = 8
_PENDING_PAIRS = 1 << 20
_TILE_CELLS = {"cpu": 1 << 21, "cuda": 1 << 26}
_TILE_ROWS = {"cpu": (1 << 9, 1 << 17), "cuda": (1 << 12, 1 << 20)}
_GROWTH = 1.25
"""The floor is raised whenever the pass has grown by a quarter: it moves with the logarithm."""


@dataclass(frozen=True)
class Task:
    """What is looked for: k rows per query, in ranks' order, without the blocked cells.

    Of each query, at most `spare[query]` rows are blocked that have equals in the gallery.
    """

    k: int
    rank: Tensor | None
    blocked: Blocked
    spare: Tensor | None


@dataclass(frozen=True)
class Outcome:
    """Best keys and rows per query, the queries left open, and the number of exact scores taken."""

    keys: Tensor
    rows: Tensor
    counts: Tensor
    uncertified: Tensor
    rescored: int


class _Blank:
    """Takes what is blocked out of one tile after another: cells by their number, crowds by comparison."""

    def __init__(self, blocked: Blocked, starts: Sequence[int], queries: int, device: torch.device) -> None:
        self.cells, self.starts = blocked.cells, starts
        self.edges = self.cells.searchsorted([start * queries for start in starts]).tolist()
        self.crowds = [
            (
                np.searchsorted(crowd.rows, starts).tolist(),
                *(torch.from_numpy(part).to(device) for part in (crowd.rows, crowd.label_of_row)),
                torch.from_numpy(crowd.label_of_query).to(device),
            )
            for crowd in blocked.crowds
        ]

    def __call__(self, tile: Tensor, number: int) -> None:
        """Set to minus infinity what no query may see of this tile, `(rows, queries)`."""
        start, cells = self.starts[number], self.cells[self.edges[number] : self.edges[number + 1]]
        if len(cells):
            there = torch.from_numpy(cells - start * tile.shape[1]).to(tile.device)
            tile.view(-1).index_fill_(0, there, -torch.inf)
        for edges, rows, label_of_row, label_of_query in self.crowds:
            piece = slice(edges[number], edges[number + 1])
            if piece.start == piece.stop:
                continue
            place = rows[piece] - start
            same = label_of_row[piece, None] == label_of_query  # (r, queries)
            tile.index_copy_(0, place, tile.index_select(0, place).masked_fill_(same, -torch.inf))


class Scan:
    """The state of one pass: the floor, the candidates not yet scored, and the best so far."""

    def __init__(self, kernel: Kernel, task: Task, give_up_at: int | None) -> None:
        self.kernel, self.task, self.give_up_at = kernel, task, give_up_at
        queries, device = len(kernel.queries), kernel.queries.device
        self.shape = (queries, task.k)
        self.count = len(kernel.channel.matrix)
        self.floor = torch.full((queries,), -torch.inf, dtype=torch.float64, device=device)
        self.open = torch.zeros(queries, dtype=torch.bool, device=device)
        self.best_maxima = torch.full((task.k, queries), -torch.inf, device=device)
        self.pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self.pending_pairs = 0
        self.rescored = 0
        none = torch.empty(0, dtype=torch.int64, device=device)
        self.keys, self.rows, self.counts = exact.topk_per_query(none, none, none, self.shape)
        self.block = self._block_rows()
        self.tile = self._tile_rows()
        self.waiting = torch.full((self.tile // self.block, queries), -torch.inf, device=device)
        self.next, self.due = 0, 0  # numbers of tiles
        starts = range(0, self.count + self.tile, self.tile)
        self.blank = _Blank(task.blocked, starts, queries, device)

    def run(self) -> Outcome:
        """Read the gallery once."""
        self.advance(self.count)
        return self.outcome()

    def advance(self, until: int) -> None:
        """Read on through the tiles that begin before the row `until`."""
        shape, device = (self.tile, self.shape[0]), self.floor.device
        scores = torch.empty(shape, dtype=self.kernel.dtype, device=device)
        for start in range(self.next * self.tile, until, self.tile):
            stop = min(start + self.tile, self.count)
            tile = self._fill(scores, start, stop)
            self.blank(tile, self.next)
            maxima = _block_maxima(tile, self.block)  # (blocks, queries)
            waiting = self.waiting[: len(maxima)]
            torch.maximum(waiting, maxima, out=waiting)
            if self.next >= self.due or stop == self.count:
                self._raise_floor(self.waiting)
                self.waiting.fill_(-torch.inf)
                self.due = max(self.next + 1, int(_GROWTH * (self.next + 1)))
            self._collect(tile, maxima, start)
            if self.pending_pairs > _PENDING_PAIRS:
                self._score_pending()
            self.next += 1

    def outcome(self) -> Outcome:
        """What was found, once all rows were read."""
        self._score_pending()
        (uncertified,) = torch.nonzero(self.open, as_tuple=True)
        return Outcome(self.keys, self.rows, self.counts, uncertified, self.rescored)

    def _block_rows(self) -> int:
        """Blocks small enough that there are several times k of them, or the floor would stay low."""
        block = LARGEST_BLOCK
        while block > SMALLEST_BLOCK and self.count < 8 * self.task.k * block:
            block //= 2
        return block

    def _tile_rows(self) -> int:
        device = self.floor.device.type
        fewest, most = _TILE_ROWS[device]
        rows = min(max(_TILE_CELLS[device] // self.shape[0], fewest, 4 * self.task.k * self.block), most)
        return -(-min(rows, self.count) // self.block) * self.block

    def _fill(self, scores: Tensor, start: int, stop: int) -> Tensor:
        count = stop - start
        self.kernel.fill(start, stop, scores[:count])
        padded = -(-count // self.block) * self.block
        scores[count:padded] = -torch.inf
        return scores[:padded]

    def _raise_floor(self, maxima: Tensor) -> None:
        while len(maxima) % 2 == 0 and len(maxima) >= 8 * self.task.k:
            # Blocks in pairs are blocks too: a hardly lower floor from far fewer maxima to sort.
            maxima = torch.maximum(*maxima.chunk(2))
        merged = torch.cat([self.best_maxima, maxima])
        self.best_maxima = merged.topk(self.task.k, dim=0).values
        kth = self.best_maxima[-1].double()
        below = self.kernel.offset + kth - self.kernel.relative * kth.abs() - self.kernel.error
        # Fewer than k blocks so far: nothing is known, and 0 * infinity would be NaN.
        self.floor = torch.where(kth.isfinite(), torch.maximum(self.floor, below), self.floor)

    def _threshold(self) -> Tensor:
        """The lowest approximate score that may still belong to a row at or above the floor."""
        least = self.floor - self.kernel.offset - self.kernel.error
        relative = torch.where(least >= 0, 1 + self.kernel.relative, 1 - self.kernel.relative)
        lowest = torch.finfo(torch.float32).min  # so that a blocked cell never passes
        threshold = torch.nextafter((least / relative).float(), torch.full_like(least, lowest).float())
        return threshold.clamp(min=lowest).masked_fill(self.open, torch.inf)

    def _collect(self, tile: Tensor, maxima: Tensor, start: int) -> None:
        threshold = self._threshold()
        block, query = torch.nonzero(maxima >= threshold, as_tuple=True)
        if not len(block):
            return
        inside = tile.view(len(maxima), self.block, -1)[block, :, query].float()  # (hits, block rows)
        hit, offset = torch.nonzero(inside >= threshold[query, None], as_tuple=True)
        self.pending.append((query[hit], start + block[hit] * self.block + offset, inside[hit, offset]))
        self.pending_pairs += len(hit)

    def _score_pending(self) -> None:
        if not self.pending:
            return
        query, row, score = (torch.cat(parts) for parts in zip(*self.pending, strict=True))
        self.pending, self.pending_pairs = [], 0
        query, row = self._worth_scoring(query, row, score)
        scores = exact.exact_scores(self.kernel.channel, self.kernel.queries, query, row)
        self.rescored += len(row)
        rank = row if self.task.rank is None else self.task.rank[row]
        self._merge(query, exact.order_key(scores, rank), row)

    def _worth_scoring(self, query: Tensor, row: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        kept = score >= self._threshold()[query]
        if self.kernel.channel.ordinal is not None:
            # With k equal rows of lower rank left, a row cannot be among the k best.
            enough = torch.full((self.shape[0],), self.task.k, device=query.device)
            if self.task.spare is not None:
                enough = enough + self.task.spare
            kept &= self.kernel.channel.ordinal[row] < enough[query]
        query, row = query[kept], row[kept]
        if self.give_up_at is not None:
            self.open |= torch.bincount(query, minlength=self.shape[0]) > self.give_up_at
            certified = ~self.open[query]
            query, row = query[certified], row[certified]
        return query, row

    def _merge(self, query: Tensor, key: Tensor, row: Tensor) -> None:
        old_query, slot = torch.nonzero(self.rows >= 0, as_tuple=True)
        query = torch.cat([old_query, query])
        key = torch.cat([self.keys[old_query, slot], key])
        row = torch.cat([self.rows[old_query, slot], row])
        self.keys, self.rows, self.counts = exact.topk_per_query(query, key, row, self.shape)
        full = self.counts == self.task.k
        kth = exact.scores_of(self.keys[:, -1]).double()
        # A float32 score stands for exact ones up to half a unit below it.
        below = kth - kth.abs() * 2.0**-23 - 2.0**-149
        self.floor = torch.where(full, torch.maximum(self.floor, below), self.floor)


def _block_maxima(tile: Tensor, block: int) -> Tensor:
    """Maximum of every `block` rows, float32.

    Two-byte floats compare like integers, and negative ones the other way round; integers are six
    times faster on a CPU. Of a block that is negative throughout the least integer is the maximum.
    """
    blocks = tile.view(-1, block, tile.shape[1])
    if tile.dtype == torch.float32:
        return blocks.amax(dim=1)
    whole = blocks.view(torch.int16)
    largest = whole.amax(dim=1)
    negative = largest < 0
    if bool(negative.any()):
        largest = torch.where(negative, whole.amin(dim=1), largest)
    return largest.view(tile.dtype).float()
