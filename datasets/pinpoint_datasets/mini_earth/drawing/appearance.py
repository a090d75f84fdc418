"""From where and who to how it looks: attributes of places, and the views of cameras.

Floating point is allowed here: it changes a shade, never a place. Attributes of a scale vary smoothly
(value noise on the sphere); those of countries and sights are drawn once for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..draws import Integers, Words, draw, unit
from ..geography import DRIVES_LEFT
from ..world import EARTH_SEED, NEAR_DUPLICATE, Pictures, World
from .attributes import COUNTRY, FIELDS, LANDMARK, PLACE, SCALES_KM, VIEW, Floats

EARTH_KM = 6371.0
_LEVELS = {"line_hue": 3, "edge_line": 2, "pole_style": 4, "plate_hue": 5, "sign_hue": 7, "dash_length": 5}
"""Country attributes come in kinds, not in shades."""

STREETVIEW_HABIT = 900_000_000
"""Added to a creator's number, so that no camera car shares a photographer's habits."""


def unit_sphere(latitude_e7: Integers, longitude_e7: Integers) -> NDArray[np.float64]:
    latitude, longitude = np.radians(latitude_e7 / 1e7), np.radians(longitude_e7 / 1e7)
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)


def smooth_field(seed: int, name: str, points: NDArray[np.float64], scale_km: float) -> Floats:
    """A smooth number in [0, 1] for each point of the unit sphere, about uniform over all points."""
    lattice = points * (EARTH_KM / scale_km)
    corner = np.floor(lattice).astype(np.int64)
    part = lattice - corner
    part = part * part * (3 - 2 * part)
    total = np.zeros(len(points))
    for bits in range(8):
        step = np.array([bits & 1, bits >> 1 & 1, bits >> 2])
        weight = np.where(step, part, 1 - part).prod(axis=1)
        total += weight * unit(draw(seed, f"field {name}", *(corner + step).T))
    # Interpolated uniforms pile up around a half; this spreads them again.
    spread: Floats = np.clip(0.5 + (total - 0.5) * 1.75, 0, 1).astype(np.float32)
    return spread


def place_attributes(world: World, pictures: Pictures) -> Floats:
    """What there is to see at each picture's place: `(n, PLACE)`."""
    latitude, longitude = world.land.to_e7(pictures.city, pictures.east_m, pictures.north_m)
    points = unit_sphere(latitude, longitude)
    columns: dict[str, Floats] = {}
    for group, names in FIELDS.items():
        for name in names:
            seed = EARTH_SEED if group in ("climate", "region") else world.seed
            columns[name] = smooth_field(seed, name, points, SCALES_KM[group])
    away = np.abs(latitude / 1e7).astype(np.float32)
    columns["warmth"] = np.clip(1.08 - away / 62 + 0.35 * (columns["warmth"] - 0.5), 0, 1)
    columns["sun_height"] = np.clip(1.05 - away / 75, 0, 1)
    desert = np.exp(-(((away - 25) / 9) ** 2))
    columns["moisture"] = np.clip(columns["moisture"] * 1.15 - 0.35 * desert + 0.08, 0, 1)
    _shade_within_town(world.seed, pictures.look, columns)
    country = world.land.country_number[pictures.city]
    for name in COUNTRY:
        columns[name] = _of_country(world, name)[country]
    for name in LANDMARK:
        columns[name] = unit(draw(world.seed, name, pictures.city, pictures.sight))
    return np.stack([columns[name] for name in PLACE], axis=1)


def _shade_within_town(seed: int, look: Words, columns: dict[str, Floats]) -> None:
    """No two streets are painted alike: what people build differs a little from picture to picture."""
    for group, amount in (("region", 0.08), ("town", 0.12), ("street", 0.1)):
        for name in FIELDS[group]:
            shift = unit(draw(seed, f"shade {name}", look.view(np.int64)))
            columns[name] = np.clip(columns[name] + amount * (2 * shift - 1), 0, 1)


def _of_country(world: World, name: str) -> Floats:
    if name == "drives_left":
        return np.array([code in DRIVES_LEFT for code in world.land.countries], np.float32)
    drawn = unit(draw(EARTH_SEED, name, np.arange(len(world.land.countries))))
    levels = _LEVELS.get(name)
    return drawn if levels is None else np.floor(drawn * levels) / np.float32(levels - 1)


class _Dice:
    """Looks of one set of pictures: numbers in [0, 1) from the picture, its session or its author."""

    def __init__(self, seed: int, pictures: Pictures, habit: ArrayLike = 0) -> None:
        self._seed = seed
        self._keys: dict[str, Integers] = {
            "picture": pictures.look.view(np.int64),
            "session": pictures.session,
            "author": pictures.author + np.asarray(habit),
        }

    def __call__(self, name: str, of: str = "picture") -> Floats:
        return unit(draw(self._seed, f"view {name}", self._keys[of]))

    def habitual(self, name: str, own: float) -> Floats:
        """Mostly the photographer's habit; the share `own` is the picture's."""
        blended: Floats = (1 - own) * self(name, "author") + own * self(name)
        return blended


def photo_views(world: World, pictures: Pictures, *, first: int = 0, hard: bool) -> Floats:
    """How photographers saw it: `(n, VIEW)`; `hard` is the way of query-noisy.

    `first` is the row of the first picture in its table, which tells one near duplicate from another.
    """
    dice = _Dice(world.seed, pictures)
    view: dict[str, NDArray[Any]] = {name: dice(name) for name in VIEW}
    strength = np.float32(2.0 if hard else 1.0)

    def around(middle: float, reach: float, value: Floats) -> Floats:
        moved: Floats = np.clip(middle + strength * reach * (2 * value - 1), 0, 1)
        return moved

    indoors = 0.04 + 0.22 * dice("indoors", "author") ** 2
    view["indoors"] = dice("indoors") < indoors + 0.06 * strength - 0.02
    view["landmark_shown"] = (pictures.sight >= 0) & (dice("landmark_shown") < 0.62)
    view["road_shown"] = dice("road_shown") < 0.5
    view["car_shown"] = dice("car_shown") < 0.3
    view["person_shown"] = dice("person_shown") < (0.1 + 0.3 * dice("person", "author")) * strength
    view["foliage_shown"] = dice("foliage_shown") < 0.14 * strength
    view["urban"] = _urban(pictures) - 0.25 * dice("urban")
    view["zoom"] = np.clip(0.5 * strength * dice.habitual("zoom", 0.7), 0, 1)
    view["season"] = dice("season", "session")
    view["daytime"] = 1 - 0.95 * dice("daytime", "session") ** (2.2 if not hard else 1.6)
    view["exposure"] = around(0.5, 0.18, 0.5 * (dice.habitual("exposure", 0.6) + dice("exposure", "session")))
    view["warm_light"] = around(0.5, 0.3, 0.5 * (dice.habitual("warm_light", 0.4) + dice("warm", "session")))
    view["saturation"] = around(0.56, 0.28, dice.habitual("saturation", 0.3))
    view["saturation"][dice("monochrome") < 0.03 * strength] = 0
    view["contrast"] = around(0.54, 0.22, dice.habitual("contrast", 0.4))
    view["vignette"] = dice.habitual("vignette", 0.2)
    view["blur"] = np.clip(strength * 0.5 * dice.habitual("blur", 0.4), 0, 1)
    view["noise"] = np.clip(strength * 0.32 * dice.habitual("noise", 0.4) ** 2 + 0.03, 0, 1)
    _step_aside(world.seed, pictures, first + np.arange(len(pictures)), view)
    return _stack(view)


def _step_aside(seed: int, pictures: Pictures, row: Integers, view: dict[str, NDArray[Any]]) -> None:
    """A near duplicate: the same scene a moment later, framed and exposed a little differently."""
    again = pictures.kind == NEAR_DUPLICATE
    for name, amount in (
        ("crop_x", 0.2),
        ("crop_y", 0.2),
        ("zoom", 0.08),
        ("exposure", 0.05),
        ("horizon", 0.08),
    ):
        moved = unit(draw(seed, f"again {name}", row))
        view[name] = np.where(again, np.clip(view[name] + amount * (2 * moved - 1), 0, 1), view[name])
    view["noise_seed"] = np.where(again, unit(draw(seed, "again noise", row)), view["noise_seed"])


def street_views(world: World, pictures: Pictures) -> Floats:
    """How cars saw it: steady camera, the road always in sight: `(n, VIEW)`."""
    dice = _Dice(world.seed, pictures, STREETVIEW_HABIT)
    view: dict[str, NDArray[Any]] = {name: dice(name) for name in VIEW}
    near_sight = (pictures.sight >= 0) & (dice("landmark_shown") < 0.35)
    nothing = np.zeros(len(pictures), bool)
    shown = {
        "landmark_shown": near_sight,
        "road_shown": np.ones(len(pictures), bool),
        "indoors": nothing,
        "person_shown": nothing,
        "foliage_shown": nothing,
    }
    view.update(shown)
    view["car_shown"] = dice("car_shown") < 0.35
    view["urban"] = _urban(pictures) - 0.1 * dice("urban")
    view["zoom"] = 0.12 * dice("zoom")
    view["horizon"] = 0.45 + 0.12 * dice("horizon")
    view["vanishing"] = 0.4 + 0.2 * dice("vanishing")
    view["season"] = dice("season", "session")
    view["daytime"] = 1 - 0.35 * dice("daytime", "session")
    view["exposure"] = 0.36 + 0.28 * (0.5 * dice("exposure") + 0.5 * dice("exposure", "session"))
    view["warm_light"] = 0.34 + 0.32 * (0.4 * dice("warm_light") + 0.6 * dice("warm_light", "session"))
    view["saturation"] = 0.36 + 0.38 * dice.habitual("saturation", 0.3)
    view["contrast"] = 0.38 + 0.28 * dice.habitual("contrast", 0.3)
    view["vignette"] = 0.3 * dice("vignette", "author")
    view["blur"] = 0.2 + 0.5 * dice.habitual("blur", 0.2)
    view["noise"] = 0.08 + 0.26 * dice.habitual("noise", 0.2)
    return _stack(view)


def _urban(pictures: Pictures) -> Floats:
    """Houses thin out from the centre to open land 20 km away."""
    away_km = np.hypot(pictures.east_m, pictures.north_m).astype(np.float32) / 1000
    return np.clip(1.1 - away_km / 22, 0.12, 1)


def _stack(view: dict[str, NDArray[Any]]) -> Floats:
    return np.clip(np.stack([view[name].astype(np.float32) for name in VIEW], axis=1), 0, 1)
