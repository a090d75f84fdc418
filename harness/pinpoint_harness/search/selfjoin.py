"""Leave-one-out candidates: every row of a store searched against all the others, once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts import Artifact, row_table
from ..errors import DataError
from .engine import search
from .exclusion import Exclusion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .gallery import Gallery


def self_join(
    parent: Path,
    gallery: Gallery,
    k: Mapping[str, int],
    inputs: Mapping[str, str],
    *,
    query_channel: Mapping[str, str] | None = None,
    exclude_author: bool = False,
    radius_km: float | None = None,
    shard_rows: int = 4096,
    fresh: bool = False,
) -> Artifact:
    """The `k[channel]` best rows for every row, without itself, as a resumable artifact.

    `inputs` names the content keys of the searched matrices and their rows. The queries of a
    channel are its own rows unless `query_channel` says otherwise: locations are searched with
    image embeddings, `{"gps": "image"}`. With `exclude_author` the row's author goes too, with
    `radius_km` everything as near.
    """
    asked = {name: (query_channel or {}).get(name, name) for name in k}
    unknown = {*asked, *asked.values(), *(query_channel or {})} - set(gallery.channels)
    if unknown or not k:
        raise DataError("a self-join searches channels of the gallery", found=f"{sorted(unknown) or 'none'}")
    spec = {
        "inputs": dict(inputs),
        "k": dict(k),
        "query_channel": asked,
        "exclude_author": exclude_author,
        "radius_km": radius_km,
        "shard_rows": shard_rows,
    }
    artifact = Artifact.begin(parent, "self-join", spec, fresh=fresh)

    def make(start: int, stop: int) -> NDArray[Any]:
        queries = {name: gallery.channels[source].matrix[start:stop] for name, source in asked.items()}
        found = search(gallery, queries, k, _others(gallery, start, stop, exclude_author, radius_km))
        table = np.empty(stop - start, dtype=_columns(k))
        for name in k:
            table[f"{name}_row"] = found[name].rows.cpu().numpy()
            table[f"{name}_score"] = found[name].scores.cpu().numpy()
        return table

    row_table.fill(artifact, "self-join", gallery.count, shard_rows, make)
    return artifact


def read_candidates(folder: Path) -> dict[str, NDArray[Any]]:
    """A finished self-join: `<channel>_row`, int32, -1 as padding, and `<channel>_score`, float32."""
    table = row_table.read(folder)
    assert table.dtype.names is not None
    return {name: np.ascontiguousarray(table[name]) for name in table.dtype.names}


def _columns(k: Mapping[str, int]) -> list[tuple[str, str, tuple[int]]]:
    return [
        column
        for name, count in sorted(k.items())
        for column in ((f"{name}_row", "<i4", (count,)), (f"{name}_score", "<f4", (count,)))
    ]


def _others(
    gallery: Gallery, start: int, stop: int, exclude_author: bool, radius_km: float | None
) -> Exclusion:
    rows, chosen = gallery.rows, slice(start, stop)
    return Exclusion(
        own_row=np.arange(start, stop),
        author_token=rows.needed("author_token", rows.author_token)[chosen] if exclude_author else None,
        xyz=None if radius_km is None else rows.needed("xyz", rows.xyz)[chosen],
        radius_km=radius_km,
    )
