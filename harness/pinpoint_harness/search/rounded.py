"""A channel's rows less its centre in bf16, as a first look on a CPU multiplies them.

Rounding a row costs as much as its products with some hundred queries, and many batches ask for the same
rows. Where they take a small part of memory they are kept from the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..devices import cpu_features

if TYPE_CHECKING:
    from torch import Tensor

    from .placement import HostRows

_ELEMENTS = 1 << 19
"""Numbers that are rounded at a time: what they are widened to stays in the cache."""


def rounds_to_bf16() -> bool:
    """Whether this processor has products of bf16: eight times the arithmetic of float32."""
    return bool(cpu_features() & {"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Space:
    """Memory to round in, for one thread: taken once, for new pages cost as much as the work."""

    wide: Tensor  # (rows, width), float32
    rounded: Tensor  # (rows, width), bf16


class RoundedRows:
    """The rows of a matrix less `centre` in bf16; for any number of threads."""

    def __init__(self, matrix: Tensor | HostRows, centre: Tensor | None, keep: bool) -> None:
        self._matrix, self._centre = matrix, centre
        width = int(matrix.shape[1])
        self._step = max(1, _ELEMENTS // width)
        # Of memory that nobody has written to, the system gives none.
        self._kept = torch.empty((len(matrix), width), dtype=torch.bfloat16) if keep else None
        self._made = bytearray(-(-len(matrix) // self._step))
        self._asked = 0

    def queries(self, count: int) -> int:
        """How many queries such rows serve: those that ask now, and those before them if rows are kept."""
        self._asked += count
        return count if self._kept is None else self._asked

    def space(self) -> Space:
        shape = self._step, int(self._matrix.shape[1])
        return Space(torch.empty(shape), torch.empty(shape, dtype=torch.bfloat16))

    def parts(self, start: int, stop: int, space: Space) -> Iterator[tuple[int, Tensor]]:
        """The rows from `start` to `stop`, `(n, width)` bf16 at a time, each with the number of its first."""
        if self._kept is None:
            rows = self._matrix[start:stop]
            for first in range(0, len(rows), self._step):
                yield start + first, self._rounded(rows[first : first + self._step], space, space.rounded)
            return
        for block in range(start // self._step, -(-stop // self._step)):
            if not self._made[block]:  # two threads that find this write the same
                piece = slice(block * self._step, (block + 1) * self._step)
                self._rounded(self._matrix[piece], space, self._kept[piece])
                self._made[block] = 1
        yield start, self._kept[start:stop]

    def _rounded(self, rows: Tensor, space: Space, out: Tensor) -> Tensor:
        # Straight from fp16 to bf16 is one operation and takes twice as long.
        wide = space.wide[: len(rows)].copy_(rows)
        if self._centre is not None:
            wide -= self._centre
        return out[: len(rows)].copy_(wide)
