"""Nearest photos on Earth: the k nearest rows of a store within a radius, ties by rank.

A KD-tree on unit xyz, where poles and the antimeridian are places like any other. Many rows share
one coordinate, so the tree holds each place once; the tree proposes, and one float64 formula on
float32 xyz decides order and membership.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..geo import chord_from_km, km_from_chord
from .exclusion import squared_chord
from .rows import MAX_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .exclusion import Exclusion
    from .rows import Rows

_CHUNK_POINTS = 4096
_CLOSE = 1e-9
"""Relative margin within which two ways of computing a distance may disagree."""


@dataclass(frozen=True)
class Neighbours:
    """Nearest rows of each point, nearest first; -1 and infinity where none is left in the radius."""

    rows: NDArray[np.int32]  # (points, k)
    distance_km: NDArray[np.float32]  # (points, k)


class SupportIndex:
    """The places of a store, each once, and the rows that lie there by rank."""

    def __init__(self, rows: Rows) -> None:
        from scipy.spatial import cKDTree

        xyz = rows.needed("xyz", rows.xyz)
        rows.check(len(xyz))
        ranks = np.arange(len(xyz)) if rows.rank is None else rows.rank
        order = np.lexsort((ranks, xyz[:, 2], xyz[:, 1], xyz[:, 0]))
        ordered = xyz[order]
        new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
        self._ranks = ranks
        self._order = order.astype(np.int32)
        self._first = np.append(np.nonzero(new)[0], len(xyz))
        self._places = ordered[new]
        self._tree = cKDTree(self._places, balanced_tree=False, compact_nodes=True)

    def nearest(self, xyz: NDArray[np.float32], k: int, radius_km: float) -> Neighbours:
        """The `k` nearest rows within `radius_km` of each point, `(n, 3)` float32 (see `xyz_of`)."""
        if k < 1 or not radius_km >= 0:
            raise DataError("k is 1 or more and radius_km 0 or more", found=f"k {k}, radius_km {radius_km}")
        if xyz.ndim != 2 or xyz.shape[1] != 3 or not np.isfinite(xyz).all():
            raise DataError("points are finite xyz, shape (n, 3)", found=f"shape {xyz.shape} or NaN within")
        xyz = xyz.astype(np.float32, copy=False)
        rows = np.full((len(xyz), k), -1, dtype=np.int32)
        squared = np.full((len(xyz), k), np.inf)
        # Neighbouring points walk the same branches, which then lie in the cache.
        order = np.lexsort(np.floor(xyz * 64).T)
        for start in range(0, len(xyz), _CHUNK_POINTS):
            piece = order[start : start + _CHUNK_POINTS]
            self._fill(xyz[piece], float(chord_from_km(radius_km)) ** 2, piece, rows, squared)
        distance_km = np.where(rows >= 0, km_from_chord(np.sqrt(squared)), np.inf).astype(np.float32)
        return Neighbours(rows, distance_km)

    def _fill(
        self,
        points: NDArray[np.float32],
        limit: float,
        target: NDArray[np.int64],
        rows: NDArray[np.int32],
        squared: NDArray[np.float64],
    ) -> None:
        """Answer a chunk of points, whose places in the result are `target`."""
        k = rows.shape[1]
        place, distance = self._nearest_places(points, k + 1, limit)
        count = np.where(np.isinf(distance), 0, self._first[place + 1] - self._first[place])
        gaps = np.isfinite(distance[:, 1:]) & (distance[:, 1:] <= distance[:, :-1] * (1 + _CLOSE) + 1e-24)
        tied = gaps.any(axis=1)
        alone = ~tied & (count <= 1).all(axis=1)
        simple = target[alone]
        found = np.isfinite(distance[alone, :k])
        rows[simple] = np.where(found, self._order[self._first[place[alone, :k]]], -1)
        squared[simple] = distance[alone, :k]
        shared = ~tied & ~alone
        self._expand(place[shared], distance[shared], count[shared], target[shared], rows, squared)
        for point in np.nonzero(tied)[0]:
            self._carefully(points[point], limit, target[point], rows, squared)

    def _nearest_places(
        self, points: NDArray[np.float32], k: int, limit: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Distinct places by distance; place 0 at infinity as padding."""
        reach = np.sqrt(limit) * (1 + _CLOSE) + 1e-12
        _, place = self._tree.query(points, k=list(range(1, k + 1)), distance_upper_bound=reach)
        missing = place == len(self._places)
        place[missing] = 0
        squared = squared_chord(points[:, None], self._places[place])
        squared[missing | (squared > limit)] = np.inf
        return place, squared

    def _expand(
        self,
        place: NDArray[np.int64],
        distance: NDArray[np.float64],
        count: NDArray[np.int64],
        target: NDArray[np.int64],
        rows: NDArray[np.int32],
        squared: NDArray[np.float64],
    ) -> None:
        """Replace places by the rows that lie there, up to k per point; no two places are as far."""
        k = rows.shape[1]
        before = np.cumsum(count, axis=1) - count
        taken = np.clip(k - before, 0, count).ravel()
        entry = np.repeat(np.arange(len(taken)), taken)
        within = np.arange(len(entry)) - np.repeat(np.cumsum(taken) - taken, taken)
        point, slot = target[entry // place.shape[1]], before.ravel()[entry] + within
        rows[point, slot] = self._order[self._first[place.ravel()[entry]] + within]
        squared[point, slot] = distance.ravel()[entry]

    def _carefully(
        self,
        point: NDArray[np.float32],
        limit: float,
        target: np.int64,
        rows: NDArray[np.int32],
        squared: NDArray[np.float64],
    ) -> None:
        """One point with places equally far, of which any number may lie on the edge of the k nearest."""
        k = rows.shape[1]
        _, nearest = self._nearest_places(point[None], k, limit)
        finite = nearest[np.isfinite(nearest)]
        reach = np.sqrt(finite.max() if len(finite) == k else limit) * (1 + _CLOSE) + 1e-12
        places = np.asarray(self._tree.query_ball_point(point, reach), dtype=np.int64)
        chosen = [self._order[self._first[p] : min(self._first[p + 1], self._first[p] + k)] for p in places]
        near = np.concatenate(chosen)
        distance = np.repeat(squared_chord(point, self._places[places]), [len(part) for part in chosen])
        near, distance = near[distance <= limit], distance[distance <= limit]
        best = np.lexsort((self._ranks[near], distance))[:k]
        rows[target, : len(best)] = near[best]
        squared[target, : len(best)] = distance[best]


@dataclass(frozen=True)
class MaskedSupport:
    """Support rows left for each query and candidate, nearest first, -1 as padding.

    `short` marks candidates for which the table held its full number of neighbours and masking
    left fewer than wanted: rows beyond the table's end might have filled them.
    """

    rows: Tensor  # (queries, candidates, keep), int64
    counts: Tensor  # (queries, candidates)
    short: Tensor  # (queries, candidates), bool


def mask_support(table_rows: Tensor, support: Rows, exclusion: Exclusion, keep: int = 16) -> MaskedSupport:
    """The first `keep` support rows of each candidate that its query may see, on the device of the table.

    `table_rows` is `(queries, candidates, neighbours)`: the table's rows of each query's
    candidates, -1 throughout for a candidate that is padding. `exclusion` is matched against the
    support store: a photo there that is the query itself, or its author's, or within the radius of
    the query, never gets through.
    """
    import torch

    if table_rows.ndim != 3:
        raise DataError(
            "table_rows has shape (queries, candidates, neighbours)", found=f"{tuple(table_rows.shape)}"
        )
    exclusion.check(len(table_rows), MAX_ROWS)
    valid = table_rows >= 0
    left = valid & ~_hidden(table_rows.clamp(min=0).long(), support, exclusion)
    order = torch.sort((~left).byte(), dim=2, stable=True).indices[:, :, :keep]
    rows = torch.where(left.gather(2, order), table_rows.gather(2, order).long(), -1)
    counts = left.sum(dim=2).clamp(max=keep)
    return MaskedSupport(rows, counts, (counts < keep) & valid.all(dim=2))


def _hidden(rows: Tensor, support: Rows, exclusion: Exclusion) -> Tensor:
    import torch

    device = rows.device
    hidden = torch.zeros_like(rows, dtype=torch.bool)

    def of_rows(name: str) -> Tensor:
        known = support.tensor(name, device)
        return known.index_select(0, rows.flatten()).view(*rows.shape, *known.shape[1:])

    def of_queries(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)[:, None, None]

    if exclusion.own_row is not None:
        hidden |= rows == of_queries(exclusion.own_row)
    for name in ("key", "author_token"):
        wanted = exclusion.own_key if name == "key" else exclusion.author_token
        if wanted is not None:
            labels = of_rows(name)
            hidden |= (labels == of_queries(wanted.view(np.int64))) & (labels != 0)
    if exclusion.xyz is not None:
        # In the order of operations of `squared_chord`, so that the edge falls on the same side.
        difference = of_queries(exclusion.xyz).double() - of_rows("xyz").double()
        x, y, z = (difference * difference).unbind(dim=-1)
        hidden |= x + y + z <= float(chord_from_km(exclusion.radius_km or 0.0)) ** 2
    return hidden
