"""Tar files read in place: plain, unpacked from gzip, bzip2 or xz, or split into byte ranges over files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...errors import DataError
from ...reading import what_is_odd
from .common import (
    BROKEN_ARCHIVE,
    INFLATION_IS_HARMLESS_BYTES,
    MAX_INFLATION,
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    Choice,
    Failure,
    JoinedFile,
    NameColumn,
    Notes,
    Parts,
    is_passing,
    last_of_each,
    pictures_only,
    tidy,
    unsafe_because,
)

MAX_HEADER_BYTES = 2**15
"""A long name or extended header; real ones have a few hundred bytes. tarfile before 3.11.10 takes
time that grows with their square (CVE-2024-6232)."""

MAX_LINKS = 1_000_000
"""Links of one tar that are followed within it; each is kept as an object until the tar is indexed."""

MAX_GAP_BYTES = 2**24
"""Zeros behind an end mark that are passed over to look for a further tar; tar itself fills up 10 KiB."""

MAX_XZ_MEMORY_BYTES = 2**28
"""What unpacking xz may take; the dictionary of `xz -9` is 64 MiB, and a file may ask for 4 GiB."""

PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
"""How a packed file begins."""

_SPLIT_NAME = re.compile(r"(?P<stem>.*[^0-9])(?P<number>[0-9]+)")
_CHUNK_BYTES = 2**20
_OPEN_FILES = Path("/proc/self/fd")


class TarContainer:
    """The pictures of one tar as columns: name, offset, size.

    Links to members are those members; devices and sparse members are left out, and a tar that
    breaks off or goes bad gives the members before the break; each of these is noted. Of members
    of one name the last counts, as when a tar is unpacked. `stamp` is that of the file the tar was
    unpacked from, where it was.
    """

    def __init__(
        self,
        parts: Parts,
        notes: Notes,
        label: str,
        choice: Choice = pictures_only,
        stamp: int | None = None,
    ) -> None:
        self.label = label
        self._parts = parts
        self._stamp = parts.stamp if stamp is None else stamp
        names, offsets, sizes = NameColumn(), [], []
        links: dict[int, tuple[str, bool]] = {}
        with closing(parts.open(MAX_HEADER_BYTES)) as file:
            for member in _members(file, notes, label):
                if not _is_wanted(member, parts.size, notes, label, choice):
                    continue
                if (member.issym() or member.islnk()) and len(links) == MAX_LINKS:
                    notes.add(label, f"more than {MAX_LINKS} links, others are left out", member.name)
                    continue
                if member.issym() or member.islnk():
                    links[len(names)] = _target(member), member.islnk()
                names.append(tidy(member.name))
                offsets.append(member.offset_data)
                sizes.append(member.size)
        column = names.finish()
        self._offsets = np.array(offsets, np.int64)
        self._sizes = np.array(sizes, np.int64)
        there = self._follow(column, links, notes) if links else np.ones(len(column), bool)
        rows = last_of_each(column)
        if len(rows) < len(column):
            notes.add(label, "replaced by a later member of the same name", "", len(column) - len(rows))
        rows = rows[there[rows]]
        if len(rows) < len(column):
            column = column.take(pa.array(rows))
            self._offsets, self._sizes = self._offsets[rows], self._sizes[rows]
        self.names: pa.ChunkedArray = column

    def _follow(
        self, names: pa.ChunkedArray, links: dict[int, tuple[str, bool]], notes: Notes
    ) -> NDArray[np.bool_]:
        """Give links the place of what they lead to; which rows then have a place.

        A hard link stands for the member of that name before it, a symbolic one for the last.
        """
        targets = pa.array({target for target, _ in links.values()}, pa.large_string())
        concerned = pc.is_in(names, targets).to_numpy()
        concerned[list(links)] = True
        there = np.ones(len(names), bool)
        there[list(links)] = False
        latest: dict[str, int] = {}

        def visit(row: int) -> None:
            name = names[row].as_py()
            led_to = latest.get(links[row][0], -1) if row in links else row
            if led_to < 0:
                return
            there[row] = True
            self._offsets[row], self._sizes[row] = self._offsets[led_to], self._sizes[led_to]
            latest[name] = max(row, latest.get(name, -1))

        soft = [row for row, (_, is_hard) in links.items() if not is_hard]
        waiting = set(soft)
        for row in np.flatnonzero(concerned).tolist():
            if row not in waiting:
                visit(row)
        for row in (*soft, *soft):  # twice, since one may lead to another
            visit(row)
        for row in np.flatnonzero(~there).tolist():
            notes.add(self.label, "link to what the tar does not hold", names[row].as_py())
        return there

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        size = int(self._sizes[row])
        allowed = min(max_bytes, MAX_MEMBER_BYTES)
        if size > allowed:
            return Failure("unreadable", f"tar member has {size} bytes, allowed {allowed}")
        try:
            return self._parts.read_at(int(self._offsets[row]), size)
        except (EOFError, ValueError) as error:
            return Failure("unreadable", f"tar member: {error}")

    def size(self, row: int) -> int:
        return int(self._sizes[row])

    def stamps(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A tar keeps no checksums of contents: sizes and places in a tar of one size and time of change."""
        return np.stack([np.full(len(rows), self._stamp), self._sizes[rows], self._offsets[rows]], axis=1)


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


def packed_by(path: Path) -> str:
    """`gzip`, `bzip2`, `xz` or nothing, from how the file begins."""
    head = read_head(path)
    return next((kind for mark, kind in PACKED.items() if head.startswith(mark)), "")


def unpack(path: Path, kind: str, notes: Notes, label: str) -> IO[bytes]:
    """A temporary file with the tar inside a `.tar.gz` or the like, as far as limits and damage allow."""
    unpacked = _temporary_file()
    with path.open("rb") as packed:
        chunks = _unpacked(packed, kind)
        while True:
            try:
                chunk = next(chunks, b"")
            except BROKEN_ARCHIVE as error:
                if is_passing(error):
                    raise
                notes.add(label, f"{kind} breaks off, only what lies before is read: {error}")
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
    return unpacked


def _temporary_file() -> IO[bytes]:
    """Gone whenever its process ends, by whatever signal, where the system opens files again by number."""
    if _OPEN_FILES.is_dir():
        return tempfile.TemporaryFile()  # it has no name
    return cast("IO[bytes]", tempfile.NamedTemporaryFile(prefix="pinpoint-", suffix=".tar"))


def path_of(unpacked: IO[bytes]) -> Path:
    """Where a temporary file is opened again."""
    by_number = _OPEN_FILES / str(unpacked.fileno())
    return by_number if by_number.exists() else Path(unpacked.name)


def _unpacked(packed: IO[bytes], kind: str) -> Iterator[bytes]:
    """The content in pieces of bounded size; raises one of BROKEN_ARCHIVE where it breaks off."""
    if kind == "gzip":
        with gzip.GzipFile(fileobj=packed) as stream:
            while chunk := stream.read1(_CHUNK_BYTES):  # `read` would lose what lies right before a break
                yield chunk
        return
    unpacker, data = _unpacker(kind), packed.read(_CHUNK_BYTES)
    while data or not unpacker.eof:
        if unpacker.eof:  # another stream may follow; xz fills up with zeros
            if not data.strip(b"\0"):
                data = packed.read(_CHUNK_BYTES)
                continue
            unpacker = _unpacker(kind)
        chunk = unpacker.decompress(data, _CHUNK_BYTES)
        if chunk:
            yield chunk
        if unpacker.eof:
            data = unpacker.unused_data or packed.read(_CHUNK_BYTES)
        else:
            data = packed.read(_CHUNK_BYTES) if unpacker.needs_input else b""
            if not data and unpacker.needs_input:
                raise EOFError("the file ends before its end mark")


def _unpacker(kind: str) -> Any:
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY_BYTES)


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
    """Each member once, none kept; ends at the last end mark or, with a note, where the tar goes bad.

    Tars put behind one another with `cat` have several end marks.
    """
    count, position, start = 0, -1, 0
    try:
        while start >= 0:
            file.seek(start)
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
            start = _next_tar(file, archive.offset, count, notes, label)
    except BROKEN_ARCHIVE as error:
        if is_passing(error):
            raise
        notes.add(label, f"tar breaks off, only the members before are read: {error}")


def _next_tar(file: JoinedFile, offset: int, count: int, notes: Notes, label: str) -> int:
    """Where a further tar begins behind the end mark at an offset, -1 if there is none.

    tarfile takes a damaged header for the end of the archive; a true end is a block of zeros.
    """
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        notes.add(label, f"tar has no end mark after {count} members: cut short, or a part is missing")
        return -1
    if any(block):
        notes.add(label, f"tar has a damaged header after {count} members, the rest is not read")
        return -1
    for start in range(offset, offset + MAX_GAP_BYTES, tarfile.BLOCKSIZE):
        file.seek(start)
        block = file.read(tarfile.BLOCKSIZE)
        if not block:
            return -1
        if any(block):
            if is_tar(block):
                return start
            break
    notes.add(label, f"what lies behind the tar's end mark after {count} members is not read")
    return -1


def _is_wanted(member: tarfile.TarInfo, archive_size: int, notes: Notes, label: str, choice: Choice) -> bool:
    if member.isdir():
        return False
    reason = choice(tidy(member.name))
    if reason is None:
        reason = unsafe_because(member.name) or None
    if reason is None and not (member.issym() or member.islnk()):
        if not member.isreg() or member.issparse():
            reason = "not a plain file"
        elif member.size < 0 or member.offset_data + member.size > archive_size:
            reason = "cut off by the end of the tar"
    if reason is not None:
        if reason:
            notes.add(label, reason, member.name)
        return False
    if member.size > MAX_MEMBER_BYTES:
        # Kept, so that reading it says what is wrong.
        notes.add(label, f"tar member is larger than {MAX_MEMBER_BYTES >> 20} MiB", member.name)
    return True


def _target(member: tarfile.TarInfo) -> str:
    """The name of the member that a link leads to; one that climbs out of the tar is the name of none."""
    if member.islnk():
        return tidy(member.linkname).encode("utf-8", "replace").decode()
    folder = posixpath.dirname(tidy(member.name))
    target = posixpath.normpath(posixpath.join(folder, member.linkname.replace("\\", "/")))
    return target.encode("utf-8", "replace").decode()


def is_packed_tar(path: Path, kind: str) -> bool:
    """Whether a packed file holds a tar, from its first block."""
    try:
        with path.open("rb") as packed:
            head = b""
            for chunk in _unpacked(packed, kind):
                head += chunk
                if len(head) >= tarfile.BLOCKSIZE:
                    break
            return is_tar(head[: tarfile.BLOCKSIZE])
    except BROKEN_ARCHIVE as error:
        if is_passing(error):
            raise
        return False


def read_head(path: Path) -> bytes:
    """The first 512 bytes, or fewer; OSError where the file cannot be read."""
    if odd := what_is_odd(path):  # a link may lead to it
        raise OSError(odd)
    with path.open("rb") as file:
        return file.read(tarfile.BLOCKSIZE)
