"""Folders that fill up shard by shard, survive a kill at any moment, and prove what they hold.

An artifact is a folder named by its key, the hash of everything that changes its content:

    started.json     what is being made, and with which versions; written first
    shards/00042.x   finished pieces of work, each there whole or not at all
    manifest.json    the recipe and the sha256 of every file; written last, so it stands for "done"
    fresh/           the same again, while it is made anew beside what is there

Every file is written beside its final name, flushed to the disk and renamed; then the folder
itself is flushed. Whatever a kill leaves half-written carries a `.tmp` ending and is never read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import logging
import os
import platform
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from .files import (
    Content,
    canonical_json,
    check_writable,
    flush_folder,
    read_json,
    temporary_name,
    write_atomic,
    write_first,
)
from .integrity import (
    KEY_LENGTH,
    MANIFEST,
    check_files,
    is_as_written,
    log_written,
    own_sha256,
    read_manifest,
    written_files,
)

log = logging.getLogger(__name__)

Files = Mapping[str, Content]


STARTED, FRESH, FRESH_LOCK = "started.json", "fresh", ".fresh-lock"
_KEPT = {".lock", FRESH_LOCK, FRESH, "sessions.jsonl"}
"""What stays in a folder whose content is replaced."""

_VERSIONED = ("pinpoint-geo", "numpy", "pandas", "pyarrow", "pyproj", "torch")


def spec_key(kind: str, spec: Mapping[str, Any]) -> str:
    """sha256 of everything that changes an artifact's content."""
    return hashlib.sha256(canonical_json({"kind": kind, "recipe": spec})).hexdigest()


def library_versions() -> dict[str, str]:
    """Python and the libraries whose version may change an answer."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def safe_name(name: str) -> str:
    """A name as one path component: nothing in it can leave the folder it is put in."""
    kept = "".join(char if char.isalnum() or char in "._-+" else "-" for char in name).strip(".-")
    if not kept:
        raise ArtifactError(f"{name!r} cannot name a folder", fix="use letters and digits")
    return kept[:60]  # at four bytes a character still within what file systems allow


@dataclass(frozen=True)
class Artifact:
    """One folder of work, new, resumed or complete.

    A `fresh` one is made in a folder of its own within and takes the place of what is there when it is
    whole: until then, and if it fails, what is there stays.
    """

    folder: Path
    kind: str
    spec: Mapping[str, Any]
    key: str
    fresh: bool = False
    _begun: list[str] = field(default_factory=list, compare=False, repr=False)
    _verified: set[str] = field(default_factory=set, compare=False, repr=False)
    _held: list[Callable[[], object]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def begin(
        cls, parent: Path, kind: str, spec: Mapping[str, Any], *, fresh: bool = False, join: bool = False
    ) -> Artifact:
        """Open the folder of this spec under `parent`, to start, resume or reuse it.

        ArtifactError where what is complete is damaged. `fresh` makes it anew beside what is there, with
        other processes that do so at this moment, and from nothing where there are none, unless they
        `join` because each makes a share. Resuming under other library versions is refused by `work`,
        since the halves could differ.
        """
        key = spec_key(kind, spec)
        artifact = cls(parent / key[:KEY_LENGTH], kind, spec, key, fresh)
        if (artifact.folder / FRESH / MANIFEST).exists():
            with artifact._lock(fcntl.LOCK_EX):
                artifact._finish_swap()
        if not fresh and artifact.complete:
            artifact._check_same(read_manifest(artifact.folder))
            check_files(artifact.folder)
            artifact._tidy_up()
            return artifact
        check_writable(parent)
        artifact.folder.mkdir(exist_ok=True)
        if fresh:
            artifact._begin_anew(join)
        return artifact

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Hold the folder open for shards: several processes may, and none clears it meanwhile."""
        with self._lock(fcntl.LOCK_SH):
            self._shards.mkdir(parents=True, exist_ok=True)
            marker, versions = self._build / STARTED, library_versions()
            if not marker.exists():
                own = {"versions": versions, "start": secrets.token_hex(8)}
                write_first(marker, canonical_json(self._identity() | own))
            self._check_same(found := read_json(marker))
            self._check_versions(found["versions"], versions)
            self._begun[:] = [str(found.get("start"))]
            yield

    @property
    def complete(self) -> bool:
        """Whether it is there; of a fresh one, whether that which was taken part in has its place.

        Others may have put it there, and others yet have begun one more.
        """
        if not self.fresh:
            return (self.folder / MANIFEST).exists()
        return not self._build.exists() or (bool(self._begun) and self._begun != self._begun_now())

    def shard_path(self, index: int, suffix: str) -> Path:
        return self._shards / f"{index:06d}{suffix}"

    def write_shard(self, index: int, suffix: str, data: Content) -> None:
        """Put a finished piece of work in place, and note its checksum: without it, it does not count."""
        path = self.shard_path(index, suffix)
        log_written(self._shards, path.name, write_atomic(path, data))
        self._verified.add(path.name)

    def write_draft(self, name: str, data: bytes) -> None:
        """Put a final file in place as it is so far; `finish` replaces it."""
        write_atomic(self._build / name, data)

    def finished_shards(self, suffix: str) -> set[int]:
        """Numbers of the shards that stand on disk as they were written.

        Of a number with a file that is not, all files are removed, so that it is made again.
        """
        if not self._shards.is_dir():
            return set()
        written = written_files(self._shards)
        there = {entry.name for entry in os.scandir(self._shards)} & written.keys()
        for name in sorted(there - self._verified):
            path = self._shards / name
            if is_as_written(path, written[name]):
                self._verified.add(name)
            elif path.exists():
                log.warning("'%s' is not as it was written: it is made again", path)
                for part in self._shards.glob(f"{name.partition('.')[0]}.*"):
                    part.unlink(missing_ok=True)
                    self._verified.discard(part.name)
        whole = {name for name in there & self._verified if (self._shards / name).exists()}
        return {int(name.removesuffix(suffix)) for name in whole if name.endswith(suffix)}

    def finish(self, files: Files | Callable[[], Files]) -> None:
        """Write the final files, then the manifest, then drop the shards.

        `files` are written in order, or given when it is known that they are needed; what gives or writes
        one may read the shards. Waits for other processes that are at `work` here; running this twice, or
        from two processes, gives the same bytes.
        """
        with self._lock(fcntl.LOCK_EX):
            self._finish_swap()
            if not self.complete:
                files = files() if callable(files) else files
                digests = {name: write_atomic(self._build / name, data) for name, data in files.items()}
                manifest = self._identity() | {"versions": library_versions(), "files": digests}
                manifest["sha256"] = own_sha256(manifest)
                write_atomic(self._build / MANIFEST, canonical_json(manifest))
                if self.fresh:
                    self._swap()
            self._drop_leftovers()
        for release in self._held:
            release()

    @property
    def _build(self) -> Path:
        """Where it is made."""
        return self.folder / FRESH if self.fresh else self.folder

    @property
    def _shards(self) -> Path:
        return self._build / "shards"

    def _begun_now(self) -> list[str]:
        """What tells the start on disk from others; `_begun` is the one that was taken part in."""
        try:
            return [str(read_json(self._build / STARTED).get("start"))]
        except ArtifactError:
            return []

    def _begin_anew(self, join: bool) -> None:
        """Start from nothing, unless others are at the same; they are seen by a lock that all share."""
        lock = os.open(self.folder / FRESH_LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        self._held.append(weakref.finalize(self, os.close, lock))
        if not join:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(self._build, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_SH)
        self._build.mkdir(exist_ok=True)

    def _finish_swap(self) -> None:
        """Do what a kill has left undone, while nobody else is at work here."""
        if (self.folder / FRESH / MANIFEST).exists():
            self._swap()

    def _swap(self) -> None:
        """Put what was made anew in place; killed within, `begin` goes on, for its manifest goes last.

        The old is moved away before it is removed: others may be writing scores into it.
        """
        fresh = self.folder / FRESH
        new = read_json(fresh / MANIFEST)["files"]
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name not in _KEPT and path.name not in new:
                with contextlib.suppress(FileNotFoundError):  # temporary, and renamed meanwhile
                    path.replace(fresh / temporary_name(path.name))
        for name in new:
            if (fresh / name).exists():
                (fresh / name).replace(self.folder / name)
        (fresh / MANIFEST).replace(self.folder / MANIFEST)
        flush_folder(self.folder)
        shutil.rmtree(fresh, ignore_errors=True)

    def _tidy_up(self) -> None:
        """Drop what a kill between the manifest and the end has left, unless others are at work here.

        Also what one has left of a score: whoever writes it at this moment tries again.
        """
        leftovers = (self.folder / "shards").exists() or (self.folder / STARTED).exists()
        if leftovers or any(self._half_written()):
            with contextlib.suppress(OSError), self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._drop_leftovers()

    def _drop_leftovers(self) -> None:
        shutil.rmtree(self.folder / "shards", ignore_errors=True)
        for leftover in [self.folder / STARTED, *self._half_written()]:
            leftover.unlink(missing_ok=True)

    def _half_written(self) -> Iterator[Path]:
        yield from self.folder.glob("*.tmp")
        yield from self.folder.glob("scores/*.tmp")

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
