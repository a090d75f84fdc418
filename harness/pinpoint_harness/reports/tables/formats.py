"""A finished table as Markdown, LaTeX or HTML.

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

Emphasis = Literal["", "best", "second"]


@dataclass(frozen=True)
class Cell:
    """A figure or name, then its interval and the marks of the legend."""

    text: str = ""
    interval: str = ""
    emphasis: Emphasis = ""
    marks: str = ""


@dataclass(frozen=True)
class Block:
    """Rows that may be compared with one another, under a heading of their own."""

    heading: str
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Grid:
    """A table before any format; the first `text_columns` columns are names, the rest figures."""

    title: str
    headers: Sequence[str]
    text_columns: int
    blocks: Sequence[Block]
    notes: Sequence[str]


def plain(text: str) -> str:
    """One line without control characters, invisible characters or direction overrides."""
    spaced = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return " ".join("".join(c for c in spaced if not unicodedata.category(c).startswith("C")).split())


def markdown(grid: Grid) -> str:
    """A GitHub table under a heading, with the notes as a list."""
    table = _tabulate(
        grid, "github", _markdown_cell, lambda text: f"*{_markdown_text(text)}*", _markdown_text
    )
    notes = [f"- {_markdown_line(note)}" for note in grid.notes]
    return "\n".join([f"### {_markdown_line(grid.title)}", "", *table, "", *notes]).rstrip() + "\n"


def latex(grid: Grid) -> str:
    """A `table` environment for the booktabs package, one `\\midrule` between blocks."""
    lines = _tabulate(
        grid, "latex_raw", _latex_cell, lambda text: rf"\emph{{{_latex_text(text)}}}", _latex_text
    )
    # tabulate writes \begin, \hline, header, \hline, one line per row, \hline, \end.
    body = iter(lines[4:-2])
    ruled = [lines[0], r"\toprule", lines[2]]
    for block in grid.blocks:
        ruled += [r"\midrule", *(next(body) for _ in range(len(block.rows) + 1))]
    ruled += [r"\bottomrule", lines[-1]]
    caption = rf"\caption{{{_latex_text(grid.title)}}}"
    notes = [rf"{_latex_text(note)}\par" for note in grid.notes]
    below = [r"\par\medskip", r"{\footnotesize\raggedright", *notes, "}"] if notes else []
    return "\n".join([r"\begin{table}", r"\centering", caption, *ruled, *below, r"\end{table}"]) + "\n"


def as_html(grid: Grid) -> str:
    """A `<table>` with one `<tbody>` per block, then the notes as a list; no scripts, no styles needed."""
    columns = len(grid.headers)
    head = "".join(f'<th scope="col">{_html_text(header)}</th>' for header in grid.headers)
    lines = ["<table>", f"<caption>{_html_text(grid.title)}</caption>", f"<thead><tr>{head}</tr></thead>"]
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
    return "\n".join(lines) + "\n"


def _tabulate(
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
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", plain(text))


def _markdown_line(text: str) -> str:
    """Outside the table, where the first characters could open a heading, a list or a rule."""
    return re.sub(r"^(\d*)([+=.)-])", r"\1\\\2", _markdown_text(text))


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(cell.text)
    if cell.emphasis:
        # GitHub drops <u> but keeps <ins>, which it underlines.
        text = f"**{text}**" if cell.emphasis == "best" else f"<ins>{text}</ins>"
    return " ".join(part for part in (text, cell.interval, cell.marks) if part)


_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "¶": r"\textparagraph{}",
    "§": r"\textsection{}",
    "≈": r"\ensuremath{\approx}",
}


def _latex_text(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in plain(text))
    # After `\\` or \midrule, a row that begins with [ or * would be read as their argument.
    return re.sub(r"^([\[*])", r"{\1}", escaped)


def _latex_cell(cell: Cell) -> str:
    text = _latex_text(cell.text)
    if cell.emphasis:
        text = rf"\textbf{{{text}}}" if cell.emphasis == "best" else rf"\underline{{{text}}}"
    marks = rf"\textsuperscript{{{_latex_text(cell.marks)}}}" if cell.marks else ""
    return " ".join(part for part in (text + marks, cell.interval) if part)


def _html_text(text: str) -> str:
    return html.escape(plain(text), quote=True)


def _html_cell(cell: Cell) -> str:
    text = _html_text(cell.text)
    if cell.emphasis:
        text = f"<strong>{text}</strong>" if cell.emphasis == "best" else f"<u>{text}</u>"
    marks = f"<sup>{_html_text(cell.marks)}</sup>" if cell.marks else ""
    return " ".join(part for part in (text + marks, cell.interval) if part)


def _html_row(row: Sequence[Cell], text_columns: int) -> str:
    cells = [_html_cell(cell) for cell in row]
    names = [f"<td>{text}</td>" for text in cells[1:text_columns]]
    figures = [f'<td align="right">{text}</td>' for text in cells[text_columns:]]
    return "<tr>" + "".join([f'<th scope="row">{cells[0]}</th>', *names, *figures]) + "</tr>"
