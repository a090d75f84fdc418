"""The log of starts of a run: times, memory, machine, versions.

The only file of a run that differs between two ways to the same result.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import resource
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ..types import Context
from .artifact import library_versions
from .files import append_line


class Session:
    """One start, logged when it begins and again when it ends, whichever way it ends.

    A start without an end was killed.
    """

    def __init__(self, folder: Path, context: Context) -> None:
        self._path = folder / "sessions.jsonl"
        self._id = uuid.uuid4().hex[:12]
        self._context = context
        self._phases: dict[str, float] = {}
        self._mark = time.perf_counter()

    def __enter__(self) -> Session:
        self._write(
            "start",
            process=os.getpid(),
            host=socket.gethostname(),
            system=platform.platform(),
            cores=os.cpu_count(),
            device=self._context.device,
            dtype=self._context.dtype,
            threads=_threads(),
            versions=library_versions(),
        )
        return self

    def phase(self, name: str) -> None:
        """Close a phase: the seconds since the last one are its own."""
        now = time.perf_counter()
        self._phases[name] = round(now - self._mark, 3)
        self._mark = now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        measured = {"seconds": self._phases, "threads": _threads(), "peak_memory_mib": _peak_memory_mib()}
        if error is not None:
            self._write("failed", **measured, error=f"{type(error).__name__}: {error}"[:500])
            return
        with _numbering(self._path.parent.parent) as number:
            self._write("end", **measured, order=number)

    def _write(self, event: str, **facts: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_line(self._path, json.dumps({"session": self._id, "event": event, "time": now, **facts}))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a folder's log, oldest first; what a kill tore is left out."""
    path, entries = folder / "sessions.jsonl", []
    if not path.is_file():
        return []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):  # it is for people, not for results
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("time"), str):
                entries.append(entry)
    return entries


def finishing_order(folder: Path) -> int:
    """Which of its neighbours this artifact was to be finished, from 1: larger for the later one.

    0 where the log does not say. A clock may be set back, this number only grows.
    """
    ends = [entry.get("order") for entry in read_log(folder) if entry.get("event") == "end"]
    return max((number for number in ends if isinstance(number, int)), default=0)


@contextlib.contextmanager
def _numbering(parent: Path) -> Iterator[int]:
    """The number of the artifact that is finished now, held against others that finish at this moment."""
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        # Where a file system locks no folders, two may get one number: then neither is the newest.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield 1 + max(finishing_order(log.parent) for log in parent.glob("*/sessions.jsonl"))
    finally:
        os.close(descriptor)


def _threads() -> int | None:
    """Threads that torch computes with, another number of which means other last digits; None without it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _peak_memory_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)  # bytes there, KiB elsewhere
