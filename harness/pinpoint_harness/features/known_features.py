"""Features that need not be computed: of pictures whose bytes another store of the same making has.

A gallery that is a part of a dataset, the dataset itself after a part of it, and a dataset of which some
pictures were replaced are embedded as far as their pictures are new. What is taken is what would be computed,
bit by bit, since a feature depends on nothing but its picture and what the stores have in common.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts import canonical_json, check_files, library_versions, read_json, safe_name
from ..errors import ArtifactError
from .same_pictures import NOTHING, contents_of, stores_in
from .store import FeatureStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .store import Matrix

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownFeature:
    """What stands in the place of a picture whose feature is known: `feature` `(width,)` in fp16."""

    feature: NDArray[np.float16]


@dataclass(frozen=True)
class KnownFeatures:
    """Rows of stores by the digest of the picture they were made from.

    `first` `(n,)`, ascending, and `second` `(n,)` are the halves of the digests; `number` and `row` `(n,)`
    say which of `matrices` has the feature, and where.
    """

    first: NDArray[np.uint64]
    second: NDArray[np.uint64]
    number: NDArray[np.int32]
    row: NDArray[np.int64]
    matrices: Sequence[Matrix]

    @classmethod
    def of(cls, root: Path, backbone: str, spec: Mapping[str, Any]) -> KnownFeatures:
        """All that the stores under `root` know which were made as `spec` says, under the same versions."""
        halves, numbers, rows = (
            [np.empty((0, 2), np.uint64)],
            [np.empty(0, np.int32)],
            [np.empty(0, np.int64)],
        )
        matrices: list[Matrix] = []
        for store in _made_alike(root, backbone, spec):
            digests, known_rows = _digests_of(store)
            halves.append(digests)
            rows.append(known_rows)
            numbers.append(np.full(len(known_rows), len(matrices), np.int32))
            matrices.append(store.matrix)
        half = np.concatenate(halves)
        order = np.argsort(half[:, 0], kind="stable")
        first, second = np.ascontiguousarray(half[order].T)
        return cls(first, second, np.concatenate(numbers)[order], np.concatenate(rows)[order], matrices)

    def __len__(self) -> int:
        return len(self.first)

    def find(self, digest: bytes) -> KnownFeature | None:
        """The feature of a picture by `digest_of` its bytes."""
        first, second = np.frombuffer(digest, np.uint64)
        start, stop = self.first.searchsorted(first), self.first.searchsorted(first, side="right")
        for place in range(start, stop):
            if self.second[place] == second:
                return KnownFeature(self.matrices[self.number[place]][self.row[place]])
        return None


def _made_alike(root: Path, backbone: str, spec: Mapping[str, Any]) -> Iterator[FeatureStore]:
    """The stores that are whole and whose features are what would be computed now."""
    wanted, versions = _making(spec), library_versions()
    for parent in sorted(root.glob(f"*/{safe_name(backbone)}")):
        for store in stores_in(parent):
            if store.imported or _making(store.spec) != wanted:
                continue
            try:
                check_files(store.folder)
                if read_json(store.folder / "manifest.json")["versions"] == versions:
                    yield store
            except ArtifactError as error:
                log.warning("no features are taken from '%s': %s", store.folder, error)


def _making(spec: Mapping[str, Any]) -> bytes:
    """What a feature depends on beside its picture."""
    names = ("version", "backbone", "device", "dtype", "tile")
    return canonical_json({name: spec[name] for name in names} | {"decoder": spec["images"]["decoder"]})


def _digests_of(store: FeatureStore) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The digest, as two halves, and the row of each picture of a store that has a feature."""
    known = contents_of(store)
    if known is None:
        return np.empty((0, 2), np.uint64), np.empty(0, np.int64)
    ids, digests = known
    halves = digests.view(np.uint64)
    rows = store.find(ids)
    is_read = (rows >= 0) & (halves != np.frombuffer(NOTHING, np.uint64)).any(axis=1)
    return halves[is_read], rows[is_read]
