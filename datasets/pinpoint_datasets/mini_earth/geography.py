"""Real cities, their countries and the land around them; `cities.csv` is read, nothing is computed.

Cities: GeoNames, CC-BY-4.0. Land: NOAA GLOBE, public domain. `build_cities.py` made the file.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

METRE_E9_LATITUDE = 8983
"""1e-9 degrees of latitude in a metre."""

CELL_M = 2000
GRID = 32
"""The window around a city is 32 x 32 cells of 2 km, from its south-west corner."""

_LEFT = (
    "AG AI AU BB BD BM BN BS BT BW CC CK CX CY DM FJ FK GB GD GG GY HK ID IE IM IN JE JM JP KE KI KN "
    "KY LC LK LS MO MS MT MU MV MW MY MZ NA NF NP NR NU NZ PG PK PN SB SC SG SH SR SZ TC TH TK TL TO "
    "TT TV TZ UG VC VG VI WS ZA ZM ZW"
)
DRIVES_LEFT = frozenset(_LEFT.split())
"""ISO codes of the countries and territories that drive on the left."""


@dataclass(frozen=True)
class Geography:
    """One row per city, in the order of the GeoNames id; coordinates in 1e-7 degree."""

    geonameid: Integers
    name: tuple[str, ...]
    country: NDArray[np.str_]
    country_number: Integers
    """Position of each city's country in `countries`."""
    countries: tuple[str, ...]
    latitude_e7: Integers
    longitude_e7: Integers
    population: Integers
    metre_e9_longitude: Integers
    """1e-9 degrees of longitude in a metre, at the city's latitude."""
    land: NDArray[np.bool_]
    """`(n, GRID, GRID)`: row from the south, column from the west."""

    def __len__(self) -> int:
        return len(self.geonameid)

    def is_land(self, city: Integers, east_m: Integers, north_m: Integers) -> NDArray[np.bool_]:
        """Whether points given in metres from their city's centre lie on land, within its window."""
        column = east_m // CELL_M + GRID // 2
        row = north_m // CELL_M + GRID // 2
        inside = (column >= 0) & (column < GRID) & (row >= 0) & (row < GRID)
        found: NDArray[np.bool_] = self.land[city, np.where(inside, row, 0), np.where(inside, column, 0)]
        return found & inside

    def to_e7(self, city: Integers, east_m: Integers, north_m: Integers) -> tuple[Integers, Integers]:
        """Latitude and longitude in 1e-7 degree of points in metres from their city's centre."""
        latitude = self.latitude_e7[city] + north_m * METRE_E9_LATITUDE // 100
        longitude = self.longitude_e7[city] + east_m * self.metre_e9_longitude[city] // 100
        return latitude, (longitude + 1_800_000_000) % 3_600_000_000 - 1_800_000_000


@functools.cache
def load_geography() -> Geography:
    text = (importlib.resources.files(__package__) / "cities.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    country = np.array([row["country"] for row in rows])
    countries, number = np.unique(country, return_inverse=True)

    def column(name: str) -> Integers:
        return np.array([int(row[name]) for row in rows], np.int64)

    packed = np.array([np.frombuffer(bytes.fromhex(row["land"]), np.uint8) for row in rows])
    land = np.unpackbits(packed, axis=1).reshape(-1, GRID, GRID).astype(bool)
    land[:, GRID // 2 - 1 : GRID // 2 + 1, GRID // 2 - 1 : GRID // 2 + 1] = (
        True  # the city itself stands on land
    )
    return Geography(
        column("geonameid"),
        tuple(row["name"] for row in rows),
        country,
        number.astype(np.int64),
        tuple(countries.tolist()),
        column("latitude_e7"),
        column("longitude_e7"),
        column("population"),
        column("metre_e9_longitude"),
        land,
    )
