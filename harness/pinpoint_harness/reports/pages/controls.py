"""What a reader chooses in a section, and the sources that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .document import callback
from .section import BY, DEGREE_STEPS, LEAST_KM, MOST_KM, STEPS, Section, typed_columns
from .text import visible

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, RangeSlider, Select, Widget

_NAME_LENGTH = 60

_STYLE = """
:host { color: var(--text); font: inherit; }
label, .bk-slider-title { color: var(--text); }
.bk-input { color: var(--text); background: var(--paper); border-color: var(--line); }
.bk-btn-default { color: var(--text); background: var(--paper); border-color: var(--line); }
.noUi-target { background: var(--line); } .noUi-connect { background: var(--link) !important; }
"""


@dataclass(frozen=True)
class Controls:
    """The widgets of one section, and `passing`, the rows that its filters leave; `picked` is one photo."""

    element: str
    rows: ColumnDataSource
    names: ColumnDataSource
    passing: ColumnDataSource
    picked: ColumnDataSource
    region: ColumnDataSource
    a: Select
    b: Select
    radius: Select
    outcome: Select
    error: RangeSlider
    place: Select
    colour: Select
    order: Select
    by: Select
    slices: dict[str, Select]
    reset: Any

    @property
    def widgets(self) -> dict[str, Widget]:
        """Those that filter, by the end of their element's name."""
        chosen = {
            "a": self.a,
            "b": self.b,
            "radius": self.radius,
            "outcome": self.outcome,
            "error": self.error,
        }
        return {**chosen, **self.slices, "reset": self.reset}

    @property
    def scale(self) -> dict[str, float]:
        """How errors and coordinates are kept, for the callbacks that read them."""
        return {"least_km": LEAST_KM, "most_km": MOST_KM, "steps": STEPS, "degree": DEGREE_STEPS}


def build_controls(section: Section, element: str) -> Controls:
    """Widgets with their first values: the last run as A, the one before as B, a city's radius."""
    from bokeh.models import Button, ColumnDataSource, CustomJSTickFormatter, RangeSlider

    names = [(str(at), visible(one.name, _NAME_LENGTH)) for at, one in enumerate(section.columns)]
    ids = "\n".join(visible(name) for name in section.frame["id"]).encode()
    log10_km = CustomJSTickFormatter(code="return `${Number((10 ** tick).toPrecision(2))} km`")
    slices = {
        by: _select(by.capitalize(), [("", "all"), *_sorted_options(section, by)])
        for by in BY
        if by in section.slicings
    }
    first = names[-2:][0][0]
    return Controls(
        element=element,
        rows=ColumnDataSource(typed_columns(section)),
        names=ColumnDataSource({"utf8": np.frombuffer(ids, dtype=np.uint8)}),
        passing=ColumnDataSource({"row": np.arange(0, dtype=np.int32)}),
        picked=ColumnDataSource({"row": []}),
        region=ColumnDataSource({"west": [], "east": [], "south": [], "north": []}),
        a=_select("Run A", names, names[-1][0]),
        b=_select("Run B", names, first),
        radius=_select(
            "Right means within",
            [(str(i), f"{km:g} km") for i, km in enumerate(section.radii_km)],
            str(section.city_radius),
        ),
        outcome=_select("Outcome", [("all", "all photos")]),
        error=RangeSlider(
            title="Error of A",
            start=-2.0,
            end=4.4,
            value=(-2.0, 4.4),
            step=0.05,
            format=log10_km,
            **_look(),
        ),
        place=_select(
            "Places on the map",
            [("truth", "where photos were taken"), ("a", "answers of A"), ("b", "answers of B")],
        ),
        colour=_select("Colour", [("a", "error of A"), ("b", "error of B"), ("both", "A against B")]),
        order=_select(
            "Order",
            [
                ("gain", "biggest gain of A over B"),
                ("loss", "biggest loss of A to B"),
                ("worst", "worst of A"),
                ("sure", "most surely wrong of A"),
                ("best", "best of A"),
            ],
            "gain" if len(names) > 1 else "worst",
        ),
        by=_select("Slices by", [(by, by) for by in section.slicings] or [("", "none")]),
        slices=slices,
        reset=Button(label="Show all photos again", **_look()),
    )


def connect(
    controls: Controls, keys: Sequence[str], radii_km: Sequence[float], x_range: Any, y_range: Any
) -> list[Any]:
    """Make filters filter; what is given must be called once when the page is ready.

    `keys` are those of the runs, by which `#run-KEY` in the address chooses one.
    """
    c = controls
    shared = {"a": c.a, "b": c.b, "radius": c.radius, "rows": c.rows}
    named = callback("outcomes", a=c.a, b=c.b, outcome=c.outcome)
    filtered = callback(
        "filter",
        **shared,
        **c.scale,
        outcome=c.outcome,
        slider=c.error,
        slices=c.slices,
        region=c.region,
        passing=c.passing,
    )
    summed = callback("summary", **shared, passing=c.passing, element=c.element, radius_km=list(radii_km))
    for one in (c.a, c.b):
        one.js_on_change("value", named)
    for one in (c.a, c.b, c.radius, c.outcome, *c.slices.values()):
        one.js_on_change("value", filtered)
    c.error.js_on_change("value", filtered)
    c.region.js_on_change("data", filtered)
    c.passing.js_on_change("data", summed)
    c.reset.js_on_click(
        callback(
            "reset",
            outcome=c.outcome,
            slider=c.error,
            slices=c.slices,
            region=c.region,
            x_range=x_range,
            y_range=y_range,
        )
    )
    browser = {**shared, **c.scale, "names": c.names, "picked": c.picked, "element": c.element}
    c.outcome.js_on_change("value", callback("order", outcome=c.outcome, order=c.order))
    listed = callback("photos", **browser, passing=c.passing, order=c.order)
    c.passing.js_on_change("data", listed)
    c.order.js_on_change("value", listed)
    linked = callback("linked", a=c.a, b=c.b, keys=keys)
    return [callback("join", rows=c.rows), linked, named, filtered]


def _sorted_options(section: Section, by: str) -> list[tuple[str, str]]:
    slicing = section.slicings[by]
    options = [(str(code), visible(name, _NAME_LENGTH)) for code, name in enumerate(slicing.names)]
    return options if by == "density" else sorted(options, key=lambda option: option[1])


def _select(title: str, options: list[tuple[str, str]], value: str | None = None) -> Select:
    """A choice of `(value, label)`; labels are made to differ, since Bokeh knows an option by its label."""
    from bokeh.models import Select

    seen = Counter[str]()
    for at, (one, label) in enumerate(options):
        seen[label] += 1
        options[at] = (one, label if seen[label] == 1 else f"{label} ({seen[label]})")
    return Select(title=title, options=options, value=options[0][0] if value is None else value, **_look())


def _look() -> dict[str, Any]:
    return {"sizing_mode": "stretch_width", "stylesheets": [_STYLE]}
