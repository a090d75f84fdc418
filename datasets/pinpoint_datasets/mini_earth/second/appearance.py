"""Generator version 2: how places look over 1 to 2500 km, and what one picture tells of them.

A place has its looks, which hardly vary within 25 km; a picture shows them from where it happens to
stand, by its own light, and past what stands before it. So two pictures of a place differ, and many
together say what one cannot. Views are those of version 1 but for what follows from a place's size, for
what stands before it, and for the cast of each source.
"""

from __future__ import annotations

import numpy as np

from ..drawing import appearance as version1
from ..drawing.appearance import smooth_field, unit_sphere
from ..drawing.attributes import COUNTRY, FIELDS, LANDMARK, PLACE, VIEW, Floats
from ..draws import draw, unit
from ..world import EARTH_SEED, Pictures
from .world import SettledWorld

OCTAVES = {
    "climate": {2500: 1.0, 1000: 0.5, 100: 0.15},
    "region": {2500: 0.8, 1000: 0.8, 100: 0.8},
    "town": {2500: 0.3, 1000: 0.6, 100: 1.0, 10: 0.15},
    "street": {2500: 0.3, 1000: 0.6, 100: 1.0, 10: 0.15, 1: 0.15},
}
"""How much each group of attributes varies over each distance in km, relative to one another.

Little varies within 25 km: pictures near a photo show what it might have shown.
"""

BOLD = 2.2
"""How far places differ from one another, 1 being as far as in version 1; many attributes end at 0 or 1."""

CHANCE = {"climate": 0.03, "region": 0.04, "town": 0.06, "street": 0.06}
"""How far a picture's attributes stray from its place's, at most, either way.

Little: a query that looks like another place looks like all pictures there, and no neighbour tells.
What makes one picture ambiguous is its view, which looks like no place.
"""

ANYWHERE = {"region": 0.02, "town": 0.03, "street": 0.03}
"""Share of pictures whose attributes of a group have nothing to do with the place."""

FRAMING = {
    **dict.fromkeys(("warm_light", "saturation", "season"), (0.5, 0.5)),
    **dict.fromkeys(("horizon", "vanishing"), (0.5, 0.95)),
    "zoom": (0.3, 1.8),
}
"""How far photographers go about a middle, 1 being as far as in version 1: middle and share."""

OCCLUDED = {"person_shown": 0.5, "foliage_shown": 0.4, "car_shown": 0.5}
"""Share of photos in which something stands before the place; of hard ones half as many again."""

INDOORS = 0.04
LANDMARK_SHOWN = 0.95
"""Share of the photos at a sight that show it."""

BUILT_UP = 0.6
"""Share of plots with a house on them in the middle of a hamlet; of a town that reaches 4 km all have one."""

PHOTO_CAST = {"saturation": 0.06, "warm_light": 0.05, "contrast": 0.04}
STREET_CAST = {"saturation": -0.1, "warm_light": -0.08, "contrast": -0.06, "noise": 0.05}
"""What each source's cameras add to every picture."""


def place_attributes(world: SettledWorld, pictures: Pictures) -> Floats:
    """What there is to see at each picture's place, as that picture shows it: `(n, PLACE)`."""
    latitude, longitude = world.land.to_e7(pictures.city, pictures.east_m, pictures.north_m)
    points = unit_sphere(latitude, longitude)
    columns = {
        name: _octaves(world.seed, name, points, group) for group, names in FIELDS.items() for name in names
    }
    away = np.abs(latitude / 1e7).astype(np.float32)
    desert = np.exp(-(((away - 25) / 9) ** 2))
    columns["warmth"] = np.clip(1.08 - away / 62 + 0.35 * (columns["warmth"] - 0.5), 0, 1)
    columns["moisture"] = np.clip(columns["moisture"] * 1.15 - 0.35 * desert + 0.08, 0, 1)
    _as_pictured(world.seed, pictures, columns)
    columns["sun_height"] = np.clip(1.05 - away / 75, 0, 1)
    country = world.land.country_number[pictures.city]
    for name in COUNTRY:
        columns[name] = version1._of_country(world, name)[country]
    for name in LANDMARK:
        columns[name] = unit(draw(world.seed, name, pictures.city, pictures.sight))
    return np.stack([columns[name] for name in PLACE], axis=1)


def _octaves(seed: int, name: str, points: np.ndarray, group: str) -> Floats:
    """The looks of places: from 1000 km up the Earth's, below that the world's."""
    weights = OCTAVES[group]
    total = np.zeros(len(points))
    for scale, weight in weights.items():
        whose = EARTH_SEED if scale >= 1000 else seed
        total += weight * (smooth_field(whose, f"{name} {scale}", points, float(scale)) - 0.5)
    norm = np.sqrt(sum(weight**2 for weight in weights.values()))
    spread: Floats = np.clip(0.5 + BOLD * total / norm, 0, 1).astype(np.float32)
    return spread


def _as_pictured(seed: int, pictures: Pictures, columns: dict[str, Floats]) -> None:
    look = pictures.look.view(np.int64)
    for group, names in FIELDS.items():
        elsewhere = unit(draw(seed, f"anywhere {group}", look)) < ANYWHERE.get(group, 0)
        for name in names:
            chance = unit(draw(seed, f"chance {name}", look))
            shown = np.clip(columns[name] + CHANCE[group] * (2 * chance - 1), 0, 1)
            columns[name] = np.where(elsewhere, chance, shown)


def photo_views(world: SettledWorld, pictures: Pictures, *, first: int = 0, hard: bool) -> Floats:
    """How photographers saw it: `(n, VIEW)`."""
    view = version1.photo_views(world, pictures, first=first, hard=hard)
    for name, (middle, share) in FRAMING.items():
        column = VIEW.index(name)
        view[:, column] = np.clip(middle + share * (view[:, column] - middle), 0, 1)
    look = pictures.look.view(np.int64)
    view[:, VIEW.index("indoors")] = unit(draw(world.seed, "indoors", look)) < INDOORS * (2 if hard else 1)
    for name, share in OCCLUDED.items():
        chance = unit(draw(world.seed, f"occluded {name}", look))
        view[:, VIEW.index(name)] = chance < share * (1.5 if hard else 1)
    shown = unit(draw(world.seed, "landmark shown", look)) < LANDMARK_SHOWN
    view[:, VIEW.index("landmark_shown")] = (pictures.sight >= 0) & shown
    return _cast(world, pictures, view, PHOTO_CAST)


def street_views(world: SettledWorld, pictures: Pictures) -> Floats:
    """How cars saw it: `(n, VIEW)`."""
    return _cast(world, pictures, version1.street_views(world, pictures), STREET_CAST)


def _cast(world: SettledWorld, pictures: Pictures, view: Floats, cast: dict[str, float]) -> Floats:
    extent = world.land.extent_m[pictures.city].astype(np.float32)
    away = np.hypot(pictures.east_m, pictures.north_m).astype(np.float32) / extent
    most = BUILT_UP + (1 - BUILT_UP) * np.minimum(1, extent / 4000)
    chance = unit(draw(world.seed, "urban", pictures.look.view(np.int64)))
    view[:, VIEW.index("urban")] = np.clip(most * (1.1 - away / 2.5) - 0.15 * chance, 0.08, 1)
    for name, amount in cast.items():
        column = VIEW.index(name)
        view[:, column] = np.clip(view[:, column] + amount, 0, 1)
    return view
