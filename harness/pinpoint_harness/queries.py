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
    rows in a full one.
    """
    return np.minimum(np.arange(tile.start, tile.start + size), tile.stop - 1)
