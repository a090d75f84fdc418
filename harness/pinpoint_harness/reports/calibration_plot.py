"""Reliability diagrams and risk-coverage curves, a column for each radius."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .maps import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..evaluation.calibration import Calibration, Reliability, RiskCoverage

_OWN, _BEST, _NOTHING, _RANGE = "#16317d", "#3fae9a", "#85091c", "#c9d3e0"


def draw_calibration(found: Calibration, title: str) -> Figure:
    """Reliability above where the run has probabilities, risk and coverage below."""
    from matplotlib.figure import Figure

    rows = 2 if found.reliability else 1
    columns = len(found.risk)
    figure = Figure(figsize=(3.1 * columns + 0.6, 3.3 * rows + 0.7), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, one in zip(panels[0], found.reliability, strict=False):
        _reliability(panel, one)
    for panel, curve in zip(panels[-1], found.risk, strict=True):
        _risk(panel, curve)
    for line in panels:
        line[0].legend(fontsize=8)
    if found.reliability:
        panels[0][0].set_ylabel("within the radius, %")
    panels[-1][0].set_ylabel(f"outside the radius, %\n(surest by {found.ranking} first)")
    figure.suptitle(printable(f"{title}  ({found.protocol})"), fontsize=11, parse_math=False)
    return figure


def _reliability(panel: Axes, found: Reliability) -> None:
    confidence = [one.confidence for one in found.bins]
    share = np.array([one.hit_share.value for one in found.bins], dtype=np.float64)
    bounds = np.array([[one.hit_share.low, one.hit_share.high] for one in found.bins], dtype=np.float64)
    reach = np.abs(np.nan_to_num(bounds - share[:, None])).T
    lowest, highest = ([getattr(one, end) for one in found.bins] for end in ("lowest", "highest"))
    panel.hlines(share, lowest, highest, color=_RANGE, lw=3, label="range of the bin")
    panel.plot([0, 100], [0, 100], color="#888888", linestyle="dashed", linewidth=1, label="calibrated")
    panel.errorbar(
        confidence, share, reach, fmt="o-", ms=4, lw=1.2, capsize=2, color=_OWN, label="95 % interval"
    )
    panel.set(xlim=(-2, 102), ylim=(-2, 102), xlabel="stated probability, %")
    limit = found.ece_chance_limit
    chance = "one cluster: chance unknown" if limit is None else f"by chance up to {limit:.1f}"
    panel.set_title(f"within {found.radius_km:g} km\nECE {found.ece:.1f}, {chance}", fontsize=9)


def _risk(panel: Axes, found: RiskCoverage) -> None:
    hit_percent = 100 - found.unordered
    coverage = np.array(found.coverage)
    best = 100 * np.maximum(coverage - hit_percent, 0) / coverage
    panel.plot(coverage, found.risk, color=_OWN, lw=1.5, label="this run")
    panel.plot(coverage, best, color=_BEST, lw=1.2, linestyle="dashed", label="best order")
    panel.axhline(found.unordered, color=_NOTHING, lw=1.2, linestyle="dotted", label="any order")
    panel.set(xlim=(0, 100), ylim=(-2, 102), xlabel="answers given, %")
    excess = found.excess.value
    panel.set_title(
        f"within {found.radius_km:g} km\nAURC {found.aurc.value:.1f}, excess {excess:.1f}", fontsize=9
    )
