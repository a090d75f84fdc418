"""Tables and pictures of runs, as objects that a notebook shows."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ..errors import UsageError
from ..evaluation import ADMIN_METRICS, DISTRIBUTION_METRICS, metric_names
from ..home import Home, command, find_home
from ..plugins import Registry, load_registry
from ..progress import log
from .measure import data_location, read_run
from .python_words import speaks_python

if TYPE_CHECKING:
    from ..reports.tables import Format, Row
    from ..reports.tables.choice import Choice
    from ..running import Run

PlotKind = Literal["cdf", "map", "sheet", "recall-area"]


@dataclass(frozen=True)
class Table:
    """The rows of one dataset: text where it is printed, HTML in a notebook, numbers by `to_frame`."""

    rows: Sequence[Row]
    title: str
    notes: Sequence[str]
    radii_km: Sequence[float]
    choice: Choice
    intervals: bool = True
    mix_protocols: bool = False

    def text(
        self, format: Format = "text", *, compact: bool = False, width: int = 100, styled: bool = False
    ) -> str:
        """The table as `text` of at most `width` columns, `md`, `latex`, `csv`, `html` or `html-part`.

        `compact` is for one column of a paper, `styled` text has the styles of a terminal.
        """
        from ..reports.tables import render

        return render(
            self.rows,
            self.choice.metrics(_usual(self.radii_km, compact or format == "text")),
            format,
            title=self.title,
            intervals=self.intervals,
            notes=self.notes,
            mix_protocols=self.mix_protocols,
            sort=self.choice.order,
            hide=self.choice.hide,
            compact=compact,
            width=width,
            styled=styled,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the table, figures unrounded, with their intervals."""
        return pd.read_csv(io.StringIO(self.text("csv")))

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.text("html-part")


@speaks_python
def table(
    dataset: str,
    *,
    published: bool = False,
    published_files: Sequence[str | Path] = (),
    protocol: str | None = None,
    mix_protocols: bool = False,
    admin: str | None = None,
    compare: bool = False,
    exclude: str | Path | None = None,
    radii_km: Sequence[float] | None = None,
    runs: Sequence[Run | str] = (),
    methods: Sequence[str] = (),
    columns: Sequence[str] = (),
    sort: str = "geoscore",
    rename: Mapping[str, str] | None = None,
    hide: Collection[str] = (),
    mean_over: str | None = None,
    intervals: bool = True,
    home: Home | str | Path | None = None,
    registry: Registry | None = None,
) -> Table:
    """A table of stored runs of a dataset, as `pinpoint table` prints it.

    `published` adds the rows of the literature, `published_files` rows of your own in the same columns.
    `protocol` measures every run by that one; with `mix_protocols` each protocol gets a block. `admin` adds
    administrative accuracy by a preset, `compare` letters that full runs share which cannot be told apart.
    `exclude` is the file of an audit, `FILE` or `FILE:KIND,...`, whose photos are left out.

    All runs stand in it, or the named `runs` and those of `methods`; `columns` are metrics such as `25km`,
    `sort` one of them or `method`. `rename` gives rows other names, `hide` leaves out `oracles`, `partial`,
    `notes`, `intervals` or `sources`, and `mean_over` takes runs that differ in that parameter alone as one.
    UsageError where there is no row.

    Examples:
        >>> from pinpoint_harness import evaluate
        >>> run = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
        >>> shown = table("capitals", intervals=False)
        >>> print(shown.to_frame()["method"].item())
        constant (latitude=15.5, longitude=32.56)
    """
    from ..reports.tables import HIDDEN
    from ..reports.tables.choice import choose

    choice = choose(HIDDEN, methods, columns, sort, rename or {}, hide, mean_over)
    return chosen_table(
        dataset,
        choice,
        published=published,
        published_files=published_files,
        protocol=protocol,
        mix_protocols=mix_protocols,
        admin=admin,
        compare=compare,
        exclude=exclude,
        radii_km=radii_km,
        runs=runs,
        intervals=intervals,
        home=find_home(home),
        registry=registry or load_registry(),
    )


def chosen_table(
    dataset: str,
    choice: Choice,
    *,
    published: bool,
    published_files: Sequence[str | Path],
    protocol: str | None,
    mix_protocols: bool,
    admin: str | None,
    compare: bool,
    exclude: str | Path | None,
    radii_km: Sequence[float] | None,
    runs: Sequence[Run | str],
    intervals: bool,
    home: Home,
    registry: Registry,
) -> Table:
    """`table`, where it has been chosen which rows and columns it shows."""
    from ..audit.result import read_part
    from ..reports.tables.measured import dataset_info, measured_rows
    from ..reports.tables.published import published_datasets, read_published, with_other_radii

    info = dataset_info(registry, dataset, home.runs)
    radii_km = choice.radii_km(info.radii_km if radii_km is None else radii_km)
    rows = measured_rows(
        home.runs,
        dataset,
        protocol=protocol,
        mix_protocols=mix_protocols,
        admin=admin,
        letters=compare,
        radii_km=radii_km,
        part=None if exclude is None else read_part(str(exclude)),
        choose=lambda stored: choice.among(_named(stored, runs, home)),
        mean_over=choice.mean_over,
        beside=choice.distributions,
    )
    if published or published_files:
        extra = [Path(file) for file in published_files]
        literature = read_published(dataset, extra=extra, total=info.expected_rows)
        if not literature:
            names = ", ".join(published_datasets())
            log.warning("no published rows of '%s' are known; there are some of %s", dataset, names)
        rows += [with_other_radii(row, radii_km) for row in choice.published(literature)]
    if not rows:
        raise UsageError(
            f"there is nothing to put in a table of '{dataset}'",
            found=f"no finished run under '{home.runs}'",
            fix=f"{command(['run', 'METHOD', dataset], home.runs)}; or add --published",
        )
    choice.check_order(rows)
    notes = [*info.notes, *choice.notes_on(rows)]
    return Table(choice.renamed(rows), info.title, notes, radii_km, choice, intervals, mix_protocols)


def _usual(radii_km: Sequence[float], compact: bool) -> list[str]:
    """The metrics of a table where none are chosen: without distances where there is little room."""
    names = metric_names(radii_km)
    distances = ("mean_km", "median_km")
    return [
        *(name for name in names if not (compact and name in distances)),
        *ADMIN_METRICS,
        *DISTRIBUTION_METRICS,
    ]


def _named(stored: list[Run], named: Sequence[Run | str], home: Home) -> list[Run]:
    """Those of the stored runs that are named; UsageError for one of another dataset."""
    if not named:
        return stored
    folders = {run.folder.resolve(): run for run in stored}
    chosen = []
    for one in named:
        folder = (read_run(one, home=home) if isinstance(one, str) else one).folder.resolve()
        if folder not in folders:
            raise UsageError(f"'{one}' is a run of another dataset", found=str(folder))
        chosen.append(folders[folder])
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib (`figure`) that a notebook shows and `save` writes."""

    figure: Any  # only `reports` imports what draws it

    def _repr_png_(self) -> bytes:
        from ..reports.pictures import encoded

        return encoded(self.figure, "png")

    @speaks_python
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it as PNG, PDF or SVG by its suffix, whole or not at all.

        UsageError for another suffix, and where another picture is there already without `overwrite`.
        """
        from ..reports.pictures import Drawing

        path = Path(path)
        Drawing(overwrite=overwrite).write(self.figure, path)
        return path


@speaks_python
def plot(
    runs: Run | str | Sequence[Run | str],
    kind: PlotKind = "cdf",
    *,
    rows: int = 8,
    worst: bool = False,
    seed: int = 0,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    images: Sequence[str | Path] = (),
    follow_links: bool = False,
    home: Home | str | Path | None = None,
    registry: Registry | None = None,
) -> Picture:
    """Draw runs of one dataset: error curves of all (`cdf`), a `map` of one's errors, a `sheet` of queries,
    or `recall-area` of their candidates.

    Runs are given as `evaluate` returns them or named as on the command line. A sheet shows `rows` queries
    with their candidates, by chance (`seed`) or the farthest answers (`worst`), which a map joins with the
    truth. Where the pictures lie is said as for `evaluate`.

    Examples:
        >>> from pinpoint_harness import evaluate
        >>> run = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
        >>> plot(run, "map").figure.axes[0].get_title()
        '...'
    """
    from ..reports.area_plot import recall_area
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.run_plots import candidate_sheet, check_one_dataset, choose_rows, error_cdf, error_map

    named = [runs] if not isinstance(runs, Sequence) or isinstance(runs, str) else list(runs)
    found = [read_run(run, home=home) if isinstance(run, str) else run for run in named]
    check_one_dataset(found)
    if kind == "cdf":
        return Picture(error_cdf(found))
    if kind == "recall-area":
        return Picture(recall_area(found))
    if kind not in ("map", "sheet"):
        raise UsageError(f"there is no kind of picture '{kind}'", fix="one of: cdf, map, sheet, recall-area")
    if len(found) != 1:
        raise UsageError(f"a {kind} shows one run", found=f"{len(found)} runs", fix="draw one after another")
    (run,) = found
    if kind == "map":
        return Picture(error_map(run, lines=rows if worst else 0))
    error_km = run.predictions()["error_km"].to_numpy(dtype=float)
    chosen = choose_rows(error_km, rows, worst=worst, seed=seed)
    place = data_location(data, columns, images, follow_links)
    return Picture(candidate_sheet(PhotoLookup(run, registry or load_registry(), place), chosen))
