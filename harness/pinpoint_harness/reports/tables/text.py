"""A finished table as plain text for a terminal, no wider than it."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .formats import Emphasis, Grid, plain

LEAST_WIDTH = 40
_LEAST_NAME, _GAP = 16, "  "
_STYLES = {"": "", "best": "\x1b[1m", "second": "\x1b[4m"}
_PLAIN_AGAIN = "\x1b[0m"
_BETWEEN_WORDS = re.compile(r"(?= )|,|(?<=\w)-(?=[^\W\d])")


def needed_width(grid: Grid) -> int:
    """Signs of a line that leave room for figures side by side and for names that are legible."""
    names, *figures = map(_column_width, _columns(grid))
    return _room(figures) + min(_LEAST_NAME, names)


def text(grid: Grid, width: int, styled: bool) -> str:
    """The table within `width` signs: names are folded, and figures for which there is no room stand below.

    With `styled` the best figure of a column is bold and the second underlined, by the terminal's own means.
    """
    width = max(width, LEAST_WIDTH)
    names, *figures = _columns(grid)
    lines = [*textwrap.wrap(plain(grid.title), width), ""]
    for beside in _side_by_side(figures, width - min(_LEAST_NAME, _column_width(names))):
        lines += [*_panel(grid, names, beside, width, styled), ""]
    for note in grid.notes:
        lines += textwrap.wrap(plain(note), width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _side_by_side(figures: Sequence[list[_Written]], room: int) -> list[list[list[_Written]]]:
    """The columns in as few groups as fit, one at least in each."""
    groups: list[list[list[_Written]]] = [[]]
    for column in figures:
        if groups[-1] and _room([*map(_column_width, groups[-1]), _column_width(column)]) > room:
            groups.append([])
        groups[-1].append(column)
    return groups


def _panel(
    grid: Grid, names: list[_Written], figures: Sequence[list[_Written]], width: int, styled: bool
) -> list[str]:
    widths = [_column_width(column) for column in figures]
    widths.insert(0, min(_column_width(names), width - _room(widths)))
    rows = iter(zip(names, *figures, strict=True))
    lines = _row_lines(next(rows), widths, styled=False)
    for block in grid.blocks:
        lines += ["-" * (widths[0] + _room(widths[1:])), *textwrap.wrap(plain(block.heading), width)]
        for _ in block.rows:
            lines += _row_lines(next(rows), widths, styled)
    return lines


def _columns(grid: Grid) -> list[list[_Written]]:
    """Header and cells, column by column, what follows the figures padded so that figures stand in line."""
    rows = [row for block in grid.blocks for row in block.rows]
    columns = [
        [_Written(plain(header)), *(_Written(plain(cell.text), cell.marks, cell.emphasis) for cell in column)]
        for header, column in zip(grid.headers, zip(*rows, strict=True), strict=True)
    ]
    for written, column in zip(columns, zip(*rows, strict=True), strict=True):
        for part in ("interval", "letters"):
            widest = max(len(getattr(cell, part)) for cell in column)
            for one, cell in zip(written[1:], column, strict=True):
                one.after += f" {getattr(cell, part):<{widest}}" if widest else ""
    return columns


@dataclass
class _Written:
    words: str
    after: str = ""
    emphasis: Emphasis = ""

    @property
    def width(self) -> int:
        return _width(self.words + self.after)


def _column_width(column: Sequence[_Written]) -> int:
    return max(cell.width for cell in column)


def _room(widths: Sequence[int]) -> int:
    return sum(width + len(_GAP) for width in widths)


def _row_lines(cells: Sequence[_Written], widths: Sequence[int], styled: bool) -> list[str]:
    (name, *figures), (room, *widths) = cells, widths
    first, *more = _folded(name.words + name.after, room)
    parts = [first + " " * (room - _width(first))]
    for cell, width in zip(figures, widths, strict=True):
        style = _STYLES[cell.emphasis] if styled else ""
        words = f"{style}{cell.words}{_PLAIN_AGAIN}" if style else cell.words
        parts.append(" " * (width - cell.width) + words + cell.after)
    return [_GAP.join(parts), *more]


def _folded(words: str, room: int) -> list[str]:
    """The words in lines of at most so many columns, parted between words where there is such a place."""
    lines = []
    while _width(words) > room:
        most = max(at for at in range(1, len(words)) if _width(words[:at]) <= room)
        between = [found.end() for found in _BETWEEN_WORDS.finditer(words, room // 3)]
        end = max((at for at in between if at <= most), default=most)
        lines.append(words[:end])
        words = _GAP + words[end:].lstrip()
    return [*lines, words]


def _width(words: str) -> int:
    """Columns of a terminal: two for the signs of East Asia, none for combining ones."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in words)
    return len(words) + wide - sum(unicodedata.combining(sign) > 0 for sign in words)
