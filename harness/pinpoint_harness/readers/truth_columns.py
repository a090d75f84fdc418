"""What the columns of a truth say: ids, coordinates and photographers.

Each is checked as a whole, and each error names the first rows that break the rule by the line an
editor shows and the id the file spells.
"""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import DataError
from ..geo import on_globe
from ..photo_ids import flickr_id, flickr_owner
from .cells import is_longitude_first, is_null, read_angles, read_place
from .conventions import listed, look_like_radians, null_island, trouble_of
from .delimited import Table, read_table
from .ids import lost_digits, whole_numbers
from .sign_columns import lost_sign
from .table_form import TableForm

TEXT = pd.Series([""]).dtype
"""What this pandas gives to text: `str`, or `object` before version 3."""

_PIECE_ROWS = 1 << 16
_SHOWN = 5
"""How many offending rows a message names."""
_MOST_BY_ONE = 0.25
_FEWEST_TO_JUDGE = 20
"""From as many rows on, a photographer with more than this share of them is worth a note."""


def read_roles(
    form: TableForm, read: Sequence[str], columns: Mapping[str, str], used: Sequence[str]
) -> Table:
    """The columns to `read`, each in the form its role in `columns` asks for, unless otherwise `used`."""
    uses = Counter([*columns.values(), *used])
    alone = {role: name for role, name in columns.items() if uses[name] == 1}
    numbers = [alone[role] for role in ("latitude", "longitude") if role in alone]
    repeated = [alone["author"]] if "author" in alone else []
    return read_table(form, read, numbers=numbers, repeated=repeated)


def text_of(table: Table, name: str) -> pd.Series[str]:
    """A column as pandas text, an absent value being the empty string."""
    text: pd.Series[str] = table.column(name).to_pandas().astype(TEXT).rename(None)
    return text


def same_text(text: str, rows: int) -> pd.Series[str]:
    """One text in every row; where pandas keeps text in pieces, all are the same few rows in memory."""
    piece = pa.repeat(pa.scalar(text, pa.large_string()), _PIECE_ROWS)
    pieces = [piece] * (rows // _PIECE_ROWS) + [piece.slice(0, rows % _PIECE_ROWS)]
    whole: pd.Series[str] = pa.chunked_array(pieces).to_pandas().astype(TEXT)
    return whole


def canonical_ids(table: Table, spelled: pd.Series[str], *, flickr: bool) -> pd.Series[str]:
    """One unique id per row: the Flickr digits, or the name as spelled."""
    if not flickr and _are_distinct(whole_numbers(spelled)):
        return spelled
    _refuse_where(table, spelled == "", spelled, "rows have no id", "every photo needs one")
    _refuse_where(
        table,
        lost_digits(spelled),
        spelled,
        "ids are written as floating point numbers, which lose digits",
        "take them from the original file: ids are text",
    )
    ids = flickr_id(spelled) if flickr else spelled
    _refuse_where(
        table, ids.isna(), spelled, "ids hold no Flickr photo number", "give a table of Flickr photos"
    )
    if not _are_distinct(whole_numbers(ids)):
        # Sorted, so that the rows of one photo stand side by side in the message.
        repeated = ids[ids.duplicated(keep=False)].sort_values(kind="stable").index.to_numpy()
        _refuse(table, repeated, spelled, "ids occur more than once", "keep one row for each photo")
    return ids


def _are_distinct(numbers: NDArray[np.int64] | None) -> bool:
    """Enough to know that no id is repeated, and for millions a tenth of the time and memory."""
    if numbers is None:
        return False
    ascending = np.sort(numbers)
    return bool(np.all(ascending[1:] != ascending[:-1]))


def authors_of(
    table: Table, column: str | None, spelled: pd.Series[str], *, flickr: bool
) -> tuple[pd.Series[str], list[str]]:
    """Photographers, missing where unknown, and a note if the file had to be corrected.

    A Flickr name that ends in its owner's id is believed before the column: in Im2GPS the column
    holds `secret_server_owner` in 177 rows, which makes every photo its own photographer.
    """
    author = pd.Series(None, index=spelled.index, dtype=TEXT)
    counts = pd.Series(dtype=np.int64)
    if column is not None:
        author, counts = _authors_in(table.column(column))
    if not flickr:
        return author, _implausible_share(counts, len(author))
    owner = flickr_owner(spelled)
    corrected = int((owner.notna() & author.notna() & (owner != author)).sum())
    note = f"{corrected} authors are taken from the image names, which contradict column '{column}'"
    author = author.where(owner.isna(), owner)
    notes = _implausible_share(author.value_counts(), len(author))
    return author, [*([note] if corrected else []), *notes]


def _authors_in(cells: pa.ChunkedArray) -> tuple[pd.Series[str], pd.Series[int]]:
    """The photographer of each row, and how many rows each has; every name is looked at once."""
    is_encoded = pa.types.is_dictionary(cells.type)
    encoded = (cells if is_encoded else cells.dictionary_encode()).unify_dictionaries().combine_chunks()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    spelled = pa.chunked_array([encoded.dictionary])
    names = spelled.to_pandas().astype(TEXT).str.strip()
    names = names.str.replace(r"^([0-9]+)\.0$", r"\1", regex=True)  # an id that was a float once
    names = names.mask(is_null(spelled))
    rows = np.bincount(encoded.indices.to_numpy(), minlength=len(names))
    taken = pa.array(names, pa.large_string(), from_pandas=True).take(encoded.indices)
    author: pd.Series[str] = taken.to_pandas().astype(TEXT)
    return author, pd.Series(rows, index=names.index).groupby(names, sort=False).sum()


def _implausible_share(counts: pd.Series[int], rows: int) -> list[str]:
    """A note if one author holds so much of the set that the name may stand for "unknown"."""
    most = int(counts.max()) if len(counts) else 0
    if rows < _FEWEST_TO_JUDGE or most <= _MOST_BY_ONE * rows:
        return []
    return [
        f"one author, '{counts.idxmax()}', holds {most:,} of {rows:,} rows: if that stands "
        "for unknown, leave those cells empty, or intervals and author filters are wrong"
    ]


def coordinates_of(
    table: Table,
    latitude_column: str,
    longitude_column: str,
    spelled: pd.Series[str],
    exchange: str = "--column",
) -> tuple[NDArray[np.float64], list[str]]:
    """Latitude and longitude in degrees, `(n, 2)`, every one of them on the globe, and notes on them.

    Both columns may be the same, whose cells then hold pairs. `exchange` is the option that chooses columns,
    empty where there is none. DataError for coordinates
    that are missing, no numbers, out of range, seem to be radians, or lack a sign that stands beside them.
    """

    @functools.cache
    def text() -> list[pa.ChunkedArray]:
        return [pc.utf8_trim_whitespace(table.text(name)) for name in (latitude_column, longitude_column)]

    if latitude_column == longitude_column:
        exchange = ""
        values, notations = _read_pairs(text()[0], latitude_column)
    else:
        latitude = read_angles(table.column(latitude_column), "latitude")
        longitude = read_angles(table.column(longitude_column), "longitude")
        values = np.stack([latitude.degrees, longitude.degrees]).T  # (n, 2), each axis in one piece
        notations = list(dict.fromkeys((*latitude.notations, *longitude.notations)))

    def cells(row: int) -> str:
        return f" ({text()[0][row]}, {text()[1][row]})"

    unusable = np.flatnonzero(~np.isfinite(values).all(axis=1))
    odd = {row: str(text()[int(np.isfinite(values[row, 0]))][row]) for row in unusable.tolist()}
    trouble = trouble_of(np.empty((0, 2)), odd)
    what, fix = (
        "rows have no usable coordinate",
        "every row is scored: complete these or remove them in a copy",
    )
    if trouble is not None:
        what, fix = f"{what}: {trouble.words}", trouble.fix
    _refuse(table, unusable, spelled, what, fix, cells)
    what, fix = _out_of_range(values, latitude_column, longitude_column, exchange)
    _refuse(table, np.flatnonzero(~on_globe(values)), spelled, what, fix, cells)
    if look_like_radians(values):
        rows = np.arange(len(values))
        _refuse(table, rows, spelled, "coordinates look like radians", "write degrees in a copy", cells)
    if sign := lost_sign(table, (latitude_column, longitude_column), values):
        raise DataError(f"{table.form.called()} {sign.problem}", found=sign.found, fix=sign.fix)
    notes = [f"coordinates are read as {', '.join(notations)}"] if notations else []
    return values, notes + _mention_null_island(table, null_island(values), spelled)


def _read_pairs(cells: pa.ChunkedArray, name: str) -> tuple[NDArray[np.float64], list[str]]:
    """`(n, 2)` of cells that hold both, and how they were read."""
    first = is_longitude_first(name)
    found = [read_place(cell, longitude_first=first) or (np.nan, np.nan) for cell in cells.to_pylist()]
    order = "longitude first" if first else "latitude first, unless a cell says otherwise"
    return np.array(found, dtype=np.float64).reshape(-1, 2), [f"pairs in column '{name}', {order}"]


def _out_of_range(
    values: NDArray[np.float64], latitude: str, longitude: str, exchange: str
) -> tuple[str, str]:
    """What is wrong with coordinates some of which lie off the globe, and what to do."""
    trouble = trouble_of(values, {})
    if trouble is None:
        return "coordinates are out of range", "latitudes are -90 to 90, longitudes -180 to 180 degrees"
    if trouble.kind != "exchanged" or not exchange:
        return trouble.words, trouble.fix
    options = (
        f"{exchange} {shlex.quote(role)}" for role in (f"latitude={longitude}", f"longitude={latitude}")
    )
    return (
        f"{trouble.words} (a copy of im2gps3k_places365.csv from 2018-2020 has the header LON,LAT above "
        "latitude,longitude)",
        f"fetch a correct copy; or, if you know the header to be wrong, give {' '.join(options)}",
    )


def _mention_null_island(table: Table, rows: NDArray[np.int64], spelled: pd.Series[str]) -> list[str]:
    if not len(rows):
        return []
    places = zip(table.where(rows[:_SHOWN].tolist()), rows[:_SHOWN].tolist(), strict=True)
    names = [f"{place}: '{spelled.iloc[row]}'" for place, row in places]
    return [
        f"{len(rows):,} of {len(table):,} rows lie at exactly (0, 0), which often stands for unknown, "
        f"and are scored there: {listed(names, len(rows))}"
    ]


def _refuse_where(
    table: Table, broken: pd.Series[bool], spelled: pd.Series[str], what: str, fix: str
) -> None:
    _refuse(table, np.flatnonzero(broken.to_numpy(dtype=np.bool_)), spelled, what, fix)


def _refuse(
    table: Table,
    rows: NDArray[np.int64],
    spelled: pd.Series[str],
    what: str,
    fix: str,
    cells: Callable[[int], str] = lambda row: "",
) -> None:
    """Raise DataError that names the first of `rows` by line and id, unless there are none."""
    if len(rows) == 0:
        return
    shown = rows[:_SHOWN].tolist()
    places = zip(table.where(shown), shown, strict=True)
    names = [f"{place}: '{spelled.iloc[row]}'{cells(row)}" for place, row in places]
    raise DataError(
        f"{table.form.called()}: {len(rows):,} of {len(table):,} {what}",
        found=listed(names, len(rows)),
        fix=fix,
    )
