"""What methods get to see: opaque keys, author tokens, and tiles of a fixed size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .types import Queries

if TYPE_CHECKING:
    import pandas as pd
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


def tokens(texts: Sequence[Any]) -> NDArray[np.uint64]:
    """Eight hash bytes per text, 0 for a missing one: equal texts, equal tokens, nothing else."""
    return np.fromiter((_token(text) for text in texts), dtype=np.uint64, count=len(texts))


def _token(text: Any) -> int:
    if not isinstance(text, str):  # None, NaN or pandas.NA: nothing is known
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


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


@dataclass(frozen=True)
class QuerySet:
    """The queries of a run, in the order of the truth."""

    key: NDArray[np.uint64]
    author_token: NDArray[np.uint64]
    source: list[str]

    @classmethod
    def of(cls, truth: pd.DataFrame) -> QuerySet:
        return cls(
            key=tokens(truth["id"].tolist()),
            author_token=tokens(truth["author"].tolist()),
            source=truth["source"].tolist(),
        )

    def take(self, rows: NDArray[np.int64], inputs: Any) -> Queries:
        """The given rows as one tile for a method; a row may stand in it twice, as padding."""
        return Queries(
            key=self.key[rows],
            author_token=self.author_token[rows],
            source=[self.source[row] for row in rows],
            input=inputs,
        )


def padded(tile: Tile, size: int) -> NDArray[np.int64]:
    """The tile's row numbers, its last one repeated until there are `size`.

    Kernels differ with the batch's shape, so a short tile would give other answers than the same
    rows in a full one; `size` is a multiple of ROW_BLOCK, or 1 where each row is asked about alone.
    """
    return np.minimum(np.arange(tile.start, tile.start + size), tile.stop - 1)
