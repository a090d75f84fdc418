"""The support of every gallery row, looked up once; masked for each query before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts import Artifact
from ..errors import DataError
from . import shards
from .rows import MAX_ROWS
from .support import Neighbours, SupportIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .exclusion import Exclusion
    from .rows import Rows

TABLE_NEIGHBOURS = 64
RADIUS_KM = 25.0


def support_table(
    parent: Path,
    points: Rows,
    support: Rows,
    inputs: Mapping[str, str],
    *,
    k: int = TABLE_NEIGHBOURS,
    radius_km: float = RADIUS_KM,
    shard_rows: int = 65_536,
    fresh: bool = False,
) -> Artifact:
    """The `k` rows of `support` nearest to every row of `points`, as a resumable artifact.

    `inputs` names the content keys of both stores, `points` and `support`: with the numbers above
    they make the artifact's key.
    """
    if set(inputs) != {"points", "support"}:
        raise DataError("a support table has the inputs 'points' and 'support'", found=f"{sorted(inputs)}")
    recipe = {"inputs": dict(inputs), "k": k, "radius_km": radius_km, "shard_rows": shard_rows}
    artifact = Artifact.begin(parent, "support-table", recipe, fresh=fresh)
    if artifact.complete:
        return artifact
    xyz = points.needed("xyz", points.xyz)
    index = SupportIndex(support)

    def make(start: int, stop: int) -> NDArray[Any]:
        found = index.nearest(xyz[start:stop], k, radius_km)
        table = np.empty(stop - start, dtype=[("row", "<i4", (k,)), ("distance_km", "<f4", (k,))])
        table["row"], table["distance_km"] = found.rows, found.distance_km
        return table

    shards.fill(artifact, "support", len(xyz), shard_rows, make)
    return artifact


def read_support(folder: Path) -> Neighbours:
    """A finished table: support rows and distances of every gallery row."""
    table = shards.read(folder)
    return Neighbours(np.ascontiguousarray(table["row"]), np.ascontiguousarray(table["distance_km"]))


@dataclass(frozen=True)
class MaskedSupport:
    """Support rows left for each query and candidate, nearest first, -1 as padding.

    `short` marks candidates for which the table held its full number of neighbours and masking
    left fewer than wanted: rows beyond the table's end might have filled them.
    """

    rows: NDArray[np.int64]  # (queries, candidates, keep)
    counts: NDArray[np.int64]  # (queries, candidates)
    short: NDArray[np.bool_]  # (queries, candidates)


def mask_support(
    table_rows: NDArray[np.integer[Any]], support: Rows, exclusion: Exclusion, keep: int = 16
) -> MaskedSupport:
    """The first `keep` support rows of each candidate that its query may see.

    `table_rows` is `(queries, candidates, neighbours)`: the table's rows of each query's
    candidates, -1 throughout for a candidate that is padding. `exclusion` is matched against the
    support store: a photo there that is the query itself, or its author's, or within the radius of
    the query, never gets through.
    """
    if table_rows.ndim != 3:
        raise DataError("table_rows has shape (queries, candidates, neighbours)", found=f"{table_rows.shape}")
    exclusion.check(len(table_rows), MAX_ROWS)
    there = table_rows >= 0
    left = there & ~_hidden(np.where(there, table_rows, 0), support, exclusion)
    order = np.argsort(~left, axis=2, kind="stable")[:, :, :keep]
    rows = np.where(np.take_along_axis(left, order, 2), np.take_along_axis(table_rows, order, 2), -1)
    counts = np.minimum(left.sum(axis=2), keep)
    short = (counts < keep) & there.all(axis=2)
    return MaskedSupport(rows.astype(np.int64), counts, short)


def _hidden(rows: NDArray[np.integer[Any]], support: Rows, exclusion: Exclusion) -> NDArray[np.bool_]:
    hidden = np.zeros(rows.shape, dtype=np.bool_)
    if exclusion.own_row is not None:
        hidden |= rows == exclusion.own_row[:, None, None]
    for name in ("key", "author_token"):
        wanted = exclusion.own_key if name == "key" else exclusion.author_token
        if wanted is not None:
            labels = support.needed(name, getattr(support, name))[rows]
            hidden |= (labels == wanted[:, None, None]) & (labels != 0)
    if exclusion.xyz is not None:
        hidden |= exclusion.near(exclusion.xyz[:, None, None], support.needed("xyz", support.xyz)[rows])
    return hidden
