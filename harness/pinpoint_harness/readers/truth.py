"""Truth files: one declaration per benchmark, one reader for all.

A benchmark is a `TruthSpec`: which file names to look for, how its ids are spelled, what is known
to go wrong with it. `read_truth` finds the file, reads the columns it needs, and refuses whatever
would be scored wrongly in silence.
"""

from __future__ import annotations

import importlib.resources
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from ..errors import DataError, did_you_mean, name_list
from ..images import ImageStore, dataset_roots, holds_pictures
from ..reading import reading
from ..types import DataLocation, DatasetInfo
from .delimited import ALIASES, Table, pick_column
from .forms import open_form
from .frames import plain_columns, table_of_frame
from .ids import plain_ids
from .parquet_tables import content_sha256, parquet_files
from .place_columns import only_position
from .rival_pairs import refuse_rivals
from .table_form import TableForm
from .truth_columns import authors_of, canonical_ids, coordinates_of, read_roles, same_text, text_of

log = logging.getLogger(__name__)

ROLES = ("id", "latitude", "longitude", "author", "source", "image")
"""What a column can be chosen for; `image` is where the picture lies, if the id does not say."""

_REQUIRED = ("id", "latitude", "longitude")


@dataclass(frozen=True)
class Layout:
    """A shape of file that its content does not give away.

    Applies to files called `file_name`, or to tables that have all columns of `header`.
    `positions` number the columns of a file without header from 0. `image` makes the picture's
    path from a column: (column, regular expression, replacement). `read` replaces the reader.
    """

    file_name: str = ""
    header: frozenset[str] = frozenset()
    delimiter: str | None = None
    quoting: bool = True
    positions: Mapping[str, int] | None = None
    image: tuple[str, str, str] | None = None
    read: Callable[[Path], Table] | None = None


@dataclass(frozen=True)
class Refusal:
    """A file that is often taken for the truth and is not: how to tell, and what to say."""

    found: str
    fix: str
    recognises: Callable[[TableForm], bool] = lambda form: False
    rows: int | None = None


@dataclass(frozen=True)
class TruthSpec:
    """One benchmark.

    `files` are looked for by exact name in the folder given as data and in its `folders`, never
    deeper. `ids` says what the canonical id is: the Flickr digits, or the name as spelled.
    `extras` are columns to keep where they exist, None for all; a cell that says `hole` is a
    missing value there. `row_counts` explains counts other than the expected one. A `packaged`
    file (package, name) is the default. `images` are the places where the pictures may lie, as
    patterns within the folder of the data; where none of them exists they are looked for beside
    the truth file itself, unless millions of others would have to be listed there.
    `known_files` says of a truth file's sha256 which file it is. `preferred` is the one of `files` that is
    read where several lie side by side.
    """

    name: str
    info: DatasetInfo
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    ids: Literal["flickr", "verbatim"] = "flickr"
    author_names: tuple[str, ...] = ALIASES["author"]
    extras: tuple[str, ...] | None = ()
    hole: str = ""
    source: str = "photos"
    layouts: tuple[Layout, ...] = ()
    row_counts: Mapping[int, str] | None = None
    refusals: tuple[Refusal, ...] = ()
    packaged: tuple[str, str] | None = None
    images: tuple[str, ...] = ()
    images_beside_truth: bool = True
    known_files: Mapping[str, str] | None = None
    preferred: str = ""


@dataclass(frozen=True)
class Truth:
    """A truth as read: one row per photo, where it came from, and what to know about it.

    `frame` has the columns `id, image, latitude, longitude, author, source` and then the
    benchmark's own.
    """

    frame: pd.DataFrame
    path: Path
    sha256: str
    notes: tuple[str, ...]


class TableDataset:
    """A dataset whose truth is one table; subclasses declare `spec` and nothing else."""

    spec: ClassVar[TruthSpec]

    def __init__(self, location: DataLocation) -> None:
        self.location = location
        self.info = self.spec.info

    def read(self) -> Truth:
        """The truth with its path, hash and notes; `info` then names what intervals of this file are by."""
        found = read_truth(self.spec, self.location)
        declared = self.spec.info.cluster_column
        if (
            declared.lower() not in {"", *ALIASES["author"], *self.spec.author_names}
            and declared not in found.frame
        ):
            log.warning(
                "%s: no column '%s' to form clusters by: intervals are by author", found.path.name, declared
            )
            self.info = replace(self.spec.info, cluster_column="author")
        return found

    def truth(self) -> pd.DataFrame:
        return self.read().frame

    def images(self) -> ImageStore:
        """The pictures where the user said they are, else where this benchmark keeps them.

        A Parquet file that holds its own pictures is the place of those of its rows.
        """
        follow_links = self.location.follow_links
        if self.location.images:
            return ImageStore.open(self.location.images, follow_links=follow_links)
        with _locate(self.spec, self.location) as truth_file, reading(truth_file):
            if any(map(holds_pictures, parquet_files(truth_file)[:1])):
                columns = _choose_columns(self.spec, open_form(truth_file), Layout(), self.location.columns)
                return ImageStore.open([truth_file], name_column=columns.get("image", columns["id"]))
            given = self.location.path
            bases = dict.fromkeys(
                [given if given and given.is_dir() else truth_file.parent, truth_file.parent]
            )
        places = [place for base in bases for place in dataset_roots(base, self.spec.images)]
        if not places and truth_file.parent.name in self.spec.folders:
            # The table may lie in a folder of its own, beside the pictures.
            places = list(dataset_roots(truth_file.parent.parent, self.spec.images))
        if not places and self.spec.images_beside_truth:
            places = list(bases)
        if not places:
            raise DataError(
                f"the pictures of {self.spec.name} were not found",
                found=f"none of {', '.join(self.spec.images)} in {', '.join(map(repr, map(str, bases)))}",
                fix="name their folder or archive with --images",
            )
        return ImageStore.open(places, follow_links=follow_links)


def read_truth(spec: TruthSpec, location: DataLocation) -> Truth:
    """Find, read and check the truth of a benchmark; every note is logged as a warning.

    Raises DataError for a file that cannot be found or is not the one, for ids that are missing,
    repeated or damaged, and for coordinates that are missing, no numbers, out of range, or in
    exchanged columns.
    """
    with _locate(spec, location) as path, reading(path), ThreadPoolExecutor(1) as beside:
        sha256 = beside.submit(content_sha256, path)  # while the file is being read
        table, columns, layout = _read_columns(spec, path, location.columns)
        _refuse_row_count(spec, table)
        frame, notes = _build_frame(spec, table, columns, layout)
        if not {"latitude", "longitude"} <= location.columns.keys():
            taken = (columns["latitude"], columns["longitude"])
            refuse_rivals(table.form, taken, frame[["latitude", "longitude"]].to_numpy())
    notes = [
        *table.notes,
        *_mention_other_files(spec, path),
        *_mention_other_columns(table.form, columns, location.columns),
        *notes,
        *_explain_row_count(spec, len(frame)),
    ]
    for note in notes:
        log.warning("%s: %s", path.name, note)
    return Truth(frame, path, sha256.result(), tuple(notes))


def checked_truth(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns `id, image, latitude, longitude, author` of a table made in Python, held to the same rules.

    Ids of any type become text; `image`, where there is one, is another spelling of the photo's name.
    """
    lacking = [name for name in _REQUIRED if name not in frame]
    if lacking:
        problem = f"the truth table has no column for: {', '.join(lacking)}"
        fix = "rename its columns to id, latitude and longitude"
        raise DataError(problem, found=f"the columns {name_list(list(map(str, frame.columns)))}", fix=fix)
    if frame.empty:
        raise DataError("the truth table has no rows", fix="give the rows that are to be scored")
    names = [name for name in (*_REQUIRED, "image", "author") if name in frame]
    table = table_of_frame(frame[list(dict.fromkeys([*names, *plain_columns(frame)]))], "the truth table")
    spelled, spellings = plain_ids(text_of(table, "id"))
    ids = canonical_ids(table, spelled, flickr=False)
    coordinates, notes = coordinates_of(table, "latitude", "longitude", spelled, exchange="")
    refuse_rivals(table.form, ("latitude", "longitude"), coordinates, option=False)
    author, remarks = authors_of(table, "author" if "author" in names else None, spelled, flickr=False)
    for note in (*spellings, *notes, *remarks):
        log.warning("%s", note)
    image = text_of(table, "image") if "image" in names else spelled
    columns = {"id": ids, "image": image, "latitude": coordinates[:, 0], "longitude": coordinates[:, 1]}
    return pd.DataFrame({**columns, "author": author})


# Which file


def _locate(spec: TruthSpec, location: DataLocation) -> AbstractContextManager[Path]:
    if location.path is None and spec.packaged:
        package, name = spec.packaged
        return importlib.resources.as_file(importlib.resources.files(package) / name)
    if location.path is not None and location.path.is_file():
        return nullcontext(location.path)
    if location.path is not None and not location.path.exists():
        raise DataError(f"there is no file or folder '{location.path}'", fix=_how_to_get(spec))
    return nullcontext(_search(spec, _roots(spec, location.path)))


def _roots(spec: TruthSpec, given: Path | None) -> list[Path]:
    if given is not None:
        return [given]
    shared = os.environ.get("PINPOINT_DATA")
    return [Path(shared) / spec.name, Path(shared)] if shared and spec.files else []


def _search(spec: TruthSpec, roots: Sequence[Path]) -> Path:
    if not spec.files and roots and parquet_files(roots[0]):
        return roots[0]
    if not spec.files:
        given = f"the folder '{roots[0]}'" if roots else "nothing"
        raise DataError(f"dataset '{spec.name}' needs the path of a file", found=given, fix=_how_to_get(spec))
    folders = [root / folder for root in roots for folder in ("", *spec.folders)]
    for folder in folders:
        found = [folder / name for name in spec.files if (folder / name).is_file()]
        if spec.preferred and folder / spec.preferred in found:
            return folder / spec.preferred
        if len(found) > 1:
            raise DataError(
                f"'{folder}' holds {len(found)} truth files of {spec.name}",
                found=", ".join(path.name for path in found),
                fix="say which one: give the file instead of the folder",
            )
        if found:
            return found[0]
    found_nothing = "no path given, and PINPOINT_DATA is not set"
    if folders:
        looked_in = ", ".join(f"'{folder}'" for folder in folders)
        found_nothing = f"no {' or '.join(spec.files)} in {looked_in}"
    raise DataError(f"the truth of {spec.name} was not found", found=found_nothing, fix=_how_to_get(spec))


def _mention_other_files(spec: TruthSpec, path: Path) -> list[str]:
    """A note where another truth file of the set lies beside the preferred one."""
    others = [name for name in spec.files if name != path.name and (path.parent / name).is_file()]
    if path.name != spec.preferred or not others:
        return []
    return [f"{path.name} is read, and not {' or '.join(others)} beside it"]


def _how_to_get(spec: TruthSpec) -> str:
    if not spec.files:
        return "give the path of a table with ids and coordinates: --data PATH"
    return f"--data PATH names {' or '.join(spec.files)}, or its folder; published at {spec.info.source}"


# Which columns


def _read_columns(
    spec: TruthSpec, path: Path, chosen: Mapping[str, str]
) -> tuple[Table, dict[str, str], Layout]:
    """The table, the name of the column for each role, and the layout that applies."""
    by_name = next((layout for layout in spec.layouts if layout.file_name == path.name), Layout())
    if by_name.read:
        table = by_name.read(path)
        return table, _choose_columns(spec, table.form, by_name, chosen), by_name
    header = False if by_name.positions else None
    form = open_form(path, delimiter=by_name.delimiter, header=header, quoting=by_name.quoting)
    for refusal in spec.refusals:
        if refusal.recognises(form):
            raise DataError(f"'{path}' is not the truth of {spec.name}", found=refusal.found, fix=refusal.fix)
    names = frozenset(form.names)
    by_header = (layout for layout in spec.layouts if layout.header and layout.header <= names)
    layout = next(by_header, by_name)
    columns = _choose_columns(spec, form, layout, chosen)
    read = _columns_to_read(spec, form, columns, layout)
    return read_roles(form, read, columns, (layout.image or ())[:1]), columns, layout


def _columns_to_read(
    spec: TruthSpec, form: TableForm, columns: Mapping[str, str], layout: Layout
) -> list[str]:
    named = [name for name in form.names if name]
    declared = spec.info.cluster_column
    cluster = [declared] if _declares_clusters(spec) and declared in named else []
    extras = named if spec.extras is None else [name for name in spec.extras if name in named]
    return list(dict.fromkeys([*columns.values(), *(layout.image or ())[:1], *extras, *cluster]))


def _declares_clusters(spec: TruthSpec) -> bool:
    """Whether intervals are meant to be by a column that is not the photographer's."""
    return spec.info.cluster_column.lower() not in {"", *ALIASES["author"], *spec.author_names}


def _choose_columns(
    spec: TruthSpec, form: TableForm, layout: Layout, chosen: Mapping[str, str]
) -> dict[str, str]:
    columns = {role: _named_column(form, role, name) for role, name in chosen.items()}
    if layout.positions:
        numbered = {role: str(position) for role, position in layout.positions.items()}
        columns = {**{role: _named_column(form, role, name) for role, name in numbered.items()}, **columns}
    for role, aliases in {**ALIASES, "author": spec.author_names}.items():
        found = pick_column(form.names, aliases) if form.has_header else []
        if found:
            columns.setdefault(role, found[0])
    if not {"latitude", "longitude"} & columns.keys() and (position := only_position(form)):
        columns["latitude"], columns["longitude"] = position
    lacking = [role for role in _REQUIRED if role not in columns]
    if lacking:
        example = " ".join(f"--column {role}={'NAME' if form.has_header else 'NUMBER'}" for role in lacking)
        raise DataError(
            f"'{form.path}' has no column for: {', '.join(lacking)}",
            found=form.describe(),
            fix=f"choose the columns: {example}" + ("" if form.has_header else ", counted from 0"),
        )
    return columns


def _mention_other_columns(
    form: TableForm, columns: Mapping[str, str], chosen: Mapping[str, str]
) -> list[str]:
    """A note for each required column that another one could have been, unless the user chose it."""
    guessed = [role for role in _REQUIRED if form.has_header and role not in chosen]
    candidates = {role: pick_column(form.names, ALIASES[role]) for role in guessed}
    return [
        f"the {role} is taken from column '{columns[role]}', not from {' or '.join(others)}"
        for role, names in candidates.items()
        if (others := [f"'{name}'" for name in names if name != columns[role]])
    ]


def _named_column(form: TableForm, role: str, name: str) -> str:
    if role not in ROLES:
        fix = f"{did_you_mean(role, ROLES)} roles are: {', '.join(ROLES)}".lstrip()
        raise DataError(f"no column can be chosen for '{role}'", fix=fix)
    if name in form.names:
        return name
    folded = pick_column(form.names, [name])
    if len(folded) == 1:
        return folded[0]
    near = did_you_mean(name, form.names) or None
    raise DataError(f"'{form.path}' has no column '{name}' for {role}", found=form.describe(), fix=near)


# What the cells say


def _build_frame(
    spec: TruthSpec, table: Table, columns: Mapping[str, str], layout: Layout
) -> tuple[pd.DataFrame, list[str]]:
    spelled, spellings = plain_ids(text_of(table, columns["id"]))
    flickr = spec.ids == "flickr"
    ids = canonical_ids(table, spelled, flickr=flickr)
    coordinates, remarks = coordinates_of(table, columns["latitude"], columns["longitude"], spelled)
    author, notes = authors_of(table, columns.get("author"), spelled, flickr=flickr)
    series = {
        "id": ids,
        "image": _images(table, columns, layout, spelled),
        "latitude": pd.Series(coordinates[:, 0]),
        "longitude": pd.Series(coordinates[:, 1]),
        "author": author,
        "source": _sources(spec, table, columns),
    }
    used = {*columns.values(), *(layout.image or ())[:1]}
    for name in table.cells.column_names:
        if name not in used:
            # A table may call a column of its own `id` or `source` while another one is used.
            key = f"{name} (file)" if name in series else name
            cells = text_of(table, name)
            series[key] = cells.mask(cells.isin(["", spec.hole]))
    return pd.DataFrame(series, copy=False), [*spellings, *remarks, *notes]


def _images(
    table: Table, columns: Mapping[str, str], layout: Layout, spelled: pd.Series[str]
) -> pd.Series[str]:
    if "image" in columns:
        return text_of(table, columns["image"])
    if layout.image:
        name, pattern, replacement = layout.image
        return text_of(table, name).str.replace(pattern, replacement, regex=True)
    return spelled


def _sources(spec: TruthSpec, table: Table, columns: Mapping[str, str]) -> pd.Series[str]:
    if "source" in columns:
        return text_of(table, columns["source"]).replace("", spec.source)
    return same_text(spec.source, len(table))


# How many rows


def _refuse_row_count(spec: TruthSpec, table: Table) -> None:
    if len(table) == 0:
        raise DataError(f"'{table.form.path}' has no rows", found=table.form.describe())
    problem = f"'{table.form.path}' is not the truth of {spec.name}"
    for refusal in spec.refusals:
        if refusal.rows == len(table):
            raise DataError(problem, found=f"{len(table):,} rows: {refusal.found}", fix=refusal.fix)
    expected = spec.info.expected_rows or len(table)
    if len(table) > expected and len(table) not in (spec.row_counts or {}):
        fix = "give the published table, or evaluate your own with the dataset table"
        if spec.packaged:
            fix = f"say expected_rows={len(table)} in its declaration, if the table in the package is whole"
        found = f"{len(table):,} rows, more than the {expected:,} of the published set"
        raise DataError(problem, found=found, fix=fix)


def _explain_row_count(spec: TruthSpec, rows: int) -> list[str]:
    expected = spec.info.expected_rows
    if expected is None or rows == expected:
        return []
    cause = (spec.row_counts or {}).get(rows, "published results are over all of them")
    return [f"{rows:,} rows where {spec.name} has {expected:,}: {cause}"]
