"""Photos at paths a user gives: files, folders and archives in any mixture, as one dataset without truth."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..types import DatasetInfo
from .containers import Failure, ImageStore, unreadable_now
from .containers.common import MAX_MEMBER_BYTES
from .containers.folder import ARCHIVE_SUFFIXES, read_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photo:
    """A picture that can be read. The name is the user's and reaches no method."""

    name: str
    read: Callable[[], bytes | Failure]


@contextmanager
def open_photos(paths: Sequence[Path], follow_links: bool = False) -> Iterator[list[Photo]]:
    """The pictures at these paths: files as given, those in folders and archives ordered by name.

    What turns out to be no picture is found when it is read. `follow_links` opens what links in
    folders lead to. UsageError for a path that leads nowhere, DataError for a folder without pictures.
    """
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise UsageError(
            f"there is no '{absent[0]}'",
            found=f"{len(absent)} of {len(paths)} paths lead nowhere",
            fix="give photos, folders or archives",
        )
    with ExitStack() as resources:
        photos: list[Photo] = []
        for path in paths:
            if path.is_dir() or path.name.lower().endswith(ARCHIVE_SUFFIXES):
                store = resources.enter_context(ImageStore.open([path], follow_links=follow_links))
                photos += _listed(path, store)
            else:
                photos.append(Photo(printable_name(path), partial(read_file, str(path))))
        yield photos


def _listed(path: Path, store: ImageStore) -> list[Photo]:
    listing = store.everything().sort_values("image", kind="stable")
    if listing.empty:
        reasons = "; ".join(map(str, store.skipped))
        raise DataError(f"there are no pictures in '{path}'", found=reasons or "nothing that could be one")
    for left_out in store.skipped:
        log.warning("left out: %s", left_out)
    return [
        Photo(printable_name(path / name), partial(store.read, ref))
        for name, ref in zip(listing["image"], listing["ref"].tolist(), strict=True)
    ]


def printable_name(path: str | Path) -> str:
    """A path that can be printed, whatever bytes are in it."""
    text = os.fsencode(path).decode(errors="replace")
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


class PhotoDataset(ImageStore):
    """The photos as a dataset without truth, and the store of its pictures: each goes by its number."""

    info = DatasetInfo(title="Photos", source="", licence="")

    def __init__(self, photos: Sequence[Photo], source: str, author: str | None = None) -> None:
        super().__init__([], [])
        self._photos, self._source, self._author = photos, source, author

    def truth(self) -> pd.DataFrame:
        numbers = [str(number) for number in range(len(self._photos))]
        unknown = {"latitude": np.nan, "longitude": np.nan, "author": self._author}
        return pd.DataFrame({"id": numbers, "image": numbers, **unknown, "source": self._source})

    def images(self) -> ImageStore:
        return self

    def find(self, images: pd.Series[str]) -> NDArray[np.int64]:
        return images.to_numpy(np.int64)

    def read(self, ref: int, max_bytes: int = MAX_MEMBER_BYTES) -> bytes | Failure:
        photo = self._photos[ref]
        try:
            return photo.read()
        except OSError as error:
            raise unreadable_now(photo.name, error) from error

    def remark(self, ref: int, text: str) -> None:
        log.warning("%s: %s", self._photos[ref].name, text)
