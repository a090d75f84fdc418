"""A site of leaderboards: pages of every stored run with reports beside them, for a web server or a disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ...artifacts import check_writable, listed_files, new_folder, safe_name, write_atomic
from ...errors import HarnessError, UsageError
from ...evaluation import PROTOCOLS, get_protocol
from ...home import command
from ...progress import log
from ...running import radii_of, survey_runs
from ..tables.measured import compared_rows, scored_by
from .leaderboard import INDEX, Board, Edition, board_page, board_rows, index_page
from .prose import leakage
from .report import ReportOptions, published_rows, render_report

if TYPE_CHECKING:
    from ...plugins import Registry
    from ...running import Run
    from ..tables import Row

KIND = "site"
"""What the list of its files calls such a folder."""

MOST_RUNS = 20
MOST_ANSWERS = 2_000_000
"""In one report, so that a browser opens it; of more runs there are several, the best in the first."""


def iter_site(folder: Path) -> Iterator[Path]:
    """Every file of a folder that `write_site` has written, its list last; none of another folder."""
    yield from listed_files(folder, KIND)


def write_site(
    root: Path,
    registry: Registry,
    path: Path,
    options: ReportOptions,
    *,
    reports: bool = True,
    overwrite: bool = True,
) -> Path:
    """Write leaderboards of all runs under `root` as a folder of pages, whole or not at all.

    A page for each dataset, truth and protocol: that of the dataset, those that any of its runs has been
    scored by, or all with `every_protocol`; each measures all runs. Equal runs give equal files. Runs that
    are damaged are said and logged. Returns the path of the index. UsageError where no run is stored, and
    as of `artifacts.new_folder`.
    """
    runs, damaged = survey_runs(root)
    if not runs and not damaged:
        fix = command(["run", "METHOD", "DATASET"], root)
        raise UsageError(f"there is no finished run under '{root}'", fix=fix)
    for one in damaged:
        log.warning("run left out, it is damaged: '%s': %s", one.folder, one.found)
    left_out = [f"{one.folder.relative_to(root).as_posix()}: {one.found}" for one in damaged]
    with new_folder(path, KIND, overwrite=overwrite) as folder:
        editions = _editions(runs, left_out, registry)
        boards = [board for edition in editions for board in _boards(edition, registry, options)]
        for number, edition in enumerate(editions, 1):
            log.info("%d of %d: %s, runs: %d", number, len(editions), edition.dataset, len(edition.runs))
            check_writable(folder / edition.folder)
            _write_edition(folder / edition.folder, edition, boards, registry, options, reports)
        words = ["pinpoint", "site", *options.words(), *["--no-reports"] * (not reports)]
        write_atomic(folder / INDEX, index_page(boards, left_out, shlex.join(words)).encode())
    return path / INDEX


def _editions(runs: Sequence[Run], left_out: Sequence[str], registry: Registry) -> list[Edition]:
    """The runs by dataset and truth; real datasets first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.record["recipe"]["dataset_hash"]), []).append(run)
    taken: set[str] = set()
    editions = []
    for (dataset, truth), group in sorted(groups.items()):
        entry = registry.datasets.get(group[0].registered_dataset)
        stored = group[0].record["dataset"]
        folder = _free_name(f"{safe_name(dataset)}-{truth[:8]}", taken)
        mine = [line for line in left_out if line.startswith(f"{safe_name(dataset)}/")]
        editions.append(
            Edition(
                dataset=dataset,
                title=stored["title"],
                truth_hash=truth,
                photos=stored["rows"],
                notes=tuple(stored["notes"]),
                procedural=entry is not None and entry.info.procedural,
                default_protocol=stored["default_protocol"],
                radii_km=radii_of(group),
                folder=folder,
                runs=tuple(group),
                left_out=tuple(mine),
            )
        )
    return sorted(editions, key=lambda edition: edition.procedural)


def _free_name(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it: two datasets may be spelled alike as folders."""
    numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
    free = next(one for one in numbered if one.casefold() not in taken)
    taken.add(free.casefold())
    return free


def _boards(edition: Edition, registry: Registry, options: ReportOptions) -> list[Board]:
    """A leaderboard for each protocol, the dataset's own first."""
    scored = {name for run in edition.runs for name in scored_by(run)}
    others = [name for name in PROTOCOLS if options.every_protocol or name in scored]
    protocols = list(dict.fromkeys([edition.default_protocol, *others]))
    rows, _ = compared_rows(edition.runs, protocols, all_scored=False)
    published = published_rows(edition.dataset, registry) if options.published else []
    return [
        Board(
            edition,
            get_protocol(name),
            board_rows([row for row in rows if row.protocol == name], published, name),
        )
        for name in protocols
    ]


def _write_edition(
    folder: Path,
    edition: Edition,
    boards: Sequence[Board],
    registry: Registry,
    options: ReportOptions,
    reports: bool,
) -> None:
    """Reports first, since the pages of leaderboards lead to those that there are."""
    mine = [board for board in boards if board.edition is edition]
    shown: dict[str, Sequence[Run]] = {}
    for number, runs in enumerate(report_parts(edition, mine[0].rows) if reports else [], 1):
        name = "report.html" if number == 1 else f"report-{number}.html"
        try:
            page = render_report(runs, registry, options)
        except HarnessError as error:
            log.warning("no report of %s: %s", edition.dataset, " ".join(str(error).split()))
            continue
        write_atomic(folder / name, page)
        shown[name] = runs
    leaks = leakage(edition.dataset, edition.truth_hash, options.audits)
    siblings = [board for board in boards if board.edition.dataset == edition.dataset]
    for board in mine:
        write_atomic(folder / board.page, board_page(board, siblings, shown, leaks).encode())


def report_parts(edition: Edition, rows: Sequence[Row]) -> list[list[Run]]:
    """The runs of each report, the best last, which a report shows first; oracles with the best."""
    place = {row.run: (not row.complete, at) for at, row in enumerate(rows) if row.run}
    methods = sorted((run for run in edition.runs if not run.oracle), key=lambda run: place[run.key])
    size = max(2, min(MOST_RUNS, MOST_ANSWERS // max(edition.photos, 1)))
    parts = [methods[start : start + size][::-1] for start in range(0, len(methods), size)]
    if parts:
        parts[0] = [*(run for run in edition.runs if run.oracle), *parts[0]]
    return parts
