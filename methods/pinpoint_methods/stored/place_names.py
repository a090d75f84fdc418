"""Answers in words, `Paris, France`, as language models give them: resolved, and scored like any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd

from pinpoint_harness.errors import UsageError
from pinpoint_harness.params import param
from pinpoint_harness.readers import Answers, Source
from pinpoint_harness.types import Context

from ..common.gazetteer import MINIMUM_POPULATIONS, Gazetteer, open_gazetteer
from .nominatim import OnlineGeocoder, Place
from .place_answers import FIELDS, ROLES, PlaceAnswers, read_place_answers
from .place_resolver import CountryOnly, Found, PlaceResolver
from .predictions import StoredPredictions

COUNTRY_ONLY: tuple[CountryOnly, ...] = ("largest-city", "capital", "none")

_SHOWN = 5


@dataclass(frozen=True)
class PlaceNamesParams:
    file: Path = param(help="the answers: CSV, TSV, Parquet, JSON or JSON lines", in_title=False)
    gazetteer: Path | None = param(
        None,
        "table with the columns city, country, latitude, longitude and perhaps region and population "
        "[default: GeoNames]",
    )
    minimum_population: int = param(
        1000, "of GeoNames' cities; smaller ones are not known", choices=MINIMUM_POPULATIONS
    )
    country_only: str = param(
        "largest-city", "what a country by itself is resolved to; none: to nothing", choices=COUNTRY_ONLY
    )
    geocoder: str = param(
        "gazetteer", "nominatim asks that service over the network", choices=("gazetteer", "nominatim")
    )
    user_agent: str | None = param(
        None, "who asks Nominatim: a name and a mail address, as its policy wants", in_title=False
    )
    cache: Path | None = param(None, "file that keeps Nominatim's answers", in_title=False)
    id_column: str | None = param(None, "column of ids, where its name does not say so")
    place_column: str | None = param(None, "column of whole places (`Paris, France`), likewise")
    city_column: str | None = param(None, "column of cities, likewise")
    region_column: str | None = param(None, "column of regions, likewise")
    country_column: str | None = param(None, "column of countries, likewise")
    confidence_column: str | None = param(None, "column of confidences, likewise")


class PlaceNames(StoredPredictions):
    """Stored answers whose coordinates are those of the places they name.

    What cannot be resolved is a miss, and notes count it: those, the answers of which only the country
    was understood, and those that name something unknown beside their city.
    """

    Params: ClassVar[type[Any]] = PlaceNamesParams
    answer_version: ClassVar[int] = 1

    def __init__(self, params: PlaceNamesParams, context: Context) -> None:
        columns = {role: getattr(params, f"{role}_column") for role in ROLES}
        given = {role: name for role, name in columns.items() if name is not None}
        read = read_place_answers(params.file, given)
        if params.geocoder == "nominatim":
            coordinates, notes, self._content = _by_nominatim(read.rows, params)
        else:
            gazetteer = open_gazetteer(params.gazetteer, params.minimum_population)
            coordinates, notes = _by_gazetteer(read.rows, gazetteer, cast(CountryOnly, params.country_only))
            self._content = {"gazetteer": dict(gazetteer.content)}
        self._answers = _answers(read, coordinates, notes, Source(f"'{params.file}'"))

    def content(self) -> Mapping[str, Any]:
        """The gazetteer by what it holds, or all that the service has answered."""
        return {"cache": None, "user_agent": None, "minimum_population": None, **self._content}


def _by_gazetteer(
    rows: pd.DataFrame, gazetteer: Gazetteer, country_only: CountryOnly
) -> tuple[list[Place | None], list[str]]:
    """A place for every row that can be resolved, and notes on how that went."""
    resolver = PlaceResolver(gazetteer, country_only)
    known: dict[tuple[str, ...], Found | None] = {}
    found = []
    for names in _names(rows):
        if names not in known:
            known[names] = resolver.text(names[0]) if len(names) == 1 else resolver.fields(*names)
        found.append(known[names])
    areas = [item is not None and item.kind == "area" for item in found]
    doubtful = [item is not None and item.unqualified for item in found]
    standing = "country's capital or region's" if country_only == "capital" else "country's or region's"
    notes = [
        f"gazetteer: {gazetteer.title}",
        *_counted(rows, areas, f"name no known city and were placed at their {standing} largest city"),
        *_counted(rows, doubtful, "name something unknown beside the city"),
    ]
    return [None if item is None else (item.city.latitude, item.city.longitude) for item in found], notes


def _by_nominatim(
    rows: pd.DataFrame, params: PlaceNamesParams
) -> tuple[list[Place | None], list[str], dict[str, Any]]:
    """The same by the service, and the digest of its answers that stands in the run's key."""
    if not params.user_agent or params.cache is None:
        raise UsageError(
            "geocoder=nominatim needs to know who asks, and where to keep the answers",
            found=f"user_agent={params.user_agent}, cache={params.cache}",
            fix='--set user_agent="my-study me@example.org" --set cache=nominatim.jsonl',
        )
    texts = [", ".join(filter(None, names)) for names in _names(rows)]
    located = OnlineGeocoder(params.user_agent, params.cache).locate(filter(None, texts))
    answers = json.dumps(sorted(located.items())).encode()
    content = {"gazetteer": None, "nominatim_sha256": hashlib.sha256(answers).hexdigest()}
    notes = [f"places by Nominatim (OpenStreetMap, ODbL), kept in {params.cache.name}"]
    return [located.get(text) for text in texts], notes, content


def _names(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """What is to be resolved: a whole place, or city, region and country."""
    if "place" in rows:
        return [(text,) for text in rows["place"]]
    columns = [rows[role] if role in rows else [""] * len(rows) for role in FIELDS]
    return list(zip(*columns, strict=True))


def _answers(
    read: PlaceAnswers, coordinates: Sequence[Place | None], notes: Sequence[str], source: Source
) -> Answers:
    rows = read.rows
    blank = [not any(names) for names in _names(rows)]
    lost = [place is None and not nothing for place, nothing in zip(coordinates, blank, strict=True)]
    confidence = None
    if "confidence" in rows:
        numbers = pd.to_numeric(rows["confidence"], errors="coerce").to_numpy(dtype=np.float64)
        confidence = np.where(np.isfinite(numbers), numbers, np.nan)
    return Answers(
        ids=rows["id"],
        coordinates=np.array([place or (np.nan, np.nan) for place in coordinates], dtype=np.float64),
        status=["no prediction" if place is None else "ok" for place in coordinates],
        confidence=confidence,
        notes=(
            *read.notes,
            *notes,
            *_counted(rows, lost, "could not be resolved and are misses"),
            *([f"{sum(blank):,} of {len(rows):,} answers are blank: no prediction"] if any(blank) else []),
        ),
        source=source,
        allow_truth=True,  # a city's own coordinates are those of a truth of cities
    )


def _counted(rows: pd.DataFrame, chosen: Sequence[bool], words: str) -> list[str]:
    """`12 of 2,997 answers ...`, with the most frequent of them as examples; nothing for none."""
    if not any(chosen):
        return []
    texts = pd.Series([", ".join(filter(None, names)) for names in _names(rows)])[list(chosen)]
    examples = texts.value_counts(sort=True).index[:_SHOWN].tolist()
    shown = "; ".join(f"'{text[:60]}'" for text in examples)
    return [f"{sum(chosen):,} of {len(rows):,} answers {words}: {shown}"]
