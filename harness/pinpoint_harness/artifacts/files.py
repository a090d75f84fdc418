"""Files of ours: put in place whole or not at all, by processes that know nothing of each other."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import ArtifactError, UsageError
from ..reading import reads, refuse_odd_file

Content = bytes | Callable[[BinaryIO], None]
"""What a file is to hold: its bytes or, where they would not fit in memory, what writes them."""

_CHUNK_BYTES = 1 << 20
_HOST_LENGTH = 16
_LONGEST_NAME_BYTES = 160
"""Of the 255 that file systems allow; the rest tells writers apart."""


def canonical_json(value: object, *, sort_keys: bool = True) -> bytes:
    """The same bytes for equal values: sorted keys unless their order means something, no NaN."""
    text = json.dumps(value, sort_keys=sort_keys, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def file_sha256(path: Path) -> str:
    refuse_odd_file(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


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


def temporary_name(name: str) -> str:
    """Where a file is written before it gets its name: nobody else writes there.

    Processes of several machines or containers may share a folder and have one number.
    """
    host = "".join(sign for sign in socket.gethostname() if sign.isalnum())[:_HOST_LENGTH]
    kept = name.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore")
    return f"{kept}.{host}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def write_atomic(path: Path, data: Content) -> dict[str, Any]:
    """Put a whole file in place or none; on failure nothing half-written is left behind.

    Returns the `sha256` and the size in `bytes` of what was written.
    """
    temporary = path.with_name(temporary_name(path.name))
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
        flush_folder(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return measured.summary()


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


def write_first(path: Path, data: bytes) -> None:
    """Put a whole file in place unless there is one: of several processes the first writes it."""
    written = path.with_name(temporary_name(path.name))
    write_atomic(written, data)
    try:
        os.link(written, path)
    except FileExistsError:
        return  # another process was first, and its file stays
    except OSError:  # a file system without links, on which the last one writes it
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


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
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> ArtifactError:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    room = "free disk space or inodes" if is_full else "see to it"
    return ArtifactError(
        f"cannot write '{path}'",
        found=error.strerror or str(error),
        fix=f"{room}, or choose another place; what was finished before is kept",
    )


def check_writable(folder: Path) -> None:
    """Refuse before any work is done if results could not be saved."""
    probe = folder / temporary_name(".probe")
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


@reads(ArtifactError)
def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of ours; damage is an error that names the file."""
    value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        raise ArtifactError(f"cannot read '{path}'", found=f"{type(value).__name__} instead of an object")
    return value


def flush_folder(folder: Path) -> None:
    """Make a rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
