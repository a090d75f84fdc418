"""Who stands where: cities, sights, roads, photographers, cameras, queries and planted leaks.

Everything here is integer arithmetic on `draws`, so a recipe gives the same ids, coordinates, authors
and leaks on every machine. Distances are metres east and north of a city's centre; the windows of two
cities never overlap (`build_cities.py`), so nothing needs comparing across cities.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from .draws import Integers, Words, bell, below, draw, isqrt, pick
from .geography import Geography, load_geography
from .splits import (
    creator_names,
    photo_names,
    photographer_names,
    split_photos,
    split_streetview,
    streetview_names,
)

VERSION = 1
"""Of the generator: any change that moves a picture or alters its looks makes the next one."""

EARTH_SEED = 0
"""Climate, regions, countries and where street view is missing belong to the Earth: they are few, and
drawn anew for each seed they made one world up to 6 points harder than the next. Everything within a
town (facades, streets, sights, roads) and everyone in it is drawn by the world's own seed."""

MOST_SIGHTS = 12
ROAD_SPACING_M = 1500
QUERY_DISTANCE_M = 1060
"""From every street-view picture of A; 6 % above 1 km, as metres here lie on a plane."""

PLAIN, NEAR_DUPLICATE, EXACT_DUPLICATE, PLACEHOLDER = range(4)
KINDS = ("same-photographer", "near-duplicate", "exact-duplicate", "placeholder")
_TRIES = 12


@dataclass(frozen=True)
class WorldSpec:
    """Everything that changes a world; equal recipes are equal worlds."""

    seed: int = 1
    photos: int = 32_000
    streetview: int = 32_000
    queries: int = 8_000
    version: int = VERSION

    def as_dict(self) -> dict[str, int]:
        """What the folder of a drawn world is named by.

        Worlds of version 2 drawn before it was frozen had other looks and no mark: they are not these.
        """
        return {**asdict(self), **({"frozen": 1} if self.version == 2 else {})}


@dataclass(frozen=True)
class Pictures:
    """One set of pictures, a row each. `kind` is one of the leaks above, `original` the photo it repeats."""

    author: Integers
    city: Integers
    east_m: Integers
    north_m: Integers
    sight: Integers
    """The sight of the city it was taken at, -1 for none."""
    session: Integers
    """Same photographer, same journey, same weather."""
    look: Words
    """Decides whatever else the picture shows."""
    kind: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    original: Integers = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        for name, value in (("kind", PLAIN), ("original", -1)):
            if len(getattr(self, name)) != len(self.author):
                object.__setattr__(self, name, np.full(len(self.author), value))

    def __len__(self) -> int:
        return len(self.author)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Pictures:
        return Pictures(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


class World:
    """The draws of one recipe; each method is one population, independent of the others' order."""

    def __init__(self, spec: WorldSpec) -> None:
        self.spec, self.seed = spec, spec.seed
        self.land: Geography = load_geography()
        self.cities = np.arange(len(self.land))
        self.size = isqrt(self.land.population)
        self.city_total = np.cumsum(self.size + 40)
        self.sights = 3 + np.minimum(MOST_SIGHTS - 3, self.size // 300)
        self.sight_east, self.sight_north = self._on_land(
            "sight", self.cities[:, None], np.arange(MOST_SIGHTS), half_width=5500
        )
        self.covered = below(draw(EARTH_SEED, "covered", np.arange(len(self.land.countries))), 100) >= 20

    def _on_land(
        self,
        stream: str,
        city: Integers,
        *keys: Integers | Words,
        half_width: int,
        about: tuple[Integers, Integers] | None = None,
    ) -> tuple[Integers, Integers]:
        """Points scattered about the city, or about given ones: of several tries the first on land."""
        key_arrays = [np.asarray(key).astype(np.int64) for key in keys]
        city, *_ = np.broadcast_arrays(city, *key_arrays)
        centre = about or (np.zeros_like(city), np.zeros_like(city))
        east, north = centre[0].copy(), centre[1].copy()
        settled = np.zeros(city.shape, bool)
        for attempt in range(_TRIES):
            try_east = centre[0] + bell(
                self.seed, f"{stream} east", city, *key_arrays, attempt, half_width=half_width
            )
            try_north = centre[1] + bell(
                self.seed, f"{stream} north", city, *key_arrays, attempt, half_width=half_width
            )
            good = self.land.is_land(city, try_east, try_north) & ~settled
            east, north = np.where(good, try_east, east), np.where(good, try_north, north)
            settled |= good
        return east, north

    # Photos

    def photographers(self, stream: str, photos: int) -> tuple[Integers, Integers]:
        """Author and number within the author of each photo: few take many, most a handful, none above 66."""
        count = 2 + 64 // (1 + below(draw(self.seed, f"{stream} count", np.arange(photos)), 32))
        ends = np.cumsum(count)
        author = np.searchsorted(ends, np.arange(photos), side="right").astype(np.int64)
        return author, np.arange(photos) - (ends - count)[author]

    def journeys(self, author: Integers) -> Integers:
        """Four cities of each photographer, home first: `(n, 4)`; half the journeys stay in the country."""
        number = np.arange(4)
        anywhere = pick(draw(self.seed, "journey", author[:, None], number), self.city_total)
        by_country = np.argsort(self.land.country_number, kind="stable")
        first = np.searchsorted(
            self.land.country_number[by_country], self.land.country_number[anywhere[:, :1]]
        )
        cities = np.bincount(self.land.country_number)[self.land.country_number[anywhere[:, :1]]]
        near = by_country[first + below(draw(self.seed, "near", author[:, None], number), cities)]
        stays = below(draw(self.seed, "stays", author[:, None], number), 2) == 1
        return np.where(stays & (number > 0), near, anywhere)

    def taken(self, stream: str, author: Integers, number: Integers) -> Pictures:
        """Where photographers take their photos: at sights mostly, around the city otherwise."""

        def of(name: str, limit: int) -> Integers:
            return below(draw(self.seed, f"{stream} {name}", author, number), limit)

        journey = np.searchsorted([50, 75, 90], of("journey", 100), side="right").astype(np.int64)
        city = self.journeys(author)[np.arange(len(author)), journey]
        weights = np.where(
            np.arange(MOST_SIGHTS) < self.sights[:, None], 27720 // (1 + np.arange(MOST_SIGHTS)), 0
        )
        ends = np.cumsum(weights, axis=1)[city]
        place = below(draw(self.seed, f"{stream} sight", author, number), ends[:, -1])
        sight = (place[:, None] >= ends).sum(axis=1)
        around = self._on_land(f"{stream} around", city, author, number, half_width=7000)
        beside = self._on_land(
            f"{stream} beside",
            city,
            author,
            number,
            half_width=420,
            about=(self.sight_east[city, sight], self.sight_north[city, sight]),
        )
        visits = of("visits", 100) < 72
        return Pictures(
            author,
            city,
            np.where(visits, beside[0], around[0]),
            np.where(visits, beside[1], around[1]),
            np.where(visits, sight, -1),
            author * 16 + journey * 4 + of("day", 2),
            draw(self.seed, f"{stream} look", author, number),
        )

    def photos(self) -> Pictures:
        photos = self.taken("photo", *self.photographers("photo", self.spec.photos))
        gone = below(draw(self.seed, "photo gone", np.arange(len(photos))), 100) < 1
        return replace(photos, kind=np.where(gone, PLACEHOLDER, PLAIN))

    def query_clean(self) -> Pictures:
        """Photographers that stand nowhere else."""
        author, number = self.photographers("clean", self.spec.queries)
        return self.taken("clean", author + 1_000_000, number)

    def query_noisy(self) -> Pictures:
        """Photographers of the gallery on the same journeys, with duplicates and placeholders planted."""
        gallery = self.photos()
        slot, number = self.photographers("noisy", self.spec.queries)
        names = photo_names(self.seed, "photos", len(gallery))
        in_gallery = split_photos(names, photographer_names(gallery.author)) == "A"
        rows = np.flatnonzero(in_gallery & (gallery.kind == PLAIN))
        known = np.unique(gallery.author[rows])
        author = known[slot * 1009 % len(known)]  # a prime stride visits each of them once
        queries = self.taken("noisy", author, number)
        ends = np.searchsorted(gallery.author[rows], author, side="right")
        starts = np.searchsorted(gallery.author[rows], author, side="left")
        original = rows[starts + below(draw(self.seed, "noisy original", author, number), ends - starts)]
        dice = below(draw(self.seed, "noisy kind", author, number), 1000)
        kind = np.array([EXACT_DUPLICATE, NEAR_DUPLICATE, PLACEHOLDER, PLAIN])[
            np.searchsorted([12, 45, 75], dice, side="right")
        ]
        repeats = np.isin(kind, (EXACT_DUPLICATE, NEAR_DUPLICATE))
        copied = gallery.take(original)
        repeated = ("city", "east_m", "north_m", "sight", "session", "look")
        merged = {name: np.where(repeats, getattr(copied, name), getattr(queries, name)) for name in repeated}
        queries = replace(queries, **merged, kind=kind, original=np.where(repeats, original, -1))
        return self._step_aside(queries, np.where(kind == NEAR_DUPLICATE, 12, 0))

    def _step_aside(self, pictures: Pictures, half_width_m: Integers) -> Pictures:
        """The same pictures from a few metres away, unless that is in the sea."""
        keys = (pictures.author, np.arange(len(pictures)))
        east = pictures.east_m + bell(self.seed, "step east", *keys, half_width=half_width_m)
        north = pictures.north_m + bell(self.seed, "step north", *keys, half_width=half_width_m)
        dry = self.land.is_land(pictures.city, east, north)
        return replace(
            pictures,
            east_m=np.where(dry, east, pictures.east_m),
            north_m=np.where(dry, north, pictures.north_m),
        )

    # Street view

    def _roads(self) -> Integers:
        """How many roads leave each city, 4 to 10."""
        return 4 + np.minimum(6, self.size // 350)

    def _road_point(self, city: Integers, road: Integers, along_m: Integers) -> tuple[Integers, Integers]:
        """A point of a road: it starts near the centre, keeps its direction, and bends a little."""
        east = below(draw(self.seed, "road east", city, road), 1025) - 512
        north = below(draw(self.seed, "road north", city, road), 1025) - 512
        east = np.where((east == 0) & (north == 0), 1, east)
        length = isqrt((east * east + north * north) * 2**20)  # 1024 times the vector's length
        curve = below(draw(self.seed, "road bend", city, road), 2001) - 1000
        bend: Integers = curve * along_m * along_m // 60_000_000
        start = [
            bell(self.seed, f"road start {axis}", city, road, half_width=1500) for axis in ("east", "north")
        ]
        east_m: Integers = (along_m * east - bend * north) * 1024 // length
        north_m: Integers = (along_m * north + bend * east) * 1024 // length
        return start[0] + east_m, start[1] + north_m

    def _reach_m(self, city: Integers, road: Integers) -> Integers:
        return 14_000 + below(draw(self.seed, "road reach", city, road), 12_001)

    def _drive(
        self, stream: str, city: Integers, road: Integers, along_m: Integers, session: Integers
    ) -> Pictures:
        east, north = self._road_point(city, road, along_m)
        near = (self.sight_east[city] - east[:, None]) ** 2 + (self.sight_north[city] - north[:, None]) ** 2
        near = np.where(np.arange(MOST_SIGHTS) < self.sights[city][:, None], near, 2**40)
        sight = np.where(near.min(axis=1) < 400**2, near.argmin(axis=1), -1)
        look = draw(self.seed, f"{stream} look", city, road, along_m)
        return Pictures(session, city, east, north, sight, session, look)

    def streetview(self) -> Pictures:
        """A picture every 1.5 km or so along every road of the covered countries, then thinned evenly."""
        steps = 26_000 // ROAD_SPACING_M + 1
        city, road, step = (
            index.ravel()
            for index in np.meshgrid(self.cities, np.arange(10), np.arange(steps), indexing="ij")
        )
        along = step * ROAD_SPACING_M + below(
            draw(self.seed, "drive along", city, road, step), ROAD_SPACING_M
        )
        # Some creators drive one road, some several of a city.
        creator = city * 10 + road // (1 + below(draw(self.seed, "creator", city), 3))
        pictures = self._drive("drive", city, road, along, creator + 2_000_000)
        kept = self._passable(pictures, road, along)
        order = np.argsort(draw(self.seed, "drive thin", city, road, step)[kept], kind="stable")
        rows = np.sort(np.flatnonzero(kept)[order[: self.spec.streetview]])
        return pictures.take(rows)

    def _passable(self, pictures: Pictures, road: Integers, along_m: Integers) -> NDArray[np.bool_]:
        covered = self.covered[self.land.country_number[pictures.city]]
        exists = (road < self._roads()[pictures.city]) & (along_m < self._reach_m(pictures.city, road))
        dry: NDArray[np.bool_] = self.land.is_land(pictures.city, pictures.east_m, pictures.north_m)
        return covered & exists & dry

    def query_street(self) -> Pictures:
        """Other cameras on the same roads, in the gaps between the pictures of A."""
        everything = self.streetview()
        names = streetview_names(self.seed, "streetview", len(everything))
        gallery = everything.take(split_streetview(names, creator_names(everything.author)) == "A")
        tries = np.arange(8 * self.spec.queries)
        city = gallery.city[below(draw(self.seed, "street city", tries), len(gallery))]
        road = below(draw(self.seed, "street road", tries), self._roads()[city])
        along = below(draw(self.seed, "street along", tries), 26_000)
        creator = 3_000_000 + city * 2 + below(draw(self.seed, "street creator", tries), 2)
        pictures = self._drive("street", city, road, along, creator)
        free = self._passable(pictures, road, along) & _far_from(pictures, gallery)
        return pictures.take(np.flatnonzero(free)[: self.spec.queries])


def _far_from(pictures: Pictures, gallery: Pictures) -> NDArray[np.bool_]:
    """Whether a picture lies at least `QUERY_DISTANCE_M` from all of the gallery."""
    far = np.ones(len(pictures), bool)
    order = np.argsort(gallery.city, kind="stable")
    cities = gallery.city[order]
    for city in np.unique(pictures.city):
        mine = np.flatnonzero(pictures.city == city)
        theirs = order[np.searchsorted(cities, city) : np.searchsorted(cities, city, side="right")]
        east = pictures.east_m[mine, None] - gallery.east_m[theirs]
        north = pictures.north_m[mine, None] - gallery.north_m[theirs]
        far[mine] = (east * east + north * north >= QUERY_DISTANCE_M**2).all(axis=1)
    return far
