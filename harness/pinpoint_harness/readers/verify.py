"""Whether a dataset on disk is what it claims to be, photo by photo."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..devices import usable_cores
from ..errors import DataError
from ..images import Failure, PassingTroubleError
from ..images.prefetch import prefetch
from ..progress import phase
from ..types import Dataset
from .truth import TableDataset

if TYPE_CHECKING:
    import pandas as pd

    from ..images import ImageStore

PLACEHOLDER_COPIES = 3
"""Any content that stands under three ids or more is a "no longer available" picture, not a photo."""


@dataclass(frozen=True)
class Verification:
    """What was found. Ids are in the order of the truth; `unreadable` maps a reason to its ids."""

    truth_file: str
    truth_sha256: str
    truth_is: str
    rows: int
    expected_rows: int | None
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    unreadable: Mapping[str, tuple[str, ...]]
    decoded: int
    placeholders: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    images: str

    @property
    def sound(self) -> bool:
        """Every row has a photo that decodes; how many rows are published is another question."""
        return self.decoded == self.rows

    def advice(self, dataset: str) -> list[str]:
        """What to do next; `dataset` is its name with the options that open it."""
        todo = []
        if self.images:
            todo.append("name the folder or archive of the pictures with --images")
        if self.missing and not self.images:
            todo.append(f"find the {len(self.missing):,} missing photos, or run: they count as misses")
            todo.append(f"their names: pinpoint datasets verify {dataset} --list-missing")
        if self.unreadable:
            todo.append("fetch the unreadable photos again, or run: they count as misses")
        if self.placeholders:
            count = sum(map(len, self.placeholders))
            todo.append(f"{count:,} placeholder pictures count like any photo, as in published rows")
        return todo or [f"pinpoint run METHOD {dataset}"]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.sound}


def verify(dataset: Dataset) -> Verification:
    """Read the truth, look for every photo, decode every photo found, hash its bytes."""
    path, sha256, known, notes = "", "", "", tuple[str, ...]()
    if isinstance(dataset, TableDataset):
        read = dataset.read()
        truth, path, sha256, notes = read.frame, str(read.path), read.sha256, read.notes
        known = (dataset.spec.known_files or {}).get(sha256, "a file not seen before")
    else:
        truth = dataset.truth()
    try:
        store = dataset.images()
    except DataError as error:
        look = _Look(missing=tuple(truth["id"]), problem=error.problem)
    else:
        with store:
            look = _look_at_all(store, truth)
    return Verification(
        truth_file=path,
        truth_sha256=sha256,
        truth_is=known,
        rows=len(truth),
        expected_rows=dataset.info.expected_rows,
        notes=notes,
        missing=look.missing,
        unreadable=look.unreadable,
        decoded=len(truth) - len(look.missing) - sum(map(len, look.unreadable.values())),
        placeholders=tuple(group for group in look.copies if len(group) >= PLACEHOLDER_COPIES),
        left_out=look.left_out,
        remarks=look.remarks,
        images=look.problem,
    )


@dataclass(frozen=True)
class _Look:
    """Ids without a photo, ids by reason of failure, ids by equal bytes, and what containers say."""

    missing: tuple[str, ...] = ()
    unreadable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    copies: Sequence[tuple[str, ...]] = ()
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    problem: str = ""


def _look_at_all(store: ImageStore, truth: pd.DataFrame) -> _Look:
    refs = store.find(truth["image"])
    ids: list[str] = truth["id"].tolist()
    present = np.flatnonzero(refs >= 0)
    digests: dict[int, bytes] = {}

    def read(index: int) -> bytes | Failure:
        try:
            data = store.read(refs[present[index]])
        except PassingTroubleError as error:  # to be named with all others: nothing is stored here
            return Failure("unreadable", error.found or error.problem)
        if not isinstance(data, Failure):
            digests[index] = hashlib.sha256(data).digest()
        return data

    def remark(index: int, text: str) -> None:
        store.remark(refs[present[index]], text)

    unreadable: dict[str, list[str]] = defaultdict(list)
    with phase("decoding", len(present)) as advance:
        decoded = prefetch(read, len(present), threads=usable_cores(), depth=64, remark=remark)
        for index, image in decoded:
            if isinstance(image, Failure):
                unreadable[image.reason or image.kind].append(ids[present[index]])
            advance(1)
    groups: dict[bytes, list[str]] = defaultdict(list)
    for index, digest in sorted(digests.items()):
        groups[digest].append(ids[present[index]])
    return _Look(
        missing=tuple(ids[row] for row in np.flatnonzero(refs < 0)),
        unreadable={why: tuple(who) for why, who in unreadable.items()},
        copies=[tuple(group) for group in groups.values()],
        left_out=tuple(map(str, store.skipped)),
        remarks=tuple(map(str, store.remarks)),
    )
