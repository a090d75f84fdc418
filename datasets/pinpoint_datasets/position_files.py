"""The files beside photos that say where they were taken: `.xmp` of editors, JSON of Google Takeout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from pinpoint_harness.images.containers import Failure, ImageStore
from pinpoint_harness.images.positions import (
    MAX_SIDECAR_BYTES,
    NoPosition,
    Position,
    position_in_takeout,
    position_in_xmp,
)

_TAKEOUT = re.compile(r"(?P<photo>.+?)(?P<copy>\([0-9]{1,4}\))?\.json")
_TAKEOUT_SUFFIX = "supplemental-metadata"
_SHORTEST_CUT = 40
"""Takeout cuts names of JSON files to 46 characters; shorter names are not taken for cut ones."""

_EDITED = "-edited"

Reader = Callable[[], Position | NoPosition]


class PositionFiles:
    """Finds the files that belong to a photo, by the name both have within their folder or archive.

    `IMG_1.jpg` has `IMG_1.jpg.xmp` or `IMG_1.xmp`; in a Takeout `IMG_1.jpg.json` or
    `IMG_1.jpg.supplemental-metadata.json`, either of them cut short, with a copy's number at its
    end (`IMG_1(2).jpg` has `IMG_1.jpg(2).json`), and shared with `IMG_1-edited.jpg`. Capitals do
    not count.
    """

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        listed = store.everything()
        self._xmp: dict[str, int] = {}
        self._takeout: dict[str, int] = {}
        for name, ref in zip(listed["image"], listed["ref"].tolist(), strict=True):
            folded = name.casefold()
            if folded.endswith(".xmp"):
                self._xmp.setdefault(folded.removesuffix(".xmp"), ref)
            elif photo := _photo_of(folded):
                self._takeout.setdefault(photo, ref)

    def readers(self, photo: str) -> Sequence[Reader]:
        """What reads each file beside a photo, the most trusted first."""
        name = photo.casefold()
        stem, dot, suffix = name.rpartition(".")
        xmp = _first(self._xmp, (name, stem if dot else name))
        original = stem.removesuffix(_EDITED) + dot + suffix
        takeout = _first(self._takeout, (name, original, *_cut(name), *_cut(original)))
        return [
            *(partial(self._read, ref, partial(position_in_xmp, origin="an .xmp file")) for ref in xmp),
            *(partial(self._read, ref, position_in_takeout) for ref in takeout),
        ]

    def _read(self, ref: int, reader: Callable[[bytes], Position | NoPosition]) -> Position | NoPosition:
        data = self._store.read(ref, MAX_SIDECAR_BYTES)
        return NoPosition() if isinstance(data, Failure) else reader(data)


def _first(refs: dict[str, int], names: Iterable[str]) -> list[int]:
    found = (refs[name] for name in names if name in refs)
    return [ref for ref in [next(found, None)] if ref is not None]


def _photo_of(name: str) -> str:
    """The photo that a JSON file of Takeout belongs to, as far as its name goes; all in small letters."""
    found = _TAKEOUT.fullmatch(name)
    if not found:
        return ""
    photo, copy = found["photo"], found["copy"] or ""
    base, dot, last = photo.rpartition(".")
    if dot and last and _TAKEOUT_SUFFIX.startswith(last):
        photo = base
    stem, dot, suffix = photo.rpartition(".")
    return f"{stem}{copy}.{suffix}" if dot else photo + copy


def _cut(name: str) -> Iterator[str]:
    """The beginnings of a name that a JSON file may have kept of it."""
    folder, slash, base = name.rpartition("/")
    for length in range(len(base) - 1, _SHORTEST_CUT - 1, -1):
        yield f"{folder}{slash}{base[:length]}"
