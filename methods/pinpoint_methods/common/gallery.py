"""Feature stores as one gallery that is searched by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import FeatureStore, take_ids
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Exclusion, Gallery, Rows, search
from pinpoint_harness.types import Context

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


_CHANNEL = "raw"
_CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class Neighbours:
    """The nearest gallery rows of each query, best first.

    `row` `(n, k)` counts through all galleries, -1 where nothing is left; `cosine` and
    `coordinates` are NaN there.
    """

    row: NDArray[np.int64]
    cosine: Floats
    coordinates: Floats  # (n, k, 2)


class PhotoGallery:
    """One or several feature stores as one gallery, unit vectors in fp16 on the context's device."""

    def __init__(self, stores: Sequence[FeatureStore], device: str) -> None:
        import torch

        self.stores = stores
        self._starts = np.cumsum([0, *map(len, stores)])
        self.coordinates = np.concatenate([store.coordinates() for store in stores])  # (rows, 2)
        self._sources = np.array([store.dataset for store in stores])
        authors = [author for store in stores for author in store.table["author"].to_pylist()]
        self.author_token = hash_ids(authors)  # (rows,)
        matrix = torch.empty(len(self.coordinates), stores[0].width, dtype=torch.float16, device=device)
        for start, store in zip(self._starts.tolist(), stores, strict=False):
            for at in range(0, len(store), _CHUNK_ROWS):
                chunk = torch.from_numpy(np.array(store.matrix[at : at + _CHUNK_ROWS])).to(device)
                matrix[start + at : start + at + len(chunk)] = unit_rows(chunk)
        # A store is sorted by id, so the row number is the rank of the id.
        ids = [name for store in stores for name in store.table["id"].to_pylist()]
        rows = Rows(key=hash_ids(ids), author_token=self.author_token)
        self._gallery = Gallery.of({_CHANNEL: matrix}, rows)

    @classmethod
    def of(cls, names: str, backbone: str, data: Path | None, context: Context) -> PhotoGallery:
        """The galleries that a parameter names, separated by commas."""
        if context.stores is None:
            raise UsageError("a gallery can be opened in a run only", fix="use `pinpoint run` or `evaluate`")
        listed = [name.strip() for name in names.split(",") if name.strip()]
        if not listed or len(set(listed)) < len(listed):
            raise UsageError(
                f"gallery='{names}' does not name galleries, each once", fix="gallery=mp16,osv5m-train"
            )
        stores = [context.stores.gallery(name, backbone, data) for name in listed]
        if len({store.width for store in stores}) > 1:
            found = ", ".join(f"{store.dataset} {store.width}" for store in stores)
            raise DataError("galleries must hold features of one width", found=found)
        return cls(stores, context.device)

    def nearest(self, features: Any, k: int, exclusion: Exclusion | None) -> Neighbours:
        """The `k` rows with the highest cosine, ties in the order of the rows."""
        hits = search(self._gallery, {_CHANNEL: unit_rows(features)}, {_CHANNEL: k}, exclusion)[_CHANNEL]
        row = hits.rows.cpu().numpy()
        valid = row >= 0
        return Neighbours(
            row=row,
            cosine=np.where(valid, hits.scores.double().cpu().numpy(), np.nan),
            coordinates=np.where(valid[..., None], self.coordinates[row], np.nan),
        )

    def vectors(self, row: NDArray[np.int64]) -> Any:
        """The unit vectors of some rows, `(n, width)` fp16 on the context's device."""
        import torch

        matrix = self._gallery.channels[_CHANNEL].matrix
        return matrix[torch.from_numpy(row).to(matrix.device)]

    def photos(self, row: NDArray[np.int64]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """The dataset and the id of each row, `(n, k)` both; "" for -1."""
        number = np.clip(np.searchsorted(self._starts, row, side="right") - 1, 0, None)
        valid = row >= 0
        each = [
            take_ids(store.table["id"], np.where(valid & (number == place), row - start, -1))
            for place, (start, store) in enumerate(zip(self._starts.tolist(), self.stores, strict=False))
        ]
        photo_id = np.take_along_axis(np.stack(each), number[None], axis=0)[0]
        return np.where(valid, self._sources[number], ""), photo_id


def build_exclusion(
    key: NDArray[np.uint64], author_token: NDArray[np.uint64], author_filter: bool
) -> Exclusion:
    """What queries may not see of a gallery: themselves, and with the filter their authors' photos."""
    if not author_filter:
        return Exclusion(own_key=key)
    unknown = int((author_token == 0).sum())
    if unknown:
        raise DataError(
            "author_filter needs the photographer of every query",
            found=f"{unknown} of {len(author_token)} queries of a tile are by nobody known",
            fix="name the column of authors (--column author=NAME), or leave the filter off",
        )
    return Exclusion(own_key=key, author_token=author_token)


def unit_rows(features: Any) -> Any:
    """Rows of length 1, normalised in float64 and rounded to fp16; a row of zeros stays one."""
    exact = features.double()
    norms = exact.norm(dim=1, keepdim=True)
    return (exact / norms.where(norms > 0, norms.new_ones(()))).half()
