"""Room for libraries that never end where memory cannot be had.

OpenBLAS, within numpy and scipy, asks for its buffers while it is loaded, and where `ulimit -v` refuses
them asks again for ever, deaf to signals. So it is looked for room before such a library is loaded.
"""

from __future__ import annotations

import mmap
import os
import resource
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from ..devices import usable_cores

_LIBRARY = 128 * 2**20
"""scipy takes 89 MiB to be loaded with one thread."""
_PER_THREAD = 48 * 2**20
"""A buffer of 32 MiB and a stack of 8, with some to spare."""


class Room(MetaPathFinder):
    """Finds nothing; raises MemoryError where a library would be loaded for which there is no room."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name != "numpy" and name.partition(".")[0] != "scipy":
            return
        needed = _LIBRARY + _PER_THREAD * _threads()
        try:
            mmap.mmap(-1, needed).close()
        except OSError as error:
            raise MemoryError(f"{name} needs {needed >> 20} MiB to be loaded") from error


def look_for_room() -> None:
    """Where addresses are limited, refuse what would not end."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        sys.meta_path.insert(0, Room())


def _threads() -> int:
    """With how many OpenBLAS computes."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    asked = [int(text) for name in names if (text := os.environ.get(name, "")).isdecimal() and int(text)]
    return min([*asked[:1], usable_cores()])
