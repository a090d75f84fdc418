"""Folders of pictures: expected places probed one by one, or a listing of everything below."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .common import (
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    Choice,
    Failure,
    NameColumn,
    Notes,
    changed,
    pictures_only,
    tidy,
    unsafe_because,
)
from .tar import is_tar, read_head, split_key, split_parts

ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".parquet",
    ".tar.zst", ".7z", ".rar",
)  # fmt: skip
"""What is looked into; those that are not read are named with the reason."""

LEADS_OUT = "symbolic link leads outside its folder"
_POINTER = re.compile(rb"(?:\.\./)+blobs/[0-9A-Za-z]{2,128}\s?")
_POINTER_BYTES = 512
_HUB_REPOSITORY = re.compile(r"(?:datasets|models|spaces)--.+")
_PROBED_SAMPLE = 256
_SUFFIX = re.compile(r"\.[A-Za-z]{3,4}$")
_FLATTENED = re.compile(r"(?:.*/)?([0-9a-f]{2})_([0-9a-f]{2})_([^/]+)")


class Reach:
    """How far links in a folder may lead: within it, within the hub repository it is part of, or anywhere.

    In the cache of Hugging Face, `datasets--owner--name/snapshots/<revision>` consists of links into
    `datasets--owner--name/blobs`.
    """

    def __init__(self, root: str | Path, follow_links: bool = False) -> None:
        self.root = os.path.realpath(root)
        self.follow_links = follow_links
        self._repository = hub_repository(self.root)

    def allows(self, real_path: str) -> bool:
        """Whether a file at a real path may be opened through a link."""
        if self.follow_links or is_inside(real_path, self.root):
            return True
        return bool(self._repository) and is_inside(real_path, self._repository)

    def resolve(self, path: str) -> str:
        """The real path of a file, links followed.

        Where a repository's cache was copied without its links, files with their words stand in
        their place; one that names a blob of the same repository is followed too.
        """
        real = os.path.realpath(path)
        if not self._repository or not is_inside(real, f"{self._repository}/snapshots"):
            return real
        try:
            words = Path(real).read_bytes() if os.path.getsize(real) <= _POINTER_BYTES else b""  # noqa: PTH202
        except OSError:
            return real
        found = _POINTER.fullmatch(words)
        target = os.path.realpath(f"{os.path.dirname(real)}/{found[0].decode().strip()}") if found else real  # noqa: PTH120
        return target if is_inside(target, f"{self._repository}/blobs") else real

    def stat(self, path: str) -> os.stat_result:
        """The state of the file that `resolve` leads to."""
        return os.stat(self.resolve(path) if self._repository else path)  # noqa: PTH116  (called for every file)


def hub_repository(root: str) -> str:
    """The repository in a Hugging Face cache of which a real folder is a snapshot, or empty."""
    steps = Path(root).parts
    for place in range(len(steps) - 2, 0, -1):
        if steps[place + 1] == "snapshots" and _HUB_REPOSITORY.fullmatch(steps[place]):
            repository = Path(*steps[: place + 1])
            return str(repository) if (repository / "blobs").is_dir() else ""
    return ""


class FolderContainer:
    """Files below one folder, by their path relative to it; what links may lead to, `reach` says."""

    def __init__(self, reach: Reach, names: pa.ChunkedArray, label: str) -> None:
        self.label = label
        self.names = names
        self._reach = reach
        self._stamps = np.zeros((0, 2), np.int64)

    def path(self, row: int) -> str:
        """Where the file lies, links not followed."""
        return f"{self._reach.root}/{self.names[row].as_py()}"

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        path = self._reach.resolve(self.path(row))
        if not self._reach.allows(path):
            return Failure("unreadable", LEADS_OUT)
        stamp = tuple(self._stamps[row]) if len(self._stamps) and self._stamps[row].any() else None
        return read_file(path, max_bytes, stamp)

    def size(self, row: int) -> int:
        path = self._reach.resolve(self.path(row))
        try:
            return os.stat(path).st_size if self._reach.allows(path) else -1  # noqa: PTH116
        except OSError:
            return -1

    def stamps(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sizes and times of change, to which `read` holds the files from now on."""
        if not len(self._stamps):
            self._stamps = np.zeros((len(self.names), 2), np.int64)
        for row in rows.tolist():
            state = self._reach.stat(self.path(row))
            self._stamps[row] = state.st_size, state.st_mtime_ns
        return np.column_stack([np.zeros(len(rows), np.int64), self._stamps[rows]])


class Prober:
    """Looks for files at the places their names suggest, without listing the folder."""

    def __init__(self, reach: Reach) -> None:
        self.root = reach.root
        self._reach = reach
        self._safe_parents: dict[str, bool] = {}

    def has(self, relative: str) -> bool:
        path = f"{self.root}/{relative}"
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            return False
        if stat.S_ISLNK(mode):
            target = os.path.realpath(path)
            return self._reach.allows(target) and os.path.isfile(target)  # noqa: PTH113
        return stat.S_ISREG(mode) and self._parent_is_inside(path)

    def _parent_is_inside(self, path: str) -> bool:
        parent = os.path.dirname(path)  # noqa: PTH120  (called for every name)
        if parent not in self._safe_parents:
            self._safe_parents[parent] = self._reach.allows(os.path.realpath(parent))
        return self._safe_parents[parent]


@dataclass
class Listing:
    """What lies below a folder: pictures by relative name, and archives to look into."""

    names: NameColumn = field(default_factory=NameColumn)
    archives: list[list[Path]] = field(default_factory=list)


def probe(probers: Sequence[Prober], images: Sequence[str]) -> dict[int, tuple[int, str]]:
    """Position of an image -> the folder that has it at an expected place, and its name there.

    A sample tells which spelling is in use where, so that a folder laid out otherwise costs a few
    hundred look-ups instead of one per image and spelling. An image found this way is taken
    without looking for namesakes; a file that two images would share is given to neither.
    """
    step = max(1, len(images) // _PROBED_SAMPLE)
    sample = [expected_places(image) for image in images[::step]]
    slots = range(len(expected_places("")))
    in_use = [
        (slot, number)
        for slot in slots
        for number, prober in enumerate(probers)
        if any(places[slot] and prober.has(places[slot]) for places in sample)
    ]
    found: dict[int, tuple[int, str]] = {}
    if not in_use:
        return found
    for position, image in enumerate(images):
        places = expected_places(image)
        for slot, number in in_use:
            if places[slot] and probers[number].has(places[slot]):
                found[position] = (number, places[slot])
                break
    shared = {place for place, count in Counter(found.values()).items() if count > 1}
    return {position: place for position, place in found.items() if place not in shared}


def expected_places(image: str) -> tuple[str, ...]:
    """Relative paths where a file of this name usually lies, one per spelling, empty where none applies.

    In the order of the matching rules: as it is, base name, `/` and `_` exchanged both ways, and
    each again with `.jpg`.
    """
    image = image.replace("\\", "/")
    if unsafe_because(image):
        return ("",) * 8
    image = tidy(image)
    base = image.rpartition("/")[2]
    flattened = _FLATTENED.fullmatch(image)
    plain = (image, base, image.replace("/", "_"), "/".join(flattened.groups()) if flattened else "")
    distinct = tuple(place if place not in plain[:slot] else "" for slot, place in enumerate(plain))
    return (*distinct, *(f"{place}.jpg" if place and not _SUFFIX.search(place) else "" for place in distinct))


def list_folder(reach: Reach, notes: Notes, label: str, choice: Choice = pictures_only) -> Listing:
    """Everything below a folder. Links to folders within it are not entered: those are listed anyway."""
    listing = Listing()
    numbered: dict[tuple[str, str], dict[str, str]] = {}
    for folder, entry in _entries(reach, notes, label):
        name = f"{folder}{entry.name}"
        if not _is_file(entry, name, reach, notes, label):
            continue
        if entry.name.lower().endswith(ARCHIVE_SUFFIXES):
            listing.archives.append([Path(entry.path)])
        elif reason := choice(name):
            notes.add(label, reason, name)
        elif reason is None and (key := split_key(entry.name)):
            numbered.setdefault((folder, key), {})[entry.name] = name
        elif reason is None:
            listing.names.append(name)
        if len(listing.names) > MAX_MEMBERS:
            notes.add(label, f"more than {MAX_MEMBERS} files, the rest is not read", name)
            break
    for (folder, first), names in numbered.items():
        _add_numbered(Path(reach.root, folder, first), names, listing, notes, label)
    return listing


def is_inside(path: str, root: str) -> bool:
    """Whether a real path is a real folder or lies below it."""
    return path == root or path.startswith(root if root.endswith(os.sep) else root + os.sep)


def _is_repository(folder: str) -> bool:
    """Whether a folder is laid out as Hugging Face's cache keeps a repository."""
    name = os.path.basename(folder.rstrip("/"))  # noqa: PTH119
    inner = (f"{folder}/{part}" for part in ("blobs", "snapshots"))
    return bool(_HUB_REPOSITORY.fullmatch(name)) and all(map(os.path.isdir, inner))


def _snapshot(repository: str, notes: Notes, label: str) -> str:
    """The one revision of a repository in a Hugging Face cache that is listed: names recur in all."""
    revisions = sorted(os.listdir(f"{repository}/snapshots"))  # noqa: PTH208
    try:
        main = Path(repository, "refs", "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    chosen = main if main in revisions else revisions[-1] if revisions else ""
    for other in revisions:
        if other != chosen:
            notes.add(label, f"another revision than {chosen[:12]}: give its folder to read it", other)
    return chosen


def _entries(reach: Reach, notes: Notes, label: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Whatever is no folder, with the relative name of the folder it lies in, `/` at the end."""
    waiting, entered = [""], {reach.root}
    while waiting:
        folder = waiting.pop()
        try:
            if _is_repository(f"{reach.root}/{folder}"):
                waiting.append(f"{folder}snapshots/{_snapshot(f'{reach.root}/{folder}', notes, label)}/")
                continue
            with os.scandir(f"{reach.root}/{folder}") as scan:
                for entry in scan:
                    if entry.is_dir(follow_symlinks=False) or _is_followed(entry, reach, entered):
                        waiting.append(f"{folder}{entry.name}/")
                    else:
                        yield folder, entry
        except OSError as error:
            notes.add(label, f"folder cannot be listed: {error.strerror}", folder)


def _is_followed(entry: os.DirEntry[str], reach: Reach, entered: set[str]) -> bool:
    """Whether to enter a link to a folder outside, which is done once."""
    if not reach.follow_links or not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    if not os.path.isdir(target) or is_inside(target, reach.root) or is_inside(reach.root, target):  # noqa: PTH112
        return False
    if target in entered:
        return False
    entered.add(target)
    return True


def _is_file(entry: os.DirEntry[str], name: str, reach: Reach, notes: Notes, label: str) -> bool:
    """Whether an entry is a file to index: a plain one, or a link to one that is not listed anyway."""
    reason = unsafe_because(name)
    if not reason and entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not os.path.exists(target):  # noqa: PTH110
            reason = "symbolic link leads nowhere"
        elif not reach.allows(target):
            reason = f"{LEADS_OUT}; --follow-links opens it"
        elif os.path.isdir(target) or _is_listed_anyway(target, entry.name, reach):  # noqa: PTH112
            return False
        elif os.path.isfile(target):  # noqa: PTH113
            return True
    if not reason and not entry.is_file(follow_symlinks=False):
        reason = "not a regular file"
    if reason:
        notes.add(label, reason, name)
    return not reason


def _is_listed_anyway(target: str, name: str, reach: Reach) -> bool:
    return is_inside(target, reach.root) and os.path.basename(target) == name  # noqa: PTH119


def _add_numbered(first: Path, names: dict[str, str], listing: Listing, notes: Notes, label: str) -> None:
    """Files called stem + number are a split tar if number 0 begins one, and pictures otherwise."""
    if first.name not in names or not _begins_tar(first):
        for name in names.values():
            listing.names.append(name)
        return
    parts = split_parts(first, lambda path: path.name in names)
    listing.archives.append(parts)
    if len(parts) < len(names):
        notes.add(label, f"part {len(parts)} of a split tar is absent, later ones are not read", first.name)


def _begins_tar(path: Path) -> bool:
    try:
        return is_tar(read_head(path))
    except OSError:
        return False


def read_file(
    path: str, max_bytes: int = MAX_MEMBER_BYTES, stamp: tuple[int, int] | None = None
) -> bytes | Failure:
    """The bytes of a regular file of a bounded size; OSError where it cannot be opened.

    A file of another size or time of change than its `stamp` is refused as well.
    """
    # Not blocking: a pipe that took the place of a file must not hang the run.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        state = os.fstat(descriptor)
        if stamp is not None and stamp != (state.st_size, state.st_mtime_ns):
            raise changed(Path(path))
        if not stat.S_ISREG(state.st_mode):
            return Failure("unreadable", "not a regular file")
        if state.st_size > max_bytes:
            return Failure("unreadable", f"file has {state.st_size} bytes, allowed {max_bytes}")
        data = os.read(descriptor, state.st_size)
        while len(data) < state.st_size and (more := os.read(descriptor, state.st_size - len(data))):
            data += more
        if len(data) < state.st_size:
            raise changed(Path(path))
        return data
    finally:
        os.close(descriptor)
