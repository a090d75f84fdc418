"""Tables and pictures of runs, as objects that a notebook shows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ..artifacts import write_atomic
from ..errors import UsageError
from ..evaluation import ADMIN_METRICS, metric_names
from ..home import Home, command, find_home
from ..plugins import Registry, load_registry
from ..types import RADII_KM
from .measure import data_location, read_run
from .python_words import speaks_python

if TYPE_CHECKING:
    from ..reports.tables import Format, Row
    from ..running import Run

PlotKind = Literal["cdf", "map", "sheet"]


@dataclass(frozen=True)
class Table:
    """The rows of one dataset: Markdown where it is printed, HTML in a notebook, numbers by `to_frame`."""

    rows: Sequence[Row]
    title: str
    notes: Sequence[str] = ()
    radii_km: Sequence[float] = RADII_KM
    intervals: bool = True
    mix_protocols: bool = False

    def text(self, format: Format = "md") -> str:
        """The table as `md`, `latex`, `csv` or `html`."""
        from ..reports.tables import render

        return render(
            self.rows,
            [*metric_names(self.radii_km), *ADMIN_METRICS],
            format,
            title=self.title,
            intervals=self.intervals,
            notes=self.notes,
            mix_protocols=self.mix_protocols,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the table, figures unrounded, with their intervals."""
        return pd.read_csv(io.StringIO(self.text("csv")))

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.text("html")


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
    radii_km: Sequence[float] = RADII_KM,
    intervals: bool = True,
    home: Home | str | Path | None = None,
    registry: Registry | None = None,
) -> Table:
    """A table of every stored run of a dataset, as `pinpoint table` prints it.

    `published` adds the rows of the literature, `published_files` rows of your own in the same columns.
    `protocol` measures every run by that one; with `mix_protocols` each protocol gets a block. `admin` adds
    administrative accuracy by a preset, `compare` letters that full runs share which cannot be told apart.
    `exclude` is the file of an audit, `FILE` or `FILE:KIND,...`, whose photos are left out. UsageError where
    there is no row.

    >>> from pinpoint_harness import evaluate
    >>> run = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
    >>> shown = table("capitals", intervals=False)
    >>> print(shown.to_frame()["method"].item())
    constant (latitude=15.5, longitude=32.56)
    """
    from ..audit.result import parse_exclusion, read_audit
    from ..reports.tables.measured import dataset_info, measured_rows
    from ..reports.tables.published import read_published

    root = find_home(home).runs
    info = dataset_info(registry or load_registry(), dataset, root)
    part = None
    if exclude is not None:
        path, kinds = parse_exclusion(str(exclude))
        part = read_audit(path).view(kinds)
    rows = measured_rows(
        root,
        dataset,
        protocol=protocol,
        mix_protocols=mix_protocols,
        admin=admin,
        letters=compare,
        radii_km=radii_km,
        part=part,
    )
    if published or published_files:
        extra = [Path(file) for file in published_files]
        rows += read_published(dataset, extra=extra, total=info.expected_rows)
    if not rows:
        raise UsageError(
            f"there is nothing to put in a table of '{dataset}'",
            found=f"no finished run under '{root}'",
            fix=f"{command(['run', 'METHOD', dataset], root)}; or add --published",
        )
    return Table(rows, info.title, info.notes, radii_km, intervals, mix_protocols)


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib (`figure`) that a notebook shows and `save` writes."""

    figure: Any  # only `reports` imports what draws it

    def _repr_png_(self) -> bytes:
        from ..reports.maps import png

        return png(self.figure)

    def save(self, path: str | Path) -> Path:
        """Write it as PNG, whole or not at all; UsageError for another ending."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise UsageError(f"'{path}' is not the name of a PNG file", fix="give a name that ends in .png")
        write_atomic(path, self._repr_png_())
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
    """Draw runs of one dataset: error curves of all (`cdf`), a `map` of one's errors, a `sheet` of queries.

    Runs are given as `evaluate` returns them or named as on the command line. A sheet shows `rows` queries
    with their candidates, by chance (`seed`) or the farthest answers (`worst`), which a map joins with the
    truth. Where the pictures lie is said as for `evaluate`.

    >>> from pinpoint_harness import evaluate
    >>> run = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
    >>> plot(run, "map").figure.axes[0].get_title()
    '...'
    """
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.run_plots import candidate_sheet, check_one_dataset, choose_rows, error_cdf, error_map

    named = [runs] if not isinstance(runs, Sequence) or isinstance(runs, str) else list(runs)
    found = [read_run(run, home=home) if isinstance(run, str) else run for run in named]
    check_one_dataset(found)
    if kind == "cdf":
        return Picture(error_cdf(found))
    if kind not in ("map", "sheet"):
        raise UsageError(f"there is no kind of picture '{kind}'", fix="one of: cdf, map, sheet")
    if len(found) != 1:
        raise UsageError(f"a {kind} shows one run", found=f"{len(found)} runs", fix="draw one after another")
    (run,) = found
    if kind == "map":
        return Picture(error_map(run, lines=rows if worst else 0, seed=seed))
    error_km = run.predictions()["error_km"].to_numpy(dtype=float)
    chosen = choose_rows(error_km, rows, worst=worst, seed=seed)
    place = data_location(data, columns, images, follow_links)
    return Picture(candidate_sheet(PhotoLookup(run, registry or load_registry(), place), chosen))
