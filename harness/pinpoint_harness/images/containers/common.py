"""What every kind of container shares: limits, names that can be trusted, failures, bounded reads."""

from __future__ import annotations

import bisect
import errno
import hashlib
import itertools
import lzma
import os
import re
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAX_MEMBER_BYTES = 256 * 2**20
"""The largest picture read, packed or unpacked; benchmark photos stay below 10 MiB."""

MAX_MEMBERS = 20_000_000
"""Names one store indexes, four times the largest benchmark; the rest is left out and noted."""

MAX_INFLATION = 200
"""Unpacked over packed size. Photos gain nothing from packing; a bomb unpacks a thousandfold."""

INFLATION_IS_HARMLESS_BYTES = 2**20
"""Below this size any ratio passes: an almost empty drawing may well pack 300 to 1."""

MAX_UNPACKED_BYTES = 8 * 2**30
"""How much of a packed tar is unpacked: it cannot be read in the middle, so it lies on disk meanwhile."""

BROKEN_ARCHIVE = (
    OSError,  # among them gzip.BadGzipFile
    EOFError,
    ValueError,  # among them UnicodeDecodeError
    OverflowError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile, tarfile and gzip raise over files that are not what they claim to be."""


def is_passing(error: BaseException) -> TypeGuard[OSError | MemoryError]:
    """Whether an error is the machine's of this moment rather than what the bytes of a file say.

    The system gives its errors a number; those that readers of formats raise have none.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


_REASON_LENGTH = 160
_UNSAFE = re.compile(r"^$|^/|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)|[\x00-\x1f\x7f\ud800-\udfff]")
_SIDECAR = re.compile(
    r"(?:^|/)(?:__MACOSX/|\._|\.DS_Store$|Thumbs\.db$)"
    r"|\.(?:json|txt|cls|csv|tsv|parquet|npy|npz|pkl|msg|xml|html?|md|md5|sha256|log|lock|py|xmp|aae|pp3|dop|ini|db)$",
    re.IGNORECASE,
)
_FILM = re.compile(r"\.(?:mp4|mov|m4v|avi|3gp|3g2|mkv|webm|mts|m2ts|mpe?g|wmv|flv|insv|lrv)$", re.IGNORECASE)
_POSITION_FILE = re.compile(r"(?:^|/)(?!\._)[^/]+\.(?:xmp|json)$", re.IGNORECASE)

Choice = Callable[[str], str | None]
"""What to do with a member's name: None to index it, else to pass over it, counted under a reason or, for
an empty one, silently."""
_OBJECT_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>|\b0x[0-9a-fA-F]{6,}\b")


@dataclass(frozen=True)
class Failure:
    """A photo that cannot be shown to a method: a value, counted as a miss, never an exception."""

    kind: Literal["missing", "unreadable"]
    reason: str = ""

    def __post_init__(self) -> None:
        # Reasons quote hostile files and enter result files: one line, bounded, without addresses.
        text = _OBJECT_ADDRESS.sub("...", self.reason)
        text = "".join(sign if sign.isprintable() else " " for sign in text)
        object.__setattr__(self, "reason", " ".join(text.split())[:_REASON_LENGTH])

    @property
    def status(self) -> str:
        """As written into predictions: `missing`, or `unreadable: why`."""
        if self.kind == "missing" or not self.reason:
            return self.kind
        return f"{self.kind}: {self.reason}"


@dataclass
class Skipped:
    """Members of one container left out or refused for one reason; `first` is an example."""

    container: str
    reason: str
    count: int
    first: str

    def __str__(self) -> str:
        example = f" (first: {self.first})" if self.first else ""
        return f"{self.container}: {self.reason}: {self.count}{example}"


class Notes:
    """Counts what is left out, by container and reason, so that a bomb cannot fill the memory."""

    def __init__(self) -> None:
        self._by_cause: dict[tuple[str, str], Skipped] = {}
        self._lock = threading.Lock()

    def add(self, container: str, reason: str, member: str = "", count: int = 1) -> None:
        """Count one more, or `count`; from any thread."""
        shown = member.encode("utf-8", "backslashreplace").decode()[:_REASON_LENGTH]
        with self._lock:
            known = self._by_cause.setdefault((container, reason), Skipped(container, reason, 0, shown))
            known.count += count

    def take(self, others: Notes) -> None:
        """Count what was noted elsewhere as well."""
        for one in others:
            self.add(one.container, one.reason, one.first, one.count)

    def __iter__(self) -> Iterator[Skipped]:
        return iter(self._by_cause.values())


class Container(Protocol):
    """Pictures by row: their names within the container, and their bytes."""

    label: str
    names: pa.ChunkedArray

    def read(self, row: int, max_bytes: int) -> bytes | Failure:
        """The bytes of one picture, from any thread; an error that `is_passing` is raised."""
        ...

    def size(self, row: int) -> int:
        """How many bytes `read` gives, told without reading them; -1 where that cannot be told."""
        ...

    def stamps(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """What tells the pictures from others of their names, told without reading them, `(n, 3)`.

        `read` refuses with an OSError what no longer bears its stamp.
        """
        ...


def unsafe_because(name: str) -> str:
    """Why a member's name is not to be trusted, or nothing. A trusted name is a relative path.

    A backslash counts as `/`, as programs for Windows mean it and as names are compared.
    """
    name = name.replace("\\", "/")
    if not _UNSAFE.search(name):
        return ""
    if not name:
        return "name is empty"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "name is an absolute path"
    if ".." in name.split("/"):
        return "name climbs out with '..'"
    if re.search(r"[\ud800-\udfff]", name):
        return "name is not valid UTF-8"
    return "name has a control character"


def is_sidecar(name: str) -> bool:
    """Whether a member lies beside pictures without being one: labels, checksums, a Mac's `._` files."""
    return _SIDECAR.search(name) is not None


def pictures_only(name: str) -> str | None:
    """The choice of whoever wants pictures: sidecars are passed over, films are counted."""
    if is_sidecar(name):
        return ""
    return "a film, not a photo" if _FILM.search(name) else None


def position_files_only(name: str) -> str | None:
    """The choice of whoever wants what may say where a photo was taken: `.xmp` files and Takeout's JSON."""
    return None if _POSITION_FILE.search(name) else ""


def last_of_each(names: pa.ChunkedArray) -> NDArray[np.int64]:
    """The rows, in order, of which no later one has the same name: an archive's later member replaces."""
    codes = np.concatenate(
        [np.empty(0, np.int64)]
        + [chunk.indices.to_numpy() for chunk in pc.dictionary_encode(names).unify_dictionaries().chunks]
    ).astype(np.int64)
    last = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    last[codes] = np.arange(len(codes))
    return np.sort(last)


def tidy(name: str) -> str:
    """The name with `/` between its steps, without the `./` which `tar cf x.tar .` puts in front."""
    name = name.replace("\\", "/")
    if not name.startswith(".") and "//" not in name and "/./" not in name:
        return name
    return "/".join(step for step in name.split("/") if step not in ("", "."))


class NameColumn:
    """Names gathered one by one and kept as Arrow text: 5 million weigh 150 MB, not 500."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []
        self._recent: list[str] = []
        self._length = 0

    def append(self, name: str) -> None:
        self._recent.append(name)
        self._length += 1
        if len(self._recent) == 65_536:
            self._flush()

    def __len__(self) -> int:
        return self._length

    def finish(self) -> pa.ChunkedArray:
        self._flush()
        return pa.chunked_array(self._chunks, type=pa.large_string())

    def _flush(self) -> None:
        self._chunks.append(pa.array(self._recent, type=pa.large_string()))
        self._recent = []


def stamp_of(states: Sequence[tuple[int, int]]) -> int:
    """One number of 8 bytes for the sizes and times of change of some files."""
    digest = hashlib.blake2b(repr(list(states)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def changed(path: Path) -> OSError:
    """The refusal of a file that is no longer the one that was looked at."""
    return OSError(errno.ESTALE, "it has changed since the pictures were looked for", str(path))


class Parts:
    """Files that lie end to end and make one; most archives have a single part.

    Files are opened for each read and closed after it: a data set of 5,000 shards would exhaust
    the open files a process may have, and opening costs a hundredth of decoding a picture.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        states = [path.stat() for path in self.paths]
        self._stamps = [(state.st_size, state.st_mtime_ns) for state in states]
        # Another file in its place may be as large and as old.
        self._files = [(state.st_dev, state.st_ino) for state in states]
        self.starts = [0, *itertools.accumulate(state.st_size for state in states)]
        self.size = self.starts[-1]

    def open(self, longest_read: int) -> JoinedFile:
        return JoinedFile(self, longest_read)

    def open_part(self, number: int) -> IO[bytes]:
        """One part; OSError if it is no longer the file that was indexed."""
        # Not blocking: a pipe that took the place of the file must not hang the run.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        part = os.fdopen(os.open(self.paths[number], flags), "rb", buffering=0)
        state = os.fstat(part.fileno())
        found = (state.st_size, state.st_mtime_ns), (state.st_dev, state.st_ino)
        if found != (self._stamps[number], self._files[number]):
            part.close()
            raise changed(self.paths[number])
        return part

    @property
    def stamp(self) -> int:
        """One number for the sizes and times of change of all parts."""
        return stamp_of(self._stamps)

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, or EOFError."""
        with closing(self.open(longest_read=size)) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) < size:
            raise EOFError(f"the archive breaks off: {len(data)} of {size} bytes are there")
        return data


class JoinedFile:
    """Several parts read as one seekable file, one of them open at a time.

    A read of more than `longest_read` bytes is a ValueError: zipfile and tarfile ask for as much
    as a header declares, and a header may lie.
    """

    def __init__(self, parts: Parts, longest_read: int) -> None:
        self._parts = parts
        self._longest_read = longest_read
        self._position = 0
        self._number = -1
        self._part: IO[bytes] | None = None

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._parts.size}[whence]
        if base + offset < 0:
            raise OSError(f"a header points to byte {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._parts.size - self._position, 0)
        wanted = left if size in (-1, None) else int(size or 0)
        if not 0 <= wanted <= self._longest_read:
            raise ValueError(f"a header declares {wanted} bytes of names and sizes")
        pieces = []
        wanted = min(wanted, left)
        while wanted:
            piece = self._read_from_one_part(wanted)
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def _read_from_one_part(self, wanted: int) -> bytes:
        number = bisect.bisect_right(self._parts.starts, self._position) - 1
        if self._part is None or number != self._number:
            self.close()
            self._part, self._number = self._parts.open_part(number), number
        self._part.seek(self._position - self._parts.starts[number])
        piece: Any = self._part.read(min(wanted, self._parts.starts[number + 1] - self._position))
        self._position += len(piece)
        return bytes(piece)
