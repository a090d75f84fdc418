"""A finished table as plain text for a terminal, no wider than it."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .formats import Emphasis, Grid, plain

LEAST_WIDTH = 40
_LEAST_NAME, _GAP = 16, "  "
_STYLES = {"": "", "best": "\x1b[1m", "second": "\x1b[4m"}
_PLAIN_AGAIN = "\x1b[0m"


def needed_width(grid: Grid) -> int:
    """Signs of a line that leave room for names that are legible and tell rows apart."""
    names, *figures = _columns(grid)
    return _room(list(map(_column_width, figures))) + max(
        _telling_width(names), min(_LEAST_NAME, _column_width(names))
    )


def _telling_width(names: Sequence[_Written]) -> int:
    """How far names can be cut without two of them becoming one."""
    rows, longest = {cell.words + cell.after for cell in names}, _column_width(names)
    widths = range(min(LEAST_WIDTH // 4, longest), longest)
    return next((room for room in widths if len({_fitted(row, room) for row in rows}) == len(rows)), longest)


def text(grid: Grid, width: int, styled: bool) -> str:
    """The table within `width` signs, names cut where they are too long, but not so far that two are one.

    With `styled` the best figure of a column is bold and the second underlined, by the terminal's own means.
    """
    width = max(width, LEAST_WIDTH)
    columns = _columns(grid)
    names, *figures = map(_column_width, columns)
    widths = [max(min(names, width - _room(figures)), _telling_width(columns[0])), *figures]
    rows = iter(zip(*columns, strict=True))
    lines = [*textwrap.wrap(plain(grid.title), width), ""]
    lines.append(_line(next(rows), widths, styled=False))
    for block in grid.blocks:
        lines += ["-" * (widths[0] + _room(figures)), *textwrap.wrap(plain(block.heading), width)]
        lines += [_line(next(rows), widths, styled) for _ in block.rows]
    lines.append("")
    for note in grid.notes:
        lines += textwrap.wrap(plain(note), width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


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


def _line(cells: Sequence[_Written], widths: Sequence[int], styled: bool) -> str:
    (name, *figures), (room, *widths) = cells, widths
    parts = [_fitted(name.words + name.after, room)]
    for cell, width in zip(figures, widths, strict=True):
        style = _STYLES[cell.emphasis] if styled else ""
        words = f"{style}{cell.words}{_PLAIN_AGAIN}" if style else cell.words
        parts.append(" " * (width - cell.width) + words + cell.after)
    return _GAP.join(parts)


def _fitted(words: str, room: int) -> str:
    """The words in exactly so many columns, cut where they are longer."""
    if _width(words) > room:
        while _width(words) >= room:
            words = words[:-1]
        words += "…"
    return words + " " * (room - _width(words))


def _width(words: str) -> int:
    """Columns of a terminal: two for the signs of East Asia, none for combining ones."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in words)
    return len(words) + wide - sum(unicodedata.combining(sign) > 0 for sign in words)
