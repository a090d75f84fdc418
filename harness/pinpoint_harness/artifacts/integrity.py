"""Whether files are as they were written: by the checksums in a manifest, and in the log of shards."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ArtifactError
from .files import append_line, canonical_json, file_sha256, read_json

MANIFEST = "manifest.json"
KEY_LENGTH = 16
"""Hex digits of the key in folder names; the whole key stands in the manifest and is checked."""
KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")
"""What the folder of an artifact is called: the beginning of its key."""

SMALL_BYTES = 1 << 20
"""Files up to this size are hashed whenever they are opened."""

_LOG = "written.jsonl"
_PATIENCE_S, _PAUSE_S = 60.0, 0.02

Found = TypeVar("Found")


def damaged_files(folder: Path) -> dict[str, str]:
    """The files of a finished artifact that are not as its manifest says: `missing` or `changed`.

    The manifest itself is `of another artifact` where that one's lies in this one's folder.

    Reads them all.
    """
    with contextlib.suppress(ArtifactError):  # one that is put in place at this moment is waited for
        check_files(folder, [])
    return _damaged(folder, None, whole=True)


def check_files(folder: Path, names: Collection[str] | None = None) -> None:
    """ArtifactError unless the files of a finished artifact, or the named ones, are as they were written.

    Small ones are hashed; a large one only if it was changed after the manifest, which is written last.
    `pinpoint runs verify` and `stores verify` hash all.
    """
    undisturbed(folder, lambda: _check(folder, names))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished artifact; one that is put in place at this moment is waited for."""
    return undisturbed(folder, lambda: read_json(folder / MANIFEST))


def _check(folder: Path, names: Collection[str] | None) -> None:
    damaged = _damaged(folder, names, whole=False)
    if damaged:
        raise ArtifactError(
            f"'{folder}' is damaged",
            found=", ".join(f"{name} is {what}" for name, what in damaged.items()),
            fix=f"give the command that made it with --fresh, or remove '{folder}' and give it again",
        )


def undisturbed(folder: Path, look: Callable[[], Found]) -> Found:
    """What `look` gives; where it fails while a process replaces what is in the folder, once that is done."""
    try:
        return look()
    except ArtifactError:
        try:
            lock = (folder / ".lock").open("rb")
        except OSError:
            lock = None
        if lock is None:
            raise
        with lock:
            deadline = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                time.sleep(_PAUSE_S)
            return look()


def _damaged(folder: Path, names: Collection[str] | None, *, whole: bool) -> dict[str, str]:
    manifest = folder / MANIFEST
    if not manifest.exists():
        return {MANIFEST: "missing"}
    try:
        content = read_json(manifest)
        if content.get("sha256", own_sha256(content)) != own_sha256(content):
            return {MANIFEST: "changed"}
        name = folder.absolute().name
        if KEY.fullmatch(name) and not str(content["key"]).startswith(name):
            return {MANIFEST: "of another artifact"}
        files = {str(name): dict(written) for name, written in content["files"].items()}
        finished_ns = manifest.stat().st_mtime_ns
    except (ArtifactError, OSError, AttributeError, KeyError, TypeError, ValueError):
        return {MANIFEST: "changed"}
    damaged, are_newer = {}, False
    for name, written in files.items():
        if names is not None and name not in names:
            continue
        path = folder / name
        if not path.is_file():
            damaged[name] = "missing"
            continue
        state = path.stat()
        is_newer = state.st_mtime_ns > finished_ns
        are_newer = are_newer or is_newer
        is_read = whole or is_newer or state.st_size <= SMALL_BYTES
        if state.st_size != written.get("bytes") or (is_read and not is_as_written(path, written)):
            damaged[name] = "changed"
    if names is None and are_newer and not damaged:
        with contextlib.suppress(OSError):  # a copy, found to be whole: not read again the next time
            os.utime(manifest)
    return damaged


def own_sha256(content: Mapping[str, Any]) -> str:
    """The checksum of a JSON object, which is one of its fields."""
    return hashlib.sha256(
        canonical_json({name: content[name] for name in content if name != "sha256"})
    ).hexdigest()


def is_as_written(path: Path, written: Mapping[str, Any]) -> bool:
    """Whether a file has the size and the sha256 that `write_atomic` told of."""
    try:
        return bool(path.stat().st_size == written["bytes"] and file_sha256(path) == written["sha256"])
    except (OSError, KeyError):
        return False


def log_written(folder: Path, name: str, written: Mapping[str, Any]) -> None:
    """Note what was written under a name in a folder of shards."""
    append_line(folder / _LOG, json.dumps({"name": name, **written}))


def written_files(folder: Path) -> dict[str, dict[str, Any]]:
    """What the log of a folder of shards says of each name; a torn line says nothing."""
    found: dict[str, dict[str, Any]] = {}
    try:
        lines = (folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            found[entry["name"]] = entry
    return found
