"""Archives that this process has listed before: one that has not changed since is not listed again.

A command opens the pictures of a dataset several times, a report or a lane of a recipe dozens of times, and
the directory of a zip with a million members takes half a minute to read.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from .common import Container, Notes

MOST_MEMBERS = 1 << 20
"""Of all archives that are remembered: about 100 MiB of names and offsets. An archive counts as one more."""

QUIET_SECONDS = 2.0
"""So long a file must have been left alone before it is listed, or its listing is not remembered.

A system notes the time of a write before the bytes are there, and some to the second: of a file that is being
written, neither tells one state from the next.
"""


@dataclass(frozen=True)
class _Listing:
    container: Container
    notes: Notes


class ListedArchives:
    """The archives that were listed last, as many as have `most` members together; for all threads."""

    def __init__(self, most: int = MOST_MEMBERS) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Listing] = OrderedDict()
        self._members = 0
        self._lock = Lock()

    def container(
        self,
        paths: Sequence[Path],
        how: Hashable,
        notes: Notes,
        make: Callable[[list[Path], Notes], Container],
    ) -> Container:
        """What `make` gives for the files at `paths`, or gave before while they were the same.

        It is given where they really lie: a link or a relative path that it kept could lead elsewhere when
        another opening asks. `how` is all else that it depends on. What it notes is noted every time.
        """
        real = [Path(os.path.realpath(path)) for path in paths]
        begun = time.time()
        key = (how, *map(_state, real))
        listing = self._before(key)
        if listing is None:
            own = Notes()
            listing = _Listing(make(real, own), own)
            # Else they were exchanged meanwhile, or may be changing.
            if key == (how, *map(_state, real)) and all(_was_quiet(path, begun) for path in real):
                self._keep(key, listing)
        notes.take(listing.notes)
        return listing.container

    def _before(self, key: Hashable) -> _Listing | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Hashable, listing: _Listing) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = listing
                self._members += _size(listing)
            while self._members > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._members -= _size(oldest)


listed_archives = ListedArchives()
"""Those of this process."""


def _size(listing: _Listing) -> int:
    return 1 + len(listing.container.names)


def _was_quiet(path: Path, moment: float) -> bool:
    """Whether a file was last changed well before; one that is dated later by another clock was not."""
    found = path.stat()
    return max(found.st_mtime, found.st_ctime) < moment - QUIET_SECONDS


def _state(path: Path) -> tuple[object, ...]:
    """Where a file lies, and what changes when it does."""
    found = path.stat()
    times = found.st_mtime_ns, found.st_ctime_ns
    return str(path), found.st_dev, found.st_ino, found.st_size, *times
