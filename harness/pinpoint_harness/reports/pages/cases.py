"""Photos worth a look: which they are, their candidates, and small pictures of both up to a cap."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from ...geo import geodesic_km
from ...images import resize
from ...running.predictions import candidates_of
from .text import visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import Floats
    from ..photo_lookup import Photo, PhotoLookup
    from ..support import Support
    from .section import Column, Section

CASES = 300
"""Photos of a section, at most, whose candidates are in the page."""

DEPTH = 12
"""Photos of each list among them, as many as the browser shows at once."""

CANDIDATES = 5
PICTURED_CANDIDATES = 3
SIDE = 96
_QUALITY = 68
_SPHERE_KM = 6371.0


@dataclass(frozen=True)
class Candidate:
    """A place considered for a photo, `km` from the truth; a photo of `source` where `photo_id` names one."""

    place: Floats
    km: float
    probability: float | None
    source: str
    photo_id: str


@dataclass
class Pictures:
    """Small pictures as `data:` addresses, each once, at most `left` more of them."""

    left: int
    addresses: list[str] = field(default_factory=list)
    places: dict[tuple[str, str], int | str] = field(default_factory=dict)

    def add(self, dataset: str, name: str, photo: Photo) -> None:
        """Keep a photo, or the reason why it cannot be shown."""
        key = (dataset, name)
        if key in self.places:
            return
        if isinstance(photo, str):
            self.places[key] = visible(photo)
        elif self.left > 0:
            self.left -= 1
            self.places[key] = len(self.addresses)
            self.addresses.append(_address(photo))

    def has(self, one: Candidate) -> bool:
        return (one.source, one.photo_id) in self.places

    def place(self, dataset: str, name: str) -> int | str:
        """The number of a picture, or in words why there is none."""
        return self.places.get((dataset, name), "no picture in this report")


def choose_cases(section: Section, most: int = CASES) -> list[int]:
    """Rows to look at, the most telling of each list first.

    Lists are those of the browser, for each run or pair: right within a city's radius where the other is
    not, biggest gains, worst, most surely wrong, best.
    """
    lists: list[NDArray[np.int64]] = []
    near = section.city_radius
    for one, other in permutations(section.columns, 2):
        both = one.known & other.known
        gain = np.where(both, _bounded(other.error_km) - _bounded(one.error_km), -np.inf)
        lists += [_top(gain, (one.band <= near) & (other.band > near) & (gain > 0)), _top(gain, gain > 0)]
    for one in section.columns:
        error_km = np.where(one.known, one.error_km, np.nan)
        answered = np.isfinite(error_km)
        wrong = answered & (one.band > near) & ~np.isnan(one.sure)
        lists += [_top(error_km, answered), _top(one.sure, wrong), _top(-error_km, answered)]
    taken: dict[int, None] = {}
    for rank in zip_longest(*(one.tolist() for one in lists)):
        taken |= dict.fromkeys(row for row in rank if row is not None)
    return list(taken)[:most]


def case_data(
    section: Section,
    rows: Sequence[int],
    lookups: Sequence[PhotoLookup],
    support: Support,
    pictures: Pictures,
) -> dict[str, Any]:
    """What the page shows of each case: `{row: {picture, runs: {number: [candidate, ...]}}}`.

    `lookups` are of the section's columns, in their order.
    """
    chosen = np.array(rows, dtype=np.int64)
    found = [_candidates(column, section, chosen) for column in section.columns]
    if pictures.left > 0 and len(chosen):
        _add_pictures(section, chosen, found, lookups, pictures)
    shown = [[_listed(line, support, pictures) for line in one] for one in found]
    ids = section.frame["id"].iloc[chosen].tolist()
    return {
        str(row): {
            "picture": pictures.place(section.dataset, name),
            "runs": {str(number): shown[number][at] for number in range(len(found))},
        }
        for at, (row, name) in enumerate(zip(chosen.tolist(), ids, strict=True))
    }


def _candidates(column: Column, section: Section, rows: NDArray[np.int64]) -> list[list[Candidate]]:
    """The first candidates of some rows of a run, `[]` where it gives none or was not asked."""
    import pandas as pd

    table = column.run.table()
    ids = section.frame["id"].iloc[rows]
    own = pd.Index(table["id"].to_pandas()).get_indexer(pd.Index(ids))
    asked = np.flatnonzero(own >= 0)
    lines: list[list[Candidate]] = [[] for _ in rows]
    found = candidates_of(table.take(own[asked])) if len(asked) else None
    if found is None:
        return lines
    truth = section.frame[["latitude", "longitude"]].to_numpy(np.float64)[rows]
    for line, at in enumerate(asked.tolist()):
        places = found.coordinates[line][:CANDIDATES]
        places = places[~np.isnan(places[:, 0])]
        distances = geodesic_km(np.repeat(truth[at : at + 1], len(places), axis=0), places)
        for slot, (place, km) in enumerate(zip(places, distances.tolist(), strict=True)):
            lines[at].append(
                Candidate(
                    place,
                    km,
                    None if found.probability is None else float(found.probability[line, slot]),
                    "" if found.source is None else str(found.source[line, slot]),
                    "" if found.photo_id is None else str(found.photo_id[line, slot]),
                )
            )
    return lines


def _add_pictures(
    section: Section,
    rows: NDArray[np.int64],
    found: Sequence[Sequence[Sequence[Candidate]]],
    lookups: Sequence[PhotoLookup],
    pictures: Pictures,
) -> None:
    """Pictures of the queries first, at most half of them all, then of candidates, case after case."""
    part = rows[: max(1, pictures.left // 2)]
    chosen = section.frame.iloc[part]
    places = chosen[["latitude", "longitude"]].to_numpy(np.float64)
    ids = chosen["id"].tolist()
    if not lookups:
        return
    for name, photo in zip(ids, lookups[0].queries(ids, places), strict=True):
        pictures.add(section.dataset, name, photo)
    wanted: dict[tuple[str, str], tuple[int, Candidate]] = {}
    for lines in zip(*found, strict=True):
        for number, line in enumerate(lines):
            for one in line[:PICTURED_CANDIDATES]:
                wanted.setdefault((one.source, one.photo_id), (number, one))
    asked = [item for item in wanted.values() if item[1].photo_id and not pictures.has(item[1])]
    asked = asked[: pictures.left]
    for number, lookup in enumerate(lookups):
        mine = [one for owner, one in asked if owner == number]
        if not mine:
            continue
        source = np.array([one.source for one in mine], dtype=np.str_)
        names = np.array([one.photo_id for one in mine], dtype=np.str_)
        photos = lookup.candidates(source, names, np.array([one.place for one in mine]))
        for one, photo in zip(mine, photos, strict=True):
            pictures.add(one.source, one.photo_id, photo)


def _listed(line: Sequence[Candidate], support: Support, pictures: Pictures) -> list[dict[str, Any]]:
    near = support.near(np.array([one.place for one in line]).reshape(-1, 2))
    return [
        {
            "place": [round(float(degrees), 4) for degrees in one.place],
            "km": float(f"{one.km:.6g}"),
            "probability": None if one.probability is None else round(one.probability, 4),
            "source": visible(one.source),
            "id": visible(one.photo_id),
            "picture": pictures.place(one.source, one.photo_id) if one.photo_id else "a place, not a photo",
            "support": {visible(name): count for name, count in counts.items()},
        }
        for one, counts in zip(line, near, strict=True)
    ]


def _top(score: Floats, allowed: NDArray[np.bool_], most: int = DEPTH) -> NDArray[np.int64]:
    rows = np.flatnonzero(allowed)
    return rows[np.argsort(-score[rows], kind="stable")[:most]]


def _bounded(error_km: Floats) -> Floats:
    """A miss counts as the far side of the Earth."""
    return np.minimum(np.nan_to_num(error_km, nan=0.0, posinf=np.inf), np.pi * _SPHERE_KM)


def _address(photo: NDArray[np.uint8]) -> str:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(resize(photo, SIDE, SIDE)).save(data, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
