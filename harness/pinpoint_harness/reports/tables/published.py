"""Figures that papers report, as they report them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import pandas as pd

from ...errors import UsageError
from ...evaluation import PROTOCOLS
from ...evaluation.comparison import RESAMPLES
from ...reading import reading
from ...running import Run
from . import csv_rows as csv_form
from .row import Row, find_metric


def read_published(dataset: str, *, extra: Iterable[Path] = (), total: int | None = None) -> list[Row]:
    """The rows published for a dataset, then those of the user's own files; none is no error.

    A dataset's figures may stand in several files, `NAME.csv` and `NAME_<more columns>.csv`; rows
    that differ in nothing but their figures become one. `total` is the size of the dataset, by
    which rows scored on part of it are recognised.
    """
    folder = files("pinpoint_results") / "published"
    own = [
        item
        for item in folder.iterdir()
        if item.name == f"{dataset}.csv" or item.name.startswith(f"{dataset}_")
    ]
    rows: list[Row] = []
    for file in [*sorted(own, key=lambda item: item.name), *extra]:
        for row in read_rows(file):
            _merge(rows, replace(row, total=total))
    return rows


def with_other_radii(row: Row, radii_km: Sequence[float]) -> Row:
    """The row, with a footnote on what it reports within radii that a table has no column for."""
    reported = (find_metric(name).radius_km for name in row.cells)
    others = sorted(radius for radius in reported if radius is not None and radius not in radii_km)
    if not others:
        return row
    figures = ", ".join(f"{row.value(f'acc_{km:.10g}km'):g} % within {km:g} km" for km in others)
    return replace(row, footnotes=(*row.footnotes, f"counts within other radii: {figures}"))


def published_datasets() -> list[str]:
    """The datasets that have published rows, by the names of their files."""
    folder = files("pinpoint_results") / "published"
    names = [item.name.removesuffix(".csv") for item in folder.iterdir() if item.name.endswith(".csv")]
    return sorted({name.partition("_")[0] for name in names})


def find_published(dataset: str, method: str) -> Row:
    """The published row of a method; UsageError with the names there are."""
    rows = read_published(dataset)
    named = [row for row in rows if row.method.casefold() == method.casefold()]
    if len(named) != 1:
        raise UsageError(
            f"{len(named) or 'no'} published rows of '{dataset}' are called '{method}'",
            found="; ".join(row.method for row in named or rows) or "no published rows",
        )
    return named[0]


def read_rows(file: Path | Traversable) -> list[Row]:
    """The rows of one CSV file in the columns of the published ones."""
    with reading(str(file), what="rows from"):
        return csv_form.read(file.read_text(encoding="utf-8-sig"), file.name)


def _merge(rows: list[Row], row: Row) -> None:
    """Add the row, or its figures to the row that is the same method under the same conditions."""
    for position, known in enumerate(rows):
        if replace(known, cells={}) == replace(row, cells={}) and not known.cells.keys() & row.cells.keys():
            rows[position] = replace(known, cells={**known.cells, **row.cells})
            return
    rows.append(row)


def against_published(
    run: Run, row: Row, *, radii_km: Sequence[float] | None = None, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """A run beside a published row: unpaired and not tested, for there are no answers to pair with.

    Per radius: ours with its interval, theirs, the difference, and between which values ours
    moves over all protocols, since papers measure differently.
    """
    from ...evaluation import score_run

    stated = row.protocol if row.protocol in PROTOCOLS else None
    scores = {name: score_run(run, name, radii_km=radii_km, resamples=resamples) for name in PROTOCOLS}
    ours = scores[stated or run.record["dataset"]["default_protocol"]]
    table = []
    for metric, estimate in ours.estimates.items():
        theirs = row.value(metric)
        if theirs is None or estimate.value is None:
            continue
        moved = [item.estimates[metric].value for item in scores.values()]
        known = [value for value in moved if value is not None]
        table.append(
            {
                "metric": metric,
                "ours": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "published": theirs,
                "difference": estimate.value - theirs,
                "ours, least of all protocols": min(known),
                "ours, most of all protocols": max(known),
            }
        )
    if not table:
        raise UsageError(f"'{row.method}' reports no metric that '{run.title}' has")
    return pd.DataFrame(table)
