"""What decides a picture: the attributes of a place, and the view a camera happens to take of it.

Both are numbers in [0, 1], one column each. The scene is drawn from nothing else, so drawing both at
random gives pictures with no world behind them: that is what the backbone learns from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SCALES_KM = {"climate": 2500.0, "region": 350.0, "town": 18.0, "street": 1.6}
"""Over what distance each group of attributes stays alike."""

FIELDS = {
    "climate": ("warmth", "moisture", "haze", "sky_hue", "clouds"),
    "region": ("soil_hue", "soil_value", "roof_hue", "roof_value", "roof_shape", "relief", "crop_rows"),
    "town": (
        "facade_hue",
        "facade_value",
        "facade_spread",
        "window_width",
        "window_pitch",
        "storey_height",
        "shutter_hue",
        "skyline_height",
        "skyline_width",
    ),
    "street": ("pavement_hue", "pavement_value", "pavement_pattern", "brickwork", "hedge_hue", "road_width"),
}
"""Attributes that vary smoothly over the Earth."""

COUNTRY = (
    "drives_left",
    "line_hue",
    "dash_length",
    "edge_line",
    "pole_style",
    "pole_height",
    "plate_hue",
    "sign_hue",
)
LANDMARK = (
    "landmark_kind",
    "landmark_height",
    "landmark_width",
    "landmark_hue",
    "landmark_value",
    "landmark_bands",
)
PLACE = ("sun_height", *(name for group in FIELDS.values() for name in group), *COUNTRY, *LANDMARK)

_VIEW_SIZES = {
    "indoors": 1,  # above 0.5 the picture shows a room and nothing of the place
    "landmark_shown": 1,  # above 0.5
    "road_shown": 1,  # above 0.5
    "urban": 1,  # share of plots with a house on them
    "greenery": 1,
    "horizon": 1,
    "vanishing": 1,
    "zoom": 1,
    "crop_x": 1,
    "crop_y": 1,
    "house": 10,
    "tree": 12,
    "cloud": 9,
    "ridge": 6,
    "season": 1,
    "daytime": 1,  # 0 dusk, 1 noon
    "sun_x": 1,
    "car": 3,
    "car_shown": 1,
    "person_shown": 1,
    "person": 4,
    "foliage_shown": 1,
    "exposure": 1,
    "warm_light": 1,
    "saturation": 1,
    "contrast": 1,
    "vignette": 1,
    "blur": 1,
    "noise": 1,
    "noise_seed": 1,  # where the grain begins
    "room": 8,
}
VIEW = tuple(
    name if size == 1 else f"{name}_{number}" for name, size in _VIEW_SIZES.items() for number in range(size)
)


@dataclass(frozen=True)
class Columns:
    """A matrix `(n, k)` whose columns are found by name."""

    names: tuple[str, ...]
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        """One column, `(n, 1)`."""
        position = self.names.index(name)
        return self.values[:, position : position + 1]


def view_slice(name: str) -> slice:
    """Where a view's columns of that name stand."""
    first = VIEW.index(name if name in VIEW else f"{name}_0")
    return slice(first, first + _VIEW_SIZES[name])


def random_pictures(generator: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Attributes and views with no world behind them: `(n, PLACE)` and `(n, VIEW)`."""
    place = generator.random((count, len(PLACE)), dtype=np.float32)
    view = generator.random((count, len(VIEW)), dtype=np.float32)

    def shown(name: str, share: float) -> None:
        view[:, VIEW.index(name)] = generator.random(count, dtype=np.float32) < share

    def between(name: str, low: float, high: float) -> None:
        view[:, VIEW.index(name)] = low + (high - low) * generator.random(count, dtype=np.float32)

    for name, share in (
        ("indoors", 0.04),
        ("landmark_shown", 0.35),
        ("road_shown", 0.7),
        ("car_shown", 0.35),
        ("person_shown", 0.15),
        ("foliage_shown", 0.1),
    ):
        shown(name, share)
    for name, low, high in (
        ("urban", 0.4, 1.0),
        ("vanishing", 0.2, 0.8),
        ("horizon", 0.2, 0.8),
        ("zoom", 0.0, 0.4),
        ("daytime", 0.3, 1.0),
        ("exposure", 0.38, 0.62),
        ("warm_light", 0.34, 0.66),
        ("saturation", 0.35, 0.8),
        ("contrast", 0.4, 0.7),
        ("noise", 0.0, 0.25),
    ):
        between(name, low, high)
    return place, view
