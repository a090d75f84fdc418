"""World maps to draw on, offline: an equirectangular matplotlib Axes with the land behind.

The land is `land.png`, cells of 0.1 degree from NOAA's GLOBE elevation model (public domain), made
by `build_land.py`. It has no borders and no lakes. Figures are drawn without pyplot, so nothing
needs a screen and nothing stays open.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, UsageError
from ..images import Failure
from ..images.decode import decode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase
    from numpy.typing import NDArray

    from ..types import Floats

Extent = tuple[float, float, float, float]
"""`(west, south, east, north)` in degrees; west of 170 and east of -170 cross the antimeridian."""

WORLD: Extent = (-180.0, -90.0, 180.0, 90.0)
LAND_COLOUR, SEA_COLOUR = (230, 227, 217), (245, 250, 255)

_CELLS_A_DEGREE = 10
_MOST_COLUMNS = 1800
_LEAST_ASPECT = 0.1


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
    shares, edges = _shares_within(west, south, east, north)
    sea, coast = np.array(SEA_COLOUR), np.array(LAND_COLOUR) - np.array(SEA_COLOUR)
    aspect = 1.0 if extent == WORLD else 1 / max(_LEAST_ASPECT, math.cos(math.radians((south + north) / 2)))
    axes.imshow(
        (sea + shares[..., None] * coast).astype(np.uint8),
        extent=edges,
        interpolation="bilinear",
        interpolation_stage="data",
        aspect=aspect,
        zorder=0,
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


@functools.cache
def land() -> NDArray[np.bool_]:
    """Cells of 0.1 degree, `(1800, 3600)`, from the north-west corner."""
    picture = decode((importlib.resources.files(__package__) / "land.png").read_bytes())
    if isinstance(picture, Failure):
        raise DataError("the map of land cannot be read", found=picture.reason, fix="reinstall pinpoint-geo")
    cells: NDArray[np.bool_] = picture[..., 0] > 0
    cells.setflags(write=False)
    return cells


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


def _shares_within(
    west: float, south: float, east: float, north: float
) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """Shares of land over a box and a little more, and its `(left, right, bottom, top)` in degrees.

    Cells are put together where the box has more of them than a figure has dots.
    """
    cells = land()
    step = max(1, round((east - west) * _CELLS_A_DEGREE / _MOST_COLUMNS))
    left, bottom = (math.floor(edge * _CELLS_A_DEGREE / step) - 1 for edge in (west, south))
    right, top = (math.ceil(edge * _CELLS_A_DEGREE / step) + 1 for edge in (east, north))
    columns = np.arange(left * step, right * step) + 180 * _CELLS_A_DEGREE
    rows = 90 * _CELLS_A_DEGREE - 1 - np.arange(bottom * step, top * step)[::-1]
    chosen = cells[np.clip(rows, 0, len(cells) - 1)][:, columns % cells.shape[1]]
    shares = chosen.reshape(top - bottom, step, right - left, step).mean((1, 3))
    a_degree = _CELLS_A_DEGREE / step
    return shares, (left / a_degree, right / a_degree, bottom / a_degree, top / a_degree)
