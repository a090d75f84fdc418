"""Answers on a map: where each photo is thought to be, and where else it might be."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..locate import Answer
from .maps import Extent, longitude_on, printable, world_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES, _HEIGHT_INCHES, _DOTS_PER_INCH = 11.0, 6.5, 120
_SHAPE = 1.8
"""Width over height of the ground that is shown."""

_LEAST_HALF_HEIGHT_DEG = 1.5
"""About 170 km: enough coast to know where one is."""

_MOST_NAMES = 12
_LONGEST_NAME = 40
_COLOURS = ("#c1272d", "#1f5fa8", "#2e8540", "#7a3e9d", "#b8860b", "#008b8b", "#555555", "#d2691e")
_CANDIDATE_AREA, _ANSWER_AREA = 28, 150
_RANK_WIDTH, _RANK_HEIGHT = 0.015, 0.025
"""Of the map: the room a rank takes."""
_NOTE_COLOUR, _NOTE_LETTERS = "#a01010", 120


def draw_answers(answers: Sequence[Answer], title: str, notes: Sequence[str] = ()) -> Figure:
    """The answers as stars and the candidates as dots over land, a colour for each photo.

    All photos stand on one map of the world. A single one's map is as large as its candidates need, and
    they bear their ranks. Photos without a place are left out.
    """
    from matplotlib.figure import Figure

    placed = [answer for answer in answers if answer.place]
    figure = Figure(
        figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DOTS_PER_INCH, layout="constrained", facecolor="white"
    )
    extent = _around(placed[0]) if len(placed) == 1 else None
    axes = world_axes(figure, extent=extent, title=title)
    axes.set_xlabel("\n".join(textwrap.fill(note, _NOTE_LETTERS) for note in notes), color=_NOTE_COLOUR)
    for number, answer in enumerate(placed):
        _draw(axes, answer, _COLOURS[number % len(_COLOURS)], _label(number, answer, len(placed)))
    if len(placed) == 1:
        _draw_ranks(axes, placed[0])
    if 0 < len(placed) <= _MOST_NAMES:
        for text in axes.legend(loc="lower left", fontsize=7, framealpha=0.9).get_texts():
            text.set_parse_math(False)
    return figure


def _draw(axes: Axes, answer: Answer, colour: str, label: str) -> None:
    candidates = np.array([(c.latitude, c.longitude) for c in answer.candidates]).reshape(-1, 2)
    place = np.array([answer.place])
    for points, area, marker, name in (
        (candidates, _CANDIDATE_AREA, "o", None),
        (place, _ANSWER_AREA, "*", label),
    ):
        axes.scatter(
            longitude_on(axes, points[:, 1]),
            points[:, 0],
            s=area,
            marker=marker,
            color=colour,
            alpha=0.55 if marker == "o" else 1.0,
            edgecolors="white",
            linewidths=0.6,
            label=name,
            zorder=2 if marker == "o" else 3,
        )


def _draw_ranks(axes: Axes, answer: Answer) -> None:
    """Numbers beside the candidates; where they would hide each other, the best one's."""
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    longitudes = longitude_on(axes, np.array([candidate.longitude for candidate in answer.candidates]))
    taken: list[tuple[float, float]] = []
    for rank, (x, candidate) in enumerate(zip(longitudes, answer.candidates, strict=True), start=1):
        spot = (x - west) / (east - west), (candidate.latitude - south) / (north - south)
        if any(abs(spot[0] - a) < _RANK_WIDTH and abs(spot[1] - b) < _RANK_HEIGHT for a, b in taken):
            continue
        taken.append(spot)
        axes.annotate(
            str(rank), (x, candidate.latitude), (5, 4), textcoords="offset points", fontsize=7, zorder=4
        )


def _around(answer: Answer) -> Extent | None:
    """The box that holds the answer and its candidates with a margin; None for the whole world.

    Longitudes are counted from the answer, so that places on both sides of the antimeridian are near.
    """
    latitude, longitude = answer.place or (0.0, 0.0)
    latitudes = [latitude, *(candidate.latitude for candidate in answer.candidates)]
    turns = [(candidate.longitude - longitude + 180) % 360 - 180 for candidate in answer.candidates]
    middle = (min(latitudes) + max(latitudes)) / 2
    narrowing = max(0.1, math.cos(math.radians(middle)))
    half_height = max(_LEAST_HALF_HEIGHT_DEG, 0.6 * (max(latitudes) - min(latitudes)))
    west, east = min([0.0, *turns]), max([0.0, *turns])
    half_width = max(0.6 * (east - west), _SHAPE * half_height / narrowing)
    half_height = max(half_height, half_width * narrowing / _SHAPE)
    if half_width >= 180 or half_height >= 90:
        return None
    centre = longitude + (west + east) / 2
    south, north = max(-90.0, middle - half_height), min(90.0, middle + half_height)
    return _turned(centre - half_width), south, _turned(centre + half_width), north


def _turned(longitude: float) -> float:
    return (longitude + 180) % 360 - 180


def _label(number: int, answer: Answer, count: int) -> str:
    """The photo's name after something else: matplotlib leaves out labels that begin with `_`."""
    name = printable(Path(answer.photo).name)
    shortened = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
    return f"{number + 1}  {shortened}" if count > 1 else f"answer: {shortened}"
