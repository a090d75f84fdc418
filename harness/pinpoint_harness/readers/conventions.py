"""Which convention the coordinates of a file follow, judged by all of them together.

A single odd row is an odd row; when nearly all rows, or all odd ones, are odd in the same way, the file
means something else than it seems to, and no figure made of it would be right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..geo import on_globe

if TYPE_CHECKING:
    from ..types import Floats

    Rows = NDArray[np.int64]

NEARLY_ALL = 0.95
FEWEST = 20
"""Rows from which on a convention is judged by values that are possible in another one, too."""
FEWEST_WHOLE = 3
"""Rows from which on all of them together say so, where chance cannot."""
_FEW = 0.05
_ODD_ROWS, _ODD_SHARE = 3, 0.01
"""Rows, and share of all rows, that must be odd in the same way to be a pattern and not mishaps."""
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3}){2,}(,[0-9]*)?|[+-]?[0-9]{1,3}(,[0-9]{3})+\.[0-9]+")
_SIGNED_ODDLY = re.compile(r"[-+(]?\s*[0-9]+(?:[.,][0-9]+)?\s*[°)+-]?\s*[NSEWnsew]?")
"""One number with a sign too many, or where none is expected."""

Kind = Literal["exchanged", "0 to 360", "from the pole", "gradians", "scaled", "notation"]


@dataclass(frozen=True)
class Trouble:
    """Why coordinates are not what they seem: the rows `(m,)`, what they look like, what to do."""

    kind: Kind
    rows: Rows
    words: str
    fix: str


def look_like_radians(values: Floats) -> bool:
    """Whether nearly all places, `(n, 2)`, would fit on a globe measured in radians.

    In degrees that is a patch of sea, where (0, 0) itself, which often stands for "unknown", says nothing.
    Of fewer than 20 places it must be all, with more decimals than an example has: more than two, of one or
    two places more than five, as a computation leaves them.
    """
    # Axis by axis, which for millions of rows is ten times as fast as along the rows.
    known = values[np.isfinite(values[:, 0]) & np.isfinite(values[:, 1])]
    telling = known[(known[:, 0] != 0) | (known[:, 1] != 0)]
    fits = (np.abs(telling[:, 0]) <= np.pi / 2) & (np.abs(telling[:, 1]) <= np.pi)
    if len(known) >= FEWEST and len(telling) >= FEWEST / 2:
        return bool(fits.mean() >= NEARLY_ALL)
    unit, rounding = (1e2, 1e-4) if len(telling) >= FEWEST_WHOLE else (1e5, 0.05)  # above fp32's own
    computed = (np.abs(telling * unit - np.rint(telling * unit)) > rounding).any(axis=1)
    return len(telling) > 0 and bool((fits & computed).all())


def null_island(values: Floats) -> Rows:
    """The rows at exactly (0, 0)."""
    return np.flatnonzero((values[:, 0] == 0) & (values[:, 1] == 0))


def trouble_of(values: Floats, odd_cells: dict[int, str]) -> Trouble | None:
    """What a file's unusable coordinates have in common, if they follow a pattern.

    `values` are `(n, 2)`, NaN where there is none; `odd_cells` are the cells of those rows that hold
    something, but no number.
    """
    known = np.isfinite(values).all(axis=1)
    outside = known & ~on_globe(values)
    if outside.any():
        size = np.abs(values)
        fits = (size[:, 0] <= 180) & (size[:, 1] <= 90)
        wrapped = outside & (size[:, 0] <= 90) & (values[:, 1] > 180) & (values[:, 1] <= 360)
        if outside.sum() >= _FEW * known.sum() and fits[known].mean() >= NEARLY_ALL:
            return Trouble(
                "exchanged",
                np.flatnonzero(outside),
                "latitudes lie beyond 90 degrees, and the rows fit with the two columns exchanged",
                "exchange the names of the two columns in a copy",
            )
        if (counted := _other_circle(values[known], np.flatnonzero(outside))) is not None:
            return counted
        if wrapped.sum() >= NEARLY_ALL * outside.sum():
            return _from_0_to_360(values, wrapped)
        if (size[known].max(axis=1) > 1e5).mean() >= NEARLY_ALL:
            return Trouble(
                "scaled",
                np.flatnonzero(outside),
                "coordinates are far from any place, as if they were whole numbers of 1e-7 degree, or metres",
                "write degrees in a copy: divide by the factor the file's maker names",
            )
    return _unknown_notation(odd_cells)


def _other_circle(known: Floats, rows: Rows) -> Trouble | None:
    """Angles from the pole (0 to 180), or gradians (a circle of 400), where `rows` are no degrees."""
    latitude, longitude = known.T
    if len(rows) < FEWEST_WHOLE:
        return None
    beyond = int((latitude > 90).sum())
    if beyond >= _FEW * len(latitude) and latitude.min() >= 0 and latitude.max() <= 180:
        return Trouble(
            "from the pole",
            rows,
            "latitudes lie beyond 90 degrees and none is negative: they seem to be counted from the pole",
            "write 90 minus each latitude in a copy, if that is what the file means",
        )
    turned = (longitude < -180).any() or (beyond and (longitude > 180).any())
    if turned and np.abs(latitude).max() <= 100 and np.abs(longitude).max() <= 200:
        return Trouble(
            "gradians",
            rows,
            "coordinates lie beyond 90 and 180, and none beyond 100 and 200: they seem to be gradians",
            "multiply them by 0.9 in a copy, if that is what the file means",
        )
    return None


def is_pattern(trouble: Trouble, rows: int) -> bool:
    """Whether so many of a file's rows are concerned that the file, and not the rows, is to blame."""
    return trouble.kind == "exchanged" or len(trouble.rows) >= max(_ODD_ROWS, _ODD_SHARE * rows)


def _from_0_to_360(values: Floats, wrapped: NDArray[np.bool_]) -> Trouble:
    mixed = bool((values[:, 1] < 0).any())
    words = "longitudes lie beyond 180 degrees: the file seems to count them from 0 to 360"
    return Trouble(
        "0 to 360",
        np.flatnonzero(wrapped),
        f"{words}, but others are negative" if mixed else words,
        "subtract 360 from those in a copy, if that is what the file means",
    )


def _unknown_notation(odd_cells: dict[int, str]) -> Trouble | None:
    numeric = {row: cell for row, cell in odd_cells.items() if re.search("[0-9]", cell)}
    rows = np.array(list(numeric), dtype=np.int64)
    if not len(rows):
        return None
    dotted = sum(bool(_THOUSANDS.fullmatch(cell.strip())) for cell in numeric.values())
    if dotted >= NEARLY_ALL * len(rows):
        return Trouble(
            "notation",
            rows,
            "cells have dots or commas between thousands, as a spreadsheet writes when it has lost the point",
            "export the file again with plain numbers: where the decimal point was cannot be told",
        )
    marks = [set(re.sub(r"[-+0-9.,\s\[\](){}\"']", "", cell)) for cell in numeric.values()]
    shared = sorted(set.intersection(*marks))
    if not shared:  # signs that only some cells bear, such as a letter beside a minus
        numeric = {row: cell for row, cell in numeric.items() if _SIGNED_ODDLY.fullmatch(cell.strip())}
        rows = np.array(list(numeric), dtype=np.int64)
        if not len(rows):
            return None
    shown = ", ".join(f"'{mark}' (U+{ord(mark):04X})" for mark in shared[:3])
    shown = f"with {shown}" if shown else f"such as '{next(iter(numeric.values()))}'"
    words = f"cells hold numbers in a notation that is not known, {shown}"
    return Trouble("notation", rows, words, "write plain numbers with a decimal point in a copy")


def listed(rows: Sequence[str], count: int) -> str:
    """The first names of many, and how many more there are."""
    return ", ".join(rows) + (f" and {count - len(rows):,} more" if count > len(rows) else "")
