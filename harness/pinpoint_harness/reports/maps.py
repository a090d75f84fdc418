"""World maps to draw on, offline: an equirectangular matplotlib Axes with land and borders behind.

Figures are drawn without pyplot, so nothing needs a screen and nothing stays open.
"""

from __future__ import annotations

import functools
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .outlines import border_lines, coast_lines, land_rings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase
    from matplotlib.transforms import Bbox

    from ..types import Floats
    from .outlines import Lines

Extent = tuple[float, float, float, float]
"""`(west, south, east, north)` in degrees; west of 170 and east of -170 cross the antimeridian."""

WORLD: Extent = (-180.0, -90.0, 180.0, 90.0)
LAND_COLOUR, SEA_COLOUR = "#ecebe4", "#f7fafd"
COAST_COLOUR, BORDER_COLOUR = "#8d8f88", "#b9b7ad"

_LEAST_ASPECT = 0.1
_MARGIN_DEG = 1.0
"""Outlines are drawn so far beyond a map's frame, which hides their cut ends."""


def world_axes(figure: FigureBase, *, extent: Extent | None = None, title: str = "") -> Axes:
    """Axes that fill the figure: x is longitude, y is latitude, in degrees, land behind.

    `extent` zooms, true to scale at its middle latitude. Where it crosses the antimeridian, x runs
    on beyond 180: place points with `longitude_on`, which leaves them as they are on other maps.
    UsageError for an extent that is empty or not on Earth.
    """
    axes = figure.add_subplot()
    draw_land(axes, extent or WORLD)
    if title:
        axes.set_title(printable(title), parse_math=False)
    return axes


def draw_land(axes: Axes, extent: Extent) -> None:
    """Make a map of axes that are there already, as `world_axes` does."""
    west, south, east, north = _unwrapped(extent)
    axes.set_facecolor(SEA_COLOUR)
    for turn in (0.0, 360.0) if east > 180 else (0.0,):
        _draw_outlines(axes, (west - turn, south, east - turn, north), turn)
    axes.set_aspect(
        1.0 if extent == WORLD else 1 / max(_LEAST_ASPECT, math.cos(math.radians((south + north) / 2)))
    )
    axes.set(xlim=(west, east), ylim=(south, north))
    axes.xaxis.set_major_formatter(lambda value, _: longitude_label(value))
    axes.yaxis.set_major_formatter(lambda value, _: latitude_label(value))
    if extent == WORLD:
        axes.set(xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
    axes.tick_params(labelsize=8, length=3)


def longitude_on(axes: Axes, longitude: Floats) -> Floats:
    """Longitudes in degrees as x of a map: within one turn east of its western edge."""
    west, east = axes.get_xlim()
    given = np.asarray(longitude, dtype=np.float64)
    if east <= 180:
        return given
    turned: Floats = (given - west) % 360 + west
    return turned


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    data = io.BytesIO()
    # Without matplotlib's version in it, which would change the bytes of equal pictures.
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def printable(text: str) -> str:
    """Text from files as the font can show it, on one line; give it with `parse_math=False`.

    Else `$` would begin a formula, and a sign that the font lacks is a warning for each drawing.
    """
    return "".join(sign if ord(sign) in _signs() else "?" for sign in " ".join(text.split()))


@functools.cache
def _signs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def longitude_label(degrees: float) -> str:
    """`170°W` for 190: longitudes are counted from -180 to 180."""
    turned = round((degrees + 180) % 360 - 180, 6)
    if abs(turned) == 180:
        return "180°"
    return f"{abs(turned):g}°{'W' if turned < 0 else 'E' if turned > 0 else ''}"


def latitude_label(degrees: float) -> str:
    rounded = round(degrees, 6)
    return f"{abs(rounded):g}°{'S' if rounded < 0 else 'N' if rounded > 0 else ''}"


def _unwrapped(extent: Extent) -> Extent:
    """The extent with its east beyond 180 where it crosses the antimeridian."""
    west, south, east, north = extent
    on_earth = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90
    if not on_earth or west == east:
        raise UsageError(
            f"no map has the extent {extent}",
            fix="give (west, south, east, north) in degrees, longitudes from -180 to 180 and latitudes from "
            "-90 to 90; a west above east crosses the antimeridian",
        )
    return west, south, east if east > west else east + 360, north


def _draw_outlines(axes: Axes, extent: Extent, turn: float) -> None:
    """Land, coasts and borders within an extent, moved east by `turn` degrees."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D, Bbox

    west, south, east, north = extent
    frame = Bbox.from_extents(
        west - _MARGIN_DEG, south - _MARGIN_DEG, east + _MARGIN_DEG, north + _MARGIN_DEG
    )
    moved = Affine2D().translate(turn, 0)
    rings = [Path(ring, closed=True) for ring in _within(land_rings(), frame)]
    if rings:
        land = Path.make_compound_path(*rings).clip_to_bbox(frame).transformed(moved)
        # The edge covers the hairline between the halves of land that is cut at 180 degrees.
        axes.add_patch(PathPatch(land, facecolor=LAND_COLOUR, edgecolor=LAND_COLOUR, linewidth=0.4, zorder=0))
    for lines, colour, width in ((border_lines(), BORDER_COLOUR, 0.5), (coast_lines(), COAST_COLOUR, 0.4)):
        if shown := [Path(line) for line in _within(lines, frame)]:
            drawn = Path.make_compound_path(*shown).transformed(moved)
            axes.add_patch(PathPatch(drawn, fill=False, edgecolor=colour, linewidth=width, zorder=0.5))


def _within(lines: Lines, frame: Bbox) -> Lines:
    """The lines whose box meets the frame."""
    low = np.array([line.min(axis=0) for line in lines])
    high = np.array([line.max(axis=0) for line in lines])
    meets = np.logical_and(high >= frame.min, low <= frame.max).all(axis=1)
    return [lines[number] for number in np.flatnonzero(meets).tolist()]
