"""The figures of a section: map, error curves, differences, calibration, breakdown.

Each shows runs A and B, at the radius chosen, by `pick.js`, which copies rows of a source that holds
all into the one that is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..outlines import border_lines, land_rings
from ..run_plots import band_colours
from .controls import Controls
from .document import callback
from .measures import Measures, curve_km
from .section import Section, error_codes

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure as Figure  # noqa: N812 - a class with the name of a function

COLOUR_A, COLOUR_B = "#0072b2", "#d55e00"
"""Of Okabe and Ito (2008); A has circles and whole lines, B squares and dashes."""

OUTCOMES = {
    "names": ["both right", "A right, B wrong", "A wrong, B right", "both wrong", "not both asked"],
    "colours": ["#3fae9a", COLOUR_A, COLOUR_B, "#777777", "#bbbbbb"],
    "markers": ["circle", "square", "triangle", "x", "dot"],
}
_MOST_POINTS = 1000
"""After which land goes on in another path."""

WORLD_SOUTH, WORLD_NORTH = -62, 85
_LABEL_LENGTH = 48


@dataclass
class Figures:
    """Roots by the names of their elements, what runs when the page is ready, and what a theme paints."""

    roots: dict[str, Any] = field(default_factory=dict)
    ready: list[Any] = field(default_factory=list)
    plots: list[Any] = field(default_factory=list)
    painted: list[Any] = field(default_factory=list)

    def add(self, element: str, plot: Any) -> None:
        self.roots[element] = plot
        self.plots.append(plot)


def bands_of(radii_km: Sequence[float]) -> dict[str, list[str]]:
    """How each class of error is called and drawn; the two that are near the last radius stand out."""
    within = len(radii_km)
    return {
        "names": [
            *(f"within {km:g} km" for km in radii_km),
            f"beyond {radii_km[-1]:g} km",
            "no answer",
            "not asked",
        ],
        "colours": [*band_colours(within), "#777777", "#bbbbbb"],
        "markers": [*["circle"] * (within - 2), *["square", "triangle"][-within:], "diamond", "x", "dot"],
    }


def draw_map(found: Figures, c: Controls, radii_km: Sequence[float]) -> Figure:
    """Truth or answers over land, and the ways of the photo that is chosen."""
    from bokeh.events import RangesUpdate, SelectionGeometry
    from bokeh.models import BoxSelectTool, ColumnDataSource, Range1d, WheelZoomTool
    from bokeh.plotting import figure

    plot = figure(
        sizing_mode="stretch_width",
        aspect_ratio=2.45,
        min_height=300,
        x_range=Range1d(-180, 180, bounds=(-200, 200), min_interval=0.02),
        y_range=Range1d(WORLD_SOUTH, WORLD_NORTH, bounds=(-100, 100), min_interval=0.01),
        tools="pan,tap,box_zoom,zoom_in,zoom_out,reset",
        toolbar_location="above",
        output_backend="canvas",
    )
    plot.add_tools(WheelZoomTool(modifiers={"ctrl": True}), BoxSelectTool())
    _plain(plot)
    plot.axis.visible = False
    land = plot.patches("x", "y", source=_land_source(land_rings()), line_color=None)
    border = plot.line("x", "y", source=_line_source(border_lines()), line_width=0.7)
    found.painted += [(plot, "background_fill_color", "--sea"), (land.glyph, "fill_color", "--land")]
    found.painted += [(border.glyph, "line_color", "--border")]
    plot.background_fill_alpha = 1.0
    marks = ColumnDataSource({name: [] for name in ("x", "y", "size", "colour", "marker", "row", "label")})
    drawn = plot.scatter(
        "x", "y", size="size", color="colour", marker="marker", fill_alpha=0.75, line_alpha=0.9, source=marks
    )
    drawn.nonselection_glyph = None
    _hover(plot, drawn, [("", "@label")])
    ways = _draw_ways(found, plot)
    shared = {"rows": c.rows, "a": c.a, "b": c.b, "radius": c.radius}
    ranges = {"x_range": plot.x_range, "y_range": plot.y_range}
    shown = callback(
        "map",
        **shared,
        **ranges,
        passing=c.passing,
        marks=marks,
        place=c.place,
        colour=c.colour,
        bands=bands_of(radii_km),
        outcomes=OUTCOMES,
        degree=c.scale["degree"],
        note=f"{c.element}-map-note",
    )
    c.passing.js_on_change("data", shown)
    for choice in (c.place, c.colour):
        choice.js_on_change("value", shown)
    plot.js_on_event(RangesUpdate, shown)
    plot.js_on_event(SelectionGeometry, callback("region", region=c.region))
    marks.selected.js_on_change("indices", callback("tap", marks=marks, picked=c.picked, **ranges))
    detail = callback(
        "detail",
        **shared,
        **c.scale,
        **ways,
        names=c.names,
        picked=c.picked,
        slices=c.slices,
        element=c.element,
    )
    c.picked.js_on_change("data", detail)
    for choice in (c.a, c.b):
        choice.js_on_change("value", detail)
    found.add(f"{c.element}-map", plot)
    return plot


def draw_curves(found: Figures, c: Controls, measures: Measures, section: Section) -> None:
    """The share of photos within each distance, with 95 % bands, of A and B; the selection's dotted."""
    from bokeh.models import ColumnDataSource, PrintfTickFormatter, Span
    from bokeh.plotting import figure

    plot = figure(
        sizing_mode="stretch_width",
        height=340,
        x_axis_type="log",
        x_range=(0.1, 20_004.0),
        y_range=(0, 100.5),
        x_axis_label="error, km",
        y_axis_label="photos within, %",
        tools="reset",
        toolbar_location=None,
    )
    _plain(plot)
    plot.xaxis.ticker = [0.1, *section.radii_km]
    plot.xaxis.formatter = PrintfTickFormatter(format="%g")
    for km in section.radii_km:
        span = Span(location=km, dimension="height", line_dash="dotted", line_width=1)
        plot.add_layout(span)
        found.painted.append((span, "line_color", "--dim"))
    everything = ColumnDataSource(measures.curves)
    grid_km = curve_km(section)
    selected = {}
    for letter, run, colour, dash in _pairs(c):
        shown = _picked(found, everything, run=run)
        plot.varea("km", "low", "high", source=shown, color=colour, alpha=0.2)
        line = plot.line(
            "km", "share", source=shown, color=colour, line_dash=dash, line_width=2, legend_label=letter
        )
        _hover(plot, line, [(letter, "@share{0.0} % within @km{0.[00]} km (@low{0.0} to @high{0.0})")])
        selected[letter] = ColumnDataSource({"km": [], "share": []})
        plot.line(
            "km", "share", source=selected[letter], color=colour, line_dash="dotted", line_width=3,
            legend_label=f"{letter}, selection",
        )  # fmt: skip
    _legend(found, plot, "top_left")
    c.passing.js_on_change(
        "data",
        callback(
            "curve",
            rows=c.rows,
            passing=c.passing,
            a=c.a,
            b=c.b,
            radius=c.radius,
            curve_a=selected["A"],
            curve_b=selected["B"],
            grid_km=grid_km,
            grid_code=error_codes(grid_km),
            steps=c.scale["steps"],
        ),
    )
    found.add(f"{c.element}-curves", plot)


def draw_differences(found: Figures, c: Controls, measures: Measures) -> None:
    """A forest plot: every pair of full runs, the first minus the second, with paired intervals."""
    from bokeh.models import ColumnDataSource, Span

    reach = max((abs(x) for side in ("low", "high") for x in measures.differences[side]), default=1.0)
    plot = _interval_plot((-1.05 * reach - 0.1, 1.05 * reach + 0.1), "first minus second, percentage points")
    zero = Span(location=0, dimension="height", line_width=1)
    plot.add_layout(zero)
    found.painted.append((zero, "line_color", "--dim"))
    everything = ColumnDataSource(measures.differences)
    shown = _picked(found, everything, radius=c.radius, plot=plot)
    _intervals(plot, shown, "colour", "circle", -0.2)
    _labels(found, plot, shown, plot.x_range.start)
    shown.selected.js_on_change("indices", callback("pick_pair", shown=shown, a=c.a, b=c.b))
    found.add(f"{c.element}-differences", plot)


def draw_breakdown(found: Figures, c: Controls, measures: Measures) -> None:
    """Accuracy in slices with intervals, A above B."""
    from bokeh.models import ColumnDataSource

    plot = _interval_plot((0, 100), "photos within the radius, %")
    everything = ColumnDataSource(measures.slices)
    for at, (_, run, colour, _) in enumerate(_pairs(c)):
        shown = _picked(found, everything, run=run, radius=c.radius, by=c.by, plot=plot)
        _intervals(plot, shown, colour, ("circle", "square")[at], (-0.1, -0.32)[at])
        if not at:
            _labels(found, plot, shown, 0)
        shown.selected.js_on_change("indices", callback("pick_slice", shown=shown, by=c.by, slices=c.slices))
    found.add(f"{c.element}-breakdown", plot)


def draw_calibration(found: Figures, c: Controls, measures: Measures) -> None:
    """Reliability (stated probability against the share that is right), and risk against coverage."""
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure

    look: dict[str, Any] = {
        "sizing_mode": "stretch_width",
        "height": 320,
        "tools": "",
        "toolbar_location": None,
    }
    reliability = figure(
        x_range=(0, 100),
        y_range=(0, 100),
        x_axis_label="stated probability, %",
        y_axis_label="within the radius, %",
        **look,
    )
    risk = figure(
        x_range=(0, 100),
        y_range=(0, 100),
        x_axis_label="answers given, surest first, %",
        y_axis_label="outside the radius, %",
        **look,
    )
    diagonal = reliability.line([0, 100], [0, 100], line_dash="dotted")
    found.painted.append((diagonal.glyph, "line_color", "--dim"))
    bins, curves = ColumnDataSource(measures.reliability), ColumnDataSource(measures.risk)
    for at, (letter, run, colour, dash) in enumerate(_pairs(c)):
        shown = _picked(found, bins, run=run, radius=c.radius)
        reliability.segment("stated", "low", "stated", "high", source=shown, color=colour)
        drawn = reliability.scatter(
            "stated",
            "share",
            source=shown,
            color=colour,
            size=7,
            marker=("circle", "square")[at],
            legend_label=letter,
        )
        _hover(
            reliability,
            drawn,
            [(letter, "stated @stated{0.0} %, right @share{0.0} % (@low{0.0} to @high{0.0}) of @n{0,0}")],
        )
        shown = _picked(found, curves, run=run, radius=c.radius)
        risk.line(
            "coverage", "risk", source=shown, color=colour, line_dash=dash, line_width=2, legend_label=letter
        )
    drawn_plots = [("risk", risk, "bottom_right")]
    if measures.reliability["run"]:
        drawn_plots.append(("reliability", reliability, "top_left"))
    for name, plot, corner in drawn_plots:
        _plain(plot)
        _legend(found, plot, corner)
        found.add(f"{c.element}-{name}", plot)


def theme(found: Figures) -> Any:
    """The callback that gives figures the colours of the page."""
    return callback("theme", figures=found.plots, painted=[list(one) for one in found.painted])


def _pairs(c: Controls) -> list[tuple[str, Any, str, str]]:
    return [("A", c.a, COLOUR_A, "solid"), ("B", c.b, COLOUR_B, "dashed")]


def _picked(
    found: Figures,
    everything: ColumnDataSource,
    *,
    run: Any = None,
    radius: Any = None,
    by: Any = None,
    plot: Any = None,
) -> ColumnDataSource:
    """The rows of a source that the choices leave, kept up to date."""
    from bokeh.models import ColumnDataSource

    shown = ColumnDataSource({name: [] for name in everything.data})
    pick = callback("pick", all=everything, shown=shown, run=run, radius=radius, by=by, plot=plot)
    for choice in (run, radius, by):
        if choice is not None:
            choice.js_on_change("value", pick)
    found.ready.append(pick)
    return shown


def _interval_plot(x_range: tuple[float, float], label: str) -> Any:
    from bokeh.plotting import figure

    plot = figure(
        sizing_mode="stretch_width",
        height=300,
        x_range=x_range,
        y_range=(-1, 1),
        x_axis_label=label,
        tools="tap",
        toolbar_location=None,
    )
    _plain(plot)
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    return plot


def _intervals(plot: Any, shown: Any, colour: str, marker: str, shift: float) -> None:
    from bokeh.transform import dodge

    y = dodge("y", shift)
    plot.segment("low", y, "high", y, source=shown, color=colour, line_width=2)
    drawn = plot.scatter("value", y, source=shown, color=colour, marker=marker, size=8)
    drawn.nonselection_glyph = None
    _hover(plot, drawn, [("", "@label"), ("", "@value{0.0} (@low{0.0} to @high{0.0})"), ("", "@note")])


def _labels(found: Figures, plot: Any, shown: Any, x: float) -> None:
    drawn = plot.text(
        x=x,
        y="y",
        text="label",
        source=shown,
        text_font_size="11px",
        x_offset=4,
        y_offset=-1,
        text_baseline="bottom",
    )
    drawn.nonselection_glyph = None
    found.painted.append((drawn.glyph, "text_color", "--text"))


def _draw_ways(found: Figures, plot: Any) -> dict[str, Any]:
    from bokeh.models import ColumnDataSource

    ways = {name: ColumnDataSource({"x": [], "y": []}) for name in ("ways_a", "ways_b")}
    for (source, colour), dash in zip(
        ((ways["ways_a"], COLOUR_A), (ways["ways_b"], COLOUR_B)), ("solid", "dashed"), strict=True
    ):
        plot.line("x", "y", source=source, color=colour, line_dash=dash, line_width=2.5)
    pins = ColumnDataSource({"x": [], "y": [], "text": []})
    dots = plot.scatter(
        "x", "y", source=pins, size=12, marker="star", line_color="black", fill_color="#f0e442"
    )
    text = plot.text(
        "x", "y", "text", source=pins, x_offset=8, y_offset=-4, text_font_size="12px", text_font_style="bold"
    )
    dots.nonselection_glyph = text.nonselection_glyph = None
    found.painted.append((text.glyph, "text_color", "--text"))
    return {**ways, "pins": pins}


def _land_source(rings: Sequence[Any]) -> ColumnDataSource:
    """Rings as areas of a bounded number of points, water within land in that of its land.

    Browsers look at a whole path again for each ring that ends in it: one path of all took a third of the
    time to draw the map.
    """
    from bokeh.models import ColumnDataSource

    groups: list[list[Any]] = []
    for ring in rings:
        x, y = ring.T.astype(np.float64)
        is_land = np.dot(x[:-1], y[1:]) < np.dot(x[1:], y[:-1])  # it runs clockwise
        if not groups or (is_land and sum(map(len, groups[-1])) > _MOST_POINTS):
            groups.append([])
        groups[-1].append(ring)
    points = [_with_gaps(group) for group in groups]
    return ColumnDataSource({name: [one[:, axis].copy() for one in points] for axis, name in enumerate("xy")})


def _line_source(lines: Sequence[Any]) -> ColumnDataSource:
    """All lines as one, with a gap after each."""
    from bokeh.models import ColumnDataSource

    points = _with_gaps(lines)
    return ColumnDataSource({"x": points[:, 0].copy(), "y": points[:, 1].copy()})


def _with_gaps(lines: Sequence[Any]) -> Any:
    gap = np.full((1, 2), np.nan, dtype=np.float32)
    return np.concatenate([part for line in lines for part in (line, gap)])


def _hover(plot: Any, renderer: Any, tooltips: list[tuple[str, str]]) -> None:
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(renderers=[renderer], tooltips=tooltips, visible=False))


def _plain(plot: Any) -> None:
    plot.background_fill_alpha = plot.border_fill_alpha = 0.0
    plot.toolbar.logo = None


def _legend(found: Figures, plot: Any, corner: str) -> None:
    plot.legend.location = corner
    legend = plot.legend[0]
    legend.background_fill_alpha, legend.border_line_alpha = 0.6, 0.0
    found.painted += [(legend, "background_fill_color", "--paper"), (legend, "label_text_color", "--text")]
