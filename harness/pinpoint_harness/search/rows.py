"""What is known about each row of a gallery beside its features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..geo import unit_xyz

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray
    from scipy.spatial import cKDTree
    from torch import Tensor

MAX_ROWS = 2**31 - 1


def xyz_of(coordinates: ArrayLike) -> NDArray[np.float32]:
    """Places, `(n, 2)` degrees, as the float32 xyz that rows and exclusions are compared in."""
    return unit_xyz(coordinates).astype(np.float32)


@dataclass(frozen=True)
class Crowd:
    """Labels that too many queries and rows share to list their pairs: numbers that are compared.

    `rows` are sorted, and a row has one label; a query without one of these labels has -1.
    """

    rows: NDArray[np.int64]  # (r,)
    label_of_row: NDArray[np.int32]  # (r,)
    label_of_query: NDArray[np.int32]  # (queries,)

    def counts(self) -> NDArray[np.int64]:
        """Rows of each query's label."""
        counts = np.bincount(self.label_of_row, minlength=int(self.label_of_query.max(initial=0)) + 1)
        return np.where(self.label_of_query < 0, 0, counts[self.label_of_query])

    def take(self, chosen: NDArray[np.int64]) -> Crowd:
        """The same for some of the queries."""
        return replace(self, label_of_query=self.label_of_query[chosen])


class LabelIndex:
    """From a label to the rows that carry it; label 0 means unknown and has no rows."""

    def __init__(self, labels: NDArray[np.uint64]) -> None:
        self._order = np.argsort(labels, kind="stable").astype(np.int32)
        self._sorted = labels[self._order]

    def pairs(self, labels: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every (position in `labels`, row) with equal labels."""
        first, _ = self._range(labels)
        counts = self.counts(labels)
        position = np.repeat(np.arange(len(labels)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self._order[first[position] + within].astype(np.int64)

    def counts(self, labels: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How many rows carry each label."""
        first, last = self._range(labels)
        return last - first

    def split(
        self, labels: NDArray[np.uint64], most: int
    ) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Crowd | None]:
        """Those pairs of the rarest labels, at most so many, and the other labels as a crowd."""
        distinct, which = np.unique(labels, return_inverse=True)
        first, last = self._range(distinct)
        pairs = (last - first) * np.bincount(which, minlength=len(distinct))
        if pairs.sum() <= most:
            return self.pairs(labels), None
        rarest = np.argsort(pairs, kind="stable")
        common = np.zeros(len(distinct), dtype=np.bool_)
        common[rarest] = np.cumsum(pairs[rarest]) > most
        listed = self.pairs(np.where(common[which], np.uint64(0), labels))
        number, row = self.pairs(np.where(common, distinct, np.uint64(0)))
        order = np.argsort(row)
        mine = np.where(common, np.arange(len(distinct)), -1)[which]
        return listed, Crowd(row[order], number[order].astype(np.int32), mine.astype(np.int32))

    def _range(self, labels: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first = np.searchsorted(self._sorted, labels, side="left")
        last = np.searchsorted(self._sorted, labels, side="right")
        return first, np.where(labels == 0, first, last)


@dataclass(frozen=True)
class Rows:
    """Row-aligned facts, each optional until something needs it.

    `rank` orders ties and defaults to the row number; `key` and `author_token` are hashes, 0 for
    unknown; `xyz` is the place on the unit sphere in float32, half a metre fine.
    """

    rank: NDArray[np.int64] | None = None
    key: NDArray[np.uint64] | None = None
    author_token: NDArray[np.uint64] | None = None
    xyz: NDArray[np.float32] | None = None

    def take(self, rows: slice) -> Rows:
        """The same of some of the rows; ranks stay those among all."""
        names = ("rank", "key", "author_token", "xyz")
        facts: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Rows(**{name: None if values is None else values[rows] for name, values in facts.items()})

    def check(self, count: int) -> None:
        """Refuse facts of another length, type or meaning than the `count` rows of a gallery."""
        if not 0 < count <= MAX_ROWS:
            raise DataError("a gallery has between 1 and 2^31 - 1 rows", found=f"{count} rows")
        self._shaped("rank", self.rank, (count,), np.integer)
        self._shaped("key", self.key, (count,), np.uint64)
        self._shaped("author_token", self.author_token, (count,), np.uint64)
        self._shaped("xyz", self.xyz, (count, 3), np.float32)
        if self.xyz is not None and not np.isfinite(self.xyz).all():
            raise DataError("every gallery row lies somewhere", found="xyz that is NaN or infinite")
        if self.rank is not None:
            if self.rank.min() < 0 or self.rank.max() > 2 * MAX_ROWS:
                raise DataError(
                    "ranks are between 0 and 2^32 - 2", found=f"{self.rank.min()}..{self.rank.max()}"
                )
            if len(np.unique(self.rank)) < count:
                raise DataError("ranks decide ties, so no two rows share one", found="repeated ranks")

    @staticmethod
    def _shaped(name: str, values: NDArray[Any] | None, shape: tuple[int, ...], kind: type) -> None:
        if values is None:
            return
        if values.shape != shape or not np.issubdtype(values.dtype, kind):
            raise DataError(
                f"'{name}' has shape {shape} and type {kind.__name__}",
                found=f"shape {values.shape}, type {values.dtype}",
                fix="give one entry per gallery row",
            )

    @cached_property
    def by_key(self) -> LabelIndex:
        return LabelIndex(self.needed("key", self.key))

    @cached_property
    def by_author(self) -> LabelIndex:
        return LabelIndex(self.needed("author_token", self.author_token))

    @cached_property
    def by_place(self) -> cKDTree:
        from scipy.spatial import cKDTree

        # Unbalanced trees build five times faster and answer radius questions as fast.
        return cKDTree(self.needed("xyz", self.xyz), balanced_tree=False, compact_nodes=False)

    def tensor(self, name: str, device: torch.device) -> Tensor:
        """One of these facts on a device, taken there once; hashes as int64 of the same bits."""
        import torch

        if (name, device) not in self._tensors:
            values = self.needed(name, getattr(self, name))
            bits = values.view(np.int64) if values.dtype == np.uint64 else values
            self._tensors[name, device] = torch.from_numpy(bits).to(device)
        return self._tensors[name, device]

    @cached_property
    def _tensors(self) -> dict[tuple[str, torch.device], Tensor]:
        return {}

    @staticmethod
    def needed(name: str, values: NDArray[Any] | None) -> NDArray[Any]:
        if values is None:
            raise DataError(
                f"this exclusion needs '{name}' of every gallery row",
                found="a gallery without it",
                fix=f"give Rows({name}=...) or leave the exclusion out",
            )
        return values
