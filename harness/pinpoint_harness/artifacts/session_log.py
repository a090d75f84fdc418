"""The log of starts of a run: times, memory, machine, versions.

The only file of a run that differs between two ways to the same result. Later commands add to it, so it is
not in the manifest: each line has a checksum of its own, into which the key of the artifact goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import resource
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ArtifactError
from ..types import Context
from .artifact import library_versions
from .files import append_line, read_json
from .integrity import KEY, KEY_LENGTH, MANIFEST

_LOG = "sessions.jsonl"


class Session:
    """One start, logged when it begins and again when it ends, whichever way it ends.

    A start without an end was killed.
    """

    def __init__(self, folder: Path, context: Context) -> None:
        self._path = folder / _LOG
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
        entry = {"session": self._id, "event": event, "time": now, **facts}
        checksum = _checksum(entry, _key_of(self._path.parent))
        append_line(self._path, json.dumps(entry | {"sha256": checksum}))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a folder's log, oldest first; what is torn, changed or another's is left out."""
    return [entry for entry in _lines(folder) if entry is not None]


def damaged_log(folder: Path) -> dict[str, str]:
    """The log of a finished artifact, by its name, if it is not as it was written, and how it is not.

    A line that is gone is noticed where it began what another one ends; stores that were imported have none.
    """
    if not (folder / _LOG).exists():
        return {_LOG: "missing"} if (folder / "run.json").exists() else {}
    begun, number = set(), 0
    for number, entry in enumerate(_lines(folder), 1):
        if entry is None or (entry.get("event") != "start" and entry.get("session") not in begun):
            return {_LOG: f"changed or copied from elsewhere in line {number}"}
        begun.add(entry.get("session"))
    return {} if number else {_LOG: "empty"}


def _lines(folder: Path) -> Iterator[dict[str, Any] | None]:
    """What each line of a log says, None for one that is torn, changed or of another artifact."""
    path, key = folder / _LOG, _key_of(folder)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        entry = None
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
        yield entry if _is_as_written(entry, key) else None


def is_log_of(folder: Path, key: str) -> bool:
    """Whether a line of the log was written for the artifact of this key; those of before do not say."""
    return any(entry.pop("sha256", None) == _checksum(entry, key) for entry in read_log(folder))


def _is_as_written(entry: object, key: str) -> bool:
    """Whether a line says when it was, and what its checksum says.

    Those of before had none, or one without the key.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("time"), str):
        return False
    said = {name: value for name, value in entry.items() if name != "sha256"}
    return entry.get("sha256") in (None, _checksum(said), _checksum(said, key))


def _checksum(entry: Mapping[str, Any], key: str = "") -> str:
    return hashlib.sha256(f"{key}{json.dumps(entry, sort_keys=True)}".encode()).hexdigest()


def _key_of(folder: Path) -> str:
    """The key that the name of a folder is; of one that was renamed, that of its manifest."""
    name = folder.absolute().name
    with contextlib.suppress(ArtifactError):
        return name if KEY.fullmatch(name) else str(read_json(folder / MANIFEST).get("key"))[:KEY_LENGTH]
    return name


def finishing_order(folder: Path) -> int:
    """Which of its neighbours this artifact was to be finished, from 1: larger for the later one.

    0 where the log does not say: what is torn, changed or another's may have been a later end than those
    above it. A clock may be set back, this number only grows.
    """
    order = 0
    for entry in _lines(folder):
        if entry is None:
            order = 0
        elif entry.get("event") == "end" and isinstance(number := entry.get("order"), int):
            order = max(order, number)
    return order


@contextlib.contextmanager
def _numbering(parent: Path) -> Iterator[int]:
    """The number of the artifact that is finished now, held against others that finish at this moment."""
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        # Where a file system locks no folders, two may get one number: then neither is the newest.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield 1 + max(finishing_order(log.parent) for log in parent.glob(f"*/{_LOG}"))
    finally:
        os.close(descriptor)


def _threads() -> int | None:
    """Threads that torch computes with, another number of which means other last digits; None without it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _peak_memory_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)  # bytes there, KiB elsewhere
