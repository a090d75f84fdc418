"""Recall against the area that is searched, a curve for each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..evaluation.area_cells import EARTH_KM2
from ..evaluation.bootstrap import cluster_rows
from ..evaluation.distributions import AREAS_KM2, REGION_KM2, searched_km2
from ..running import candidates_of
from ..running.predictions import to_frame
from .run_plots import check_one_dataset, share_band, share_within
from .tables.names import short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..running import Run
    from ..types import Floats

_CURVE_KM2 = np.geomspace(REGION_KM2 / 2, EARTH_KM2, 400)
_BAND_KM2 = np.geomspace(REGION_KM2 / 2, EARTH_KM2, 100)


def recall_area(runs: Sequence[Run]) -> Figure:
    """The share of photos found in each area, searched from the best candidate on (Recall vs Area).

    Areas are on a log scale. Each run has its pointwise 95 % band from a bootstrap over photographers. A
    curve is level from where candidates end. DataError for a run without candidates.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    check_one_dataset(runs)
    figure = Figure(figsize=(7.5, 4.6), dpi=110, layout="constrained")
    axes = figure.add_subplot(xscale="log", xlim=(_CURVE_KM2[0], EARTH_KM2), ylim=(0, 101))
    for area in AREAS_KM2:
        axes.axvline(area, color="0.8", linewidth=0.8, zorder=0)
    for number, (run, short) in enumerate(zip(runs, short_names(runs), strict=True)):
        needed, band = _searched(run)
        colour = f"C{number % 10}"
        if band is not None:
            axes.fill_between(_BAND_KM2, *band, color=colour, alpha=0.2, linewidth=0)
        axes.plot(_CURVE_KM2, share_within(needed, _CURVE_KM2), color=colour, label=short)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda area, _: f"{area:,.0f}"))
    axes.set(xlabel="area searched, km²", ylabel="photos found, %")
    axes.legend(loc="upper left", fontsize=8)
    axes.set_title(f"{runs[0].dataset}: recall against area", fontsize=10)
    return figure


def _searched(run: Run) -> tuple[Floats, tuple[Floats, Floats] | None]:
    """The area searched for each photo, `(n,)`, and the band of the curve."""
    table = run.table()
    frame, candidates = to_frame(table), candidates_of(table, photos=False)
    if candidates is None:
        raise DataError(
            f"'{run.title}' has no candidates, whose areas could be searched",
            fix="draw runs of methods that report candidates, as nearest-photo does",
        )
    needed = searched_km2(frame[["latitude", "longitude"]].to_numpy(), candidates)
    return needed, share_band(needed, cluster_rows(frame, ""), _BAND_KM2)
