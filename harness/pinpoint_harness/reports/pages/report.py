"""A report of runs: sections of one dataset each, put together into one self-contained page."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...artifacts import write_new
from ...errors import UsageError
from ...evaluation import ADMIN_METRICS, DISTRIBUTION_METRICS, PROTOCOLS, Comparison, metric_names
from ...types import DataLocation
from ..photo_lookup import PhotoLookup
from ..support import Support
from ..tables.measured import compared_rows
from ..tables.published import read_published
from . import figures
from .cases import Pictures, case_data, choose_cases
from .controls import build_controls, connect
from .document import render_page
from .figures import Figures
from .layout import page_body, section_html
from .measures import measure
from .section import Section, build_section
from .table import best_first, table_html
from .text import script_json

if TYPE_CHECKING:
    from ...plugins import Registry
    from ...running import Run
    from ...types import Floats
    from ..tables import Row

TITLE = "pinpoint report: "
_HEAD_BYTES = 2_000

PICTURES = 900
"""Small pictures in a report, of all sections together."""


def table_metrics(radii_km: Sequence[float]) -> tuple[str, ...]:
    """The columns of a page's table of runs, as far as a row has them."""
    return (*metric_names(radii_km), *ADMIN_METRICS, *DISTRIBUTION_METRICS)


@dataclass(frozen=True)
class ReportOptions:
    """What a report holds: `protocol` None is each dataset's own, `pictures` the most of them, 0 for none.

    `location` is where the files of the runs' dataset lie, `audits` the folder of audits.
    """

    protocol: str | None = None
    every_protocol: bool = False
    published: bool = True
    pictures: int = PICTURES
    location: DataLocation = field(default_factory=DataLocation)
    audits: Path = Path()

    def words(self) -> list[str]:
        """The options of the command line that say what pages hold."""
        words = ["--all-protocols"] * self.every_protocol + ["--no-published"] * (not self.published)
        if self.pictures != PICTURES:
            words += ["--pictures", str(self.pictures)] if self.pictures else ["--no-pictures"]
        return words


def iter_reports(folder: Path) -> Iterator[Path]:
    """Every page of a folder that `write_report` has written, ordered by name."""
    mark = f"<title>{TITLE}".encode()
    for path in sorted(folder.glob("*.html")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if mark in file.read(_HEAD_BYTES):
                    yield path


def write_report(
    runs: Sequence[Run], registry: Registry, path: Path, options: ReportOptions, *, overwrite: bool = True
) -> None:
    """Write the page of these runs, whole or not at all.

    UsageError as of `render_report`, and where another file has the name, unless that may be overwritten.
    """
    write_new(path, render_report(runs, registry, options), overwrite)


def render_report(runs: Sequence[Run], registry: Registry, options: ReportOptions) -> bytes:
    """The page of these runs: equal runs give equal bytes.

    UsageError where no run is given, one is given twice, or all of a dataset are oracles.
    """
    groups = _grouped(runs, options)
    found = Figures()
    share = options.pictures // len(groups)
    command = _command(runs, options)
    bodies = [
        _section(f"s{number}", group, registry, options, share, found, command)
        for number, group in enumerate(groups)
    ]
    found.ready.append(figures.theme(found))
    title = TITLE + ", ".join(dict.fromkeys(run.dataset for run in runs))
    return render_page(title, page_body(groups, bodies), found.roots, found.ready).encode()


def _grouped(runs: Sequence[Run], options: ReportOptions) -> list[list[Run]]:
    """The runs by dataset and truth, in the order given."""
    if not runs:
        raise UsageError("a report needs a run", fix="pinpoint runs list shows them")
    folders = Counter(run.folder.resolve() for run in runs)
    if again := [folder for folder, times in folders.items() if times > 1]:
        raise UsageError(f"the run '{again[0]}' is named twice", fix="name each run once")
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.record["recipe"]["dataset_hash"]), []).append(run)
    if len(groups) > 1 and options.location != DataLocation():
        raise UsageError(
            "--data, --column and --images are of one dataset",
            found=", ".join(name for name, _ in groups),
            fix="make a report for each dataset, or set PINPOINT_DATA",
        )
    for (name, _), group in groups.items():
        if all(run.oracle for run in group):
            raise UsageError(f"all runs of '{name}' are oracles", fix="give a run of a method beside them")
    return list(groups.values())


def _command(runs: Sequence[Run], options: ReportOptions) -> str:
    keys = Counter(run.key for run in runs)
    # Runs that differ in their names alone have one key.
    named = [run.key if keys[run.key] == 1 else f"{run.label}@{run.dataset}" for run in runs]
    words = ["pinpoint", "report", *named]
    words += [] if options.protocol is None else ["--protocol", options.protocol]
    return shlex.join([*words, *options.words()])


def _section(
    element: str,
    runs: Sequence[Run],
    registry: Registry,
    options: ReportOptions,
    pictures: int,
    found: Figures,
    command: str,
) -> str:
    """The HTML of one dataset; its figures go into `found`."""
    support = Support.of(runs, registry)

    @functools.cache
    def truth() -> Any:
        return registry.open_dataset(runs[0].registered_dataset, options.location).truth()

    def points() -> Floats:
        if not support.points:
            raise UsageError("no gallery of these runs is here")
        return np.concatenate(list(support.points.values()))

    section = build_section(runs, options.protocol, truth, points)
    table, comparison = _table(element, section, registry, options)
    measures = measure(section, comparison)
    controls = build_controls(section, element)
    plot = figures.draw_map(found, controls, section.radii_km)
    figures.draw_curves(found, controls, measures, section)
    if comparison is not None:
        figures.draw_differences(found, controls, measures)
    figures.draw_breakdown(found, controls, measures)
    if measures.calibrations:
        figures.draw_calibration(found, controls, measures)
    keys = [column.run.key for column in section.columns]
    found.ready += connect(controls, keys, section.radii_km, plot.x_range, plot.y_range)
    names = (*controls.widgets, "place", "colour", "order", "by")
    widgets = {**controls.widgets, **{name: getattr(controls, name) for name in names[-4:]}}
    found.roots.update({f"{element}-{name}": widget for name, widget in widgets.items()})
    small = Pictures(pictures)
    lookups = [PhotoLookup(column.run, registry, options.location) for column in section.columns]
    cases = case_data(section, choose_cases(section), lookups, support, small)
    return section_html(
        element,
        section,
        table=table,
        filters=list(controls.widgets),
        measures=measures,
        comparison=comparison,
        held=(len(small.addresses), len(cases), options.pictures),
        data=script_json({"pictures": small.addresses, "cases": cases}),
        audits=options.audits,
        command=command,
    )


def _table(
    element: str, section: Section, registry: Registry, options: ReportOptions
) -> tuple[str, Comparison | None]:
    main = section.protocol.name
    protocols = [main, *(name for name in PROTOCOLS if name != main)] if options.every_protocol else [main]
    rows, comparisons = compared_rows(section.runs, protocols)
    rows = best_first(rows)
    if options.published:
        rows += published_rows(section.dataset, registry)
    table = table_html(
        f"{element}-table", rows, table_metrics(section.radii_km), section.title, section.notes
    )
    return table, comparisons.get(main)


def published_rows(dataset: str, registry: Registry) -> list[Row]:
    """The rows of the literature for a dataset; none for one that is not registered here."""
    entry = registry.datasets.get(dataset)
    return [] if entry is None else read_published(dataset, total=entry.info.expected_rows)
