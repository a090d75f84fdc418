"""The table of a section as HTML that sorts: blocks of rivals sort, all others keep their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ...evaluation import PROTOCOLS
from ..tables.formats import Block, Cell
from ..tables.render import build_grid, shown_metrics, sorted_rows
from ..tables.row import UNSTATED, Metric, Row, leading_integer
from .text import LONGEST, escaped, visible

HIDDEN_AT_FIRST = ("mean_km",)
ORDER = "geoscore"
"""By which rows stand, the best first."""

_RUN_COLUMN = "method"


def table_html(
    name: str,
    rows: Sequence[Row],
    metrics: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
    links: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The rows with a chooser of columns and protocols, and the footnotes below; `name` is its id.

    `links` are addresses by the keys of runs. Only complete measured rows of one protocol and truth can be
    put in order, and published rows that state one protocol and were scored on the whole dataset.
    """
    rows = [_short_named(row) for row in rows]
    columns = shown_metrics(rows, metrics, title)
    whole = build_grid(rows, columns, notes=notes)
    head = [*whole.headers[: whole.text_columns], *(metric.label for metric in columns)]
    blocks = [_block_html(*block, len(head), links) for block in _blocks(rows, columns)]
    lines = [
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of results">',
        f'<table class="results" id="{name}"><thead><tr>{_header(head, whole.text_columns)}</tr></thead>',
        *blocks,
        "</table></div>",
        _chooser(name, head, columns, rows),
        f'<ul class="notes">{"".join(f"<li>{escaped(note, 2000)}</li>" for note in whole.notes)}</ul>',
    ]
    return "\n".join(lines)


def best_first(rows: Sequence[Row]) -> list[Row]:
    """For each protocol complete runs, the best first, partial ones and oracles; then published rows."""
    kinds = (("measured", True), ("measured", False), ("oracle", True), ("oracle", False))
    found: list[Row] = []
    for protocol in dict.fromkeys(row.protocol for row in rows if row.kind != "published"):
        mine = [row for row in rows if row.protocol == protocol]
        for kind in kinds:
            found += sorted_rows([row for row in mine if (row.kind, row.complete) == kind], ORDER)
    return [*found, *(row for row in rows if row.kind == "published")]


def _short_named(row: Row) -> Row:
    return replace(row, method=visible(row.method))


def _blocks(rows: Sequence[Row], columns: Sequence[Metric]) -> Iterator[tuple[Block, bool, str]]:
    """Each block with whether its rows are rivals, and its protocol where it has one."""
    sourced = any(row.source for row in rows)
    for kind, rivals, protocol in dict.fromkeys(map(_place, rows)):
        mine = [row for row in rows if _place(row) == (kind, rivals, protocol)]
        for block in build_grid(mine, columns).blocks:
            lines = block.rows
            if sourced and not any(row.source for row in mine):
                lines = [[line[0], Cell(), *line[1:]] for line in lines]
            heading = block.heading
            if kind == "published":
                heading = (
                    f"published ({protocol if protocol != UNSTATED else 'protocol not stated'}), not tested"
                )
            if not rivals and "not ranked" not in heading:
                heading += ", not ranked"
            yield replace(block, heading=heading, rows=lines), rivals, protocol


def _place(row: Row) -> tuple[str, bool, str]:
    """The block of a row: its kind, whether it has rivals there, and its protocol."""
    if row.kind == "published":
        of_all = row.total is None or leading_integer(row.n) == row.total
        return row.kind, row.protocol in PROTOCOLS and of_all, row.protocol
    return row.kind, row.kind == "measured" and row.complete, row.protocol


def _header(head: Sequence[str], text_columns: int) -> str:
    return "".join(
        f'<th scope="col"{" class=figure" if at >= text_columns else ""}>'
        f'<button type="button" class="sort">{escaped(label)}</button></th>'
        for at, label in enumerate(head)
    )


def _block_html(block: Block, rivals: bool, protocol: str, width: int, links: Mapping[str, str]) -> str:
    sortable = " data-sortable" if rivals else ""
    lines = "\n".join(
        f"<tr>{''.join(_cell(at, cell, links) for at, cell in enumerate(row))}</tr>" for row in block.rows
    )
    heading = f'<tr class="heading"><th scope="rowgroup" colspan="{width}">{escaped(block.heading)}</th></tr>'
    return f'<tbody data-protocol="{escaped(protocol)}"{sortable}>{heading}\n{lines}</tbody>'


def _cell(at: int, cell: Cell, links: Mapping[str, str]) -> str:
    text = escaped(cell.text, 2 * LONGEST)
    if cell.emphasis:
        text = f"<b>{text}</b>" if cell.emphasis == "best" else f"<u>{text}</u>"
    if cell.run in links:
        text = f'<a href="{escaped(links[cell.run])}">{text}</a>'
    interval = f" <small>{escaped(cell.interval)}</small>" if cell.interval else ""
    letters = f' <i class="letters">{escaped(cell.letters)}</i>' if cell.letters else ""
    marks = f" <sup>{escaped(cell.marks)}</sup>" if cell.marks else ""
    if at == 0:
        return f'<th scope="row"><bdi>{text}</bdi>{marks}</th>'
    figure = " class=figure" if re.match(r"[\d–]", cell.text) else ""
    return f"<td{figure}>{text}{letters}{interval}{marks}</td>"


def _chooser(name: str, head: Sequence[str], columns: Sequence[Metric], rows: Sequence[Row]) -> str:
    hidden = {metric.label for metric in columns if metric.name in HIDDEN_AT_FIRST}
    boxes = "".join(
        f'<label><input type="checkbox" data-table="{name}" data-column="{at}"'
        f"{'' if label in hidden else ' checked'}> {escaped(label)}</label> "
        for at, label in enumerate(head)
        if label != _RUN_COLUMN
    )
    protocols = dict.fromkeys(row.protocol for row in rows)
    options = "".join(
        f"<option>{escaped(protocol)}</option>" for protocol in protocols if protocol != UNSTATED
    )
    choice = (
        f'<label>Protocol <select data-table="{name}"><option value="">all, a block each</option>{options}'
        "</select></label>"
    )
    return (
        f'<div class="chooser">{choice if len(protocols) > 1 else ""}'
        f"<details><summary>Columns</summary>{boxes}</details></div>"
    )
