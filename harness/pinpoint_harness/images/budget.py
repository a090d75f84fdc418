"""How much memory decoded pictures may take at a time, whatever their sizes and however many threads."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from threading import Condition

from ..errors import UsageError

VARIABLE = "PINPOINT_PICTURE_MEMORY"
SHARE = 8
"""Of the memory there is, the part that waiting pictures may take, as one in so many."""

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def memory_bytes() -> int:
    """What this process may use: the machine's memory, less where a container or `ulimit -v` allows less."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for place in map(Path, _CGROUPS):
        try:
            found.append(int(place.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        found.append(soft)
    return min(size for size in found if size > 0)


def picture_bytes() -> int:
    """The budget: `$PINPOINT_PICTURE_MEMORY`, such as `4G`, or a share of the memory there is."""
    asked = os.environ.get(VARIABLE, "").strip()
    if not asked:
        return memory_bytes() // SHARE
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", asked.upper())
    if parts is None or not float(parts[1]):
        raise UsageError(f"${VARIABLE} is '{asked}'", fix="give bytes, such as 500M or 4G")
    return int(float(parts[1]) * _UNITS[parts[2]])


class Budget:
    """Bytes that are given out in the order of the pictures, so that the next one is never kept waiting.

    One picture alone may take more than there is: it has to be decoded at some time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._next = 0
        self._closed = False
        self._changed = Condition()

    def take(self, index: int, size: int) -> None:
        """Wait until all pictures before have theirs and so many bytes are left; at once when closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or (self._next == index and (not self._used or self._used + size <= self._limit))
                )
            )
            self._used += size
            self._next = max(self._next, index + 1)
            self._changed.notify_all()

    def give_back(self, size: int) -> None:
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Let all that wait go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
