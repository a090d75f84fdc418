"""Folders that fill up shard by shard, survive a kill at any moment, and prove what they hold.

An artifact is a folder named by its key, the hash of everything that changes its content:

    started.json     what is being made, and with which versions; written first
    shards/00042.x   finished pieces of work, each there whole or not at all
    manifest.json    the recipe and the sha256 of every file; written last, so it stands for "done"

Every file is written beside its final name, flushed to the disk and renamed; then the folder
itself is flushed. Whatever a kill leaves half-written carries a `.tmp` ending and is never read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import ArtifactError, UsageError

KEY_LENGTH = 16
"""Hex digits of the key in folder names; the whole key stands in the manifest and is checked."""

Content = bytes | Callable[[BinaryIO], None]
"""What a file is to hold: its bytes or, where they would not fit in memory, what writes them."""

_CHUNK_BYTES = 1 << 20
_VERSIONED = ("pinpoint-geo", "numpy", "pandas", "pyarrow", "pyproj", "torch")


def canonical_json(value: object, *, sort_keys: bool = True) -> bytes:
    """The same bytes for equal values: sorted keys unless their order means something, no NaN."""
    text = json.dumps(value, sort_keys=sort_keys, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def spec_key(kind: str, spec: Mapping[str, Any]) -> str:
    """sha256 of everything that changes an artifact's content."""
    return hashlib.sha256(canonical_json({"kind": kind, "recipe": spec})).hexdigest()


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Python and the libraries whose version may change an answer."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


class _Measured(io.RawIOBase):
    """A stream that is written to the end, and knows the size and sha256 of what went through."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self._stream.write(data)
        written = memoryview(data).nbytes
        self._bytes += written
        return written

    def tell(self) -> int:
        return self._bytes

    def summary(self) -> dict[str, Any]:
        return {"sha256": self._digest.hexdigest(), "bytes": self._bytes}


def write_new(path: Path, data: bytes, overwrite: bool) -> None:
    """A file for the user, whole or not at all; UsageError where another one has the name.

    A file of these very bytes is left as it is.
    """
    if path.exists() and not overwrite:
        if path.is_file() and path.read_bytes() == data:
            return
        raise UsageError(
            f"'{path}' is there already, and is not what would be written",
            fix="choose another name, or add --overwrite",
        )
    write_atomic(path, data)


def write_atomic(path: Path, data: Content) -> dict[str, Any]:
    """Put a whole file in place or none; on failure nothing half-written is left behind.

    Returns the `sha256` and the size in `bytes` of what was written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            measured = _Measured(stream)
            if isinstance(data, bytes):
                measured.write(data)
            else:
                data(cast(BinaryIO, measured))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"cannot write '{path}'",
            found=f"{error.strerror or error}",
            fix="free disk space or choose another place; what was finished before is kept",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return measured.summary()


def append_line(path: Path, line: str) -> None:
    """Add one line to a log; a torn last line from an earlier kill is closed first."""
    try:
        with path.open("ab+") as stream:
            stream.seek(0, os.SEEK_END)
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise ArtifactError(f"cannot write '{path}'", found=str(error.strerror or error)) from error


def check_writable(folder: Path) -> None:
    """Refuse before any work is done if results could not be saved."""
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
    except OSError as error:
        raise ArtifactError(
            f"results cannot be saved in '{folder}'",
            found=str(error.strerror or error),
            fix="choose a folder you can write to",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of ours; damage is an error that names the file."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read '{path}'", found=str(error)) from error
    if not isinstance(value, dict):
        raise ArtifactError(f"cannot read '{path}'", found=f"{type(value).__name__} instead of an object")
    return value


def safe_name(name: str) -> str:
    """A name as one path component: nothing in it can leave the folder it is put in."""
    kept = "".join(char if char.isalnum() or char in "._-+" else "-" for char in name).strip(".-")
    if not kept:
        raise ArtifactError(f"{name!r} cannot name a folder", fix="use letters and digits")
    return kept[:60]  # at four bytes a character still within what file systems allow


class UnfinishedError(Exception):
    """This process has done its share of an artifact that others have not finished yet."""


@dataclass(frozen=True)
class Artifact:
    """One folder of work, new, resumed or complete."""

    folder: Path
    kind: str
    spec: Mapping[str, Any]
    key: str

    @classmethod
    def begin(cls, parent: Path, kind: str, spec: Mapping[str, Any], *, fresh: bool = False) -> Artifact:
        """Open the folder of this spec under `parent`, to start, resume or reuse it.

        `fresh` throws away what is there. Resuming under other library versions is refused by
        `work`, since the halves could differ.
        """
        key = spec_key(kind, spec)
        artifact = cls(parent / key[:KEY_LENGTH], kind, spec, key)
        check_writable(parent)
        if fresh and artifact.folder.exists():
            # The manifest goes first: a kill in between leaves an unfinished folder, not a false one.
            (artifact.folder / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(artifact.folder)
        if artifact.complete:
            artifact._check_same(read_json(artifact.folder / "manifest.json"))
            artifact.finish({})
        artifact.folder.mkdir(exist_ok=True)
        return artifact

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Hold the folder open for shards: several processes may, and none clears it meanwhile."""
        with self._lock(fcntl.LOCK_SH):
            (self.folder / "shards").mkdir(exist_ok=True)
            marker, versions = self.folder / "started.json", library_versions()
            if marker.exists():
                self._check_same(found := read_json(marker))
                self._check_versions(found["versions"], versions)
            else:
                write_atomic(marker, canonical_json(self._identity() | {"versions": versions}))
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no process is at work here, and let none begin meanwhile."""
        with self._lock(fcntl.LOCK_EX):
            yield

    @property
    def complete(self) -> bool:
        return (self.folder / "manifest.json").exists()

    def shard_path(self, index: int, suffix: str) -> Path:
        return self.folder / "shards" / f"{index:06d}{suffix}"

    def finished_shards(self, suffix: str) -> set[int]:
        """Numbers of the shards that stand whole on disk."""
        names = (entry.name for entry in os.scandir(self.folder / "shards"))
        return {int(name.removesuffix(suffix)) for name in names if name.endswith(suffix) and name[0] != "."}

    def finish(self, files: Mapping[str, Content]) -> None:
        """Write the final files, then the manifest, then drop the shards.

        `files` are written in order; what writes one may read the shards. Waits for other
        processes that are at `work` here; running this twice, or from two processes, gives the
        same bytes.
        """
        with self._lock(fcntl.LOCK_EX):
            if not self.complete:
                digests = {name: write_atomic(self.folder / name, data) for name, data in files.items()}
                manifest = self._identity() | {"versions": library_versions(), "files": digests}
                write_atomic(self.folder / "manifest.json", canonical_json(manifest))
            # A kill may have come between the manifest and here, so a complete folder is tidied again.
            shutil.rmtree(self.folder / "shards", ignore_errors=True)
            for leftover in [self.folder / "started.json", *self.folder.glob("*.tmp")]:
                leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        """Shared by those who add, exclusive for who clears; released by the system after a kill."""
        descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "key": self.key, "recipe": self.spec}

    def _check_same(self, found: Mapping[str, Any]) -> None:
        if found.get("key") != self.key:
            raise ArtifactError(
                f"'{self.folder}' holds something else",
                found=f"key {str(found.get('key'))[:KEY_LENGTH]}..., expected {self.key[:KEY_LENGTH]}...",
                fix="move the folder away or run with --fresh",
            )

    def _check_versions(self, found: Mapping[str, str], now: Mapping[str, str]) -> None:
        changed = [
            f"{name} {found.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted({*found, *now})
            if found.get(name) != now.get(name)
        ]
        if changed:
            raise ArtifactError(
                f"'{self.folder}' was begun under other versions",
                found=", ".join(changed),
                fix="run with --fresh to start over, or go back to those versions to resume",
            )


def damaged_files(folder: Path) -> dict[str, str]:
    """The files of a finished artifact that are not as its manifest says: `missing` or `changed`."""
    try:
        files = dict(read_json(folder / "manifest.json")["files"])
    except (ArtifactError, KeyError, TypeError, ValueError):
        return {"manifest.json": "changed"}
    damaged = {}
    for name, expected in files.items():
        if not (folder / name).is_file():
            damaged[name] = "missing"
        elif file_sha256(folder / name) != expected["sha256"]:
            damaged[name] = "changed"
    return damaged


def _flush_folder(folder: Path) -> None:
    """Make a rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
