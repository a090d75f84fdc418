"""Columns that hold the sign of coordinates which stand beside them unsigned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .cells import LATITUDE_NAMES, LONGITUDE_NAMES, NULL_WORDS
from .delimited import Table, read_table
from .table_form import TableForm

_LETTERS = ({"N", "S", "NORTH", "SOUTH"}, {"E", "W", "EAST", "WEST"})
"""Words of the latitude, and of the longitude; they tell themselves what they are."""
_POSITIVE = {"N", "NORTH", "E", "EAST", "1", "+1", "1.0", "+", "POSITIVE", "POS", "PLUS"}
_SIGNS = {*_POSITIVE, "0", "0.0", "-1", "-1.0", "-", "NEGATIVE", "NEG", "MINUS", "TRUE", "FALSE"} - {
    letter for letters in _LETTERS for letter in letters
}
"""Signs, or flags, which are taken for such only in a column whose name says so."""
_FLAGS = {"0", "0.0", "TRUE", "FALSE"}
"""Where these stand, 1 may mean either side."""
_WHAT = r"[_ .-]?(sign|sgn|signum|dir|direction|ref|hemi|hemisphere|side|neg|negative)"
_BY_NAME = (
    re.compile(rf"(.*[_ .-])?(gps)?(lat|latitude){_WHAT}|(is[_ .-]?)?(n[_ .-]?s|north(ern)?|south(ern)?)"),
    re.compile(
        rf"(.*[_ .-])?(gps)?(lon|lng|long|longitude){_WHAT}|(is[_ .-]?)?(e[_ .-]?w|east(ern)?|west(ern)?)"
    ),
)
"""Names of a column of signs, of the latitude and of the longitude, in lower case."""
_NOTHING = {word.upper() for word in NULL_WORDS}


@dataclass(frozen=True)
class SignColumn:
    """A column of signs, its different cells, and its axis: 0 for the latitude, 1 for the longitude."""

    name: str
    cells: tuple[str, ...]
    axis: int

    @property
    def problem(self) -> str:
        return f"has hemispheres in a column of their own, '{self.name}'"

    @property
    def found(self) -> str:
        return f"cells {', '.join(self.cells)}"

    @property
    def fix(self) -> str:
        return (
            "write a copy with signed degrees, S and W negative (each number times its sign), and without "
            "that column"
        )


def sign_columns(
    names: Sequence[str],
    sample: Mapping[str, Sequence[str]],
    read: Callable[[str], Sequence[str]],
) -> list[SignColumn]:
    """The columns that turn the sign of some row.

    `sample` holds the first cells of each column; `read` gives all cells of one that these leave in
    doubt, since a file may begin with the north.
    """
    doubtful = [name for name in names if _of(name, sample.get(name, ())) is not None]
    found = (_of(name, read(name)) for name in doubtful)
    return [one for one in found if one is not None and _turns(one.cells)]


def lost_sign(table: Table, axes: Sequence[str], values: np.ndarray) -> SignColumn | None:
    """A column of a truth that holds the sign its coordinates `(n, 2)` lack; `axes` are their columns."""
    form = table.form
    names = [name for name in form.names if name not in axes and form.names.count(name) == 1]
    sample = dict(zip(form.names, zip(*form.sample, strict=False), strict=False))
    found = sign_columns(names, sample, lambda name: _cells(form, name))
    return next((one for one in found if not (values[:, one.axis] < 0).any()), None)


def _cells(form: TableForm, name: str) -> list[str]:
    return [str(cell) for cell in read_table(form, [name]).column(name).unique().to_pylist()]


def _of(name: str, cells: Sequence[str]) -> SignColumn | None:
    if name.lower() in (*LATITUDE_NAMES, *LONGITUDE_NAMES):
        return None
    spelled = {cell.strip().upper() for cell in cells}
    letters = spelled - _NOTHING
    for axis, words in enumerate(_LETTERS):
        if letters and letters <= words:
            return SignColumn(name, tuple(sorted(letters)), axis)
    signs = spelled - (_NOTHING - {"-"})
    for axis, pattern in enumerate(_BY_NAME):
        if signs and signs <= _SIGNS and pattern.fullmatch(name.lower()):
            return SignColumn(name, tuple(sorted(signs)), axis)
    return None


def is_sign_name(name: str) -> bool:
    """Whether a column's name says that it holds signs."""
    return any(pattern.fullmatch(name.lower()) for pattern in _BY_NAME)


def _turns(cells: Sequence[str]) -> bool:
    """Whether not all rows are certainly north, or east."""
    return not set(cells) <= _POSITIVE
