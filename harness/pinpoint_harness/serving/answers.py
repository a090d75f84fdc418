"""What the page is told: an answer with its circles and pictures, and errors with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import HarnessError, UsageError
from ..geo import geodesic_km
from ..images.positions import Position, position_of
from ..reports.pages.text import visible
from ..reports.support import SUPPORT_KM, Support
from .access import RefusedError
from .world import circle, path, project

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from ..locate import Answer, Candidate, Locator
    from .pictures import GalleryPictures
    from .worker import Question, Reply


class Answers:
    """Puts replies into the words of the page; `candidates` is the most that are shown of each photo."""

    def __init__(self, pictures: GalleryPictures, candidates: int) -> None:
        self._pictures = pictures
        self._candidates = candidates
        self._support: tuple[list[Path], Support] | None = None

    def told(self, question: Question, reply: Reply) -> dict[str, Any]:
        """An answer as the page shows it; `document` is what `pinpoint locate --json` prints.

        Only here, after the answer, is it looked up where the photo says that it was taken.
        """
        answer, locator = reply.answer, reply.locator
        shown = answer.candidates[: self._candidates]
        return {
            "document": locator.document([answer], self._candidates, question.author),
            "name": visible(question.name),
            "seconds": reply.seconds,
            "at": _spot(answer.place),
            "circles": _circles(answer),
            "candidates": self._candidates_of(shown, locator),
            "support_km": SUPPORT_KM,
            "left_out": _left_out(locator, question.author),
            "truth": _truth(question.data, answer.place),
        }

    def _candidates_of(self, shown: Sequence[Candidate], locator: Locator) -> list[dict[str, Any]]:
        places = np.array([(one.latitude, one.longitude) for one in shown]).reshape(-1, 2)
        near = self._counts(locator).near(places)
        return [
            {
                "at": _spot((one.latitude, one.longitude)),
                "picture": self._picture(one, locator),
                "source": visible(one.source or ""),
                "photo_id": visible(one.photo_id or ""),
                "support": {visible(name): count for name, count in counts.items()},
            }
            for one, counts in zip(shown, near, strict=True)
        ]

    def _picture(self, one: Candidate, locator: Locator) -> str | None:
        """The address of a candidate's picture, None for a place that is no photo of a gallery."""
        store = locator.galleries.get(one.source or "")
        if store is None or one.photo_id is None:
            return None
        row = int(store.find([one.photo_id])[0])
        if row < 0:
            return None
        return f"pictures/{self._pictures.add(store, locator.location(store.dataset))}/{row}"

    def _counts(self, locator: Locator) -> Support:
        # Known by their folders: a locator that is held on to would keep its method in memory.
        folders = [store.folder for store in locator.galleries.values()]
        if self._support is None or self._support[0] != folders:
            galleries = {name: store.coordinates() for name, store in locator.galleries.items()}
            self._support = (folders, Support(galleries))
        return self._support[1]


def _spot(place: tuple[float, float] | None) -> list[float] | None:
    """A place as x and y of the map."""
    spot: list[float] | None = None if place is None else project([place])[0].tolist()
    return spot


def _circles(answer: Answer) -> list[dict[str, Any]]:
    """The circles of each radius, the widest first, so that none hides another."""
    if answer.place is None or answer.within is None:
        return []
    return [
        {
            "km": km,
            "probability": share,
            "path": path([outline], closed=True),
            "top": float(outline[:, 1].min()),
        }
        for km, share in sorted(answer.within.items(), reverse=True)
        for outline in [circle(answer.place, km)]
    ]


def _left_out(locator: Locator, author: str | None) -> int | None:
    """How many gallery photos are the photographer's; None where none is named."""
    if author is None:
        return None
    import pyarrow.compute as pc

    stores = locator.galleries.values()
    return sum(pc.sum(pc.equal(store.table["author"], author)).as_py() or 0 for store in stores)


def _truth(data: bytes, place: tuple[float, float] | None) -> dict[str, Any]:
    found = position_of(data)
    if not isinstance(found, Position):
        return {"reason": visible(found.reason)}
    truth = (found.latitude, found.longitude)
    return {
        "latitude": found.latitude,
        "longitude": found.longitude,
        "origin": found.origin,
        "is_void": found.is_void,
        "at": _spot(truth),
        "error_km": None if place is None else float(geodesic_km([place], [truth])[0]),
    }


def refused(request: Request, error: HarnessError) -> Response:
    """An error as JSON, or for a browser that opens a page as a page."""
    from starlette.responses import HTMLResponse, JSONResponse

    from .page import error_page

    status = 422 if isinstance(error, UsageError) else 500
    if isinstance(error, RefusedError):
        status = error.status
    # What is left of a body that was refused is not read.
    headers = {"connection": "close"} if request.method == "POST" else {}
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(error_page(error), status, headers)
    told: Mapping[str, str | None] = {"problem": error.problem, "found": error.found, "fix": error.fix}
    return JSONResponse({name: text and visible(text, 1000) for name, text in told.items()}, status, headers)
