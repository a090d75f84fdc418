"""Nearest neighbours on raw features: what a frozen backbone and a gallery are worth by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.params import param
from pinpoint_harness.queries import tokens
from pinpoint_harness.search import Exclusion, Gallery, Rows, search
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

BACKBONE = "siglip2-giant-opt-patch16-384"

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
        self.author_token = tokens(authors)  # (rows,)
        matrix = torch.empty(len(self.coordinates), stores[0].width, dtype=torch.float16, device=device)
        for start, store in zip(self._starts.tolist(), stores, strict=False):
            for at in range(0, len(store), _CHUNK_ROWS):
                chunk = torch.from_numpy(np.array(store.matrix[at : at + _CHUNK_ROWS])).to(device)
                matrix[start + at : start + at + len(chunk)] = unit_rows(chunk)
        # A store is sorted by id, so the row number is the rank of the id.
        ids = [name for store in stores for name in store.table["id"].to_pylist()]
        rows = Rows(key=tokens(ids), author_token=self.author_token)
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
        there = row >= 0
        return Neighbours(
            row=row,
            cosine=np.where(there, hits.scores.double().cpu().numpy(), np.nan),
            coordinates=np.where(there[..., None], self.coordinates[row], np.nan),
        )

    def vectors(self, row: NDArray[np.int64]) -> Any:
        """The unit vectors of some rows, `(n, width)` fp16 on the context's device."""
        import torch

        matrix = self._gallery.channels[_CHANNEL].matrix
        return matrix[torch.from_numpy(row).to(matrix.device)]

    def source_and_row(self, row: NDArray[np.int64]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """The dataset of each row and its number there; empty and -1 for none."""
        store = np.clip(np.searchsorted(self._starts, row, side="right") - 1, 0, None)
        there = row >= 0
        return np.where(there, self._sources[store], ""), np.where(there, row - self._starts[store], -1)


def unseen(key: NDArray[np.uint64], author_token: NDArray[np.uint64], author_filter: bool) -> Exclusion:
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


@dataclass(frozen=True)
class KNNParams:
    gallery: str = param(help="dataset to search, or a store's folder; several separated by commas")
    backbone: str = param(BACKBONE, "registered name, Hugging Face id or folder")
    gallery_data: Path | None = param(
        None, "where the gallery's files lie [default: $PINPOINT_DATA]", in_title=False
    )
    author_filter: bool = param(False, "leave out gallery photos by the query's photographer")
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)


class NearestPhoto:
    """The place of the most similar gallery photo, by the cosine of raw features.

    A photo is never its own neighbour: the gallery's row with the query's id is left out.
    """

    Params: ClassVar[type[KNNParams]] = KNNParams
    answer_version: ClassVar[int] = 2

    def __init__(self, params: KNNParams, context: Context) -> None:
        self.input = params.backbone
        self.params = params
        self._gallery = PhotoGallery.of(params.gallery, params.backbone, params.gallery_data, context)
        if params.author_filter and not self._gallery.author_token.any():
            raise DataError(
                f"author_filter needs the photographers of the gallery '{params.gallery}'",
                found="none is known",
                fix="embed it from a table with authors (--column author=NAME), or leave the filter off",
            )

    def content(self) -> Mapping[str, Any]:
        """The gallery by what its stores hold, and not by its name or place."""
        keys = [store.key for store in self._gallery.stores]
        return {"gallery": keys, "gallery_data": None, "backbone": None}

    @property
    def neighbours(self) -> int:
        """How many neighbours are looked up."""
        return self.params.candidates

    def predict(self, queries: Queries) -> Predictions:
        found = self._gallery.nearest(
            queries.input,
            self.neighbours,
            unseen(queries.key, queries.author_token, self.params.author_filter),
        )
        answer = self.answer(found)
        return replace(answer, notes=self._notes)

    def answer(self, found: Neighbours) -> Predictions:
        return Predictions(
            found.coordinates[:, 0], confidence=found.cosine[:, 0], candidates=self._candidates(found)
        )

    def _candidates(self, found: Neighbours) -> Candidates:
        kept = slice(None, self.params.candidates)
        source, row = self._gallery.source_and_row(found.row[:, kept])
        return Candidates(found.coordinates[:, kept], source=source, row=row)

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        token = self._gallery.author_token
        unknown = int((token == 0).sum())
        if not self.params.author_filter or not unknown:
            return ()
        return (f"{unknown:,} of {len(token):,} gallery photos have no author and pass the author filter",)


@dataclass(frozen=True)
class KNNVoteParams(KNNParams):
    k: int = param(16, "neighbours that vote", minimum=1, maximum=4096)
    radius_km: float = param(25.0, "a neighbour votes for every place within this distance", minimum=0)


class KNNVote(NearestPhoto):
    """The neighbour with most votes: each of k gives its cosine to all places within a radius.

    Among equals the more similar one is taken.
    """

    Params: ClassVar[type[KNNParams]] = KNNVoteParams
    params: KNNVoteParams

    @property
    def neighbours(self) -> int:
        return max(self.params.k, self.params.candidates)

    def answer(self, found: Neighbours) -> Predictions:
        votes = np.stack([self._votes(*pair) for pair in zip(found.cosine, found.coordinates, strict=True)])
        best = np.where(np.isnan(votes), -1.0, votes).argmax(axis=1)  # the first of equals
        queries = np.arange(len(best))
        return Predictions(
            found.coordinates[queries, best],
            confidence=votes[queries, best],
            candidates=self._candidates(found),
        )

    def _votes(self, cosine: Floats, coordinates: Floats) -> Floats:
        """What each of one query's k nearest gets, `(k,)`."""
        cosine, coordinates = cosine[: self.params.k], coordinates[: self.params.k]
        there = np.flatnonzero(~np.isnan(cosine))
        first, second = np.repeat(there, len(there)), np.tile(there, len(there))
        near = haversine_km(coordinates[first], coordinates[second]) <= self.params.radius_km
        votes = np.full(len(cosine), np.nan)
        given = np.where(near, np.maximum(cosine[second], 0.0), 0.0)
        votes[there] = given.reshape(len(there), len(there)).sum(axis=1)
        return votes


@dataclass(frozen=True)
class LKNNParams(KNNParams):
    k: int = param(100, "neighbours", minimum=1, maximum=4096)
    exponent: float = param(10.0, "of the inverse squared feature distance", minimum=0)
    sigma_deg: float = param(4.0, "width of the kernel", minimum=0.1, maximum=10)
    snap_km: float = param(100.0, "answer with the first neighbour this close to the peak", minimum=0)


class LKNN(NearestPhoto):
    """[L]kNN as released by Vo, Jacobs and Hays: the peak of a density of neighbours, then snapped.

    100 neighbours, each weighted by 1 / d^10 where d is FLANN's distance of unit vectors, the
    *squared* Euclidean one. The weights are summed on a grid of 1 degree and blurred by a Gaussian
    of 4 degrees; around the peak the same is done on a grid of 0.1 degree. The answer is the most
    similar neighbour within 100 km of that peak, or the peak where there is none. The grid is flat
    and has edges, as released: it does not wrap at the antimeridian.
    """

    Params: ClassVar[type[KNNParams]] = LKNNParams
    params: LKNNParams

    @property
    def neighbours(self) -> int:
        return max(self.params.k, self.params.candidates)

    def answer(self, found: Neighbours) -> Predictions:
        pairs = zip(found.cosine, found.coordinates, strict=True)
        placed = [self._place(cosine[: self.params.k], places[: self.params.k]) for cosine, places in pairs]
        return Predictions(
            np.array([place for place, _ in placed]).reshape(-1, 2),
            confidence=np.array([share for _, share in placed]),
            candidates=self._candidates(found),
        )

    def _place(self, cosine: Floats, places: Floats) -> tuple[Floats, float]:
        """The answer to one query, and the share of the weight within its snapping distance."""
        there = ~np.isnan(cosine)
        places, squared = places[there], np.maximum(2 - 2 * cosine[there], 1e-6)
        if not len(places):
            return np.full(2, np.nan), np.nan
        weight = (squared[0] / squared) ** self.params.exponent
        peak = lknn_peak(places, weight, self.params.sigma_deg)
        # The released code measures this distance on a sphere of 6371 km, too.
        near = haversine_km(places, peak) < self.params.snap_km
        answer: Floats = places[np.argmax(near)] if near.any() else peak
        return answer, float(weight[near].sum() / weight.sum())


def lknn_peak(places: Floats, weight: Floats, sigma_deg: float) -> Floats:
    """The highest point of the blurred weights: first on whole degrees, then on tenths around that."""
    half, whole = np.array([90, 180]), np.array([180, 360])
    cells = np.ceil(places).astype(int) + half  # 1..180 and 1..360 as in MATLAB
    inside = ((cells >= 1) & (cells <= whole)).all(axis=1)
    coarse = _peak(cells[inside] - 1, weight[inside], _blur(180, sigma_deg), _blur(360, sigma_deg)) + 1
    middle = 10 * np.clip(coarse, 21, [159, 339])
    # Rounding as the released code does it: 0.1 degree, the cell named by its upper edge.
    fine = np.ceil(places * 10).astype(int) + 10 * half - (middle - 200)
    inside = ((fine >= 0) & (fine <= 400)).all(axis=1)
    if not inside.any():  # all weight at the rim, beyond the clipped window: the coarse peak stands
        rim: Floats = (coarse - half).astype(np.float64)
        return rim
    blur = _blur(401, 10 * sigma_deg)
    peak = _peak(fine[inside], weight[inside], blur, blur) + middle - 200
    answer: Floats = (peak - 10 * half) / 10
    return answer


def _peak(cells: NDArray[Any], weight: Floats, rows: Floats, columns: Floats) -> NDArray[np.int64]:
    """The cell with the most blurred weight; of equals the first down the columns, as MATLAB finds it."""
    density = (rows[:, cells[:, 0]] * weight) @ columns[:, cells[:, 1]].T
    column, row = divmod(int(np.argmax(density.T)), len(rows))
    return np.array([row, column])


@cache
def _blur(cells: int, sigma: float) -> Floats:
    """A one-dimensional Gaussian filter as a matrix, cut at two sigma and continued at the edges."""
    from scipy.ndimage import gaussian_filter1d

    radius = int(np.ceil(2 * sigma))
    blur: Floats = gaussian_filter1d(np.eye(cells), sigma, axis=0, mode="nearest", radius=radius)
    return blur
