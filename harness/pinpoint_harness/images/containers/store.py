"""Pictures opened in place: folders, zip files, tar files whole or split, never extracted.

A store is opened over the places where a data set's pictures may lie. It looks where a name
suggests first, into archives next, and lists folders only for names still missing; so a split of
a few thousand pictures does not cost a walk over five million files.

Whatever is odd in a container (links, names that climb out, bombs, damage) is left out, counted in
`ImageStore.skipped`, and never ends a run.
"""

from __future__ import annotations

import bisect
import errno
import logging
import os
import re
import shlex
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ... import photo_ids as ids
from ...errors import DataError
from ...reading import what_is_odd
from .common import (
    MAX_MEMBER_BYTES,
    MAX_MEMBERS,
    Choice,
    Container,
    Failure,
    NameColumn,
    Notes,
    Parts,
    Skipped,
    is_passing,
    pictures_only,
)
from .folder import LEADS_OUT, FolderContainer, Prober, Reach, is_inside, list_folder, probe
from .listed import listed_archives
from .parquet import BROKEN_PARQUET, ParquetContainer, ParquetRows, picture_columns
from .sightings import gone_since
from .tar import TarContainer, is_packed_tar, is_tar, packed_by, path_of, read_head, split_parts, unpack
from .zip import ZipContainer

log = logging.getLogger(__name__)

_UNREAD = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it, or make it a .tar",
    b"Rar!": "a RAR archive: unpack it, or make it a .tar",
    b"\x28\xb5\x2f\xfd": "packed by zstd: `zstd -d` makes it a plain .tar",
}
"""Archives that are not read, by how they begin."""

MAX_REASONS = 10
"""Reasons a run prints; there is one for each archive and cause."""

_NEITHER = "neither zip nor tar"
_PICTURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF....WEBP|II\*\0|MM\0\*|....ftyp", re.DOTALL)
"""How a file begins that is one picture."""


class ImageStore:
    """The pictures of one data set, found by name and read by position.

    `find` belongs to one thread; `read` and `remark` may be called from many. Use as a context
    manager, or call `close`: an unpacked `.tar.gz` lies in a temporary file until then.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        archives: Sequence[Path],
        *,
        follow_links: bool = False,
        choice: Choice = pictures_only,
        name_column: str = "",
    ) -> None:
        self._folders = {folder: Reach(folder, follow_links) for folder in folders}
        self._archives = archives
        self._choice = choice
        self._name_column = name_column
        self._rows = ParquetRows()
        self._containers: list[Container] = []
        self._starts: list[int] = [0]
        self._listed: list[int] = []
        self._opened: set[str] = set()
        self._notes = Notes()
        self._remarks = Notes()
        self._resources = ExitStack()

    @classmethod
    def open(
        cls,
        roots: Sequence[Path],
        *,
        follow_links: bool = False,
        choice: Choice = pictures_only,
        name_column: str = "",
    ) -> ImageStore:
        """A store over those of the given folders and archives that exist; DataError if none does.

        Nothing is read yet. A root may be a symbolic link; links inside it may not lead out of it,
        but for those of a Hugging Face cache, unless `follow_links`. `choice` says which files are
        wanted. `name_column` is the column of Parquet files by which rows are called.
        """
        present = list(dict.fromkeys(Path(root) for root in roots if Path(root).exists()))
        if not present:
            raise DataError(
                "no pictures to open",
                found="none of these exists: " + ", ".join(str(root) for root in roots),
                fix="name the folder or the archives that hold the pictures",
            )
        if odd := [(root, what) for root in present if (what := what_is_odd(root))]:
            raise DataError(
                f"'{odd[0][0]}' cannot hold pictures, it is neither a folder nor a regular file",
                found=odd[0][1],
                fix="give the folder or the archives that hold the pictures",
            )
        folders = [root for root in present if root.is_dir()]
        archives = [root for root in present if not root.is_dir()]
        for path in archives:
            if path.is_file() and _PICTURE.match(read_head(path)):
                raise DataError(
                    f"'{path}' is a single picture, not a folder or archive of them",
                    fix=f"give its folder: {shlex.quote(str(path.parent))}",
                )
        return cls(folders, archives, follow_links=follow_links, choice=choice, name_column=name_column)

    def find(self, images: pd.Series[str]) -> NDArray[np.int64]:
        """For each name the position to `read`, -1 where no container has it.

        The first of these that finds a name wins: a file at its expected place in a folder; the
        archives given; everything below the folders given, archives included. Names are compared
        by the rules of `photo_ids.match`; one that fits several pictures is a DataError. PassingTroubleError
        for a picture that was found before by the same command (`remembered_pictures`).
        """
        refs, probed = self._probe(images)
        for stage in (self._open_archives, self._list_folders):
            missing = np.flatnonzero(refs < 0)
            if not len(missing):
                break
            stage()
            names, available = self._listed_pictures()
            found = ids.match(images.iloc[missing], names)
            found = np.append(available, -1)[found]  # -1 stays -1
            refs[missing] = np.where(np.isin(found, refs) | self._are_among(found, probed), -1, found)
        roots = (*map(str, self._folders), *map(str, self._archives))
        if (gone := gone_since(roots, images, refs >= 0)) is not None:
            raise unreadable_now(gone, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        return refs

    def everything(self) -> pd.DataFrame:
        """All there is: `image`, the name within its folder or archive, and `ref`, its position to `read`.

        Opens every archive and lists every folder.
        """
        self._open_archives()
        self._list_folders()
        names, refs = self._listed_pictures()
        return pd.DataFrame({"image": names, "ref": refs})

    def read(self, ref: int, max_bytes: int = MAX_MEMBER_BYTES) -> bytes | Failure:
        """The bytes of the picture at a position from `find`; -1 is the failure `missing`.

        Only what its bytes say makes a picture a failure. PassingTroubleError where it cannot be read now: a
        folder that was renamed for a moment must not become a result.
        """
        if ref < 0:
            return Failure("missing")
        container, row = self._at(ref)
        try:
            return container.read(row, max_bytes)
        except (OSError, MemoryError) as error:
            raise unreadable_now(self.where(ref), error) from error

    def fingerprint(self, names: pd.Series[str], refs: NDArray[np.int64]) -> str:
        """What tells these pictures from others that go by the same ids, whatever their order.

        Nothing is read: a picture is the size and the time of change of its file, in a zip its size and
        checksum. From here on `read` refuses a picture that is not the one that went into it.
        """
        there = np.flatnonzero(refs >= 0)
        numbers = np.searchsorted(self._starts, refs[there], side="right") - 1
        stamps = np.zeros((len(there), 3), np.int64)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            container = self._containers[number]
            try:
                stamps[mine] = container.stamps(refs[there[mine]] - self._starts[number])
            except OSError as error:
                raise unreadable_now(container.label, error) from error
        return ids.rows_sha256(names.iloc[there], *stamps.T)

    def size(self, ref: int) -> int:
        """How many bytes the picture at a position has, told without reading it; -1 if unknown."""
        container, row = self._at(ref)
        return container.size(row)

    def where(self, ref: int) -> str:
        """Container and name of a picture, for messages."""
        container, row = self._at(ref)
        return f"{container.label}: {container.names[row].as_py()}"

    @property
    def skipped(self) -> list[Skipped]:
        """What the containers opened so far hold that was left out or refused, and why."""
        return list(self._notes)

    @property
    def remarks(self) -> list[Skipped]:
        """What is odd about pictures that were read all the same."""
        return list(self._remarks)

    def remark(self, ref: int, text: str) -> None:
        """Note something odd about the picture at a position; from any thread."""
        container, row = self._at(ref)
        self._remarks.add(container.label, text, container.names[row].as_py())

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> ImageStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _at(self, ref: int) -> tuple[Container, int]:
        ref = int(ref)  # from an array of numpy
        number = bisect.bisect_right(self._starts, ref) - 1
        return self._containers[number], ref - self._starts[number]

    def _add(self, container: Container) -> int:
        """The number of the added container; empty ones are added too, which costs nothing."""
        self._containers.append(container)
        self._starts.append(self._starts[-1] + len(container.names))
        return len(self._containers) - 1

    def _listed_pictures(self) -> tuple[pd.Series[str], NDArray[np.int64]]:
        """Names and positions of what archives and listings hold; probed pictures are not repeated."""
        chunks = [chunk for number in self._listed for chunk in self._containers[number].names.chunks]
        names: pd.Series[str] = pa.chunked_array(chunks, type=pa.large_string()).to_pandas()
        spans = [np.arange(self._starts[number], self._starts[number + 1]) for number in self._listed]
        return names, np.concatenate([np.empty(0, np.int64), *spans])

    def _are_among(self, refs: NDArray[np.int64], paths: set[str]) -> NDArray[np.bool_]:
        """Which of the positions (-1: none) are files at one of the paths."""
        among = np.zeros(len(refs), bool)
        for index in np.flatnonzero(refs >= 0) if paths else ():
            container, row = self._at(refs[index])
            among[index] = isinstance(container, FolderContainer) and container.path(row) in paths
        return among

    def _probe(self, images: pd.Series[str]) -> tuple[NDArray[np.int64], set[str]]:
        """The pictures at their expected places, and the paths they take."""
        refs = np.full(len(images), -1, np.int64)
        probed: set[str] = set()
        found = probe([Prober(reach) for reach in self._folders.values()], images.tolist())
        for number, (folder, reach) in enumerate(self._folders.items()):
            mine = {position: name for position, (owner, name) in found.items() if owner == number}
            names = NameColumn()
            for name in mine.values():
                names.append(name)
            container = FolderContainer(reach, names.finish(), str(folder))
            added = self._add(container)
            refs[list(mine)] = np.arange(self._starts[added], self._starts[added + 1])
            probed.update(map(container.path, range(len(mine))))
        return refs, probed

    def _open_archives(self) -> None:
        for path in self._archives:
            self._open_archive(split_parts(path), path.name, is_given=True)

    def _list_folders(self) -> None:
        real = {reach.root: (folder, reach) for folder, reach in self._folders.items()}
        for root, (folder, reach) in real.items():
            if root in self._opened or any(is_inside(root, other) for other in real if other != root):
                continue
            self._opened.add(root)
            listing = list_folder(reach, self._notes, str(folder), self._choice)
            self._listed.append(self._add(FolderContainer(reach, listing.names.finish(), str(folder))))
            for parts in listing.archives:
                real_parts = [Path(reach.resolve(str(part))) for part in parts]
                self._open_archive(real_parts, str(parts[0].relative_to(root)))

    def _open_archive(self, paths: list[Path], label: str, is_given: bool = False) -> None:
        """Index one archive, known by its content and not by its name, unless it is open already."""
        real = [os.path.realpath(path) for path in paths]
        if real[0] in self._opened:
            return
        self._opened.update(real)
        if self._starts[-1] > MAX_MEMBERS:
            self._notes.add(label, f"not opened, {MAX_MEMBERS} pictures are indexed already")
            return
        try:
            container = self._container(paths, label)
        except BROKEN_PARQUET as error:
            if is_passing(error):
                raise unreadable_now(label, error) from error
            self._notes.add(label, f"archive cannot be read: {error}")
            return
        if container is not None:
            self._listed.append(self._add(container))
        elif is_given:
            self._notes.add(label, "a table without a column of pictures")

    def _container(self, paths: list[Path], label: str) -> Container | None:
        """The container at a path, None for a table that holds no pictures."""
        first, head = paths[0], read_head(paths[0])
        if is_tar(head):
            return self._listed_archive(
                paths, label, lambda real, notes: TarContainer(Parts(real), notes, label, self._choice)
            )
        packing = packed_by(first)
        if packing and is_packed_tar(first, packing):
            unpacked = self._resources.enter_context(unpack(first, packing, self._notes, label))
            stamp = Parts([first]).stamp
            return TarContainer(Parts([path_of(unpacked)]), self._notes, label, self._choice, stamp)
        if head.startswith(b"PAR1"):
            columns = picture_columns(first, self._name_column)
            if columns is None:
                return None
            return ParquetContainer(first, columns, self._rows, self._notes, label, self._choice)
        if zipfile.is_zipfile(first) or head.startswith(b"PK"):
            return self._listed_archive(
                paths[:1], label, lambda real, notes: ZipContainer(real[0], notes, label, self._choice)
            )
        raise ValueError(next((what for mark, what in _UNREAD.items() if head.startswith(mark)), _NEITHER))

    def _listed_archive(
        self, paths: list[Path], label: str, make: Callable[[list[Path], Notes], Container]
    ) -> Container:
        return listed_archives.container(paths, (label, self._choice), self._notes, make)


class PassingTroubleError(DataError):
    """Pictures that were there, and cannot be read for a reason that may pass: never a result."""


def unreadable_now(name: str, error: OSError | MemoryError) -> PassingTroubleError:
    """The refusal of pictures by name, and what the system says."""
    return PassingTroubleError(
        f"pictures cannot be read any more: {name}",
        found=getattr(error, "strerror", None) or str(error) or type(error).__name__,
        fix="see to it and give the same command again; what a command has finished is kept. What is away "
        "when a command starts counts as missing",
    )


def find_any(store: ImageStore, images: pd.Series[str], whose: str) -> NDArray[np.int64]:
    """`store.find`, with a warning for each reason for which containers left something out.

    Raises DataError where not one of the photos is there; `whose` completes "none of the 5 photos".
    """
    refs = store.find(images)
    reasons = [str(left_out) for left_out in store.skipped]
    shown = reasons[:MAX_REASONS]
    if len(shown) < len(reasons):
        shown.append(f"{len(reasons) - len(shown)} more; `pinpoint datasets verify` names all")
    if (refs >= 0).any():
        for reason in shown:
            log.warning("left out: %s", reason)
        return refs
    fix = "give the folder or archive that holds them with --images"
    if any(LEADS_OUT in reason for reason in reasons):
        fix = "add --follow-links, or give the folder that the links lead to with --images"
    looked_for = f"the first one looked for is '{images.iloc[0]}'"
    raise DataError(
        f"none of the {len(images)} photos{whose} was found",
        found="; left out: ".join([looked_for, *shown]),
        fix=fix,
    )


def dataset_roots(base: Path, patterns: Sequence[str]) -> list[Path]:
    """The existing places a data set's pictures may lie: `images/test/*.zip`, `images/test`, ...

    Patterns are relative to `base`; places come in the order of the patterns, each once.
    """
    for pattern in patterns:
        if Path(pattern).is_absolute():
            raise DataError(f"the place of pictures '{pattern}' is absolute", fix=f"give it below '{base}'")
    places = [place for pattern in patterns for place in sorted(base.glob(pattern))]
    return list(dict.fromkeys(places))
