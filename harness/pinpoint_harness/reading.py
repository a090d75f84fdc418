"""The boundary around files that others wrote: whatever reading one raises is an error that names it.

A file may hold anything, and what a library raises over it differs from kind to kind and release to
release: IndexError, KeyError, struct.error, OverflowError, RecursionError. Each function by which a
file enters is declared with `reads`, and what is below it need not foresee them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from .errors import DataError, HarnessError, UnfinishedError

Reader = TypeVar("Reader", bound=Callable[..., Any])

_LONGEST = 400

_MOUNTS = Path("/proc/self/mountinfo")
_KERNEL = frozenset(
    ["proc", "sysfs", "debugfs", "tracefs", "securityfs", "configfs", "cgroup", "cgroup2", "bpf", "pstore"]
)
"""File systems without a disk, whose files look regular and empty, and may never end when they are read."""


@contextmanager
def reading(
    path: str | Path, kind: type[HarnessError] = DataError, *, what: str = "", fix: str | None = None
) -> Iterator[None]:
    """An error of `kind` that names the file for all that is raised within; what names itself passes.

    Pipes, devices and files of the kernel are refused before anything opens them, which might wait for
    ever. `what` says what the file is meant to be.
    """
    named = f"cannot read {what} '{path}'" if what else f"cannot read '{path}'"
    try:
        refuse_odd_file(path, kind)
        yield
    except (HarnessError, UnfinishedError, ImportError):
        raise
    except MemoryError as error:
        raise kind(named, found="it does not fit into memory", fix=fix) from error
    except Exception as error:
        raise kind(named, found=in_words(error), fix=fix) from error


def reads(
    kind: type[HarnessError] = DataError,
    *,
    of: Callable[[Any], str | Path] = lambda given: cast("str | Path", given),
    what: str = "",
    fix: str | None = None,
) -> Callable[[Reader], Reader]:
    """Declare a function that reads the file that its first argument names, or that `of` makes of it."""

    def decorate(function: Reader) -> Reader:
        @functools.wraps(function)
        def guarded(subject: Any, *arguments: Any, **options: Any) -> Any:
            with reading(of(subject), kind, what=what, fix=fix):
                return function(subject, *arguments, **options)

        return cast("Reader", guarded)

    return decorate


def refuse_odd_file(path: str | Path, kind: type[HarnessError] = DataError) -> None:
    """Refuse what is there and is neither a regular file nor a folder, or only looks so."""
    if odd := what_is_odd(path):
        raise kind(
            f"'{path}' cannot be read: it is neither a regular file nor a folder",
            found=odd,
            fix="write what it gives into a file, and give that",
        )


def what_is_odd(path: str | Path) -> str:
    """What is there that may wait for ever when it is opened or read; "" for files, folders and nothing."""
    place = Path(path)
    if not place.exists():
        return ""
    if not (place.is_file() or place.is_dir()):
        return "a pipe, a socket or a device"
    file_system = _file_system(place.stat().st_dev)
    return f"a part of the kernel ({file_system})" if file_system in _KERNEL else ""


def what_is_no_folder(path: Path) -> str:
    """What is there in place of a folder that can be written to; "" for such a folder.

    A link may lead to itself, or to a disk that is not mounted now.
    """
    if path.is_symlink() and not path.exists():
        return f"a link to '{path.readlink()}', which leads nowhere"
    return what_is_odd(path) or ("a file" if path.is_file() else "")


@functools.cache
def _file_system(device: int) -> str:
    """The kind of the file system of this number; "" where the system does not say."""
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = _MOUNTS.read_text(errors="replace").splitlines() if _MOUNTS.is_file() else []
    mounts = [line.partition(" - ") for line in lines if line.split()[2] == number]
    return mounts[0][2].split()[0] if mounts else ""


def in_words(error: BaseException) -> str:
    """The kind and the words of an error, in one line of bounded length."""
    words = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
