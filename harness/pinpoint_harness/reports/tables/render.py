"""Tables as papers print them, with what papers leave out beneath.

Measured rows, oracles and published rows stand in blocks of their own. Only complete measured
rows of one protocol and one truth are ranked against one another, and only over equally many images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ...errors import UsageError
from ...types import STATUS
from . import csv_rows as csv_form
from .formats import Block, Cell, Emphasis, Grid, html_page, html_part, markdown
from .latex import latex
from .row import UNSTATED, Kind, Metric, Row, find_metric, leading_integer
from .text import needed_width
from .text import text as as_text

Format = Literal["text", "md", "latex", "csv", "html", "html-part"]
HIDDEN = ("oracles", "partial", "notes", "intervals", "sources")
"""What a table can do without."""

TEXT_WIDTH = 100

_BACK_ENDS: dict[str, Callable[[Grid], str]] = {
    "md": markdown,
    "latex": latex,
    "html": html_page,
    "html-part": html_part,
}


def render(
    rows: Sequence[Row],
    metrics: Sequence[str],
    format: Format,
    *,
    title: str,
    intervals: bool = True,
    notes: Sequence[str] = (),
    mix_protocols: bool = False,
    sort: str = "",
    hide: Collection[str] = (),
    compact: bool = False,
    width: int = TEXT_WIDTH,
    styled: bool = False,
) -> str:
    """One dataset's rows as a table; `notes` are the dataset's footnotes.

    Metrics that no row has, and published rows that have none of the metrics, are left out. CSV
    holds the figures unrounded with their intervals, without title, marks and notes. `sort` is a metric,
    best first, or `method`; without it rows stand as they are given. `compact` has short names and half
    the width of each interval. Text is always compact, at most `width` signs wide, and marks the best by
    the terminal's style where `styled`. Raises UsageError when measured rows follow different protocols,
    unless `mix_protocols` asks for one block each.
    """
    if format not in get_args(Format):
        raise UsageError(f"no table format '{format}'", fix=f"one of: {', '.join(get_args(Format))}")
    hidden = frozenset([*hide, *([] if intervals else ["intervals"])])
    rows = [
        row
        for row in rows
        if not ("oracles" in hide and row.kind == "oracle") and not ("partial" in hide and not row.complete)
    ]
    columns = shown_metrics(rows, metrics, title)
    if not mix_protocols:
        _refuse_mixture(rows)
    groups = [
        replace(group, rows=sorted_rows(_told_apart(group.rows), sort))
        for group in _groups(_with_total(rows), columns)
    ]
    if format == "csv":
        return csv_form.write(
            [row for group in groups for row in group.rows], [item.name for item in columns]
        )
    if format != "text":
        return _BACK_ENDS[format](_grid(groups, _Shape(columns, compact, True, hidden), title, notes))
    shape = _Shape(columns, compact=True, emphasised=styled, hide=hidden)
    grid = _grid(groups, shape, title, notes)
    if shape.intervals and (needed := needed_width(grid)) > width:
        note = f"Half-widths are left out: they need {needed} columns."
        shape = replace(shape, hide=hidden | {"intervals"})
        grid = _grid(groups, shape, title, [*notes, note])
    return as_text(grid, width, styled)


def shown_metrics(rows: Sequence[Row], metrics: Sequence[str], title: str) -> list[Metric]:
    """Those of the metrics that a row has; UsageError where none has any."""
    wanted = [find_metric(name) for name in dict.fromkeys(metrics)]
    columns = [metric for metric in wanted if any(row.value(metric.name) is not None for row in rows)]
    if not columns:
        available = dict.fromkeys(name for row in rows for name in row.cells)
        raise UsageError(
            f"no row of '{title}' has any of: {', '.join(metrics) or 'no metrics'}",
            found=f"{len(rows)} rows with {', '.join(available) or 'no metrics'}",
        )
    return columns


def build_grid(rows: Sequence[Row], columns: Sequence[Metric], *, notes: Sequence[str] = ()) -> Grid:
    """The table before any format, a block for each protocol and truth, for oracles and published rows."""
    shape = _Shape(columns, compact=False, emphasised=True, hide=frozenset())
    groups = [replace(group, rows=_told_apart(group.rows)) for group in _groups(_with_total(rows), columns)]
    return _grid(groups, shape, "", notes)


def sorted_rows(rows: Sequence[Row], sort: str) -> Sequence[Row]:
    """By a metric, the best first and rows without it last, or by `method`; as they are without `sort`."""
    if sort == "method":
        return sorted(rows, key=lambda row: row.method.casefold())
    if not sort:
        return rows
    metric = find_metric(sort)

    def place(row: Row) -> tuple[bool, float]:
        value = row.value(sort)
        return value is None, 0.0 if value is None else value if metric.lower_is_better else -value

    return sorted(rows, key=place)


@dataclass(frozen=True)
class _Shape:
    """Which columns a table has, and how much stands in it."""

    columns: Sequence[Metric]
    compact: bool
    emphasised: bool
    hide: frozenset[str]

    @property
    def intervals(self) -> bool:
        return "intervals" not in self.hide


@dataclass(frozen=True)
class _Group:
    """Rows of one kind and, where we measured them, one protocol and one truth."""

    heading: str
    kind: Kind
    rows: Sequence[Row]


@dataclass(frozen=True)
class _Mark:
    """A sign beside published rows that are not like the measured ones."""

    sign: str
    meaning: str
    applies: Callable[[Row], bool]


def _is_of_other_size(row: Row) -> bool:
    """Whether the row states that it was scored on more or fewer images than the dataset has."""
    return row.total is not None and row.n != UNSTATED and leading_integer(row.n) != row.total


_MARKS = (
    _Mark("†", "uses a multimodal language model", lambda row: row.mllm == "yes"),
    _Mark("‡", "searches the web", lambda row: row.web == "yes"),
    _Mark("≈", "approximate", lambda row: "approximate" in (row.note + row.verified).lower()),
    _Mark("¶", "not verified against its source", lambda row: row.verified in ("unverified", UNSTATED)),
    _Mark("§", "scored on other than the full dataset", _is_of_other_size),
    _Mark("?", "does not state its protocol", lambda row: row.protocol == UNSTATED),
)


def _refuse_mixture(rows: Sequence[Row]) -> None:
    own = [row for row in rows if row.kind != "published"]
    if len({row.protocol for row in own}) > 1:
        raise UsageError(
            "rows of different protocols do not compare and are not put into one table",
            found="; ".join(f"{row.method}: {row.protocol}" for row in own),
            fix="score them under one protocol, or ask for a block each with --mix-protocols",
        )


def _with_total(rows: Sequence[Row]) -> list[Row]:
    """The rows, the published ones told the dataset's size where the measured ones know it."""
    totals = {row.total for row in rows if row.kind != "published" and row.total is not None}
    if len(totals) != 1:
        return list(rows)
    (total,) = totals
    is_untold = [row.kind == "published" and row.total is None for row in rows]
    return [replace(row, total=total) if untold else row for row, untold in zip(rows, is_untold, strict=True)]


def _groups(rows: Sequence[Row], columns: Sequence[Metric]) -> list[_Group]:
    groups = []
    several = len({row.truth for row in rows if row.kind != "published"}) > 1
    kinds: tuple[tuple[Kind, str], ...] = (("measured", ""), ("oracle", ", not ranked"))
    for kind, suffix in kinds:
        own = [row for row in rows if row.kind == kind]
        for protocol, truth in dict.fromkeys((row.protocol, row.truth) for row in own):
            members = [row for row in own if (row.protocol, row.truth) == (protocol, truth)]
            which = f"{protocol}, {_truth_name(members)}" if several else protocol
            groups.append(_Group(f"{kind} ({which}){suffix}", kind, members))
    published = [row for row in rows if row.kind == "published"]
    published = [row for row in published if any(row.value(metric.name) is not None for metric in columns)]
    if published:
        groups.append(_Group("published, not ranked", "published", published))
    return groups


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows of a block, of those that would read alike runs with their keys and published rows with sources.

    The source is behind the short name alone, as other tables have a column for it.
    """
    names = Counter(row.method for row in rows)

    def told(row: Row) -> Row:
        if names[row.method] == 1:
            return row
        if row.kind == "published":
            return replace(row, short=f"{row.method} [{row.source}]" if row.source else row.short)
        return replace(row, method=f"{row.method} [{row.run[:8]}]") if row.run else row

    return [told(row) for row in rows]


def _truth_name(rows: Sequence[Row]) -> str:
    """What tells the truth of some rows from another of the same name."""
    sizes = [f" of {row.total:,} photos" for row in rows if row.complete and row.total is not None]
    return f"truth {rows[0].truth[:8] or UNSTATED}{next(iter(sizes), '')}"


def _grid(groups: Sequence[_Group], shape: _Shape, title: str, notes: Sequence[str]) -> Grid:
    sourced = not shape.compact and "sources" not in shape.hide
    sourced = sourced and any(row.source for group in groups for row in group.rows)
    blocks = []
    for group in groups:
        ranks = [_emphasis(group, metric) for metric in shape.columns]
        lines = []
        for position, row in enumerate(group.rows):
            figures = [
                _figure(row, metric, rank[position], shape)
                for metric, rank in zip(shape.columns, ranks, strict=True)
            ]
            lines.append([_name(row, shape.compact), *([Cell(row.source)] if sourced else []), *figures])
        blocks.append(Block(group.heading, lines))
    names = ["method", "source"] if sourced else ["method"]
    below = [] if "notes" in shape.hide else [*_notes(groups, shape, notes)]
    headers = [*names, *(metric.label for metric in shape.columns)]
    return Grid(title, headers, len(names), blocks, below, shape.compact)


def _notes(groups: Sequence[_Group], shape: _Shape, notes: Sequence[str]) -> Iterator[str]:
    yield from _reading(groups, shape)
    yield from notes
    named = _named(groups, shape.compact)
    of: dict[str, list[str]] = {}
    for name, row in named:
        for note in _row_notes(row, shape.columns):
            of.setdefault(note, []).append(name)
    yield from (f"{', '.join(names)}: {note}" for note, names in of.items())
    if shape.intervals:
        yield from _cluster_notes(named, shape)
    if not shape.compact:
        yield from _circumstances(named)


def _named(groups: Sequence[_Group], compact: bool) -> list[tuple[str, Row]]:
    """All rows under the names that notes call them by, as long as they must be to tell them apart."""
    rows = [row for group in groups for row in group.rows]
    names = [_called(row, compact) for row in rows]
    marks: tuple[Callable[[Row], str], ...] = (
        lambda row: _label(row, compact).removeprefix(_called(row, compact)).strip(),
        lambda row: f"[{row.source if row.kind == 'published' else row.protocol}]",
        lambda row: f"[truth {row.truth[:8]}]" if row.truth else "",
    )
    for mark in marks:
        alike = Counter(names)
        names = [
            f"{name} {mark(row)}".rstrip() if alike[name] > 1 else name
            for name, row in zip(names, rows, strict=True)
        ]
    return list(zip(names, rows, strict=True))


def _called(row: Row, compact: bool) -> str:
    return row.short or row.method if compact else row.method


def _label(row: Row, compact: bool) -> str:
    label = _called(row, compact)
    if row.kind == "oracle":
        label += " (oracle)"
    if not row.complete:
        label += f" ({_extent(row)})"
    return label


def _name(row: Row, compact: bool) -> Cell:
    return Cell(_label(row, compact), marks="".join(mark.sign for mark in _marks(row)), run=row.run)


def _marks(row: Row) -> list[_Mark]:
    return [mark for mark in _MARKS if row.kind == "published" and mark.applies(row)]


def _extent(row: Row) -> str:
    return row.n if row.total is None else f"{row.n} of {row.total:,}"


def _figure(row: Row, metric: Metric, emphasis: Emphasis, shape: _Shape) -> Cell:
    estimate = row.cells.get(metric.name)
    if estimate is None or estimate.value is None:
        return Cell("–")
    interval = ""
    if shape.intervals and row.repeats and estimate.standard_error is not None:
        interval = f"±{_shown(estimate.standard_error, metric)}"
    elif shape.intervals and estimate.low is not None and estimate.high is not None:
        interval = f"[{_shown(estimate.low, metric)}, {_shown(estimate.high, metric)}]"
        if shape.compact:
            interval = f"±{_shown((estimate.high - estimate.low) / 2, metric)}"
    return Cell(_shown(estimate.value, metric), interval, emphasis, letters=row.letters.get(metric.name, ""))


def _shown(value: float, metric: Metric) -> str:
    return f"{value:.{metric.decimals}f}"


def _emphasis(group: _Group, metric: Metric) -> list[Emphasis]:
    """Best and second of one column, by what is displayed, so that equal figures look equal."""
    if not _is_ranked(group, metric):
        return ["" for _ in group.rows]
    shown = {position: float(_shown(value, metric)) for position, value in _contenders(group, metric)}
    order = sorted(set(shown.values()), reverse=not metric.lower_is_better)
    ranks: dict[float | None, Emphasis] = {order[0]: "best"}
    if len(order) > 1:
        ranks[order[1]] = "second"
    return [ranks.get(shown.get(position), "") for position in range(len(group.rows))]


def _contenders(group: _Group, metric: Metric) -> list[tuple[int, float]]:
    """Position and value of the rows that may be ranked."""
    values = [(position, row.value(metric.name)) for position, row in enumerate(group.rows) if row.complete]
    return [(position, value) for position, value in values if value is not None and group.kind == "measured"]


def _sizes(group: _Group, metric: Metric) -> set[int]:
    return {group.rows[position].cells[metric.name].n for position, _ in _contenders(group, metric)}


def _is_ranked(group: _Group, metric: Metric) -> bool:
    # A method that does not answer the hard images would win a mean over those it answered.
    return len(_contenders(group, metric)) > 1 and len(_sizes(group, metric)) == 1


def _has_interval(row: Row, columns: Sequence[Metric]) -> bool:
    return any(metric.name in row.cells and row.cells[metric.name].low is not None for metric in columns)


def _reading(groups: Sequence[_Group], shape: _Shape) -> Iterator[str]:
    """How to read the figures: units, emphasis, and the marks in use."""
    columns = shape.columns
    has_interval = any(_has_interval(row, columns) for group in groups for row in group.rows)
    percent = "Accuracies in percent" if any(metric.name.startswith("acc_") for metric in columns) else ""
    words = "± half the width of the 95 % interval" if shape.compact else "95 % intervals in brackets"
    brackets = words if shape.intervals and has_interval else ""
    if percent or brackets:
        yield "; ".join(part for part in (percent, brackets) if part) + "."
    if any(row.letters for group in groups for row in group.rows):
        yield (
            "Letters: rows of one protocol that share a letter in a column cannot be told apart "
            "(sign flips by photographer, Holm over pairs and radii, 5 %)."
        )
    if shape.emphasised and any(_is_ranked(group, metric) for group in groups for metric in columns):
        yield "Bold: best; underlined: second, among the complete measured rows of one protocol."
    for group in groups:
        if uneven := [metric.label for metric in columns if len(_sizes(group, metric)) > 1]:
            yield f"{group.heading}: {', '.join(uneven)} not ranked, over different numbers of images."
    used = [mark for mark in _MARKS if any(mark in _marks(row) for group in groups for row in group.rows)]
    if used:
        yield "; ".join(f"{mark.sign} {mark.meaning}" for mark in used) + "."


def _row_notes(row: Row, columns: Sequence[Metric]) -> Iterator[str]:
    """What a reader must know of one row before using its figures."""
    if _is_of_other_size(row) and row.kind == "published":
        yield f"n {row.n}"
    if not row.complete:
        yield f"partial: {_extent(row)}, not ranked"
    if row.counts and row.counts["ok"] < row.counts["total"]:
        parts = [f"{word} {row.counts[word]}" for word in STATUS[1:] if row.counts[word]]
        yield f"total {row.counts['total']}: scored {row.counts['ok']}, {', '.join(parts)}"
    size = row.counts["total"] if row.counts else leading_integer(row.n)
    for metric in columns:
        own_n = row.cells[metric.name].n if row.value(metric.name) is not None else size
        if row.kind != "published" and size is not None and own_n != size:
            yield f"{metric.label} over {own_n} of {size} images"
    if row.present:
        figures = [(metric, row.present.values.get(metric.name)) for metric in columns]
        listed = ", ".join(
            f"{metric.label} {_shown(value, metric)}" for metric, value in figures if value is not None
        )
        yield f"over the {row.present.n} images present: {listed} (ids {row.present.ids_sha256[:12]})"
    yield from row.footnotes


def _cluster_notes(named: Sequence[tuple[str, Row]], shape: _Shape) -> Iterator[str]:
    """What the intervals were resampled over, once where it is the same for all rows."""
    lines: dict[str, list[str]] = {}
    for name, row in named:
        if row.kind != "published" and _has_interval(row, shape.columns):
            is_clustered = row.clusters and not row.clusters.startswith("unclustered")
            line = f"cluster bootstrap, {row.clusters}" if is_clustered else row.clusters or "unclustered"
            lines.setdefault(line, []).append(name)
    for line, methods in lines.items():
        owners = "" if len(lines) == 1 else f"{'; '.join(methods)}: "
        yield f"{owners}95 % intervals: {line}"


def _circumstances(named: Sequence[tuple[str, Row]]) -> Iterator[str]:
    """Under what each row was measured, where it says so and is not the usual."""
    columns: tuple[tuple[str, Callable[[Row], str], set[str]], ...] = (
        ("published under", lambda row: row.protocol if row.kind == "published" else UNSTATED, set()),
        ("views", lambda row: row.views, {"1"}),
        ("author filter", lambda row: row.author_filter, {"no"}),
        ("gallery", lambda row: row.gallery, {"none"}),
    )
    for label, value_of, usual in columns:
        for value in sorted({value_of(row) for _, row in named} - usual - {UNSTATED, ""}):
            yield f"{label} {value}: {'; '.join(name for name, row in named if value_of(row) == value)}"
