"""Nominatim through geopy: at most one question a second, and none twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pinpoint_harness.artifacts import append_line
from pinpoint_harness.errors import DataError, HarnessError
from pinpoint_harness.progress import phase

Place = tuple[float, float]

PAUSE_S = 1.0
"""Nominatim's usage policy: no more than one request a second."""

ERROR_PAUSE_S = 5.0
_TIMEOUT_S = 20


class OnlineGeocoder:
    """Answers by the text asked, kept in a file of JSON lines that every later run reads first.

    The service changes from day to day; the file is what a result can be repeated from.
    """

    def __init__(self, user_agent: str, cache: Path) -> None:
        self._user_agent = user_agent
        self._cache = cache
        self._known = _read_cache(cache)

    def locate(self, texts: Iterable[str]) -> Mapping[str, Place | None]:
        """A coordinate for every text, None where the service knows no such place.

        HarnessError where it cannot be reached; what was answered before is in the cache.
        """
        asked = list(dict.fromkeys(texts))
        todo = [text for text in asked if text not in self._known]
        if todo:
            geocode = self._service()
            with phase("nominatim", len(todo), unit="places") as advance:
                for text in todo:
                    self._ask(geocode, text)
                    advance(1)
        return {text: self._known[text] for text in asked}

    def _service(self) -> Any:
        from geopy.extra.rate_limiter import RateLimiter
        from geopy.geocoders import Nominatim

        service = Nominatim(user_agent=self._user_agent, timeout=_TIMEOUT_S)
        return RateLimiter(
            service.geocode,
            min_delay_seconds=PAUSE_S,
            error_wait_seconds=ERROR_PAUSE_S,
            swallow_exceptions=False,
        )

    def _ask(self, geocode: Any, text: str) -> None:
        from geopy.exc import GeopyError

        try:
            place = geocode(text)
        except GeopyError as error:
            raise HarnessError(
                f"Nominatim did not answer '{text}'",
                found=f"{type(error).__name__}: {error}",
                fix=f"give the command again when the network is back: {len(self._known):,} answers are kept "
                f"in '{self._cache}'; or leave out geocoder=nominatim",
            ) from error
        answer = None if place is None else (float(place.latitude), float(place.longitude))
        append_line(self._cache, json.dumps({"text": text, "place": answer}, ensure_ascii=False))
        self._known[text] = answer


def _read_cache(path: Path) -> dict[str, Place | None]:
    if not path.is_file():
        return {}
    known: dict[str, Place | None] = {}
    *lines, _ = path.read_text(encoding="utf-8").split("\n")  # a last line without its end was torn by a kill
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            place = entry["place"]
            known[str(entry["text"])] = None if place is None else (float(place[0]), float(place[1]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"'{path}' is no cache of a geocoder: line {number} cannot be read",
                found=line[:80],
                fix="name another file, or remove the line",
            ) from error
    return known
