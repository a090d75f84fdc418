"""From "Paris, Texas" to a city: names are compared as people write them, without case and accents."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from pinpoint_harness.errors import UsageError

from ..common.gazetteer import City, Gazetteer

CountryOnly = Literal["largest-city", "capital", "none"]

COUNTRY_NAMES: tuple[tuple[str, ...], ...] = (
    ("Bahamas", "The Bahamas"),
    ("Austria", "Österreich"),
    ("Belgium", "België", "Belgique"),
    ("Brazil", "Brasil"),
    ("Brunei", "Brunei Darussalam"),
    ("Cabo Verde", "Cape Verde"),
    ("China", "People's Republic of China", "PRC", "Mainland China"),
    ("Czechia", "Czech Republic", "Česko"),
    ("Democratic Republic of the Congo", "DR Congo", "DRC", "Congo-Kinshasa", "Congo (Kinshasa)"),
    ("Denmark", "Danmark"),
    ("Eswatini", "Swaziland"),
    ("Finland", "Suomi"),
    ("Germany", "Deutschland"),
    ("Hong Kong", "Hong Kong SAR"),
    ("Hungary", "Magyarország"),
    ("Iran", "Islamic Republic of Iran"),
    ("Ireland", "Republic of Ireland", "Éire"),
    ("Italy", "Italia"),
    ("Ivory Coast", "Côte d'Ivoire"),
    ("Laos", "Lao People's Democratic Republic", "Lao PDR"),
    ("Macao", "Macau"),
    ("Micronesia", "Federated States of Micronesia"),
    ("Moldova", "Republic of Moldova"),
    ("Myanmar", "Burma"),
    ("North Korea", "Democratic People's Republic of Korea", "DPRK"),
    ("North Macedonia", "Macedonia"),
    ("Palestinian Territory", "Palestine", "State of Palestine", "Palestinian Territories", "West Bank"),
    ("Norway", "Norge"),
    ("Poland", "Polska"),
    ("Republic of the Congo", "Congo", "Congo-Brazzaville", "Congo (Brazzaville)"),
    ("Russia", "Russian Federation"),
    ("Slovakia", "Slovak Republic"),
    ("South Korea", "Korea", "Republic of Korea"),
    ("Spain", "España"),
    ("Sweden", "Sverige"),
    ("Switzerland", "Schweiz", "Suisse", "Svizzera"),
    ("Svalbard and Jan Mayen", "Svalbard"),
    ("Syria", "Syrian Arab Republic"),
    ("Taiwan", "Republic of China", "Taiwan, Province of China"),
    ("Tanzania", "United Republic of Tanzania"),
    ("The Netherlands", "Netherlands", "Holland", "Nederland"),
    ("Timor Leste", "Timor-Leste", "East Timor"),
    ("Turkey", "Türkiye"),
    ("U.S. Virgin Islands", "United States Virgin Islands", "US Virgin Islands"),
    ("United Arab Emirates", "UAE", "Emirates"),
    ("United Kingdom", "UK", "U.K.", "Great Britain", "Britain"),
    ("United States", "USA", "U.S.A.", "US", "U.S.", "United States of America", "America"),
    ("Vatican", "Vatican City", "Holy See"),
    ("Vietnam", "Viet Nam"),
)
"""Names of one country in each row; whichever a gazetteer uses, all others lead there."""

_SEPARATORS = re.compile(r"[,;|()\[\]\n]+|\s[-–—]\s")
_ACCENTS = re.compile("[\u0300-\u036f]")
_WITHOUT_DECOMPOSITION = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})
_SILENT = re.compile(r"[.'’‘ʻʼ`´]")
_NO_LETTERS = re.compile(r"[\W_]+")


def normal(name: str) -> str:
    """A name without case, accents, punctuation and a leading "the": `Côte d’Ivoire` is `cote divoire`."""
    plain = name.casefold()
    if not plain.isascii():
        plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", plain)).translate(_WITHOUT_DECOMPOSITION)
    return _NO_LETTERS.sub(" ", _SILENT.sub("", plain)).strip().removeprefix("the ")


class Area(NamedTuple):
    """A country, or a region of it."""

    country: str
    region: str = ""


@dataclass(frozen=True)
class Found:
    """What a text was resolved to.

    `kind` is `city`, or `area` where only a country or region was understood. `unqualified` marks a
    city beside which stands a name that is in no gazetteer, so that it may be the wrong one of its
    name.
    """

    city: City
    kind: Literal["city", "area"]
    unqualified: bool = False


class PlaceResolver:
    """Names to cities by one gazetteer.

    A text is cut at its commas. Its last part is read as a country or region if it is one (of several
    readings, `CA` and `Georgia`, the one that knows the city), and the first part that is a city there
    is the answer: by the city's own name before other names, then the one with most people. A
    country's name alone is the country even where a city shares it, and likewise a region's.
    """

    def __init__(self, gazetteer: Gazetteer, country_only: CountryOnly = "largest-city") -> None:
        if country_only == "capital" and not gazetteer.capitals:
            raise UsageError(
                "country_only=capital needs a gazetteer that knows capitals",
                found=gazetteer.title,
                fix="use country_only=largest-city or none",
            )
        self._gazetteer = gazetteer
        self._country_only = country_only

    def text(self, text: str) -> Found | None:
        """The place that `Paris, France` or `France` means, None where nothing is understood."""
        parts = _parts(text)
        if not parts:
            return None
        if whole := self._areas(text, codes=False):
            return self._alone(whole[0])
        areas = self._areas(parts[-1], codes=len(parts) > 1)
        if not areas:
            city = self._first_city(parts, None)
            return Found(city, "city", unqualified=len(parts) > 1) if city else None
        found = [self._within(area, parts[:-1]) for area in areas]
        return max(filter(None, found), key=_trust, default=None)

    def fields(self, city: str, region: str, country: str) -> Found | None:
        """The same where city, region and country are told apart; any of them may be empty."""
        areas = self._areas(country, codes=True) if country.strip() else []
        regions = [inner for area in areas for inner in self._regions(area, region)]
        if not areas:
            found = self._first_city(_parts(city), None)
            return Found(found, "city", unqualified=bool(country.strip())) if found else None
        parts = _parts(city)
        for area in (*regions, *areas):
            if (found := self._first_city(parts, area)) is not None:
                return Found(found, "city")
        return self._alone((regions or areas)[0])

    def _within(self, area: Area, parts: Sequence[str]) -> Found | None:
        """The first city of an area among the parts; the last of them may name a region of it.

        Or a country by itself that is also known as a part of another: `San Juan, Puerto Rico, USA`.
        """
        regions = self._regions(area, parts[-1]) if parts else []
        apart = [inner for inner in self._countries(parts) if inner != area] if not area.region else []
        before = [(inner, parts[:-1]) for inner in (*regions, *apart)]
        for place, names in (*before, (area, parts[:-1] if regions else parts)):
            if (city := self._first_city(names, place)) is not None:
                return Found(city, "city")
        return self._alone((*regions, *apart, area)[0])

    def _countries(self, parts: Sequence[str]) -> list[Area]:
        """The country that the last part names, if it does."""
        return [area for area in self._areas(parts[-1], codes=False) if not area.region] if parts else []

    def _alone(self, area: Area) -> Found | None:
        """The city that stands for an area of which nothing more is known."""
        if self._country_only == "none":
            return None
        if self._country_only == "capital" and not area.region and area.country in self._gazetteer.capitals:
            return Found(self._gazetteer.cities[self._gazetteer.capitals[area.country]], "area")
        cities = self._gazetteer.by_country.get(area.country, ())
        city = next((city for city in cities if _lies_in(city, area)), None)
        return None if city is None else Found(city, "area")

    def _first_city(self, parts: Sequence[str], area: Area | None) -> City | None:
        return next((city for part in parts for city in self._cities(normal(part), area)), None)

    def _cities(self, name: str, area: Area | None) -> Iterator[City]:
        """Cities of a name, best first; the index of other names is made when it is first needed."""
        yield from (city for city in self._by_own_name.get(name, ()) if _lies_in(city, area))
        yield from (city for city in self._by_other_name.get(name, ()) if _lies_in(city, area))

    def _areas(self, part: str, *, codes: bool) -> list[Area]:
        """Readings of a name or code as a country or region, countries first."""
        found = [*self._by_area_name.get(normal(part), ())]
        code = part.replace(".", "").strip()
        if codes and code.isupper():
            if code in self._gazetteer.country_codes:
                found.append(Area(self._gazetteer.country_codes[code]))
            if code in self._gazetteer.region_codes:
                found.append(Area(*self._gazetteer.region_codes[code]))
        return list(dict.fromkeys(found))

    def _regions(self, area: Area, name: str) -> list[Area]:
        """The regions of a country that a name or code may mean."""
        if area.region or not name.strip():
            return []
        return [
            inner for inner in self._areas(name, codes=True) if inner.region and inner.country == area.country
        ]

    @cached_property
    def _by_own_name(self) -> dict[str, list[City]]:
        found: dict[str, list[City]] = {}
        for city in self._gazetteer.cities:
            found.setdefault(normal(city.name), []).append(city)
        return found

    @cached_property
    def _by_other_name(self) -> dict[str, list[City]]:
        found: dict[str, list[City]] = {}
        for city in self._gazetteer.cities:
            for name in {normal(name) for name in city.other_names}:
                found.setdefault(name, []).append(city)
        return found

    @cached_property
    def _by_area_name(self) -> dict[str, list[Area]]:
        found: dict[str, list[Area]] = {}
        keys = {normal(name): key for key, name in self._gazetteer.countries.items()}
        for names in COUNTRY_NAMES:
            known = [keys[normal(name)] for name in names if normal(name) in keys]
            keys.update((normal(name), known[0]) for name in names if known and normal(name) not in keys)
        for name, key in keys.items():
            found[name] = [Area(key)]
        for area in dict.fromkeys(Area(city.country, city.region) for city in self._gazetteer.cities):
            if area.region:
                found.setdefault(normal(area.region), []).append(area)
        return found


def _lies_in(city: City, area: Area | None) -> bool:
    return area is None or (city.country == area.country and area.region in ("", city.region))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _SEPARATORS.split(text) if normal(part)]


def _trust(found: Found) -> tuple[bool, int]:
    """Of several readings that with a city wins, then that with most people."""
    return found.kind == "city", found.city.population
