"""Zip files read in place: the directory once, then each picture by its offset."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import IO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .common import (
    BROKEN_ARCHIVE,
    INFLATION_IS_HARMLESS_BYTES,
    MAX_INFLATION,
    MAX_MEMBER_BYTES,
    Choice,
    Failure,
    NameColumn,
    Notes,
    Parts,
    is_passing,
    last_of_each,
    pictures_only,
    tidy,
    unsafe_because,
)

MAX_DIRECTORY_BYTES = 2**30
"""The names and offsets of one zip; about 12 million members."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNICODE_PATH = 0x7075
"""The extra field in which some programs put the name in UTF-8."""

_REFUSALS = (
    "",
    "zip member is encrypted",
    "zip member is packed by a method other than stored and deflate",
    f"zip member is larger than {MAX_MEMBER_BYTES >> 20} MiB",
    f"zip member unpacks to more than {MAX_INFLATION} times its size",
    "zip member overlaps another",
)


class ZipContainer:
    """The pictures of one zip file as columns; no object per member stays behind.

    A member that a later one of the same name replaces is left out, as unpacking would.
    Members with untrusted names and symbolic links are left out; encrypted, oversized, overlapping
    or strangely packed ones are kept, so that reading them says what is wrong.
    """

    def __init__(self, path: Path, notes: Notes, label: str, choice: Choice = pictures_only) -> None:
        self.label = label
        self._parts = Parts([path])
        with closing(self._parts.open(MAX_DIRECTORY_BYTES)) as file:
            archive = zipfile.ZipFile(cast("IO[bytes]", file))
            members, names = _trusted(archive.filelist, notes, label, choice)
            refusals = [_refusal(member) for member in members]
            for overlapping in np.flatnonzero(_overlapping(archive, members)):
                refusals[overlapping] = refusals[overlapping] or len(_REFUSALS) - 1
        for member, refusal in zip(members, refusals, strict=True):
            if refusal:
                notes.add(label, _REFUSALS[refusal], member.filename)
        self.names: pa.ChunkedArray = names
        self._refusals = np.array(refusals, np.uint8)
        self._offsets = np.array([member.header_offset for member in members], np.int64)
        self._packed = np.array([member.compress_size for member in members], np.int64)
        self._sizes = np.array([member.file_size for member in members], np.int64)
        self._checksums = np.array([member.CRC for member in members], np.uint32)
        self._stored = np.array([member.compress_type == zipfile.ZIP_STORED for member in members], bool)

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        size, packed_size = int(self._sizes[row]), int(self._packed[row])
        if self._refusals[row]:
            return Failure("unreadable", _REFUSALS[self._refusals[row]])
        if max(size, packed_size) > max_bytes:
            return Failure(
                "unreadable", f"zip member has {max(size, packed_size)} bytes, allowed {max_bytes}"
            )
        try:
            packed = self._packed_bytes(int(self._offsets[row]), packed_size)
            data = packed if self._stored[row] else _inflate(packed, size)
        except BROKEN_ARCHIVE as error:
            if is_passing(error):
                raise
            return Failure("unreadable", f"zip member: {error}")
        if len(data) != size or zlib.crc32(data) != self._checksums[row]:
            return Failure("unreadable", "zip member: size or checksum differs from the zip's directory")
        return data

    def size(self, row: int) -> int:
        return int(self._sizes[row])

    def stamps(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The checksums in the zip's directory, which the time of a copy does not change."""
        return np.stack([np.zeros(len(rows), np.int64), self._sizes[rows], self._checksums[rows]], axis=1)

    def _packed_bytes(self, offset: int, size: int) -> bytes:
        with closing(self._parts.open(longest_read=max(size, _LOCAL_HEADER.size))) as file:
            file.seek(offset)
            header = file.read(_LOCAL_HEADER.size)
            signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
            if signature != b"PK\x03\x04":
                raise zipfile.BadZipFile("no member begins where the zip's directory says")
            file.seek(name_length + extra_length, 1)
            return file.read(size)


def _trusted(
    members: list[zipfile.ZipInfo], notes: Notes, label: str, choice: Choice
) -> tuple[list[zipfile.ZipInfo], pa.ChunkedArray]:
    kept, names = [], NameColumn()
    for member in members:
        name = _name(member)
        if name.endswith(("/", "\\")):
            continue
        reason = choice(tidy(name))
        if reason is None:
            reason = unsafe_because(name) or None
        if reason is None and stat.S_ISLNK(member.external_attr >> 16):
            reason = "symbolic link"
        if reason is None:
            kept.append(member)
            names.append(tidy(name))
        elif reason:
            notes.add(label, reason, name)
    column = names.finish()
    rows = last_of_each(column)
    if len(rows) == len(kept):
        return kept, column
    notes.add(label, "replaced by a later member of the same name", "", len(kept) - len(rows))
    return [kept[row] for row in rows], column.take(pa.array(rows))


def _name(member: zipfile.ZipInfo) -> str:
    """A member's name; UTF-8 is recognised also where the zip does not say that it is.

    `filename` is already cut at the first NUL; the original shows what the file says.
    """
    name: str = member.orig_filename
    if member.flag_bits & _UTF8 or name.isascii():
        return name
    raw = name.encode("cp437", "replace")
    try:
        return _unicode_path(member.extra, raw) or raw.decode("utf-8")
    except UnicodeDecodeError:
        return name


def _unicode_path(extra: bytes, raw: bytes) -> str:
    """The name in the extra field for it, if it is meant for this name; empty otherwise."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if (
            kind == _UNICODE_PATH
            and field[:1] == b"\x01"
            and field[1:5] == struct.pack("<I", zlib.crc32(raw))
        ):
            return field[5:].decode("utf-8")
    return ""


def _refusal(member: zipfile.ZipInfo) -> int:
    """Position in `_REFUSALS`, 0 for a member that may be read."""
    if member.flag_bits & _ENCRYPTED:
        return 1
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return 2
    if max(member.file_size, member.compress_size) > MAX_MEMBER_BYTES:
        return 3
    inflated = member.file_size > MAX_INFLATION * member.compress_size
    if inflated and member.file_size > INFLATION_IS_HARMLESS_BYTES:
        return 4
    return 0


def _overlapping(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> NDArray[np.bool_]:
    """Which members run into the next one or the directory, as in bombs that share one kernel."""
    starts = np.sort(np.array([member.header_offset for member in archive.filelist], np.int64))
    limits = np.append(starts[1:], archive.start_dir)
    own = np.array([member.header_offset for member in members], np.int64)
    least = np.array([member.compress_size + len(member.orig_filename) for member in members], np.int64)
    ends = own + _LOCAL_HEADER.size + least
    return np.asarray(ends > limits[np.searchsorted(starts, own)], bool)


def _inflate(packed: bytes, size: int) -> bytes:
    """At most one byte more than declared, so that a lying header costs nothing."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    data = unpacker.decompress(packed, size + 1)
    if not unpacker.eof and len(data) <= size:
        raise zipfile.BadZipFile("the packed data break off")
    return data
