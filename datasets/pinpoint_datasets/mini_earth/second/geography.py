"""5,998 real places of every size, the roads between them, and land; the files are read, nothing is computed.

Places: GeoNames, CC-BY-4.0. Land: NOAA GLOBE, public domain. `build_places.py` made both files.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..draws import isqrt
from ..geography import METRE_E9_LATITUDE, Geography, Integers

LAND_CELL_E7 = 500_000
"""Cells of the land mask: a twentieth of a degree, 5.6 km from south to north."""
LAND_ROWS, LAND_COLUMNS = 3600, 7200

TOWN_M = 3000
"""So near to its middle a place always has land, whatever the mask says of its cell."""


@dataclass(frozen=True)
class Settlements(Geography):
    """One row per place, in the order of the GeoNames id; `land` is the mask of the whole Earth."""

    weight: Integers
    """How often photographers go there: by country as in YFCC4k, within it by people."""
    road_start: Integers
    """Place at which each road between two places starts; `road_end` is the other."""
    road_end: Integers
    extent_m: Integers
    """How far a place reaches: 0.5 km for a hamlet, 12 km for the largest cities."""

    def is_land(self, city: Integers, east_m: Integers, north_m: Integers) -> NDArray[np.bool_]:
        """Whether points given in metres from their place lie on land."""
        latitude, longitude = self.to_e7(city, east_m, north_m)
        row = np.clip((latitude + 900_000_000) // LAND_CELL_E7, 0, LAND_ROWS - 1)
        dry: NDArray[np.bool_] = self.land[row, (longitude + 1_800_000_000) // LAND_CELL_E7 % LAND_COLUMNS]
        return dry | (east_m * east_m + north_m * north_m < TOWN_M**2)

    def metres_from(
        self, city: Integers, latitude_e7: Integers, longitude_e7: Integers
    ) -> tuple[Integers, Integers]:
        """East and north of a place, in metres of its plane: undoes `to_e7` but for its rounding."""
        east = (longitude_e7 - self.longitude_e7[city] + 1_800_000_000) % 3_600_000_000 - 1_800_000_000
        return (
            east * 100 // self.metre_e9_longitude[city],
            (latitude_e7 - self.latitude_e7[city]) * 100 // METRE_E9_LATITUDE,
        )


@functools.cache
def load_settlements() -> Settlements:
    files = importlib.resources.files(__package__)
    rows = list(csv.DictReader((files / "places.csv").read_text(encoding="utf-8").splitlines()))
    country = np.array([row["country"] for row in rows])
    countries, number = np.unique(country, return_inverse=True)
    number = number.astype(np.int64)

    def column(name: str) -> Integers:
        return np.array([int(row[name]) for row in rows], np.int64)

    population = column("population")
    size = isqrt(population)
    ends = [[int(end) for end in row["roads"].split()] for row in rows]
    with Image.open(io.BytesIO((files / "land.png").read_bytes())) as mask:
        land = np.asarray(mask)
    return Settlements(
        geonameid=column("geonameid"),
        name=tuple(row["name"] for row in rows),
        country=country,
        country_number=number,
        countries=tuple(countries.tolist()),
        latitude_e7=column("latitude_e7"),
        longitude_e7=column("longitude_e7"),
        population=population,
        metre_e9_longitude=column("metre_e9_longitude"),
        land=land,
        weight=_weights(size, number, countries.tolist()),
        road_start=np.repeat(np.arange(len(rows)), [len(end) for end in ends]),
        road_end=np.array([end for of_place in ends for end in of_place], np.int64),
        extent_m=np.minimum(12_000, 500 + 4 * size),
    )


PHOTOS = {
    "US": 1517, "GB": 460, "ES": 244, "FR": 215, "DE": 165, "IT": 150, "JP": 148, "CA": 135, "TW": 106,
    "AU": 104, "BR": 82, "NL": 79, "CN": 54, "BE": 54, "MX": 51, "CH": 46, "SE": 44, "IN": 44, "AT": 33,
    "PL": 32, "RU": 31, "PT": 30, "ID": 29, "GR": 29, "HK": 27, "NZ": 27, "CZ": 27, "AR": 25, "TH": 25,
    "IE": 24, "DK": 23, "CL": 21, "FI": 19, "KR": 19, "NO": 19, "SG": 17, "CO": 16, "VN": 15, "HU": 14,
    "TZ": 13, "EG": 12, "CR": 11, "MY": 11, "JO": 11, "TR": 10, "IS": 10, "IL": 9, "ZA": 9, "KE": 9,
}  # fmt: skip
"""Of YFCC4k's 4,536 photos, by country; 90 more countries have 8 or fewer."""
PHOTOS_ELSEWHERE = 2


def _weights(size: Integers, country: Integers, countries: list[str]) -> Integers:
    photos = np.array([PHOTOS.get(code, PHOTOS_ELSEWHERE) for code in countries], np.int64)
    drawn = size * isqrt(size)  # three quarters of the logarithm of its people
    total = np.bincount(country, weights=drawn).astype(np.int64)
    return 1 + photos[country] * 20_000 * drawn // total[country]
