"""Feature stores as one gallery that is searched by cosine: what a retrieval method needs.

gallery = PhotoGallery.open(context, "mp16,osv5m-train", "siglip2-base-patch16-224")
found = gallery.search(queries, k=10)  # a query's own photo is never among them
found.coordinates, found.cosine, gallery.photos(found.row)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..photo_ids import hash_ids
from ..search import Exclusion, Rows, xyz_of
from ..types import Candidates, Context, Queries
from .store import FeatureStore, take_ids

if TYPE_CHECKING:
    from torch import Tensor

    from ..search import Gallery
    from ..types import Floats


_CHANNEL = "raw"
_CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class Neighbours:
    """The nearest gallery rows of each query, best first.

    `row` `(n, k)` counts through all galleries, -1 where nothing is left; `cosine` `(n, k)` and
    `coordinates` `(n, k, 2)`, degrees, are NaN there.
    """

    row: NDArray[np.int64]
    cosine: Floats
    coordinates: Floats


class PhotoGallery:
    """One or several feature stores as one gallery, unit vectors in fp16 on a device.

    `coordinates` `(rows, 2)` are those of all rows, `author_token` `(rows,)` their photographers, 0 where
    none is known, and `stores` the feature stores. With `author_filter`, `search` also leaves out the
    photos by the query's photographer. `by_place` lets an exclusion of `nearest` name a radius. `project`
    makes other vectors, `(n, other)`, of features `(n, width)`: these are what is searched, and what queries
    must be given as.
    """

    def __init__(
        self,
        stores: Sequence[FeatureStore],
        device: str,
        *,
        author_filter: bool = False,
        by_place: bool = False,
        project: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.stores = stores
        self.author_filter = author_filter
        self._starts = np.cumsum([0, *map(len, stores)])
        self.coordinates = np.concatenate([store.coordinates() for store in stores])  # (rows, 2)
        self._sources = np.array([store.dataset for store in stores])
        self.author_token = np.concatenate([hash_ids(store.table["author"]) for store in stores])  # (rows,)
        self._key = np.concatenate([hash_ids(store.table["id"]) for store in stores])  # (rows,)
        self._galleries = [
            self._opened(store, int(start), device, by_place, project)
            for start, store in zip(self._starts, stores, strict=False)
        ]

    def _opened(
        self,
        store: FeatureStore,
        start: int,
        device: str,
        by_place: bool,
        project: Callable[[Tensor], Tensor] | None,
    ) -> Gallery:
        """One store as it is searched; sorted by id, so that the row number is the rank of the id."""
        # Here and below, torch is loaded where it is used: stores are listed without it.
        from ..search import Gallery, own_rows, place, unit_rows

        own = own_rows(len(store))
        if project is None:
            matrix = place(store.matrix[own], device, f"features of '{store.dataset}'", rewrite=unit_rows)
        else:
            matrix = _projected(store, own, device, project)
        mine = slice(start, start + len(store))
        xyz = xyz_of(self.coordinates[mine]) if by_place else None
        rows = Rows(key=self._key[mine], author_token=self.author_token[mine], xyz=xyz)
        return Gallery.of({_CHANNEL: matrix}, rows, whole=len(store))

    @classmethod
    def open(
        cls,
        context: Context,
        names: str,
        backbone: str,
        data: Path | None = None,
        *,
        author_filter: bool = False,
        project: Callable[[Tensor], Tensor] | None = None,
    ) -> PhotoGallery:
        """The galleries that `names` lists, datasets or folders of stores, separated by commas.

        Features that are not there yet are computed first; `data` is where the datasets' files lie. Raises
        UsageError outside of a run and for names that are empty or repeated, DataError for stores of
        different widths and, with `author_filter`, where no photographer of the gallery is known.
        """
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
        gallery = cls(stores, context.device, author_filter=author_filter, project=project)
        if author_filter and not gallery.author_token.any():
            raise DataError(
                f"author_filter needs the photographers of the gallery '{names}'",
                found="none is known",
                fix="embed it from a table with authors (--column author=NAME), or leave the filter off",
            )
        return gallery

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def keys(self) -> list[str]:
        """What the stores hold, by content, for `content()` of a method."""
        return [store.key for store in self.stores]

    @property
    def notes(self) -> tuple[str, ...]:
        """For `Predictions.notes`: how many photos pass the author filter because they have no author."""
        unknown = int((self.author_token == 0).sum())
        if not self.author_filter or not unknown:
            return ()
        return (f"{unknown:,} of {len(self):,} gallery photos have no author and pass the author filter",)

    def search(self, queries: Queries, k: int) -> Neighbours:
        """The `k` photos most similar to each query by `queries.input`, `(n, width)`, ties by their ids.

        The query's own photo is left out, and with `author_filter` its photographer's; DataError for a
        query whose photographer is not known then.
        """
        hidden = build_exclusion(queries.key, queries.author_token, self.author_filter)
        return self.nearest(queries.input, k, hidden)

    def search_tiles(self, tiles: Sequence[Queries], k: int) -> list[Neighbours]:
        """What `search` finds for each of several tiles, in one pass over the gallery."""
        import torch

        hidden = [build_exclusion(tile.key, tile.author_token, self.author_filter) for tile in tiles]
        found = self.nearest(torch.cat([tile.input for tile in tiles]), k, Exclusion.join(hidden))
        edges = np.cumsum([len(tile) for tile in tiles])[:-1]
        parts = [np.split(of, edges) for of in (found.row, found.cosine, found.coordinates)]
        return [Neighbours(*of) for of in zip(*parts, strict=True)]

    def nearest(self, features: Any, k: int, exclusion: Exclusion | None) -> Neighbours:
        """The `k` rows with the highest cosine under an exclusion of your own, ties by their ids.

        `features` is a tensor `(n, width)`; with None nothing is left out, not even the query's own photo.
        """
        from ..search import search, unit_rows

        vectors = unit_rows(features)
        rows, scores = [], []
        for start, gallery in zip(self._starts.tolist(), self._galleries, strict=False):
            hidden = _within(exclusion, start, gallery.whole)
            hits = search(gallery, {_CHANNEL: vectors}, {_CHANNEL: k}, hidden)[_CHANNEL]
            mine = hits.rows.cpu().numpy()
            rows.append(np.where(mine >= 0, mine + start, -1))
            scores.append(hits.scores.double().cpu().numpy())
        row, score = np.concatenate(rows, axis=1), np.concatenate(scores, axis=1)
        if len(rows) > 1:  # scores are exact, so the order of all is that of each, equal ones by their rows
            best = np.argsort(-score, axis=1, kind="stable")[:, :k]
            row, score = (np.take_along_axis(of, best, axis=1) for of in (row, score))
        valid = row >= 0
        return Neighbours(
            row=row,
            cosine=np.where(valid, score, np.nan),
            coordinates=np.where(valid[..., None], self.coordinates[row], np.nan),
        )

    def candidates(self, found: Neighbours, count: int | None = None) -> Candidates:
        """The first `count` neighbours of each query, default all, as candidates that name their photos."""
        kept = slice(None, count)
        source, photo_id = self.photos(found.row[:, kept])
        score = found.cosine[:, kept]
        return Candidates(found.coordinates[:, kept], source=source, photo_id=photo_id, score=score)

    def vectors(self, row: NDArray[np.int64]) -> Any:
        """The unit vectors of some rows, `(n, width)` fp16 on the gallery's device."""
        import torch

        first = self._galleries[0]
        taken = torch.empty(
            (len(row), first.channels[_CHANNEL].width), dtype=torch.float16, device=first.device
        )
        for start, gallery in zip(self._starts.tolist(), self._galleries, strict=False):
            (mine,) = np.nonzero((row >= start) & (row < start + gallery.whole))
            wanted = torch.from_numpy(row[mine] - start).to(gallery.device)
            taken[torch.from_numpy(mine).to(taken.device)] = gallery.vectors(_CHANNEL, wanted)
        return taken

    def photo_keys(self, row: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Numbers that are equal for one photo, whatever its row here or in other galleries: `(n, k)`.

        A hash of its dataset and id; anything for -1.
        """
        number = np.searchsorted(self._starts, row, side="right") - 1
        return self._key[row] ^ hash_ids(self._sources.tolist())[number]

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


def _projected(store: FeatureStore, own: slice, device: str, project: Callable[[Tensor], Tensor]) -> Tensor:
    """Other vectors of some of a store's features, made once: a network is too slow to run in every pass."""
    import torch

    from ..search import unit_rows

    width = project(torch.zeros(1, store.width, dtype=torch.float16, device=device)).shape[1]
    matrix = torch.empty(own.stop - own.start, width, dtype=torch.float16, device=device)
    for start in range(0, len(store), _CHUNK_ROWS):
        # Whole chunks, since what is projected may depend on how many rows there are.
        low, high = max(start, own.start), min(start + _CHUNK_ROWS, own.stop)
        if low < high:
            chunk = torch.from_numpy(np.array(store.matrix[start : start + _CHUNK_ROWS])).to(device)
            matrix[low - own.start : high - own.start] = unit_rows(project(chunk))[low - start : high - start]
    return matrix


def _within(exclusion: Exclusion | None, start: int, count: int) -> Exclusion | None:
    """The same for the rows of one store, which have numbers of their own there."""
    if exclusion is None or exclusion.own_row is None:
        return exclusion
    own = exclusion.own_row - start
    return replace(exclusion, own_row=np.where((own >= 0) & (own < count), own, -1))


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
            found=f"{unknown} of {len(author_token)} queries of a tile have no known author",
            fix="name the column of authors (--column author=NAME), or leave the filter off",
        )
    return Exclusion(own_key=key, author_token=author_token)
