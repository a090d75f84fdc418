"""Answers made elsewhere, in any of the shapes people hold them in.

Which columns hold them is found by `readers.answer_columns`, what a cell says by `readers.cells`, and
whether all of them together can be what they seem by `readers.conventions`. A file that is not
understood is refused: nothing of it is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, UsageError, name_list
from ..photo_ids import match
from ..reading import reads
from ..types import Predictions
from .answer_columns import MOST_CHOICES, Header, Source
from .answer_values import Options, Order, Units, confidence_of, exchanged_columns, judge, order_tells
from .beside_truth import better_convention, share_at_truth
from .conventions import FEWEST, NEARLY_ALL
from .delimited import ALIASES, read_table
from .forms import open_form
from .frames import table_of_frame
from .ids import lost_digits, lost_zeros, plain_ids
from .json_rows import first_few, is_json
from .json_tables import json_cells
from .sign_columns import sign_columns

if TYPE_CHECKING:
    from ..types import Floats

SUMMARIES = (("street acc", 2),)
"""Start of the first cell and number of rows of a summary at the end: GeoEstimation (TensorFlow)."""

_SAMPLE_ROWS = 50


@dataclass(frozen=True)
class Answers:
    """One answer per id, in the file's order.

    `coordinates` are degrees, `(n, 2)`, NaN wherever the status is not `ok`; `notes` say what was
    read and every row that was left out. `columns` are those the answers were read from, `unexplained`
    others of which nothing is known, `other_places` those of them that hold places; `named` says
    whether the user chose the columns, `allow_truth` that answers equal to the truth are meant, `order_tells`
    whether the option `order` changes anything.
    """

    ids: pd.Series[str]
    coordinates: Floats
    status: list[str]
    confidence: Floats | None
    notes: tuple[str, ...]
    source: Source = field(default_factory=lambda: Source("the answers"))
    columns: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    other_places: tuple[str, ...] = ()
    named: bool = False
    allow_truth: bool = False
    order_tells: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    def of_photos(self, photos: pd.DataFrame) -> Predictions:
        """The answer to each photo, joined by id and never by position, after a look at the truth.

        `photos` has the columns `id`, `image`, `latitude` and `longitude`. UsageError where the answers
        are the truth itself, unless that is allowed, or where they fit the truth far better in another
        convention.
        """
        rows = self._rows_of(photos)
        known = rows >= 0
        coordinates = np.where(known[:, None], self.coordinates[rows], np.nan)
        self._compare_with_truth(photos[["latitude", "longitude"]].to_numpy(dtype=np.float64), coordinates)
        unused = len(self) - int(known.sum())
        notes = [f"{unused:,} of {len(self):,} answers match no row of the truth"] if unused else []
        return Predictions(
            coordinates=coordinates,
            confidence=None if self.confidence is None else np.where(known, self.confidence[rows], np.nan),
            status=[self.status[row] if row >= 0 else "missing" for row in rows],
            notes=(*self.notes, *notes),
        )

    def _rows_of(self, photos: pd.DataFrame) -> NDArray[np.int64]:
        """Position of each photo's answer, -1 for none: by its spelling, then by its key."""
        rows = match(photos["image"], self.ids)
        rest = np.flatnonzero(rows < 0)
        rows[rest] = match(photos["id"].iloc[rest], self.ids)
        used = np.bincount(rows[rows >= 0], minlength=len(self.ids))
        if (rows < 0).any():
            for names in (photos["image"], photos["id"]):
                self._refuse_lost_zeros(self.ids[used == 0], names)
        if not used.any():
            raise DataError(
                f"no answer in {self.source.name} belongs to a photo of this dataset",
                found=f"ids like '{self.ids.iloc[0]}', the dataset's like '{photos['image'].iloc[0]}'",
                fix="check that the file is of this dataset, or name its column of ids: "
                + self.source.columns(id="NAME"),
            )
        if used.max() > 1:
            row = int(used.argmax())
            raise DataError(
                f"the answer '{self.ids.iloc[row]}' belongs to several photos",
                found=", ".join(photos["image"][rows == row]),
                fix="give each its own answer",
            )
        return rows

    def _refuse_lost_zeros(self, unused: pd.Series[str], photos: pd.Series[str]) -> None:
        short = unused[lost_zeros(unused, photos)]
        if len(short):
            raise DataError(
                f"{self.source.name}: {len(short):,} of {len(self):,} ids have lost the zeros before them",
                found=f"{first_few(short.tolist())}; the dataset's are like '{photos.iloc[0]}'",
                fix="write the file again with ids as text, such as dtype=str when pandas reads them",
            )

    def _compare_with_truth(self, truth: Floats, answers: Floats) -> None:
        share = share_at_truth(truth, answers)
        many = np.isfinite(answers).all(axis=1).sum() >= FEWEST
        doubtful = bool(self.other_places) or (bool(self.unexplained) and not self.named) or many
        if share >= NEARLY_ALL and doubtful and not self.allow_truth:
            raise self._truth_itself(share)
        other = better_convention(truth, answers)
        if other is not None:
            conventions, found = other
            options = {
                "exchanged": exchanged_columns(self.source, self.columns, self.order_tells),
                "radians": f"say {self.source.option('units', 'radians')}",
            }
            raise UsageError(
                f"the answers in {self.source.name} do not follow the convention they seem to",
                found=found,
                fix="; and ".join(options.get(one.name, one.fix) for one in conventions),
            )

    def _truth_itself(self, share: float) -> UsageError:
        others = [self.source.columns(answer=name) for name in self.other_places[:MOST_CHOICES]]
        fix = f"name the answer's column: {' or '.join(others)}" if others else "give the file of answers"
        beside = f"; other columns: {name_list(self.unexplained)}" if self.unexplained else ""
        return UsageError(
            f"the answers in {self.source.name} are the truth itself",
            found=f"{share:.0%} of {' and '.join(self.columns)} lie within 100 m of it{beside}",
            fix=f"{fix}; or, to score them all the same: {self.source.option('allow_truth', True)}",
        )


@dataclass(frozen=True)
class _Cells:
    """The columns of a file as text, read when they are needed; `title` names the file in notes.

    `roles` are columns whose role the file's shape leaves no doubt about.
    """

    source: Source
    title: str
    names: tuple[str, ...]
    sample: Mapping[str, Sequence[str]]
    read: Callable[[list[str]], tuple[pd.DataFrame, tuple[str, ...]]]
    roles: Mapping[str, str] = field(default_factory=dict)


@reads()
def read_answers(
    path: Path,
    *,
    select: str | None = None,
    columns: Mapping[str, str] | None = None,
    units: Units = "auto",
    order: Order = "latlon",
    allow_truth: bool = False,
) -> Answers:
    """Read the answers in a delimited table, a Parquet file or folder of them, JSON or JSON lines.

    `columns` maps a role (`id`, `latitude`, `longitude`, `answer`, `confidence`, `select`) to a column
    where the file's own names do not tell; `answer` holds both coordinates, perhaps in a sentence.
    `select` picks one of several answers per photo. Units `auto` are degrees, and refuse what looks
    like radians; `order` is that of two numbers in one cell. `allow_truth` scores answers that are the
    truth itself.
    """
    options = Options(select, columns or {}, units, order, allow_truth)
    if not path.is_dir() and is_json(path):
        text, roles = json_cells(path, as_columns="answer" in options.columns)
        return _interpret(_cells_of(Source(f"'{path}'"), path.name, text, roles), options)
    form = open_form(path)
    sample = zip(*form.sample, strict=False) if form.sample else [()] * len(form.names)

    def read(names: list[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
        table = read_table(form, names)
        return table.cells.to_pandas(), table.notes

    by_name = dict(zip(form.names, sample, strict=False))
    return _interpret(_Cells(Source(f"'{path}'"), path.name, form.names, by_name, read), options)


def answers_of_frame(
    frame: pd.DataFrame,
    *,
    select: str | None = None,
    columns: Mapping[str, str] | None = None,
    units: Units = "auto",
    order: Order = "latlon",
    allow_truth: bool = False,
) -> Answers:
    """The same of a pandas table, with the same checks."""
    text = table_of_frame(frame, "the answers").cells.to_pandas()
    cells = _cells_of(Source("the table of answers", in_python=True), "the table", text)
    return _interpret(cells, Options(select, columns or {}, units, order, allow_truth))


def _cells_of(
    source: Source, title: str, text: pd.DataFrame, roles: Mapping[str, str] | None = None
) -> _Cells:
    names = tuple(map(str, text.columns))
    sample = {name: text[name].iloc[:_SAMPLE_ROWS].tolist() for name in names}
    return _Cells(source, title, names, sample, lambda names: (text[names], ()), roles or {})


def _interpret(cells: _Cells, options: Options) -> Answers:
    source = cells.source
    known = [name for names in ALIASES.values() for name in names]
    header = Header(source, cells.names, ALIASES["id"], known, cells.sample)
    named = bool({"latitude", "answer"} & options.columns.keys())
    given = {**({} if named else cells.roles), **options.columns}
    if "answer" not in given:
        _refuse_signs_apart(cells)
    column_of = header.roles(given)
    table, notes = cells.read(list(dict.fromkeys(column_of.values())))
    rows = pd.DataFrame({role: table[name] for role, name in column_of.items()})
    rows, summary = _without_summary(rows, source.name)
    rows, left_out = _selected(rows, column_of.get("select"), options.select, source)
    ids, spellings = _ids(rows["id"], source.name)
    columns = tuple(column_of[role] for role in ("latitude", "longitude", "answer") if role in column_of)
    coordinates, status, remarks = judge(rows, columns, options, source, prose="answer" in options.columns)
    confidence, doubts = confidence_of(rows)
    read_from = " and ".join(f"'{name}'" for name in columns)
    headline = f"{len(ids):,} answers read from column{'s' * (len(columns) > 1)} {read_from} of {cells.title}"
    headline += ", in radians" * (options.units == "radians")
    unexplained, other_places = header.unexplained(column_of)
    return Answers(
        ids,
        coordinates,
        status,
        confidence,
        (headline, *notes, *summary, *left_out, *spellings, *remarks, *doubts),
        source,
        columns,
        tuple(unexplained),
        tuple(other_places),
        named,
        options.allow_truth,
        "answer" not in rows or order_tells(rows["answer"]),
    )


def _refuse_signs_apart(cells: _Cells) -> None:
    """UsageError where a column holds the sign that the numbers beside it lack."""
    once = [name for name in cells.names if cells.names.count(name) == 1]
    for one in sign_columns(once, cells.sample, lambda name: cells.read([name])[0][name].tolist()):
        raise UsageError(f"{cells.source.name} {one.problem}", found=one.found, fix=one.fix)


def _without_summary(rows: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows without the summary some tools write below them, and a note on what that was."""
    for start, length in SUMMARIES:
        begins = np.flatnonzero(rows["id"].str.startswith(start))
        if not len(begins):
            continue
        if begins[0] != len(rows) - length:
            raise DataError(
                f"{source} has a summary row in its middle",
                found=f"row {begins[0] + 1} of {len(rows)} begins with '{start}'",
                fix="split the file: it seems to be several put together",
            )
        first = rows["id"].iloc[begins[0]]
        return rows.iloc[: begins[0]], [
            f"{length} summary rows at the end left out, beginning with '{first}'"
        ]
    return rows, []


def _selected(
    rows: pd.DataFrame, column: str | None, select: str | None, source: Source
) -> tuple[pd.DataFrame, list[str]]:
    """One answer per photo where the file has several, and a note on those left out."""
    if column is None:
        if select is None:
            return rows, []
        raise UsageError(
            f"{source.name} has one answer per photo", fix=f"leave out {source.option('select', select)}"
        )
    counts = rows["select"].value_counts(sort=False)
    listing = name_list([f"{name} ({count:,})" for name, count in counts.items()])
    if select is None and len(counts) > 1:
        raise UsageError(
            f"{source.name} has several answers per photo",
            found=f"{column}: {listing}",
            fix=f"say which one: {source.option('select', 'NAME')}",
        )
    if select is not None and select not in counts.index:
        raise UsageError(f"{source.name} has no answers '{select}'", found=f"{column}: {listing}")
    if len(counts) <= 1:
        return rows, []
    kept = rows[rows["select"] == select]
    note = f"{len(rows) - len(kept):,} answers other than {column} '{select}' left out, of {listing}"
    return kept, [note]


def _ids(column: pd.Series[str], source: str) -> tuple[pd.Series[str], list[str]]:
    ids, notes = plain_ids(column.reset_index(drop=True))
    if ids.empty:
        raise DataError(f"{source} holds no answers")
    lost = ids[lost_digits(ids)]
    if len(lost):
        raise DataError(
            f"{source}: {len(lost):,} of {len(ids):,} ids were turned into floats and have lost digits",
            found=first_few(lost.tolist()),
            fix="write the file again with ids as text, such as dtype=str when pandas reads them",
        )
    unnamed = int((ids == "").sum())
    if unnamed:
        raise DataError(
            f"{source} has {unnamed} of {len(ids)} rows without an id",
            fix="give those rows ids or remove them",
        )
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        raise DataError(
            f"{source} answers {len(repeated)} ids more than once",
            found=first_few(repeated.tolist()),
            fix="keep one row per id",
        )
    return ids, notes
