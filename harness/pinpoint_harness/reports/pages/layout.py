"""The HTML around tables and figures: one section for each dataset, from `section.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from . import prose
from .cases import CASES
from .document import text_file
from .figures import bands_of
from .measures import RESAMPLES, Measures
from .section import BY, Section
from .text import escaped

if TYPE_CHECKING:
    from ...evaluation import Comparison
    from ...running import Run

_WIDE = ("outcome", "error")
_FOREST = "Paired differences of full runs with 95 % intervals; blue: told apart at 5 % after Holm"
_RISK = "Risk and coverage: the share outside the radius if only the surest answers are given"
_INTRODUCTION = """
<p>Where methods place photos, and how far off they are. Everything in a section is linked: choose two runs
and an outcome, or click a mark, a slice or a difference, and map, curves, figures and photos show that
selection. The file needs no network.</p>
<noscript><p class="warning">Map, curves and photos need JavaScript; tables do not.</p></noscript>
"""


def page_body(groups: Sequence[Sequence[Run]], sections: Sequence[str]) -> str:
    """All sections under a heading that links them."""
    links = "".join(
        f'<li><a href="#s{number}">{escaped(group[0].dataset)}</a>: {len(group)} runs</li>'
        for number, group in enumerate(groups)
    )
    nav = f'<nav aria-label="Datasets"><ul>{links}</ul></nav>'
    header = f"<header><h1>pinpoint report</h1>{_INTRODUCTION}{nav}</header>"
    return "\n".join([header, "<main>", *sections, "</main>"])


def section_html(
    element: str,
    section: Section,
    *,
    table: str,
    filters: Sequence[str],
    measures: Measures,
    comparison: Comparison | None,
    held: tuple[int, int, int],
    data: str,
    audits: Path,
    command: str,
) -> str:
    """One dataset; figures and widgets are drawn into the elements by Bokeh.

    `filters` are the names of widgets that filter, `held` how many pictures and cases are in the page and
    how many pictures were asked for, `data` the JSON of cases.
    """
    pictures, cases, asked = held
    warnings = "".join(f'<p class="warning">{escaped(note, 1000)}</p>' for note in section.notes)
    parts: dict[str, Any] = {
        "title": escaped(section.title),
        "dataset": escaped(section.dataset),
        "truth": escaped(section.truth_hash[:8]),
        "photos": f"{len(section.frame):,}",
        "protocol": escaped(section.protocol.name),
        "warnings": warnings,
        "table": table,
        "filters": "".join(_widget(element, name) for name in filters),
        "lacking": _lacking(section),
        "classes": _classes(section),
        "held": f"{pictures:,} small pictures are in this section, {asked:,} are allowed in the file"
        if asked
        else "This report was made without pictures",
        "cases": f"{cases:,}",
        "most_cases": CASES,
        "curves": _figure(f"{element}-curves", "Error curves with 95 % bands; dotted: the selection"),
        "differences": _differences(element, comparison),
        "breakdown": _figure(
            f"{element}-breakdown", "Accuracy in slices with 95 % intervals; click to select"
        )
        + "".join(f'<p class="hint">{by}: {escaped(one.source)}</p>' for by, one in section.slicings.items()),
        "breakdown_tables": prose.breakdown_tables(section, measures),
        "calibration": _calibration(element, section, measures),
        "resamples": RESAMPLES,
        "provenance": prose.provenance(section, audits, command),
        "data": data,
    }
    return Template(text_file("section.html")).substitute(parts, e=element)


def _widget(element: str, name: str) -> str:
    return f'<div id="{element}-{name}"{" class=wide" if name in _WIDE else ""}></div>'


def _lacking(section: Section) -> str:
    reasons = [f"by {by}: {escaped(section.why_not[by], 300)}" for by in BY if by in section.why_not]
    return f'<p class="hint">Not to be had: {"; ".join(reasons)}.</p>' if reasons else ""


def _classes(section: Section) -> str:
    """A row for each class of error but the last, those that were not asked about."""
    bands = bands_of(section.radii_km)
    looks = list(zip(bands["names"], bands["colours"], strict=True))[:-1]
    swatch = '<span class="swatch" style="background:{}"></span>'
    return "".join(
        f'<tr><th scope="row">{swatch.format(colour)}{name}</th><td></td><td></td></tr>'
        for name, colour in looks
    )


def _differences(element: str, comparison: Comparison | None) -> str:
    if comparison is None:
        return '<p class="hint">Differences need two runs over the whole dataset.</p>'
    figure = _figure(f"{element}-differences", f"{_FOREST}; click to choose a pair")
    return figure + prose.differences_table(comparison)


def _calibration(element: str, section: Section, measures: Measures) -> str:
    lines = []
    if measures.calibrations:
        lines.append('<div class="pair">')
        if measures.reliability["run"]:
            caption = "Reliability: stated probability against the share that is right"
            lines.append(_figure(f"{element}-reliability", caption))
        lines += [_figure(f"{element}-risk", _RISK), "</div>", prose.calibration_table(section, measures)]
    said = [(number, why) for number, why in measures.why_not.items()]
    said += [(number, note) for number, one in measures.calibrations.items() for note in one.notes]
    lines += [
        f'<p class="hint">{escaped(section.columns[number].name)}: {escaped(text, 300)}</p>'
        for number, text in said
    ]
    return "\n".join(lines)


def _figure(name: str, caption: str) -> str:
    text = escaped(caption)
    place = f'<div id="{name}"></div><figcaption>{text}.</figcaption>'
    return f'<figure role="group" aria-label="{text}">{place}</figure>'
