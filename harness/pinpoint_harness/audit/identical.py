"""Which photos are the same file, and which are no photo at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..devices import usable_cores
from ..images import Failure, ImageStore
from ..progress import phase
from ..readers import PLACEHOLDER_COPIES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..features import FeatureStore

_AT_ONCE = 4096
_APART_DEG = 0.001
_APART_KM = 0.1


@dataclass(frozen=True)
class Pictures:
    """The files behind a list of photos: `refs[i]` is where the i-th lies, -1 where it is not there."""

    store: ImageStore
    refs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.refs)

    def read(self, row: int) -> bytes | Failure:
        return self.store.read(self.refs[row])

    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each file, told without reading it; -1 where it is not there."""
        return np.fromiter(
            (self.store.size(ref) if ref >= 0 else -1 for ref in self.refs), np.int64, len(self.refs)
        )

    def digests(self, rows: NDArray[np.int64], title: str) -> Iterator[tuple[int, bytes]]:
        """Row and sha256 of each file that can be read, in order, a few thousand in flight."""

        def digest(row: int) -> bytes:
            data = self.read(row)
            return b"" if isinstance(data, Failure) else hashlib.sha256(data).digest()

        with phase(title, len(rows)) as advance, ThreadPoolExecutor(usable_cores()) as threads:
            for start in range(0, len(rows), _AT_ONCE):
                some = rows[start : start + _AT_ONCE].tolist()
                for row, found in zip(some, threads.map(digest, some), strict=True):
                    if found:
                        yield row, found
                advance(len(some))


@dataclass(frozen=True)
class Contents:
    """Per query: whether a gallery holds the same content, and whether it is a placeholder's.

    `of_files` is false where the pictures are not at hand and equal features stand for equal bytes.
    """

    identical: NDArray[np.bool_]
    placeholder: NDArray[np.bool_]
    of_files: bool

    @property
    def photos(self) -> NDArray[np.bool_]:
        """Queries that are photos of their own, in which likeness means something."""
        return ~(self.identical | self.placeholder)


@dataclass
class _Copies:
    """One content: how often it occurs in one set of photos, and whether in several places."""

    first: NDArray[np.float64]
    count: int = 0
    apart: bool = False

    @property
    def is_placeholder(self) -> bool:
        """The rule of `verify`, but copies that all stand in one place are one photo kept several times."""
        return self.count >= PLACEHOLDER_COPIES and self.apart


def compare_files(
    queries: Pictures, galleries: Sequence[Pictures], places: Sequence[NDArray[np.float64]]
) -> Contents:
    """Equal bytes by sha256. Of the galleries only files as long as one of the queries' are read.

    `places` are the coordinates of the queries' rows and then of each gallery's.
    """
    present = np.flatnonzero(queries.refs >= 0)
    own = dict(queries.digests(present, "hashing queries"))
    tallies = [_tally(own.items(), places[0])]
    wanted_bytes = np.unique(queries.sizes()[present])
    for gallery, where in zip(galleries, places[1:], strict=True):
        as_long = np.flatnonzero(np.isin(gallery.sizes(), wanted_bytes) & (gallery.refs >= 0))
        shared = (item for item in gallery.digests(as_long, "hashing gallery") if item[1] in tallies[0])
        tallies.append(_tally(shared, where))
    identical, placeholder = (np.zeros(len(queries), dtype=bool) for _ in range(2))
    for row, digest in own.items():
        identical[row] = any(digest in tally for tally in tallies[1:])
        placeholder[row] = any(digest in tally and tally[digest].is_placeholder for tally in tallies)
    return Contents(identical, placeholder, of_files=True)


def _tally(found: Iterable[tuple[int, bytes]], places: NDArray[np.float64]) -> dict[bytes, _Copies]:
    tally: dict[bytes, _Copies] = {}
    for row, digest in found:
        copies = tally.setdefault(digest, _Copies(places[row]))
        copies.count += 1
        copies.apart = copies.apart or bool((np.abs(places[row] - copies.first) > _APART_DEG).any())
    return tally


def compare_features(queries: FeatureStore, equal: Sequence[pd.DataFrame]) -> Contents:
    """The same from features: equal pictures have equal ones, and hardly any others do.

    `equal` holds, per gallery, pairs `query, row, distance_km` whose features are equal.
    """
    count = len(queries)
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in queries.matrix]
    tally = _tally(enumerate(digests), queries.coordinates())
    placeholder = np.array([tally[digest].is_placeholder for digest in digests], dtype=bool)
    identical = np.zeros(count, dtype=bool)
    for pairs in equal:
        copies = np.bincount(pairs["query"], minlength=count)
        apart = np.bincount(pairs["query"][pairs["distance_km"] > _APART_KM], minlength=count) > 0
        identical |= copies > 0
        placeholder |= (copies >= PLACEHOLDER_COPIES) & apart
    return Contents(identical, placeholder, of_files=False)
