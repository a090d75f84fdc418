"""From stored runs to the rows of a table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import DataError, UsageError
from ...evaluation import (
    ADMIN_PRESETS,
    DISTRIBUTIONS,
    PROTOCOLS,
    Comparison,
    Estimate,
    Part,
    Scores,
    compare,
    score_run,
)
from ...evaluation.score_files import has_score, read_scores
from ...home import command
from ...plugins import Registry
from ...running import Run, iter_runs, nothing_to_average, radii_of, repeats, survey_runs, value_of
from ...types import DatasetInfo
from .names import short_names
from .row import Present, Row

log = logging.getLogger(__name__)


def measured_rows(
    root: Path,
    dataset: str,
    *,
    protocol: str | None = None,
    mix_protocols: bool = False,
    admin: str | None = None,
    letters: bool = False,
    radii_km: Sequence[float] | None = None,
    part: Part | None = None,
    choose: Callable[[list[Run]], list[Run]] = list,
    mean_over: str | None = None,
    beside: Collection[str] = (),
) -> list[Row]:
    """One row per finished run of a dataset, or per those that `choose` leaves, all by one protocol.

    Without `protocol` it is the one every run has been scored by, the dataset's own if several;
    with `mix_protocols` each run gives a row for every protocol it has been scored by. `admin`
    adds the stored administrative accuracy of one preset. `letters` compares the full runs of each
    protocol pair by pair and says which cannot be told apart. With `part` every run is scored on
    those photos alone, and no row is ranked. Runs that differ in the parameter `mean_over` alone become
    one row, their mean. Of `DISTRIBUTIONS` a row has what is stored, and those `beside` are measured.
    """
    if part is not None and (admin or letters):
        raise UsageError(
            f"a table {part.title} has no letters and no place names",
            fix="pinpoint compare and pinpoint score take the same --exclude",
        )
    runs = choose(sorted(iter_runs(root, dataset), key=_title_order))
    shorts = dict(zip(runs, short_names(runs, mean_over), strict=True))
    radii_km = radii_of(runs) if radii_km is None else radii_km
    if protocol is None and not mix_protocols and runs:
        protocol = _common_protocol(runs)
    if protocol is not None and protocol in DISTRIBUTIONS:
        runs = _with_a_distribution(runs, protocol, part)
    rows, origin = [], []
    for run in runs:
        for name in [protocol] if protocol else scored_by(run):
            places = score_run(run, admin) if admin and admin in scored_by(run, ADMIN_PRESETS) else None
            row = _row(run, score_run(run, name, radii_km=radii_km, part=part), places)
            rows.append(replace(_with_distributions(row, run, beside, part), short=shorts[run]))
            origin.append(run)
    if admin and rows and not any(scored_by(run, ADMIN_PRESETS) for run in runs):
        raise UsageError(
            f"no run of '{dataset}' has been scored by '{admin}'",
            fix=command(["score", runs[0].key, "--protocol", admin, "--data", "PATH"], root),
        )
    if letters:
        rows = _with_letters(rows, origin, radii_km, mean_over)
    return rows if mean_over is None else _means(rows, origin, mean_over)


def _with_a_distribution(runs: list[Run], preset: str, part: Part | None) -> list[Run]:
    """The runs that can be measured so; the others are named. DataError where none can be."""
    able: list[Run] = []
    lacking: dict[Run, DataError] = {}
    for run in runs:
        try:
            score_run(run, preset, part=part)
        except DataError as error:
            lacking[run] = error
        else:
            able.append(run)
    if lacking and not able:
        raise next(iter(lacking.values()))
    for run, why in lacking.items():
        log.warning("'%s' is left out: %s", run.title, why.problem)
    return able


def _with_distributions(row: Row, run: Run, asked: Collection[str], part: Part | None) -> Row:
    """The row with what is stored or asked for of the run's candidates and density, or why there is none."""
    stored = [] if part is not None else scored_by(run, DISTRIBUTIONS)
    for preset in DISTRIBUTIONS:
        if preset not in asked and preset not in stored:
            continue
        try:
            found = score_run(run, preset, part=part)
        except DataError as error:
            row = replace(row, footnotes=(*row.footnotes, error.problem))
        else:
            row = replace(row, cells={**row.cells, **found.estimates})
    return row


def dataset_info(registry: Registry, dataset: str, root: Path) -> DatasetInfo:
    """What a dataset is, also one that only runs know, by the name that `--as` gave it."""
    run = None if dataset in registry.datasets else next(iter(survey_runs(root, dataset)[0]), None)
    if run is None:
        return registry.dataset(dataset).info
    info = registry.dataset(run.registered_dataset).info
    return replace(info, title=f"{dataset}: {info.title}")


def compared_rows(
    runs: Sequence[Run], protocols: Sequence[str], *, all_scored: bool = True
) -> tuple[list[Row], dict[str, Comparison]]:
    """A row for each run and protocol, with letters, and the comparison of the full runs by protocol.

    All are measured within the radii of their dataset. Short names are those that tell these runs apart.
    With `all_scored` a run has rows for the other protocols it has been scored by as well. Medians are
    not tested.
    """
    rows: list[Row] = []
    found: dict[str, Comparison] = {}
    radii_km = radii_of(runs)
    shorts = dict(zip(runs, short_names(runs), strict=True))
    named = {name: list(runs) for name in protocols}
    for name in PROTOCOLS:
        if all_scored and name not in named and (scored := [run for run in runs if name in scored_by(run)]):
            named[name] = scored
    for name, mine in named.items():
        lines = [
            replace(_compared(run, score_run(run, name, radii_km=radii_km)), short=shorts[run])
            for run in mine
        ]
        ranked = [at for at, row in enumerate(lines) if row.kind == "measured" and row.complete]
        if len(ranked) > 1:
            found[name] = compare(
                [mine[at] for at in ranked], protocol=name, radii_km=radii_km, test_medians=False
            )
            for at, title in zip(ranked, found[name].names, strict=True):
                letters = {metric: by_name[title] for metric, by_name in found[name].letters.items()}
                lines[at] = replace(lines[at], letters=letters)
        rows += lines
    return rows, found


def _compared(run: Run, scores: Scores) -> Row:
    return _with_distributions(_row(run, scores, None), run, (), None)


def _title_order(run: Run) -> tuple[str, list[tuple[str, str]], str]:
    """By what a reader sees, so that rows stand in the same order whatever is in their keys."""
    shown = run.record["shown_parameters"]
    return run.label, sorted((name, str(value)) for name, value in shown.items()), run.folder.name


def _means(rows: Sequence[Row], origin: Sequence[Run], mean_over: str) -> list[Row]:
    """A row for each group of repeats and protocol, where its first stood."""
    found = dict(zip(((run, row.protocol) for run, row in zip(origin, rows, strict=True)), rows, strict=True))
    means = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        runs = [run for run in origin if (run, protocol) in found]
        for group in repeats(list(dict.fromkeys(runs)), mean_over):
            values = [value_of(run, mean_over) for run in group]
            means.append(_mean([found[run, protocol] for run in group], mean_over, values))
    if len(means) == len(rows):
        raise nothing_to_average((row.method for row in rows), mean_over)
    return means


def _mean(rows: Sequence[Row], mean_over: str, values: Sequence[str]) -> Row:
    if rows[0].kind == "oracle":
        return rows[0]
    if len(rows) == 1:
        footnote = f"one run ({mean_over} {values[0]}): no spread, but its 95 % interval"
        return replace(rows[0], footnotes=(*rows[0].footnotes, footnote))
    cells = {
        metric: _mean_estimate([row.cells[metric] for row in rows])
        for metric in rows[0].cells
        if all(row.value(metric) is not None for row in rows)
    }
    same = all(row.counts == rows[0].counts for row in rows)
    short = rows[0].short.partition(" [")[0]
    footnote = f"mean ± standard deviation over {len(rows)} runs, {mean_over} {', '.join(values)}"
    return replace(
        rows[0],
        method=f"{short} (mean of {len(rows)})",
        short=short,
        cells=cells,
        counts=rows[0].counts if same else {},
        present=None,
        run="",
        footnotes=(*dict.fromkeys(note for row in rows for note in row.footnotes), footnote),
        repeats=tuple(values),
    )


def _mean_estimate(cells: Sequence[Estimate]) -> Estimate:
    values = np.array([cell.value for cell in cells], dtype=np.float64)
    return Estimate(float(values.mean()), float(values.std(ddof=1)), None, None, cells[0].n)


def _with_letters(
    rows: Sequence[Row], origin: Sequence[Run], radii_km: Sequence[float], mean_over: str | None
) -> list[Row]:
    """The rows, the ranked ones of each protocol and truth compared with one another."""
    lettered = list(rows)
    for protocol, truth in dict.fromkeys((row.protocol, row.truth) for row in rows):
        ranked = [
            index
            for index, row in enumerate(rows)
            if (row.protocol, row.truth, row.kind) == (protocol, truth, "measured") and row.complete
        ]
        runs = [origin[index] for index in ranked]
        groups = [[run] for run in runs] if mean_over is None else repeats(runs, mean_over)
        if len(groups) < 2:
            continue
        found = compare(runs, protocol=protocol, radii_km=radii_km, mean_over=mean_over)
        name_of = {run: name for group, name in zip(groups, found.names, strict=True) for run in group}
        for index in ranked:
            name = name_of[origin[index]]
            mine = {metric: letters[name] for metric, letters in found.letters.items()}
            lettered[index] = replace(rows[index], letters=mine)
    return lettered


def _common_protocol(runs: Sequence[Run]) -> str:
    scored = {run: scored_by(run) for run in runs}
    default = str(runs[0].record["dataset"]["default_protocol"])
    common = set.intersection(*(set(names) for names in scored.values()))
    if default in common or not any(scored.values()):
        return default
    if len(common) == 1:
        return common.pop()
    listing = "; ".join(f"{run.title}: {', '.join(names) or 'none'}" for run, names in scored.items())
    raise UsageError(
        "these runs have not all been measured by one protocol",
        found=listing,
        fix=f"--protocol {default} measures all of them by it, --mix-protocols shows a block for each",
    )


def scored_by(run: Run, names: Iterable[str] = PROTOCOLS) -> list[str]:
    """Which of these protocols or presets a run has been scored by, at its dataset's radii."""
    return [name for name in names if _is_scored_by(run, name)]


def _is_scored_by(run: Run, name: str) -> bool:
    """Whether there is a score that can be given, be it made again because it is damaged or of before.

    Only protocols measure any run: another run's candidates say nothing of this one's, and place names,
    without which their score is not made again, are not in the run.
    """
    if name in PROTOCOLS:
        return has_score(run, name)
    return any(name in DISTRIBUTIONS or "of" in stored for stored in read_scores(run, name))


def _row(run: Run, scores: Scores, places: Scores | None) -> Row:
    method, record = run.record["method"], run.record
    present = None
    if scores.present is not None:
        values = {name: item.value for name, item in scores.present.items() if item.value is not None}
        present = Present(scores.present_rows, scores.present_ids_sha256, values)
    footnotes = [*record["notes"], *([f"asked about {run.partial}"] if run.partial else [])]
    if scores.part:
        footnotes.append(f"scored on {scores.part}")
    if places is not None:
        footnotes.append(f"place names by {places.protocol}")
    return Row(
        method=run.title,
        cells={**scores.estimates, **(places.estimates if places else {})},
        kind="oracle" if run.oracle else "measured",
        protocol=scores.protocol,
        source=method.get("paper", ""),
        mllm=method.get("mllm", "no"),
        web=method.get("web", "no"),
        views=str(method.get("views", "?")),
        n=str(scores.counts["total"]),
        gallery=method.get("gallery", "?"),
        author_filter=method.get("author_filter", "?"),
        verified="measured",
        total=record["dataset"]["expected_rows"] or record["dataset"]["rows"],
        complete=run.partial is None and not scores.part,
        counts=scores.counts,
        clusters=scores.clusters,
        present=present,
        footnotes=tuple(footnotes),
        truth=record["recipe"]["dataset_hash"],
        run=run.key,
    )
