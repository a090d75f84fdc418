"""Who trains, who is the gallery, who selects: splits A, B and C by md5 of names and of people.

An embedder places photos it was trained on far better than new ones, so whatever is trained or chosen
on its answers must come from rows it has not seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.photo_ids import hash_ids

from ..common.splits import md5_number
from .config import RetrievalConfig

if TYPE_CHECKING:
    import pandas as pd

    from pinpoint_harness.features import FeatureStore

Labels = NDArray[np.uint8]

A, B, C, LEFT_OUT = range(4)
NAMES = ("A", "B", "C", "left out")

_UNDERSCORED = re.compile(r"[0-9a-f]{2}_[0-9a-f]{2}_[0-9]+\.jpg")
_CHUNK_ROWS = 4096


def spelled(names: Sequence[str], spelling: str) -> list[str]:
    """Names as the hold-out hashes them: another spelling of the same photo falls into another bucket.

    For `aa_bb_id.jpg` a `/` is turned into `_`; what has lost its folders cannot be helped.
    """
    if spelling == "verbatim":
        return list(names)
    written = [name.replace("/", "_") for name in names]
    for name in written:
        if not _UNDERSCORED.fullmatch(name):
            raise DataError(
                f"the splits of photos hash names like 'aa_bb_id.jpg', and '{name}' is none",
                found="another spelling, by which the same photo would fall elsewhere",
                fix="use the table MP16_Pro_filtered.csv, or --set photos_spelling=verbatim for a set of "
                "your own",
            )
    return written


def split_photos(names: Sequence[str], authors: Sequence[Any], config: RetrievalConfig) -> Labels:
    """The label of each photo. Outside A one without an author is left out: nobody could be excluded."""
    labels = np.full(len(names), A, dtype=np.uint8)
    people: dict[str, int] = {}
    for row, name in enumerate(spelled(names, config.photos_spelling)):
        if md5_number(name) % 100 < config.photos_a_percent:
            continue
        author = authors[row]
        if not isinstance(author, str):
            labels[row] = LEFT_OUT
            continue
        if author not in people:
            people[author] = C if md5_number(author) % config.photos_c_one_in == 0 else B
        labels[row] = people[author]
    return labels


def split_streetview(names: Sequence[str], creators: Sequence[Any], config: RetrievalConfig) -> Labels:
    """The label of each picture; a creator of C stands in neither A nor B, one unknown only in A."""
    known = {creator for creator in creators if isinstance(creator, str)}
    held_out = {creator for creator in known if md5_number(creator) % config.streetview_c_one_in == 0}
    labels = np.full(len(names), A, dtype=np.uint8)
    for row, (name, creator) in enumerate(zip(names, creators, strict=True)):
        if creator in held_out:
            labels[row] = C
        elif creator in known and md5_number(name) % 100 < config.streetview_b_percent:
            labels[row] = B
    return labels


def split_store(store: FeatureStore, truth: pd.DataFrame, source: str, config: RetrievalConfig) -> Labels:
    """The label of each row of a store, from the names that its dataset's table spells.

    `truth` is that table; every row of the store must be in it.
    """
    names = truth.set_index("id")["image"].reindex(store.table["id"].to_pylist())
    if names.isna().any():
        lost = names.index[names.isna()]
        raise DataError(
            f"the store of '{store.dataset}' holds photos that its table does not",
            found=f"{len(lost)} of them, the first is '{lost[0]}'",
            fix="embed the dataset again, or give the table the store was made from",
        )
    divide = split_photos if source == "photos" else split_streetview
    return divide(names.tolist(), store.table["author"].to_pylist(), config)


def leave_out(
    labels: Labels, store: FeatureStore, benchmark: FeatureStore, cosine: float, device: str
) -> int:
    """Take a benchmark's photographers and look-alikes out of B and C; how many rows that were."""
    import torch
    from torch.nn.functional import normalize

    held = np.flatnonzero((labels == B) | (labels == C))
    people = hash_ids(benchmark.table["author"].to_pylist())
    mine = hash_ids(store.table["author"].to_pylist())[held]
    gone = np.isin(mine, people[people != 0])

    def unit(rows: NDArray[Any]) -> Any:
        return normalize(torch.from_numpy(np.array(rows)).to(device).float(), dim=1)

    closest = torch.full((len(held),), -1.0, device=device)
    rows = unit(store.matrix[held])
    for start in range(0, len(benchmark), _CHUNK_ROWS):
        tests = unit(benchmark.matrix[start : start + _CHUNK_ROWS])
        for at in range(0, len(held), _CHUNK_ROWS):
            piece = slice(at, at + _CHUNK_ROWS)
            near = (rows[piece] @ tests.T).amax(dim=1)  # (chunk, chunk) -> (chunk,)
            closest[piece] = torch.maximum(closest[piece], near)
    gone |= (closest >= cosine).cpu().numpy()
    labels[held[gone]] = LEFT_OUT
    return int(gone.sum())


def counts(labels: Labels) -> dict[str, int]:
    """How many rows each split has."""
    return {name: int((labels == label).sum()) for label, name in enumerate(NAMES)}
