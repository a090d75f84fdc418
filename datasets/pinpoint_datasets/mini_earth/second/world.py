"""Generator version 2: who stands where on an Earth with towns, villages and roads at all distances.

As in version 1 everything is integer arithmetic on `draws`. Photographers, queries and leaks are those
of version 1; where they go is not: places are 5,998 real ones of every size, and between them run
roads, along which street view is spread evenly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..draws import Integers, Words, bell, below, draw, isqrt, pick
from ..geography import METRE_E9_LATITUDE
from ..splits import creator_names, split_streetview, streetview_names
from ..world import EARTH_SEED, MOST_SIGHTS, QUERY_DISTANCE_M, Pictures, World, WorldSpec
from .geography import PHOTOS, Settlements, load_settlements

SPACING_M = 5000
"""Between two pictures of street view along a road, before they are thinned."""
STREETS = 6
"""Most streets that leave a place for its own outskirts."""

AT_SIGHT, IN_TOWN, AROUND = 56, 84, 95
"""Of 100 photos, running total: taken at a sight, in town, in its surroundings; the rest on a road."""

_TRIES = 12


class SettledWorld(World):
    """The draws of one recipe of version 2; each method is one population."""

    land: Settlements

    def __init__(self, spec: WorldSpec) -> None:
        self.spec, self.seed = spec, spec.seed
        self.land = load_settlements()
        self.cities = np.arange(len(self.land))
        self.size = isqrt(self.land.population)
        self.city_total = np.cumsum(self.land.weight)
        self.sights = 1 + np.minimum(MOST_SIGHTS - 1, self.size // 120)
        self.sight_east, self.sight_north = self._on_land(
            "sight",
            np.repeat(self.cities, MOST_SIGHTS),
            np.tile(np.arange(MOST_SIGHTS), len(self.land)),
            half_width=np.repeat(self.land.extent_m // 2, MOST_SIGHTS),
        )
        self.sight_east = self.sight_east.reshape(-1, MOST_SIGHTS)
        self.sight_north = self.sight_north.reshape(-1, MOST_SIGHTS)
        seldom = np.array([code not in PHOTOS for code in self.land.countries])
        dice = below(draw(EARTH_SEED, "covered", np.arange(len(self.land.countries))), 100)
        self.covered = dice >= np.where(seldom, 25, 6)
        self.roads = Roads(self.land, self.seed)

    def _on_land(
        self,
        stream: str,
        city: Integers,
        *keys: Integers | Words,
        half_width: int | Integers,
        about: tuple[Integers, Integers] | None = None,
    ) -> tuple[Integers, Integers]:
        """As in version 1: of several tries the first on land; those that have one try no more."""
        centre = about or (np.zeros_like(city), np.zeros_like(city))
        east, north = centre[0].copy(), centre[1].copy()
        width = np.broadcast_to(half_width, city.shape)
        left = np.arange(len(city))
        for attempt in range(_TRIES):
            key = [np.asarray(key)[left].astype(np.int64) for key in (city, *keys)]
            moved = [
                place[left] + bell(self.seed, f"{stream} {axis}", *key, attempt, half_width=width[left])
                for axis, place in zip(("east", "north"), centre, strict=True)
            ]
            dry = self.land.is_land(city[left], moved[0], moved[1])
            east[left[dry]], north[left[dry]] = moved[0][dry], moved[1][dry]
            left = left[~dry]
        return east, north

    # Photos

    def journeys(self, author: Integers) -> Integers:
        """Four places of each photographer, home first: `(n, 4)`; the second is near home."""
        number = np.arange(4)
        anywhere = pick(draw(self.seed, "journey", author[:, None], number), self.city_total)
        home = anywhere[:, :1]
        near = self.roads.walk(home, draw(self.seed, "near", author[:, None], number))
        by_country = np.argsort(self.land.country_number, kind="stable")
        ends = np.cumsum(self.land.weight[by_country])
        number_of = self.land.country_number[by_country]
        country = self.land.country_number[home]
        first = np.searchsorted(number_of, country)
        last = np.searchsorted(number_of, country, side="right") - 1
        before = ends[first] - self.land.weight[by_country[first]]
        among = draw(self.seed, "inland", author[:, None], number)
        inland = by_country[np.searchsorted(ends, before + below(among, ends[last] - before), side="right")]
        dice = below(draw(self.seed, "stays", author[:, None], number), 100)
        further = np.where(dice < 55, inland, anywhere)
        return np.select([number == 0, (number == 1) | (dice < 20)], [anywhere, near], further)

    def taken(self, stream: str, author: Integers, number: Integers) -> Pictures:
        """Where photographers take their photos: at sights mostly, in town, around it, or on the road."""

        def of(name: str, limit: int) -> Integers:
            return below(draw(self.seed, f"{stream} {name}", author, number), limit)

        journey = np.searchsorted([45, 72, 90], of("journey", 100), side="right").astype(np.int64)
        city = self.journeys(author)[np.arange(len(author)), journey]
        chance = of("where", 100)
        sight = self._sight(city, draw(self.seed, f"{stream} sight", author, number))
        at_sight = chance < AT_SIGHT
        extent = self.land.extent_m[city]
        half_width = np.select([at_sight, chance < IN_TOWN], [220, extent], extent + 6000)
        about = (
            np.where(at_sight, self.sight_east[city, sight], 0),
            np.where(at_sight, self.sight_north[city, sight], 0),
        )
        east, north = self._on_land(f"{stream} at", city, author, number, half_width=half_width, about=about)
        road = self.roads.of_place(city, draw(self.seed, f"{stream} road", author, number))
        along = below(draw(self.seed, f"{stream} along", author, number), 1024)
        on_road = self.roads.point(road, along * self.roads.length_m[road] // 1024)
        travels = (chance >= AROUND) & self.land.is_land(*on_road)
        return Pictures(
            author,
            np.where(travels, on_road[0], city),
            np.where(travels, on_road[1], east),
            np.where(travels, on_road[2], north),
            np.where(at_sight, sight, -1),
            author * 16 + journey * 4 + of("day", 2),
            draw(self.seed, f"{stream} look", author, number),
        )

    def _sight(self, city: Integers, words: Words) -> Integers:
        """A sight of each city: the first is the best known, the next half as often, and so on."""
        number = np.arange(MOST_SIGHTS)
        weights = np.where(number < self.sights[:, None], 27720 // (1 + number), 0)
        ends = np.cumsum(weights, axis=1)[city]
        sight: Integers = (below(words, ends[:, -1])[:, None] >= ends).sum(axis=1)
        return sight

    # Street view

    def _seen(self, stream: str, road: Integers, along_m: Integers, creator: Integers) -> Pictures:
        city, east, north = self.roads.point(road, along_m)
        near = (self.sight_east[city] - east[:, None]) ** 2 + (self.sight_north[city] - north[:, None]) ** 2
        near = np.where(np.arange(MOST_SIGHTS) < self.sights[city][:, None], near, 2**60)
        sight = np.where(near.min(axis=1) < 300**2, near.argmin(axis=1), -1)
        look = draw(self.seed, f"{stream} look", road, along_m)
        return Pictures(creator, city, east, north, sight, creator, look)

    def _drivable(self, pictures: Pictures) -> NDArray[np.bool_]:
        """Whether cameras drive there: on land, in covered countries."""
        dry: NDArray[np.bool_] = self.land.is_land(pictures.city, pictures.east_m, pictures.north_m)
        return dry & self.covered[self.land.country_number[pictures.city]]

    def streetview(self) -> Pictures:
        """A picture every `SPACING_M` or so along every road of covered countries, then thinned evenly."""
        steps = 1 + self.roads.length_m // SPACING_M
        road = np.repeat(np.arange(len(steps)), steps)
        step = np.arange(len(road)) - np.repeat(np.cumsum(steps) - steps, steps)
        along = (step * self.roads.length_m[road] + self._jitter(road, step)) // steps[road]
        # Some creators drive one road, some all of a place.
        start = self.roads.start[road]
        alone = below(draw(self.seed, "creator", start), 2) == 0
        creator = 2_000_000 + np.where(alone, len(self.land) + road, start)
        pictures = self._seen("drive", road, along, creator)
        kept = np.flatnonzero(self._drivable(pictures))
        order = np.argsort(draw(self.seed, "drive thin", road, step)[kept], kind="stable")
        return pictures.take(np.sort(kept[order[: self.spec.streetview]]))

    def _jitter(self, road: Integers, step: Integers) -> Integers:
        return below(draw(self.seed, "drive along", road, step), self.roads.length_m[road])

    def query_street(self) -> Pictures:
        """Other cameras on the same roads, in the gaps between the pictures of A."""
        everything = self.streetview()
        names = streetview_names(self.seed, "streetview", len(everything))
        gallery = everything.take(split_streetview(names, creator_names(everything.author)) == "A")
        tries = np.arange(3 * self.spec.queries)
        driven = np.cumsum(self.roads.length_m)
        road = pick(draw(self.seed, "street road", tries), driven)
        along = below(draw(self.seed, "street along", tries), self.roads.length_m[road])
        creator = 4_000_000 + 2 * self.roads.start[road] + below(draw(self.seed, "street creator", tries), 2)
        pictures = self._seen("street", road, along, creator)
        free = self._drivable(pictures) & _far_from(self.land, pictures, gallery)
        return pictures.take(np.flatnonzero(free)[: self.spec.queries])


def _far_from(land: Settlements, pictures: Pictures, gallery: Pictures) -> NDArray[np.bool_]:
    """Whether a picture lies at least `QUERY_DISTANCE_M` from all of the gallery."""
    there = land.to_e7(gallery.city, gallery.east_m, gallery.north_m)
    order = np.argsort(there[0], kind="stable")
    latitude, longitude = there[0][order], there[1][order]
    here = land.to_e7(pictures.city, pictures.east_m, pictures.north_m)[0]
    band = QUERY_DISTANCE_M * METRE_E9_LATITUDE // 100 + 1
    first = np.searchsorted(latitude, here - band)
    count = np.searchsorted(latitude, here + band, side="right") - first
    picture = np.repeat(np.arange(len(pictures)), count)
    other = np.arange(len(picture)) - np.repeat(np.cumsum(count) - count, count) + first[picture]
    east, north = land.metres_from(pictures.city[picture], latitude[other], longitude[other])
    east, north = east - pictures.east_m[picture], north - pictures.north_m[picture]
    far = np.ones(len(pictures), bool)
    far[picture[east * east + north * north < QUERY_DISTANCE_M**2]] = False
    return far


class Roads:
    """The roads between places, then each place's own streets, by number."""

    def __init__(self, land: Settlements, seed: int) -> None:
        self.land, self.seed = land, seed
        between = len(land.road_start)
        place = np.repeat(np.arange(len(land)), STREETS)
        street = np.tile(np.arange(STREETS), len(land))
        exists = street < 2 + np.minimum(STREETS - 2, isqrt(land.population)[place] // 200)
        self.start = np.concatenate([land.road_start, place[exists]])
        far = land.metres_from(
            land.road_start, land.latitude_e7[land.road_end], land.longitude_e7[land.road_end]
        )
        keys = (place[exists], street[exists])
        reach = 4 * land.extent_m[keys[0]]
        own = [below(draw(seed, f"street {axis}", *keys), reach) - reach // 2 for axis in ("east", "north")]
        self.east_m, self.north_m = (np.concatenate([a, b]) for a, b in zip(far, own, strict=True))
        self.length_m = np.maximum(isqrt(self.east_m**2 + self.north_m**2), 200)
        self.bend = below(draw(seed, "road bend", np.arange(len(self.start))), 401) - 200
        ends = np.concatenate([land.road_start, place[exists], land.road_end])
        roads = np.concatenate([np.arange(len(self.start)), np.arange(between)])
        order = np.argsort(ends, kind="stable")
        self._roads = roads[order]
        self._first = np.searchsorted(ends[order], np.arange(len(land) + 1))

    def point(self, road: Integers, along_m: Integers) -> tuple[Integers, Integers, Integers]:
        """City, east and north of a point of a road, of the city at its nearer end."""
        length, east, north = self.length_m[road], self.east_m[road], self.north_m[road]
        # A parabola between the ends, at most a fifth of the length off the straight line's middle.
        off = self.bend[road] * along_m // length * (length - along_m) // length
        city = self.start[road]
        at_east = np.asarray(east * along_m // length - north * off // 250, np.int64)
        at_north = np.asarray(north * along_m // length + east * off // 250, np.int64)
        return self._of_nearer_end(road, along_m, (city, at_east, at_north))

    def _of_nearer_end(
        self, road: Integers, along_m: Integers, place: tuple[Integers, Integers, Integers]
    ) -> tuple[Integers, Integers, Integers]:
        city, east, north = place
        between = len(self.land.road_end)
        end = np.where(road < between, self.land.road_end[np.minimum(road, between - 1)], city)
        there = self.land.metres_from(end, *self.land.to_e7(city, east, north))
        past = 2 * along_m > self.length_m[road]
        return tuple(
            np.where(past, new, old) for new, old in zip((end, *there), (city, east, north), strict=True)
        )  # type: ignore[return-value]

    def of_place(self, city: Integers, words: Words) -> Integers:
        """One of the roads that start or end at each city."""
        first = self._first[city]
        chosen: Integers = self._roads[first + below(words, self._first[city + 1] - first)]
        return chosen

    def walk(self, city: Integers, words: Words) -> Integers:
        """A place one or two roads away."""
        for step in range(2):
            road = self.of_place(city, draw(self.seed, f"walk {step}", words.view(np.int64)))
            between = len(self.land.road_end)
            end = np.where(road < between, self.land.road_end[np.minimum(road, between - 1)], city)
            city = np.where(end == city, self.start[road], end)
        return city
