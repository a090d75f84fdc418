"""A folder of files for the user, such as a site: in place whole or not at all, with a list of what is ours.

Only files that the list names are ever replaced or removed; a folder that holds others is refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ..errors import ArtifactError, UsageError, name_list
from .files import canonical_json, file_sha256, flush_folder, read_json, temporary_name, write_atomic

_SHOWN = 5
"""Names in a message."""


def list_name(kind: str) -> str:
    """The file in which a folder of a kind lists its files."""
    return f"pinpoint-{kind}.json"


def listed_files(folder: Path, kind: str) -> list[Path]:
    """Files of a folder that its list names, the list last; none where it is no folder of this kind."""
    listed = _listed(folder, kind)
    if listed is None:
        return []
    own = [folder / name for name in _names(folder) if name in listed and not (folder / name).is_symlink()]
    return [*own, folder / list_name(kind)]


@contextmanager
def new_folder(path: Path, kind: str, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write files into, which is called `path` once the block has ended.

    A folder of the same files is left as it is. UsageError, before the block is entered, where `path` holds
    anything that is not of this kind, and after it where it holds other files and may not be overwritten;
    ArtifactError where nothing can be written. Whatever fails, the folder that was there stays.
    """
    path = path.resolve()
    _refuse_foreign(path, kind)
    staging = path.with_name(f".{temporary_name(path.name)}")
    try:
        with _as_artifact_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            staging.mkdir()  # and not by `tempfile`, whose folders no web server may read
        yield staging
        files = {name: file_sha256(staging / name) for name in _names(staging)}
        write_atomic(staging / list_name(kind), canonical_json({"kind": kind, "files": files}))
        with _as_artifact_error(path):
            _put_in_place(staging, path, kind, overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, path: Path, kind: str, overwrite: bool) -> None:
    _refuse_foreign(path, kind)
    if path.exists() and _contents(path) == _contents(staging):
        return
    if listed_files(path, kind) and not overwrite:
        raise UsageError(
            f"'{path}' holds a {kind} already, and not the one that would be written",
            fix="choose another folder, or add --overwrite",
        )
    aside = path.with_name(f".{temporary_name(path.name)}")
    was_there = path.exists()
    if was_there:
        staging.chmod(path.stat().st_mode & 0o7777)
        path.rename(aside)
    try:
        staging.rename(path)
    except OSError:
        if was_there:
            aside.rename(path)
        raise
    flush_folder(path.parent)
    if was_there:
        _remove_own(aside, kind)


def _refuse_foreign(path: Path, kind: str) -> None:
    """UsageError for a file, and for a folder in which a file is not listed as one of this kind."""
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise UsageError(f"'{path}' is not a folder", fix="choose another name")
    own = {str(file.relative_to(path)) for file in listed_files(path, kind)}
    foreign = list(islice((name for name in _names(path) if name not in own), _SHOWN + 1))
    if foreign:
        more = " and more" * (len(foreign) > _SHOWN)
        raise UsageError(
            f"'{path}' holds files that are no part of a {kind}, which are never replaced",
            found=name_list(foreign[:_SHOWN]) + more,
            fix="choose another folder, or move them",
        )


def _listed(folder: Path, kind: str) -> Mapping[str, str] | None:
    """Names and checksums of a folder's list; None where there is no list of this kind."""
    file = folder / list_name(kind)
    if not file.is_file() or file.is_symlink():
        return None
    try:
        stored = read_json(file)
    except ArtifactError:
        return None
    files = stored.get("files")
    return files if stored.get("kind") == kind and isinstance(files, dict) else None


def _names(folder: Path) -> Iterator[str]:
    """Everything below a folder but folders, by its path in it, in order; links are not followed."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        yield from (str((here / name).relative_to(folder)) for name in sorted([*files, *links]))


def _contents(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in _names(folder)}


def _remove_own(folder: Path, kind: str) -> None:
    """Remove a folder that was replaced, but for files that came into it meanwhile."""
    for file in listed_files(folder, kind):
        file.unlink()
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(place).rmdir()
    if folder.exists():
        raise ArtifactError(
            f"files that are no part of the {kind} came into it while it was replaced",
            found=name_list(list(_names(folder)), most=_SHOWN),
            fix=f"they are kept in '{folder}': move them",
        )


@contextmanager
def _as_artifact_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"cannot write the folder '{path}'",
            found=str(error.strerror or error),
            fix="choose a folder beside which you may write; what was there is kept",
        ) from error
