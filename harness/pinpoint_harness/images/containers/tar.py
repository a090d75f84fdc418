"""Tar files read in place: plain, unpacked from gzip, or split into byte ranges over many files."""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa

from ...errors import DataError
from .common import (
    BROKEN_ARCHIVE,
    INFLATION_IS_HARMLESS_BYTES,
    MAX_INFLATION,
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    Failure,
    JoinedFile,
    NameColumn,
    Notes,
    Parts,
    is_sidecar,
    tidy,
    unsafe_because,
)

MAX_HEADER_BYTES = 2**15
"""A long name or extended header; real ones have a few hundred bytes. tarfile before 3.11.10 takes
time that grows with their square (CVE-2024-6232)."""

_SPLIT_NAME = re.compile(r"(?P<stem>.*[^0-9])(?P<number>[0-9]+)")
_CHUNK_BYTES = 2**20


class TarContainer:
    """The pictures of one tar as columns: name, offset, size.

    Links, devices and sparse members are left out, and a tar that breaks off or goes bad gives
    the members before the break; each of these is noted.
    """

    def __init__(self, parts: Parts, notes: Notes, label: str) -> None:
        self.label = label
        self._parts = parts
        names, offsets, sizes = NameColumn(), [], []
        with closing(parts.open(MAX_HEADER_BYTES)) as file:
            for member in _members(file, notes, label):
                if not _is_wanted(member, parts.size, notes, label):
                    continue
                names.append(tidy(member.name))
                offsets.append(member.offset_data)
                sizes.append(member.size)
        self.names: pa.ChunkedArray = names.finish()
        self._offsets = np.array(offsets, np.int64)
        self._sizes = np.array(sizes, np.int64)

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        size = int(self._sizes[row])
        allowed = min(max_bytes, MAX_MEMBER_BYTES)
        if size > allowed:
            return Failure("unreadable", f"tar member has {size} bytes, allowed {allowed}")
        try:
            return self._parts.read_at(int(self._offsets[row]), size)
        except OSError as error:
            return Failure("unreadable", f"tar member: {error}")

    def size(self, row: int) -> int:
        return int(self._sizes[row])


def is_tar(head: bytes) -> bool:
    """Whether the first 512 bytes of a file are a tar header with a right checksum."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError, OverflowError):
        return False
    return True


def split_key(name: str) -> str:
    """The name of the first part if a file may be part of a split tar: `mp-16-images00` for `...07`."""
    found = _SPLIT_NAME.fullmatch(name)
    return found["stem"] + "0" * len(found["number"]) if found else ""


def split_parts(first: Path, is_there: Callable[[Path], bool] = Path.is_file) -> list[Path]:
    """The parts of a split tar in order, from the first as long as the next number is there."""
    parts = [first]
    if split_key(first.name) != first.name:
        return parts
    stem = first.name.rstrip("0")
    width = len(first.name) - len(stem)
    while is_there(following := first.with_name(f"{stem}{len(parts):0{width}d}")):
        parts.append(following)
    return parts


def unpack_gzip(path: Path, notes: Notes, label: str) -> IO[bytes]:
    """A temporary file with the tar inside a `.tar.gz`, as far as limits and damage allow."""
    unpacked = tempfile.NamedTemporaryFile(prefix="pinpoint-", suffix=".tar")  # noqa: SIM115  (the store's)
    with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as stream:
        while True:
            try:
                chunk = stream.read1(_CHUNK_BYTES)  # `read` would lose what lies right before a break
            except BROKEN_ARCHIVE as error:
                notes.add(label, f"gzip breaks off, only what lies before is read: {error}")
                break
            if not chunk:
                break
            total = unpacked.tell() + len(chunk)
            if total > MAX_UNPACKED_BYTES:
                notes.add(label, f"more than {MAX_UNPACKED_BYTES >> 30} GiB unpacked, the rest is not read")
                break
            if total > max(MAX_INFLATION * packed.tell(), INFLATION_IS_HARMLESS_BYTES):
                notes.add(label, f"unpacks to more than {MAX_INFLATION} times its size, the rest is not read")
                break
            _write(unpacked, chunk, path)
    unpacked.flush()
    return cast("IO[bytes]", unpacked)


def _write(unpacked: IO[bytes], chunk: bytes, path: Path) -> None:
    try:
        unpacked.write(chunk)
    except OSError as error:
        raise DataError(
            f"cannot unpack {path} into a temporary file",
            found=str(error),
            fix="set TMPDIR to a disk with room, or gunzip the file: a plain .tar is read in place",
        ) from error


def _members(file: JoinedFile, notes: Notes, label: str) -> Iterator[tarfile.TarInfo]:
    """Each member once, none kept; ends at the end mark or, with a note, where the tar goes bad."""
    count, position = 0, -1
    try:
        archive: Any = tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:")  # noqa: SIM115
        while (member := archive.next()) is not None:
            archive.members.clear()
            # A negative size sends tarfile backwards, for ever (CVE-2025-8194).
            if archive.offset <= position:
                notes.add(label, "tar runs in circles, only what lies before is read", member.name)
                return
            count, position = count + 1, archive.offset
            if count > MAX_MEMBERS:
                notes.add(label, f"more than {MAX_MEMBERS} members, the rest is not read", member.name)
                return
            yield member
        _check_end(file, archive.offset, count, notes, label)
    except BROKEN_ARCHIVE as error:
        notes.add(label, f"tar breaks off, only the members before are read: {error}")


def _check_end(file: JoinedFile, offset: int, count: int, notes: Notes, label: str) -> None:
    """tarfile takes a damaged header for the end of the archive; a true end is a block of zeros."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        notes.add(label, f"tar has no end mark after {count} members: cut short, or a part is missing")
    elif any(block):
        notes.add(label, f"tar has a damaged header after {count} members, the rest is not read")


def _is_wanted(member: tarfile.TarInfo, archive_size: int, notes: Notes, label: str) -> bool:
    if member.isdir() or is_sidecar(member.name):
        return False
    reason = unsafe_because(member.name)
    if member.issym() or member.islnk():
        reason = "link"
    elif not member.isreg() or member.issparse():
        reason = "not a plain file"
    elif member.size < 0 or member.offset_data + member.size > archive_size:
        reason = "cut off by the end of the tar"
    if reason:
        notes.add(label, reason, member.name)
        return False
    if member.size > MAX_MEMBER_BYTES:
        # Kept, so that reading it says what is wrong.
        notes.add(label, f"tar member is larger than {MAX_MEMBER_BYTES >> 20} MiB", member.name)
    return True


def is_gzipped_tar(path: Path) -> bool:
    """Whether a gzip file holds a tar, from its first block."""
    try:
        with gzip.open(path) as stream:
            return is_tar(stream.read(tarfile.BLOCKSIZE))
    except BROKEN_ARCHIVE:
        return False


def read_head(path: Path) -> bytes:
    """The first 512 bytes, or fewer; OSError where the file cannot be read."""
    with path.open("rb") as file:
        return file.read(tarfile.BLOCKSIZE)
