"""What the columns of a truth say: ids, coordinates and photographers.

Each is checked as a whole, and each error names the first rows that break the rule by the line an
editor shows and the id the file spells.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import DataError
from ..photo_ids import flickr_id, flickr_owner
from .delimited import Table

TEXT = pd.Series([""]).dtype
"""What this pandas gives to text: `str`, or `object` before version 3."""

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_FLOAT_ID = r"[0-9]+\.[0-9]*([eE][+-]?[0-9]+)?|[0-9]+[eE]\+[0-9]+"
_SHOWN = 5
"""How many offending rows a message names."""


def text_of(table: Table, name: str) -> pd.Series[str]:
    """A column as pandas text, an absent value being the empty string."""
    text: pd.Series[str] = table.column(name).to_pandas().astype(TEXT).rename(None)
    return text


def canonical_ids(table: Table, spelled: pd.Series[str], *, flickr: bool) -> pd.Series[str]:
    """One unique id per row: the Flickr digits, or the name as spelled."""
    _refuse_where(table, spelled == "", spelled, "rows have no id", "every photo needs one")
    _refuse_where(
        table,
        spelled.str.fullmatch(_FLOAT_ID),
        spelled,
        "ids are written as floating point numbers, which lose digits",
        "take them from the original file: ids are text",
    )
    ids = flickr_id(spelled) if flickr else spelled
    _refuse_where(
        table, ids.isna(), spelled, "ids hold no Flickr photo number", "give a table of Flickr photos"
    )
    if not _are_distinct_numbers(ids):
        # Sorted, so that the rows of one photo stand side by side in the message.
        repeated = ids[ids.duplicated(keep=False)].sort_values(kind="stable").index.to_numpy()
        _refuse(table, repeated, spelled, "ids occur more than once", "keep one row for each photo")
    return ids


def _are_distinct_numbers(ids: pd.Series[str]) -> bool:
    """Enough to know that no id is repeated, and for millions a tenth of the time and memory."""
    try:
        numbers = np.sort(pc.cast(pa.array(ids, from_pandas=True), pa.int64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return False
    return bool(np.all(numbers[1:] != numbers[:-1]))


def authors_of(
    table: Table, column: str | None, spelled: pd.Series[str], *, flickr: bool
) -> tuple[pd.Series[str], list[str]]:
    """Photographers, missing where unknown, and a note if the file had to be corrected.

    A Flickr name that ends in its owner's id is believed before the column: in Im2GPS the column
    holds `secret_server_owner` in 177 rows, which makes every photo its own photographer.
    """
    author = pd.Series(None, index=spelled.index, dtype=TEXT)
    if column is not None:
        author = text_of(table, column).str.strip()
        author = author.str.replace(r"^([0-9]+)\.0$", r"\1", regex=True)  # an id that was a float once
        author = author.mask(author.isin(["", "nan", "NaN"]))
    if not flickr:
        return author, []
    owner = flickr_owner(spelled)
    corrected = int((owner.notna() & author.notna() & (owner != author)).sum())
    note = f"{corrected} authors are taken from the image names, which contradict column '{column}'"
    return author.where(owner.isna(), owner), [note] if corrected else []


def coordinates_of(
    table: Table, latitude_column: str, longitude_column: str, spelled: pd.Series[str]
) -> NDArray[np.float64]:
    """Latitude and longitude in degrees, `(n, 2)`, every one of them on the globe."""
    text = [pc.utf8_trim_whitespace(table.column(name)) for name in (latitude_column, longitude_column)]
    latitude, longitude = (_parse_numbers(cells) for cells in text)

    def cells(row: int) -> str:
        return f" ({text[0][row]}, {text[1][row]})"

    unusable = np.flatnonzero(~(np.isfinite(latitude) & np.isfinite(longitude)))
    first = [str(axis[row]) for axis in text for row in unusable[:_SHOWN].tolist()]
    decimal_comma = any(re.fullmatch(r"-?\d+,\d+", cell) for cell in first)
    fix = "every row is scored: complete these or remove them in a copy"
    if decimal_comma:
        fix = "write decimals with a point"
    _refuse(table, unusable, spelled, "rows have no usable coordinate", fix, cells)

    outside = np.flatnonzero((np.abs(latitude) > 90) | (np.abs(longitude) > 180))
    what, fix = "coordinates are out of range", "latitudes are -90 to 90, longitudes -180 to 180 degrees"
    if np.all(np.abs(latitude) <= 180) and np.all(np.abs(longitude) <= 90):
        what = (
            "latitudes lie beyond 90 degrees, and every row fits with the two columns exchanged (a copy of "
            "im2gps3k_places365.csv from 2018-2020 has the header LON,LAT above latitude,longitude)"
        )
        fix = (
            "fetch a correct copy; or, if you know the header to be wrong, choose "
            f"latitude={longitude_column} longitude={latitude_column}"
        )
    elif np.all(np.abs(latitude) <= 90) and np.all((longitude >= 0) & (longitude <= 360)):
        what = "longitudes lie beyond 180 degrees: the file seems to count them from 0 to 360"
        fix = "subtract 360 from those in a copy, if that is what the file means"
    _refuse(table, outside, spelled, what, fix, cells)
    return np.stack([latitude, longitude], axis=1)


def _parse_numbers(text: pa.ChunkedArray) -> NDArray[np.float64]:
    """NaN where the text is no number."""
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, _NUMBER)
        numbers = pc.if_else(fits, text, "nan").cast(pa.float64())
    return np.asarray(numbers.to_numpy(), dtype=np.float64)


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
    listed = ", ".join(f"{place}: '{spelled.iloc[row]}'{cells(row)}" for place, row in places)
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    raise DataError(
        f"'{table.form.path}': {len(rows):,} of {len(table):,} {what}", found=listed + more, fix=fix
    )
