"""Artifacts on disk as things to be removed: recognised by what they hold, never by where they lie alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArtifactError
from .artifact import spec_key
from .files import read_json
from .finished import holds_content
from .integrity import KEY, KEY_LENGTH
from .session_log import is_log_of

DEEPEST = 4
"""Levels below a root at which artifacts lie at most: stores/<dataset>/pixels/perceptual-hash/<key>."""

_DOOMED = ".removed"
_FOLDER = re.compile(rf"{KEY.pattern}({re.escape(_DOOMED)})?")
_MARKERS = ("manifest.json", "started.json")
_RECORDS = {"run.json": "run", "store.json": "features"}
"""What else says whose folder it is, where the manifest is lost or damaged: it holds the spec."""


@dataclass(frozen=True)
class Removable:
    """An artifact's folder, or a file that stands for itself."""

    path: Path
    kind: str
    state: str
    """`finished`, `unfinished` or `in use` by a running process."""
    bytes: int


def find_artifacts(root: Path, depth: int = DEEPEST) -> Iterator[Removable]:
    """Every artifact below a folder, finished or not, ordered by path; links are not followed."""
    if depth == 0 or not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if path.is_symlink() or not path.is_dir():
            continue
        if (found := recognise(path)) is not None:
            yield found
        else:
            yield from find_artifacts(path, depth - 1)


def recognise(folder: Path) -> Removable | None:
    """An artifact's folder; None for any other, such as one whose manifest tells of another key."""
    if folder.is_symlink() or not folder.is_dir() or not _FOLDER.fullmatch(folder.name):
        return None
    marker = next((path for name in _MARKERS if (path := folder / name).exists()), None)
    kind, key = _identity(folder, marker)
    is_begun = marker is None and (folder.name.endswith(_DOOMED) or not holds_content(folder))
    if key[:KEY_LENGTH] != folder.name[:KEY_LENGTH] and not is_begun:
        return None
    finished = marker is not None and marker.name == "manifest.json"
    state = "in use" if _is_locked(folder) else "finished" if finished else "unfinished"
    return Removable(folder, kind, state, size_of(folder)[0])


def _identity(folder: Path, marker: Path | None) -> tuple[str, str]:
    """The kind and the key of an artifact: by its marker, or its record or log where that cannot be read."""
    with contextlib.suppress(ArtifactError):
        if marker is not None:
            identity = read_json(marker)
            return str(identity.get("kind")), str(identity.get("key"))
    for name, kind in _RECORDS.items():
        with contextlib.suppress(ArtifactError):
            return kind, spec_key(kind, read_json(folder / name).get("recipe", {}))
    key = folder.name[:KEY_LENGTH]
    return "unknown", key if is_log_of(folder, key) else ""


def remove(item: Removable, root: Path) -> None:
    """Remove an artifact or a file, and the folders between it and `root` that are empty then.

    ArtifactError where a running process is at work in it. A kill leaves a whole artifact, or one that is
    recognised as unfinished and removed the next time.
    """
    try:
        if item.path.is_dir():
            with _locked(item.path):
                _remove_folder(item.path)
        else:
            item.path.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"'{item.path}' cannot be removed", found=str(error.strerror or error)) from error
    for parent in item.path.absolute().parents:
        if not parent.is_relative_to(root.absolute()):
            break
        with contextlib.suppress(OSError):  # not empty
            parent.rmdir()


def _remove_folder(folder: Path) -> None:
    """The manifest goes first, so that nothing half removed is taken for complete."""
    doomed = folder.with_name(folder.name.removesuffix(_DOOMED) + _DOOMED)
    if doomed != folder:
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
    (doomed / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(doomed)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else at work in the folder; ArtifactError if somebody is."""
    lock = folder / ".lock"
    if not lock.exists():
        yield
        return
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(
                f"'{folder}' is in use by a running process", fix="wait until it has ended, or stop it"
            ) from error
        yield


def _is_locked(folder: Path) -> bool:
    try:
        with _locked(folder):
            return False
    except ArtifactError:
        return True
    except OSError:  # whoever removes it will be told
        return False


def size_of(path: Path, most_files: int | None = None) -> tuple[int, bool]:
    """Bytes of a file or of all files below a folder, and whether that is all of them.

    Links count as themselves. Of a large folder at most `most_files` are looked at.
    """
    if not path.is_dir():
        return (path.lstat().st_size if path.exists() else 0), True
    total = 0
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for number, file in enumerate(files):
        if number == most_files:
            return total, False
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total, True


def readable(size: int) -> str:
    """`1.53MB` for bytes, in powers of 1,000."""
    from tqdm import tqdm

    return tqdm.format_sizeof(size, "B", 1000)
