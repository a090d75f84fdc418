"""Folders of pictures: expected places probed one by one, or a listing of everything below."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from .common import (
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    Failure,
    NameColumn,
    Notes,
    is_sidecar,
    tidy,
    unsafe_because,
)
from .tar import is_tar, read_head, split_key, split_parts

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_PROBED_SAMPLE = 256
_SUFFIX = re.compile(r"\.[A-Za-z]{3,4}$")
_FLATTENED = re.compile(r"(?:.*/)?([0-9a-f]{2})_([0-9a-f]{2})_([^/]+)")


class FolderContainer:
    """Files below one folder, by their path relative to it; nothing outside it is ever opened."""

    def __init__(self, root: Path, names: pa.ChunkedArray, label: str) -> None:
        self.label = label
        self.names = names
        self._root = os.path.realpath(root)

    def path(self, row: int) -> str:
        """Where the file lies, links not followed."""
        return f"{self._root}/{self.names[row].as_py()}"

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        path = os.path.realpath(self.path(row))
        if not is_inside(path, self._root):
            return Failure("unreadable", "symbolic link leads outside its folder")
        return read_file(path, max_bytes)

    def size(self, row: int) -> int:
        path = os.path.realpath(self.path(row))
        try:
            return os.stat(path).st_size if is_inside(path, self._root) else -1  # noqa: PTH116
        except OSError:
            return -1


class Prober:
    """Looks for files at the places their names suggest, without listing the folder."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._safe_parents: dict[str, bool] = {}

    def has(self, relative: str) -> bool:
        path = f"{self.root}/{relative}"
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            return False
        if stat.S_ISLNK(mode):
            target = os.path.realpath(path)
            return is_inside(target, self.root) and os.path.isfile(target)  # noqa: PTH113
        return stat.S_ISREG(mode) and self._parent_is_inside(path)

    def _parent_is_inside(self, path: str) -> bool:
        parent = os.path.dirname(path)  # noqa: PTH120  (called for every name)
        if parent not in self._safe_parents:
            self._safe_parents[parent] = is_inside(os.path.realpath(parent), self.root)
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


def list_folder(root: str, notes: Notes, label: str) -> Listing:
    """Everything below a real folder. Links to folders are not entered: those within are listed anyway."""
    listing = Listing()
    numbered: dict[tuple[str, str], dict[str, str]] = {}
    for folder, entry in _entries(root, notes, label):
        name = f"{folder}{entry.name}"
        if not _is_file(entry, name, root, notes, label):
            continue
        if entry.name.lower().endswith(ARCHIVE_SUFFIXES):
            listing.archives.append([Path(entry.path)])
        elif key := split_key(entry.name):
            numbered.setdefault((folder, key), {})[entry.name] = name
        elif not is_sidecar(name):
            listing.names.append(name)
        if len(listing.names) > MAX_MEMBERS:
            notes.add(label, f"more than {MAX_MEMBERS} files, the rest is not read", name)
            break
    for (folder, first), names in numbered.items():
        _add_numbered(Path(root, folder, first), names, listing, notes, label)
    return listing


def is_inside(path: str, root: str) -> bool:
    """Whether a real path is a real folder or lies below it."""
    return path == root or path.startswith(root if root.endswith(os.sep) else root + os.sep)


def _entries(root: str, notes: Notes, label: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Whatever is no folder, with the relative name of the folder it lies in, `/` at the end."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{folder}{entry.name}/")
                    else:
                        yield folder, entry
        except OSError as error:
            notes.add(label, f"folder cannot be listed: {error.strerror}", folder)


def _is_file(entry: os.DirEntry[str], name: str, root: str, notes: Notes, label: str) -> bool:
    """Whether an entry is a file to index: a plain one, or a link that stays inside under another name."""
    reason = unsafe_because(name)
    if not reason and entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not os.path.exists(target):  # noqa: PTH110
            reason = "symbolic link leads nowhere"
        elif not is_inside(target, root):
            reason = "symbolic link leads outside its folder"
        elif os.path.isdir(target) or os.path.basename(target) == entry.name:  # noqa: PTH112, PTH119
            return False
        elif os.path.isfile(target):  # noqa: PTH113
            return True
    if not reason and not entry.is_file(follow_symlinks=False):
        reason = "not a regular file"
    if reason:
        notes.add(label, reason, name)
    return not reason


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


def read_file(path: str, max_bytes: int = MAX_MEMBER_BYTES) -> bytes | Failure:
    """The bytes of a regular file of a bounded size."""
    try:
        return _read(path, max_bytes)
    except FileNotFoundError:
        return Failure("missing", "gone since the folder was listed")
    except OSError as error:
        return Failure("unreadable", f"cannot read: {error.strerror}")


def _read(path: str, max_bytes: int) -> bytes | Failure:
    # Not blocking: a pipe that took the place of a file must not hang the run.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return Failure("unreadable", "not a regular file")
        if state.st_size > max_bytes:
            return Failure("unreadable", f"file has {state.st_size} bytes, allowed {max_bytes}")
        data = os.read(descriptor, state.st_size)
        while len(data) < state.st_size and (more := os.read(descriptor, state.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)
