"""Leaderboards as pages: the complete runs of one truth under one protocol, and the index of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..tables.row import UNSTATED
from . import prose
from .document import render_plain, text_file
from .report import table_metrics
from .table import ORDER, best_first, table_html
from .text import escaped

if TYPE_CHECKING:
    from ...evaluation.protocols import Protocol
    from ...running import Run
    from ..tables import Row

TITLE = "pinpoint site: "
INDEX = "index.html"

_PROCEDURAL = (
    "<b>Procedural:</b> drawn by a program and not taken by a camera. Such figures show that software works, "
    "and nothing of real photos; they stand apart from those of real datasets."
)
_INTRODUCTION = """
<p>How far from the truth methods place photos, measured by one program: every photo counts, and a photo
without an answer is a miss. Each page ranks the complete runs of one truth under one protocol. Runs of other
protocols, of another edition of the truth or of a part of the photos are other measurements, and are never
ranked together. The best run may be no better than the next: the letters on its page say which runs cannot be
told apart.</p>
"""


@dataclass(frozen=True, eq=False)
class Edition:
    """All runs of one truth of one dataset; `folder` holds its pages.

    `left_out` says which runs of the dataset could not be used, and why.
    """

    dataset: str
    title: str
    truth_hash: str
    photos: int
    notes: tuple[str, ...]
    procedural: bool
    default_protocol: str
    radii_km: tuple[float, ...]
    folder: str
    runs: tuple[Run, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Board:
    """The rows of one edition under one protocol, of runs and of the literature, the best first."""

    edition: Edition
    protocol: Protocol
    rows: Sequence[Row]

    @property
    def page(self) -> str:
        """The name of its page in the folder of the edition."""
        return f"{self.protocol.name}.html"

    @property
    def address(self) -> str:
        """Its page as the index links it."""
        return f"{quote(self.edition.folder)}/{quote(self.page)}"

    @property
    def ranked(self) -> list[Row]:
        """Rows of complete runs, which are rivals, the best first."""
        return [row for row in self.rows if row.kind == "measured" and row.complete]

    def unranked(self) -> list[str]:
        """How many runs of which kind are not ranked, in words."""
        partial = sum(row.kind == "measured" for row in self.rows) - len(self.ranked)
        oracles = sum(row.kind == "oracle" for row in self.rows)
        kinds = ((partial, "partial run"), (oracles, "oracle"))
        return [_count(number, name) for number, name in kinds if number]


def board_rows(measured: Sequence[Row], published: Sequence[Row], protocol: str) -> list[Row]:
    """Rows under short names, the best first, then the literature, that of this protocol before other."""

    def place(row: Row) -> tuple[bool, bool, str]:
        return row.protocol == UNSTATED, row.protocol != protocol, row.protocol

    own = [replace(row, method=row.short) for row in best_first(measured)]
    return [*own, *sorted(published, key=place)]


def board_page(
    board: Board, siblings: Sequence[Board], reports: Mapping[str, Sequence[Run]], leaks: str
) -> str:
    """The page of a leaderboard; `siblings` are all of its dataset, `leaks` says what was audited.

    `reports` are the runs in each report, by its name in the folder of the edition.
    """
    edition = board.edition
    links = {run.key: f"#run-{run.key}" for run in edition.runs}
    for name, runs in reports.items():
        links |= {run.key: f"{quote(name)}#run-{run.key}" for run in runs if not run.oracle}
    parts = {
        "title": escaped(edition.title),
        "dataset": escaped(edition.dataset),
        "truth": escaped(edition.truth_hash[:8]),
        "photos": f"{edition.photos:,}",
        "protocol": escaped(board.protocol.name),
        "warning": f'<p class="warning">{_PROCEDURAL}</p>' if edition.procedural else "",
        "siblings": _siblings(board, siblings),
        "extent": _extent(board),
        "words": f"<p>Figures are by {prose.protocol_words(board.protocol)}</p>",
        "table": table_html(
            "results", board.rows, table_metrics(edition.radii_km), edition.title, edition.notes, links
        ),
        "reports": _reports(list(reports)),
        "left_out": _left_out(edition.left_out),
        "leaks": leaks,
        "facts": _facts(board),
    }
    title = f"{TITLE}{edition.dataset}, {board.protocol.name}"
    return render_plain(title, Template(text_file("leaderboard.html")).substitute(parts))


def index_page(boards: Sequence[Board], left_out: Sequence[str], command: str) -> str:
    """What there is: real datasets first, those that were drawn apart."""
    real = [board for board in boards if not board.edition.procedural]
    drawn = [board for board in boards if board.edition.procedural]
    parts = [f"<header><h1>pinpoint leaderboards</h1>{_INTRODUCTION}</header>", "<main>"]
    if real:
        parts += ["<h2>Datasets</h2>", _listing(real, "Datasets")]
    if drawn:
        title = "Procedural datasets"
        parts += [f'<h2>{title}</h2><p class="warning">{_PROCEDURAL}</p>', _listing(drawn, title)]
    parts += [_left_out(left_out), f"<h2>This site again</h2><pre>{escaped(command, 4000)}</pre>", "</main>"]
    return render_plain(f"{TITLE}index", "\n".join(parts))


def _left_out(lines: Sequence[str]) -> str:
    """Runs that are stored and cannot be shown, with the reason of each; nothing where there is none."""
    if not lines:
        return ""
    listed = "".join(f"<li><bdi>{escaped(line, 1000)}</bdi></li>" for line in lines)
    hint = '<p class="hint">Stored, but on no leaderboard; by dataset, label and key.</p>'
    return f"<h2>Runs that cannot be shown</h2>{hint}<ul>{listed}</ul>"


def _siblings(board: Board, siblings: Sequence[Board]) -> str:
    """Links to the other protocols and truths of the dataset."""
    lines = []
    for one in siblings:
        same = one.edition is board.edition
        name = escaped(
            one.protocol.name if same else f"{one.protocol.name}, truth {one.edition.truth_hash[:8]}"
        )
        address = quote(one.page) if same else f"../{one.address}"
        lines.append(
            f'<li aria-current="page"><b>{name}</b></li>'
            if one is board
            else f'<li><a href="{address}">{name}</a></li>'
        )
    if len(lines) < 2:
        return ""
    hint = '<span class="hint">Measured otherwise, not to be compared:</span>'
    return f'<nav aria-label="Protocols and truths">{hint}<ul class="links">{"".join(lines)}</ul></nav>'


def _extent(board: Board) -> str:
    """What stands on the page, in a sentence."""
    ranked = len(board.ranked)
    sentence = f"{_count(ranked, 'complete run')}, the highest GeoScore first"
    if not ranked:
        sentence = "No run is complete, and none is ranked"
    if unranked := board.unranked():
        sentence += f"; not ranked: {' and '.join(unranked)}"
    published = [row for row in board.rows if row.kind == "published"]
    if published:
        alike = sum(row.protocol == board.protocol.name for row in published)
        sentence += (
            f". Published rows, in blocks of their own, are never ranked against a run: {len(published)}, of "
            f"which {alike} {'states' if alike == 1 else 'state'} this protocol"
        )
    return escaped(f"{sentence}.", 1000)


def _reports(names: Sequence[str]) -> str:
    if not names:
        return '<p class="hint">A name leads to how the run was made, below.</p>'
    links = " ".join(
        f'<a href="{quote(name)}">{"report" if number == 1 else f"report {number}"}</a>'
        for number, name in enumerate(names, 1)
    )
    return (
        '<p class="hint">A name leads to the run in a report: map, error curves, breakdowns, calibration, '
        f"photos with their candidates. All: {links}.</p>"
    )


def _facts(board: Board) -> str:
    """How each run was made, folded; of runs that differ in their label alone the first has the anchor."""
    place = {row.run: at for at, row in enumerate(board.rows) if row.run}
    runs = sorted(board.edition.runs, key=lambda run: place[run.key])
    lines = []
    for at, run in enumerate(runs):
        anchor = "" if run.key in (one.key for one in runs[:at]) else f"run-{run.key}"
        name = f"<bdi>{escaped(run.title)}</bdi> [{run.key[:8]}]"
        lines.append(f"<details><summary>{name}</summary>{prose.run_facts(run, anchor)}</details>")
    return "\n".join(lines)


def _listing(boards: Sequence[Board], name: str) -> str:
    """A table of leaderboards, a group of rows for each edition."""
    head = ("protocol", "runs", "highest GeoScore")
    groups = []
    for edition in dict.fromkeys(board.edition for board in boards):
        mine = [board for board in boards if board.edition is edition]
        heading = (
            f'{escaped(edition.title)}<br><span class="hint">{escaped(edition.dataset)}, truth '
            f"{escaped(edition.truth_hash[:8])}, {edition.photos:,} photos</span>"
        )
        rows = "\n".join(_index_row(board) for board in mine)
        groups.append(
            f'<tbody><tr class="heading"><th scope="rowgroup" colspan="{len(head)}">{heading}</th></tr>\n'
            f"{rows}</tbody>"
        )
    header = "".join(
        f'<th scope="col"{" class=figure" if label == "runs" else ""}>{label}</th>' for label in head
    )
    table = f"<table><thead><tr>{header}</tr></thead>{''.join(groups)}</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{table}</div>'


def _index_row(board: Board) -> str:
    name = board.protocol.name
    own = " <small>the dataset's own</small>" if name == board.edition.default_protocol else ""
    first = f'<th scope="row"><a href="{board.address}">{escaped(name)}</a>{own}</th>'
    lines = ["not ranked:", *board.unranked()] if board.unranked() else []
    unranked = " ".join(f"<small>{line}</small>" for line in lines)
    runs = f"<td class=figure>{len(board.ranked)} ranked {unranked}</td>"
    return f"<tr>{first}{runs}<td>{_leader(board)}</td></tr>"


def _leader(board: Board) -> str:
    """The best run after its GeoScore and the interval of that."""
    if not board.ranked or (estimate := board.ranked[0].cells[ORDER]).value is None:
        return "–"
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f" <small>[{estimate.low:.0f}, {estimate.high:.0f}]</small>"
    return f"<b>{estimate.value:.0f}</b>{interval} <bdi>{escaped(board.ranked[0].method)}</bdi>"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
