"""What methods get to see: opaque keys, author tokens, and tiles of a fixed size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


ROW_BLOCK = 16
"""Every call whose rows go through a matrix product gets a multiple of this many rows.

Threads share out the rows of a product, and a share that does not fill a kernel is finished by
another one, with other last digits: measured in float32 with two threads, equal rows differ at 5 to
7 and 9 to 11 rows, and before a single output at most numbers that 4 does not divide; at no multiple
of 16. `pinpoint doctor` measures it where it runs.
"""


def whole_blocks(rows: int) -> int:
    """The smallest multiple of ROW_BLOCK that holds `rows` (at least 1)."""
    return -(-rows // ROW_BLOCK) * ROW_BLOCK


@dataclass(frozen=True)
class Tile:
    """A slice of the truth that is answered and committed as one."""

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def tiles(count: int, size: int) -> Iterator[Tile]:
    """Cut `count` rows into tiles of `size`; the last one may be shorter."""
    for index, start in enumerate(range(0, count, size)):
        yield Tile(index, start, min(start + size, count))


def padded(tile: Tile, size: int) -> NDArray[np.int64]:
    """The tile's row numbers, its last one repeated until there are `size`.

    Kernels differ with the batch's shape, so a short tile would give other answers than the same
    rows in a full one; `size` is a multiple of ROW_BLOCK, or 1 where each row is answered alone.
    """
    return np.minimum(np.arange(tile.start, tile.start + size), tile.stop - 1)


@dataclass(frozen=True)
class WorkerShare:
    """One process's part of a run that several work at: every `count`-th tile from `index` on."""

    index: int = 0
    count: int = 1

    def has(self, tile: int) -> bool:
        return tile % self.count == self.index

    @classmethod
    def parse(cls, text: str) -> WorkerShare:
        """`i/n` with i from 0 to n - 1."""
        index, slash, count = text.partition("/")
        if not slash or not index.isdecimal() or not count.isdecimal() or not int(index) < int(count):
            raise UsageError(
                f"the share '{text}' does not fit", fix="give i/n with i from 0 to n - 1, such as 0/4"
            )
        return cls(int(index), int(count))
