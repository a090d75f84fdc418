"""Which gallery rows a query must not see, found from sorted labels and a tree, never densely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..geo import chord_from_km

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .rows import Crowd, LabelIndex, Rows

Pairs = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Query numbers and row numbers, one pair per place."""

_LISTED_ROWS = 1 << 23
"""At most so many rows are listed around a group of places at once."""

LISTED_BY_LABEL = 1 << 20
"""Pairs of equal labels that are listed; labels that many queries and rows share are compared instead."""

_PER_QUERY = ("own_row", "own_key", "author_token", "xyz")


@dataclass(frozen=True)
class Exclusion:
    """Per query: its own row, its author's rows, and the rows around its place.

    `own_row` is a row number, -1 for none; `own_key` and `author_token` are matched against the
    gallery's, 0 for unknown; rows within `radius_km` of `xyz` (see `xyz_of`) are left out. Places
    are compared by chords of float32 xyz on both sides, so equal coordinates are 0 km apart and
    the edge of the radius is half a metre fine.
    """

    own_row: NDArray[np.int64] | None = None
    own_key: NDArray[np.uint64] | None = None
    author_token: NDArray[np.uint64] | None = None
    xyz: NDArray[np.float32] | None = None  # (n, 3)
    radius_km: float | None = None

    def __post_init__(self) -> None:
        if (self.xyz is None) != (self.radius_km is None):
            raise DataError("an exclusion by place needs both xyz and radius_km", found="one of them")
        if self.xyz is not None and not np.isfinite(self.xyz).all():
            raise DataError(
                "an exclusion by place needs to know where every query is",
                found="coordinates that are NaN or infinite",
                fix="leave these queries out, or search them without radius_km",
            )
        if self.radius_km is not None and not self.radius_km >= 0:
            raise DataError("radius_km is 0 or more", found=str(self.radius_km))

    def check(self, queries: int, gallery_rows: int) -> None:
        """Refuse an exclusion made for other queries, another gallery or other types."""
        kinds = {"own_row": np.integer, "own_key": np.uint64, "author_token": np.uint64, "xyz": np.float32}
        for name, kind in kinds.items():
            values = getattr(self, name)
            shape = (queries, 3) if name == "xyz" else (queries,)
            if values is not None and (values.shape != shape or not np.issubdtype(values.dtype, kind)):
                raise DataError(
                    f"'{name}' has shape {shape} and type {kind.__name__}",
                    found=f"shape {values.shape}, type {values.dtype}",
                    fix="give one entry per query",
                )
        if self.own_row is not None and queries and self.own_row.max() >= gallery_rows:
            raise DataError(f"own_row is below {gallery_rows}", found=str(self.own_row.max()))

    def take(self, queries: slice) -> Exclusion:
        """The same for some of the queries."""
        parts: dict[str, Any] = {
            name: getattr(self, name)[queries] for name in _PER_QUERY if getattr(self, name) is not None
        }
        return replace(self, **parts)

    @staticmethod
    def join(parts: Sequence[Exclusion]) -> Exclusion:
        """The same for the queries of all parts, one part after the other; all exclude by the same facts."""
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _PER_QUERY
            if getattr(parts[0], name) is not None
        }
        return replace(parts[0], **joined)

    def pairs(self, rows: Rows) -> Pairs:
        """Every excluded (query, row), in no order and with repetitions."""
        listed = [index.pairs(labels) for index, labels in self._labels(rows)]
        return _joined([*listed, *self._by_number(), *self._by_place(rows)])

    def blocked(self, rows: Rows, queries: int, most: int | None) -> Blocked | None:
        """The same as cells and crowds, or None as soon as there are more than `most` cells by place."""
        found, crowds = list(self._by_number()), []
        for index, labels in self._labels(rows):
            listed, crowd = index.split(labels, LISTED_BY_LABEL)
            found.append(listed)
            crowds += [] if crowd is None else [crowd]
        total = 0
        for query, row in self._by_place(rows):
            total += len(row)
            if most is not None and total > most:
                return None
            found.append((query, row))
        query, row = _joined(found)
        cells = row * queries + query
        cells.sort()
        return Blocked(cells, tuple(crowds))

    def _by_number(self) -> Iterator[Pairs]:
        if self.own_row is not None:
            (known,) = np.nonzero(self.own_row >= 0)
            yield known, self.own_row[known].astype(np.int64)

    def _labels(self, rows: Rows) -> Iterator[tuple[LabelIndex, NDArray[np.uint64]]]:
        if self.own_key is not None:
            yield rows.by_key, self.own_key
        if self.author_token is not None:
            yield rows.by_author, self.author_token

    def _by_place(self, rows: Rows) -> Iterator[Pairs]:
        if self.xyz is not None:
            step = max(1, _LISTED_ROWS // rows.by_place.n)
            for start in range(0, len(self.xyz), step):
                query, row = self._near(rows, self.xyz[start : start + step])
                yield query + start, row

    def _near(self, rows: Rows, xyz: NDArray[np.float32]) -> Pairs:
        found = rows.by_place.query_ball_point(xyz, self._reach(), return_sorted=False)
        counts = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        query = np.repeat(np.arange(len(found)), counts)
        row = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=len(query))
        # The tree proposes; one formula decides, so that a row on the edge falls on the same side always.
        inside = self.near(xyz[query], rows.needed("xyz", rows.xyz)[row])
        return query[inside], row[inside]

    def near(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether places lie within the radius of one another, `(..., 3)` each."""
        return squared_chord(a, b) <= chord_from_km(self.radius_km or 0.0) ** 2

    def _reach(self) -> float:
        return float(chord_from_km(self.radius_km or 0.0)) * (1 + 1e-9) + 1e-12


def squared_chord(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared distance of unit vectors in float64, always in the same order of operations.

    From differences: a dot product in float32 gives 0 m for points 1 km apart.
    """
    difference = a.astype(np.float64) - b
    squares = difference * difference
    total: NDArray[np.float64] = squares[..., 0] + squares[..., 1] + squares[..., 2]
    return total


@dataclass(frozen=True)
class Blocked:
    """What a batch of queries may not see of a gallery.

    `cells` are listed pairs as sorted `row * queries + query`, of which a tile of rows is one slice.
    """

    cells: NDArray[np.int64]
    crowds: tuple[Crowd, ...] = ()

    def __bool__(self) -> bool:
        return bool(len(self.cells) or self.crowds)

    def counts(self, queries: int) -> NDArray[np.int64]:
        """At least as many as the rows that each query may not see."""
        counts = np.bincount(self.cells % queries, minlength=queries)
        for crowd in self.crowds:
            counts = counts + crowd.counts()
        return counts

    def take(self, chosen: NDArray[np.int64], queries: int) -> Blocked:
        """The same for some of its queries."""
        place = np.full(queries, -1)
        place[chosen] = np.arange(len(chosen))
        row, query = np.divmod(self.cells, queries)
        kept = place[query] >= 0
        cells = row[kept] * len(chosen) + place[query[kept]]
        return Blocked(np.sort(cells), tuple(crowd.take(chosen) for crowd in self.crowds))


def blocked_cells(exclusion: Exclusion | None, rows: Rows, queries: int, most: int | None) -> Blocked | None:
    """What is excluded; None if more than `most` cells would have to be listed by place."""
    if exclusion is None:
        return Blocked(np.empty(0, dtype=np.int64))
    return exclusion.blocked(rows, queries, most)


def _joined(parts: Sequence[Pairs]) -> Pairs:
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64)), *parts]
    return np.concatenate([query for query, _ in parts]), np.concatenate([row for _, row in parts])
