"""A folder of one's own photos, the truth being the GPS position in their EXIF."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from pinpoint_harness.containers import Failure, ImageStore
from pinpoint_harness.errors import DataError
from pinpoint_harness.photo_positions import Position, position_of
from pinpoint_harness.types import DataLocation

from . import DATASETS

log = logging.getLogger(__name__)


class Photos:
    """Every photo below a folder, or in an archive, that says where it was taken.

    The id is the path within the folder. Photos without a position are left out and counted.
    """

    info = DATASETS["photos"][1]

    def __init__(self, location: DataLocation) -> None:
        places = location.images or ((location.path,) if location.path else ())
        if not places and "PINPOINT_DATA" in os.environ:
            places = (Path(os.environ["PINPOINT_DATA"]) / "photos",)
        if not places:
            raise DataError("which photos?", fix="give their folder or archive with --data")
        self._places = places

    def truth(self) -> pd.DataFrame:
        with self.images() as store, ThreadPoolExecutor() as pool:
            listed = store.everything()
            found = list(pool.map(lambda ref: _position(store, ref), listed["ref"]))
        located = [position is not None for position in found]
        if not any(located):
            raise DataError(
                f"no photo in {', '.join(map(str, self._places))} says where it was taken",
                found=f"{len(listed)} pictures without a GPS position in their EXIF",
                fix="use photos as a camera or phone wrote them; most web sites remove the position",
            )
        if not all(located):
            log.warning(
                "%d of %d photos have no GPS position and are left out", located.count(False), len(located)
            )
        names = listed["image"][located].reset_index(drop=True)
        positions = pd.DataFrame([p for p in found if p is not None], columns=["latitude", "longitude"])
        if names.duplicated().any():
            raise DataError(
                f"photo '{names[names.duplicated()].iloc[0]}' is there twice", fix="give one folder"
            )
        frame = pd.DataFrame({"id": names, "image": names, **positions, "author": None, "source": "photos"})
        return frame.astype({"author": "string"}).sort_values("id", ignore_index=True)

    def images(self) -> ImageStore:
        return ImageStore.open(self._places)


def _position(store: ImageStore, ref: int) -> tuple[float, float] | None:
    data = store.read(ref)
    found = None if isinstance(data, Failure) else position_of(data)
    return (found.latitude, found.longitude) if isinstance(found, Position) else None
