"""Room for what never ends where memory cannot be had.

OpenBLAS, within numpy and scipy, asks for its buffers while it is loaded, and where `ulimit -v` refuses
them asks again for ever, deaf to signals. A thread that finds no memory for its first steps dies, and whoever
started it waits for ever (CPython's issue 140746). So it is looked for room before either.
"""

from __future__ import annotations

import mmap
import os
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from ..devices import usable_cores

_LIBRARY = 128 * 2**20
"""scipy takes 89 MiB to be loaded with one thread."""
_PER_THREAD = 48 * 2**20
"""A buffer of 32 MiB and a stack of 8, with some to spare."""

_NEW_THREAD = 32 * 2**20
"""A stack of 8 MiB, and what Python takes at once for objects of its own."""


class Room(MetaPathFinder):
    """Finds nothing; raises MemoryError where a library would be loaded for which there is no room."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name != "numpy" and name.partition(".")[0] != "scipy":
            return
        _need(_LIBRARY + _PER_THREAD * _threads(), f"{name} to be loaded")


def look_for_room() -> None:
    """Where addresses are limited, refuse what would not end."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        sys.meta_path.insert(0, Room())
        threading.Thread.start = _with_room(threading.Thread.start)  # type: ignore[assignment, method-assign]


def _with_room(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def started(thread: threading.Thread) -> None:
        _need(_NEW_THREAD, "a thread")
        start(thread)

    return started


def _need(size: int, what: str) -> None:
    """MemoryError where so many bytes of addresses cannot be had."""
    try:
        mmap.mmap(-1, size).close()
    except OSError as error:
        raise MemoryError(f"{size >> 20} MiB are needed for {what}") from error


def _threads() -> int:
    """With how many OpenBLAS computes."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    asked = [int(text) for name in names if (text := os.environ.get(name, "")).isdecimal() and int(text)]
    return min([*asked[:1], usable_cores()])
