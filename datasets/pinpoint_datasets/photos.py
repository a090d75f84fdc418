"""A folder of one's own photos, the truth being the position that each of them has."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from pinpoint_harness.errors import DataError
from pinpoint_harness.images import Failure, ImageStore
from pinpoint_harness.images.containers import position_files_only
from pinpoint_harness.images.positions import NoPosition, Position, position_of
from pinpoint_harness.types import DataLocation

from . import DATASETS
from .position_files import PositionFiles

log = logging.getLogger(__name__)

_EXAMPLES = 3


class Photos:
    """Every photo below a folder, or in an archive, that says where it was taken.

    The id is the path within the folder. The position stands in EXIF, in XMP, or in a file beside
    the photo (`.xmp`, JSON of Google Takeout). Photos without one are left out and counted by reason.
    """

    info = DATASETS["photos"][1]

    def __init__(self, location: DataLocation) -> None:
        places = location.images or ((location.path,) if location.path else ())
        if not places and "PINPOINT_DATA" in os.environ:
            places = (Path(os.environ["PINPOINT_DATA"]) / "photos",)
        if not places:
            raise DataError("which photos?", fix="give their folder or archive with --data")
        self._places = places
        self._follow_links = location.follow_links

    def truth(self) -> pd.DataFrame:
        """The photos that have a position, ordered by id; what is left out or odd is logged by reason.

        Raises DataError if no photo has one, or a name occurs twice.
        """
        with self.images() as store, self._position_files() as beside, ThreadPoolExecutor() as pool:
            listed = store.everything()
            names = listed["image"].tolist()
            found = list(
                pool.map(lambda ref, name: _position(store, ref, beside, name), listed["ref"], names)
            )
            left_out = [str(skipped) for skipped in store.skipped]
        positions = {name: one for name, one in zip(names, found, strict=True) if isinstance(one, Position)}
        without = _by_reason(
            (one.reason, name) for name, one in zip(names, found, strict=True) if isinstance(one, NoPosition)
        )
        if not positions:
            raise DataError(
                f"no photo in {', '.join(map(str, self._places))} says where it was taken",
                found="; ".join([f"{len(names)} pictures", *without, *left_out]),
                fix="use photos as a camera or phone wrote them; most web sites remove the position"
                if names
                else "name what holds the pictures; --follow-links opens what links elsewhere lead to",
            )
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise DataError(f"photo '{twice}' is there twice", fix="give one folder")
        for line in (*without, *left_out):
            log.warning("left out: %s", line)
        _mention_oddities(positions)
        return _frame(positions)

    def images(self) -> ImageStore:
        return ImageStore.open(self._places, follow_links=self._follow_links)

    @contextmanager
    def _position_files(self) -> Iterator[PositionFiles]:
        with ImageStore.open(
            self._places, follow_links=self._follow_links, choice=position_files_only
        ) as store:
            yield PositionFiles(store)


def _position(store: ImageStore, ref: int, beside: PositionFiles, name: str) -> Position | NoPosition:
    data = store.read(ref)
    if isinstance(data, Failure):
        return NoPosition(f"cannot be read: {data.reason}")
    return position_of(data, beside.readers(name))


def _by_reason(pairs: Iterator[tuple[str, str]]) -> list[str]:
    """`no GPS position: 12 (a.jpg, b.jpg, c.jpg, ...)`, the most frequent reason first."""
    names: dict[str, list[str]] = {}
    for reason, name in pairs:
        names.setdefault(reason, []).append(name)
    ordered = sorted(names.items(), key=lambda item: (-len(item[1]), item[0]))
    return [f"{reason}: {len(who):,} ({_some(who)})" for reason, who in ordered]


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _EXAMPLES else ""
    return f"{', '.join(sorted(names)[:_EXAMPLES])}{more}"


def _mention_oddities(positions: dict[str, Position]) -> None:
    """Say whose position is not the camera's own, or was called invalid by the receiver that gave it."""
    elsewhere = ((f"position from {one.origin}", name) for name, one in positions.items())
    for line in _by_reason(pair for pair in elsewhere if not pair[0].endswith("EXIF")):
        log.warning("%s", line)
    void = [name for name, one in positions.items() if one.is_void]
    if void:
        log.warning(
            "kept, though the receiver marked the position as void (GPSStatus V): %d (%s)",
            len(void),
            _some(void),
        )


def _frame(positions: dict[str, Position]) -> pd.DataFrame:
    names = pd.Series(list(positions), dtype="str")
    frame = pd.DataFrame(
        {
            "id": names,
            "image": names,
            "latitude": [one.latitude for one in positions.values()],
            "longitude": [one.longitude for one in positions.values()],
            "author": None,
            "source": "photos",
        }
    )
    return frame.astype({"author": "string"}).sort_values("id", ignore_index=True)
