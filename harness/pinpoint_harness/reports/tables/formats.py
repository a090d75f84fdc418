"""A finished table as Markdown or HTML.

Names come from plugins and from other people's files, so every text is escaped here, for the
format it goes into; nothing else in the harness needs to.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from ...console import escape_markdown

Emphasis = Literal["", "best", "second"]


@dataclass(frozen=True)
class Cell:
    """A figure or name, then its interval or half-width, its letters and the marks of the legend.

    `run` is the key of the run that a name is of, for links.
    """

    text: str = ""
    interval: str = ""
    emphasis: Emphasis = ""
    marks: str = ""
    letters: str = ""
    run: str = ""


@dataclass(frozen=True)
class Block:
    """Rows that may be compared with one another, under a heading of their own."""

    heading: str
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Grid:
    """A table before any format; the first `text_columns` columns are names, the rest figures.

    `compact` is for little room: a column of a page, a terminal.
    """

    title: str
    headers: Sequence[str]
    text_columns: int
    blocks: Sequence[Block]
    notes: Sequence[str]
    compact: bool = False


def plain(text: str) -> str:
    """One line without control characters, invisible characters or direction overrides."""
    spaced = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return " ".join("".join(c for c in spaced if not unicodedata.category(c).startswith("C")).split())


def markdown(grid: Grid) -> str:
    """A GitHub table under a heading, with the notes as a list."""
    table = tabulated(
        grid, "github", _markdown_cell, lambda text: f"*{_markdown_text(text)}*", _markdown_text
    )
    notes = [f"- {_markdown_line(note)}" for note in grid.notes]
    return "\n".join([f"### {_markdown_line(grid.title)}", "", *table, "", *notes]).rstrip() + "\n"


_STYLE = """
.pinpoint table { border-collapse: collapse; }
.pinpoint caption { text-align: left; font-size: 1.2rem; font-weight: 600; padding-bottom: .6rem; }
.pinpoint :is(th, td) { padding: .25rem .7rem; text-align: left; white-space: nowrap; }
.pinpoint .figure { text-align: right; font-variant-numeric: tabular-nums; }
.pinpoint thead { border-top: 2px solid; border-bottom: 1px solid; }
.pinpoint tbody { border-bottom: 1px solid #999; }
.pinpoint table > tbody:last-of-type { border-bottom: 2px solid; }
.pinpoint th[scope=row] { font-weight: normal; white-space: normal; }
.pinpoint th[scope=rowgroup] { font-style: italic; font-weight: normal; opacity: .75; }
.pinpoint .interval { opacity: .75; font-size: .85em; }
.pinpoint ul { opacity: .85; font-size: .9em; padding-left: 1.2rem; }
"""
_PAGE_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
body { color: #222; background: #fff; }
@media (prefers-color-scheme: dark) { body { background: #1b1b1b; color: #ddd; } }
"""


def html_page(grid: Grid) -> str:
    """A page that needs nothing else."""
    lines = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_html_text(grid.title)}</title>\n<style>{_PAGE_STYLE}</style>\n</head>\n<body>",
    ]
    return "\n".join([*lines, html_part(grid) + "</body>", "</html>"]) + "\n"


def html_part(grid: Grid) -> str:
    """For a page with other things, as a notebook is: a table, one `<tbody>` per block, the notes as a list.

    Its style is for what is in it alone, in the colours that are around it.
    """
    columns = len(grid.headers)
    kinds = [' class="figure"' if number >= grid.text_columns else "" for number in range(columns)]
    head = "".join(
        f'<th scope="col"{kind}>{_html_text(header)}</th>'
        for header, kind in zip(grid.headers, kinds, strict=True)
    )
    lines = [f'<div class="pinpoint">\n<style>{_STYLE}</style>']
    lines += ["<table>", f"<caption>{_html_text(grid.title)}</caption>", f"<thead><tr>{head}</tr></thead>"]
    for block in grid.blocks:
        heading = f'<th scope="rowgroup" colspan="{columns}">{_html_text(block.heading)}</th>'
        lines += [
            "<tbody>",
            f"<tr>{heading}</tr>",
            *(_html_row(row, grid.text_columns) for row in block.rows),
            "</tbody>",
        ]
    lines.append("</table>")
    if grid.notes:
        lines += ["<ul>", *(f"<li>{_html_text(note)}</li>" for note in grid.notes), "</ul>"]
    return "\n".join([*lines, "</div>"]) + "\n"


def tabulated(
    grid: Grid,
    style: str,
    cell: Callable[[Cell], str],
    heading: Callable[[str], str],
    header: Callable[[str], str],
) -> list[str]:
    """The lines of the table; a block's heading is a row of its own."""
    columns = len(grid.headers)
    rows: list[list[str]] = []
    for block in grid.blocks:
        rows.append([heading(block.heading)] + [""] * (columns - 1))
        rows += [[cell(item) for item in row] for row in block.rows]
    alignment = ["left"] * grid.text_columns + ["right"] * (columns - grid.text_columns)
    headers = [header(text) for text in grid.headers]
    # Figures are already text; without this tabulate would read and reformat them.
    return tabulate(rows, headers, style, disable_numparse=True, colalign=alignment).splitlines()


def _markdown_text(text: str) -> str:
    return escape_markdown(plain(text))


def _markdown_line(text: str) -> str:
    """Outside the table, where the first characters could open a heading, a list or a rule."""
    return re.sub(r"^(\d*)([+=.)-])", r"\1\\\2", _markdown_text(text))


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(cell.text)
    if cell.emphasis:
        # GitHub drops <u> but keeps <ins>, which it underlines.
        text = f"**{text}**" if cell.emphasis == "best" else f"<ins>{text}</ins>"
    return " ".join(part for part in (text, cell.interval, cell.letters, cell.marks) if part)


def _html_text(text: str) -> str:
    return html.escape(plain(text), quote=True)


def _html_cell(cell: Cell) -> str:
    text = _html_text(cell.text)
    if cell.emphasis:
        text = f"<strong>{text}</strong>" if cell.emphasis == "best" else f"<u>{text}</u>"
    marks = f"<sup>{_html_text(cell.marks)}</sup>" if cell.marks else ""
    interval = f'<span class="interval">{cell.interval}</span>' if cell.interval else ""
    return " ".join(part for part in (text + marks, interval, cell.letters) if part)


def _html_row(row: Sequence[Cell], text_columns: int) -> str:
    cells = [_html_cell(cell) for cell in row]
    names = [f"<td>{text}</td>" for text in cells[1:text_columns]]
    figures = [f'<td class="figure">{text}</td>' for text in cells[text_columns:]]
    return "<tr>" + "".join([f'<th scope="row">{cells[0]}</th>', *names, *figures]) + "</tr>"
