"""Galleries in slices: of several processes each holds some of the rows, and together they answer exactly.

Within `processes.sliced_galleries` every gallery that is opened is one slice of it. All processes ask it
the same questions in the same order, as they do where all run the same program: the first one's queries are
told to all, each searches its own rows, and the best of all answers are kept by (score, rank of the stable
id), of which no two rows have the same. So all get the answer that one process would, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from ..errors import DataError
from ..processes import Processes, in_company, slice_holders
from . import exact
from .exclusion import Exclusion
from .result import Hits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .placement import HostRows

PIECE_QUERIES = 16_384
"""Queries that are told at once, so that memory does not grow with their number."""

_NONE = torch.iinfo(torch.int64).min


@dataclass(frozen=True)
class Slice:
    """The rows `start` to `stop` of a gallery of `whole` rows, and who holds the others."""

    start: int
    stop: int
    whole: int
    processes: Processes

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    def own(self, exclusion: Exclusion) -> Exclusion:
        """What queries may not see of these rows."""
        if exclusion.own_row is None:
            return exclusion
        here = (exclusion.own_row >= self.start) & (exclusion.own_row < self.stop)
        return replace(exclusion, own_row=np.where(here, exclusion.own_row - self.start, -1))

    def check_same(self, asked: object) -> None:
        """DataError, in all processes, where they do not ask the same."""
        heard = self.processes.gather(asked)
        if any(other != heard[0] for other in heard):
            raise DataError(
                "processes that hold slices of one gallery must ask the same",
                found=" and ".join(map(repr, dict.fromkeys(map(str, heard)))),
                fix="give every process the same command; a method must not depend on which process it is in",
            )

    def told(self, given: Tensor | NDArray[Any], device: torch.device) -> Tensor:
        """The first process's queries as fp16; what is out of range becomes infinite."""
        tensor = torch.as_tensor(np.array(given)) if isinstance(given, np.ndarray) else given.detach()
        own = tensor.to(device, torch.float16, copy=True).contiguous()
        if own.numel():
            with in_company():
                dist.broadcast(own.view(torch.uint8), src=0)
        return own

    def best_of_all(self, hits: Hits, rank: Tensor | None) -> Hits:
        """From the best rows of each slice the best of all; `rank` is that of this slice's rows."""
        valid = hits.rows >= 0
        rows = torch.where(valid, hits.rows + self.start, -1)
        ranks = rows if rank is None else rank[hits.rows.clamp(min=0)]
        keys = torch.where(valid, exact.order_key(hits.scores, ranks), _NONE)
        key, row = (self._side_by_side(part) for part in (keys, rows))  # (n, processes * k)
        query, slot = torch.nonzero(row >= 0, as_tuple=True)
        shape = hits.rows.shape[0], hits.rows.shape[1]
        return Hits.of(*exact.topk_per_query(query, key[query, slot], row[query, slot], shape))

    def _side_by_side(self, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(self.processes.count)]
        if own.numel():
            with in_company():
                dist.all_gather(parts, own.contiguous())
        return torch.cat(parts, dim=1)

    def taken(self, matrix: Tensor | HostRows, rows: Tensor) -> Tensor:
        """Rows of the whole gallery by their numbers, of which this process holds those in `matrix`."""
        here = rows - self.start
        absent = (here < 0) | (here >= len(matrix))
        found = matrix.index_select(0, here.clamp(0, len(matrix) - 1))
        found[absent] = 0
        if found.numel():
            with in_company():  # one process holds each row, so that bytes are added to zeros
                dist.all_reduce(found.view(torch.uint8))
        return found


def own_slice(count: int) -> Slice | None:
    """The slice of `count` rows that this process holds; None where it holds all of them."""
    holders = slice_holders()
    if holders is None or holders.processes.count == 1 or count < holders.processes.count:
        return None
    holders.used, processes = True, holders.processes
    edges = [count * number // processes.count for number in (processes.rank, processes.rank + 1)]
    return Slice(edges[0], edges[1], count, processes)


def own_rows(count: int) -> slice:
    """Which of `count` rows this process holds."""
    part = own_slice(count)
    return slice(0, count) if part is None else part.rows


def describe(queries: Mapping[str, Any], k: Mapping[str, int], whole: int) -> str:
    """What is asked, in words that are equal only where it is the same."""
    asked = ", ".join(f"{k.get(name)} of '{name}' for {given.shape[0]}" for name, given in queries.items())
    return f"{asked} queries, of {whole} rows"
