"""Who trains, who is the gallery, who selects: splits A, B and C by md5 of names and of people.

An embedder places photos it was trained on far better than new ones, so whatever is trained or chosen
on its answers must come from rows it has not seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.geo import EARTH_RADIUS_KM
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Rows, SupportIndex, xyz_of

from ..common.splits import md5_number
from .config import RetrievalConfig

if TYPE_CHECKING:
    import pandas as pd

    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

Labels = NDArray[np.uint8]

A, B, C, LEFT_OUT = range(4)
NAMES = ("A", "B", "C", "left out")

_UNDERSCORED = re.compile(r"[0-9a-f]{2}_[0-9a-f]{2}_[0-9]+\.jpg")
_CHUNK_ROWS = 4096
_NAMES_AT_ONCE = 1 << 16


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


def cell_names(coordinates: Floats, edge_km: float) -> list[str]:
    """The cell of each place: bands of latitude as high as the edge, cut into cells about as wide."""
    height = np.degrees(edge_km / EARTH_RADIUS_KM)
    band = np.floor((coordinates[:, 0] + 90) / height)
    middle = np.radians(np.minimum((band + 0.5) * height - 90, 90))
    columns = np.maximum(1, np.floor(360 * np.cos(middle) / height))
    column = np.floor((coordinates[:, 1] + 180) % 360 / 360 * columns)
    return [f"{edge_km:g} km {y:.0f} {x:.0f}" for y, x in zip(band, column, strict=True)]


def split_places(coordinates: Floats, creators: Sequence[Any], config: RetrievalConfig) -> Labels:
    """The label of each picture by its cell. Outside A one of an unknown creator is left out."""
    label_of: dict[str, int] = {}
    for cell in (cells := cell_names(coordinates, config.streetview_cell_km)):
        if cell not in label_of:
            rest, hundredth = divmod(md5_number(cell), 100)
            held_out = C if rest % config.streetview_c_one_in == 0 else A
            label_of[cell] = B if hundredth < config.streetview_b_percent else held_out
    labels = np.array([label_of[cell] for cell in cells], dtype=np.uint8)
    unknown = np.array([not isinstance(creator, str) for creator in creators], dtype=bool)
    labels[unknown & (labels != A)] = LEFT_OUT
    return labels


def split_store(store: FeatureStore, truth: pd.DataFrame, source: str, config: RetrievalConfig) -> Labels:
    """The label of each row of a store, from the names that its dataset's table spells.

    `truth` is that table; every row of the store must be in it.
    """
    ids = store.table["id"].cast(pa.large_string())
    place = pc.index_in(ids, pa.array(truth["id"], pa.large_string()))
    names = pa.array(truth["image"], pa.large_string(), from_pandas=True).take(place)
    if names.null_count:
        lost = ids.filter(pc.is_null(names))
        raise DataError(
            f"the store of '{store.dataset}' holds photos that its table does not",
            found=f"{len(lost)} of them, the first is '{lost[0]}'",
            fix="embed the dataset again, or give the table the store was made from",
        )
    authors = store.table["author"]
    if source == "streetview" and config.streetview_cell_km:
        return split_places(store.coordinates(), authors.to_pylist(), config)
    divide = split_photos if source == "photos" else split_streetview
    labels = [  # what a row's label is hangs on no other row
        divide(
            names.slice(start, _NAMES_AT_ONCE).to_pylist(),
            authors.slice(start, _NAMES_AT_ONCE).to_pylist(),
            config,
        )
        for start in range(0, len(store), _NAMES_AT_ONCE)
    ]
    return np.concatenate(labels)


def leave_out_near_a(labels: Labels, store: FeatureStore, km: float) -> int:
    """Take what has a row of A within `km` out of B and C; how many rows that were."""
    held, places = held_out(labels), store.coordinates()
    return _leave(labels, held, _near(places[held], places[labels == A], km))


def leave_out_people(labels: Labels, store: FeatureStore, benchmark: FeatureStore) -> int:
    """Take a benchmark's photographers out of B and C; how many rows that were."""
    held = held_out(labels)
    people = hash_ids(benchmark.table["author"])
    mine = hash_ids(store.table["author"].take(held))
    return _leave(labels, held, np.isin(mine, people[people != 0]))


def leave_out_places(labels: Labels, store: FeatureStore, benchmark: FeatureStore, km: float) -> int:
    """Take what lies within `km` of a benchmark's photos out of B and C; how many rows that were.

    Two roads may look alike on two continents, so among street view a cosine finds more than leaks.
    """
    held = held_out(labels)
    return _leave(labels, held, _near(store.coordinates()[held], benchmark.coordinates(), km))


def held_out(labels: Labels) -> NDArray[np.int64]:
    """The rows of B and C."""
    return np.flatnonzero((labels == B) | (labels == C))


def _near(places: Floats, others: Floats, km: float) -> NDArray[np.bool_]:
    """Which places have one of the others within `km`; places that are not known are near nothing."""
    known = others[np.isfinite(others).all(axis=1)]
    if not len(known) or not len(places):
        return np.zeros(len(places), dtype=bool)
    found = SupportIndex(Rows(xyz=xyz_of(known))).nearest(xyz_of(places), 1, km)
    near: NDArray[np.bool_] = found.rows[:, 0] >= 0
    return near


def _leave(labels: Labels, held: NDArray[np.int64], gone: NDArray[np.bool_]) -> int:
    labels[held[gone]] = LEFT_OUT
    return int(gone.sum())


def leave_out_look_alikes(
    labels: Labels, store: FeatureStore, benchmark: FeatureStore, cosine: float, device: str
) -> int:
    """Take what looks like a benchmark's photo out of B and C; how many rows that were."""
    import torch
    from torch.nn.functional import normalize

    held = held_out(labels)

    def unit(rows: NDArray[Any]) -> Any:
        return normalize(torch.from_numpy(np.array(rows)).to(device).float(), dim=1)

    closest = torch.full((len(held),), -1.0, device=device)
    for at in range(0, len(held), _CHUNK_ROWS):
        piece = slice(at, at + _CHUNK_ROWS)
        rows = unit(store.matrix[held[piece]])
        for start in range(0, len(benchmark), _CHUNK_ROWS):
            tests = unit(benchmark.matrix[start : start + _CHUNK_ROWS])
            near = (rows @ tests.T).amax(dim=1)  # (chunk, chunk) -> (chunk,)
            closest[piece] = torch.maximum(closest[piece], near)
    return _leave(labels, held, (closest >= cosine).cpu().numpy())


def counts(labels: Labels) -> dict[str, int]:
    """How many rows each split has."""
    return {name: int((labels == label).sum()) for label, name in enumerate(NAMES)}
