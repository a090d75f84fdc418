"""Where was this photo taken? The answers of a method for photos without truth.

    for answer in locate_photos(["holiday.jpg"], "nearest-photo", {"gallery": "mp16"}):
        print(answer.photo, answer.place)

The same path as a run with a tile of 1: pictures are decoded alike, and the method gets pixels or
features and an opaque key, never a path, a name or EXIF. Nothing is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .batching import tiles
from .errors import UsageError
from .evaluation.calibration import stated_within
from .features import FeatureStore, FinishedStores, LiveBackbone, StoreLookup
from .features.backbones import find_backbone
from .geo import haversine_km
from .home import Home, find_home
from .images import decoder_name
from .images.loose import Photo, PhotoDataset, open_photos
from .plugins import RESERVED_INPUTS, Entry, Registry, load_registry
from .running import (
    SingleInput,
    TileInput,
    backbones_of,
    build_method,
    build_params,
    choose_device,
    method_spec,
    most_probable_first,
    predict_tiles,
    statuses,
)
from .types import RADII_KM, Context, DataLocation, MethodInfo, Predictions

__all__ = ["TILE", "Answer", "Candidate", "Locator", "check_looks", "locate_photos", "open_photos"]

log = logging.getLogger(__name__)

TILE = 1
"""Queries in one call: an answer waits for no other photo and depends on none.

One row alone is no whole block, so last digits may differ from those of a run.
"""

_ZOOM = 10
"""Of the linked map: about 100 km across."""


@dataclass(frozen=True)
class Candidate:
    """A place the method thought of; that of the photo `photo_id` in the dataset `source`, if it is one."""

    latitude: float
    longitude: float
    distance_km: float
    """From the answer, by great circle."""
    probability: float | None
    source: str | None
    photo_id: str | None


@dataclass(frozen=True)
class Answer:
    """What a method says of one photo; `status` is `ok`, or says why there is no place.

    `within` holds for each of the radii in km the probability that the answer lies so close to the
    truth, None where the method gives no probabilities. `score` ranks answers and is no probability.
    """

    photo: str
    status: str
    place: tuple[float, float] | None = None
    score: float | None = None
    within: Mapping[float, float] | None = None
    candidates: Sequence[Candidate] = ()

    @property
    def link(self) -> str | None:
        """The address of a map around the place."""
        if self.place is None:
            return None
        latitude, longitude = (f"{degrees:.5f}" for degrees in self.place)
        where = f"mlat={latitude}&mlon={longitude}#map={_ZOOM}/{latitude}/{longitude}"
        return f"https://www.openstreetmap.org/?{where}"

    def to_dict(self, candidates: int) -> dict[str, Any]:
        """For JSON; what there is none of is None, but for candidates, of which there are none."""
        latitude, longitude = self.place or (None, None)
        within = self.within
        return {
            "photo": self.photo,
            "status": self.status,
            "latitude": latitude,
            "longitude": longitude,
            "score": self.score,
            "confidence_within_km": within and {f"{radius:g}": share for radius, share in within.items()},
            "candidates": [asdict(candidate) for candidate in self.candidates[:candidates]],
            "link": self.link,
        }


def locate_photos(
    paths: Sequence[str | Path],
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    source: str = "photos",
    author: str | None = None,
    device: str = "auto",
    home: Home | str | Path | None = None,
    weights: str | None = None,
    follow_links: bool = False,
    registry: Registry | None = None,
    stores: str | Path | None = None,
) -> list[Answer]:
    """Ask a method where photos were taken: files, folders or archives of them.

    What must be said beside the answers, such as that the method knows no real place, is logged as a
    warning.
    """
    locator = Locator(
        registry or load_registry(),
        method,
        parameters or {},
        source=source,
        device=device,
        home=find_home(home, stores=stores),
        weights=weights,
    )
    with open_photos([Path(path) for path in paths], follow_links) as photos:
        answers = list(locator.answers(photos, author))
    for note in locator.notes():
        log.warning("%s", note)
    return answers


class Locator:
    """A method that is ready to say where photos were taken.

    `source` names the photos' image source, by which a method may choose a gallery.
    """

    def __init__(
        self,
        registry: Registry,
        method: str,
        settings: Mapping[str, Any],
        *,
        source: str = "photos",
        device: str = "auto",
        home: Home | None = None,
        weights: str | None = None,
    ) -> None:
        self._registry, self._entry = registry, registry.method(method)
        check_looks(self._entry, getattr(self._entry.load(), "input", ""))
        self._params = build_params(self._entry, settings)
        self._source = source
        device = choose_device(self._entry, device)
        home = home or find_home()
        store_lookup = StoreLookup(registry, home.stores, device, weights)
        self._stores = FinishedStores(store_lookup, self._entry, self._params)
        self._context = Context(device=device, stores=self._stores, models=home.models)
        self._method = build_method(self._entry, self._params, self._context)
        kind = self._method.input
        check_looks(self._entry, kind)
        names = [] if kind == "image" else backbones_of(kind)
        if len(names) > 1 and weights:
            raise UsageError(f"--weights replaces those of one backbone, '{kind}' are several")
        self._backbones = [LiveBackbone(find_backbone(registry, name, weights), device) for name in names]

    def answers(self, photos: Sequence[Photo], author: str | None = None) -> Iterator[Answer]:
        """An answer for each photo in turn; one that cannot be read has the reason as its status.

        `author` took them all: with `author_filter` their photos in the gallery are left out. UsageError
        for an author without the filter, which would change nothing, and for the filter without an author.
        """
        if bool(getattr(self._params, "author_filter", False)) != (author is not None):
            raise self._filter_misfit(author)
        if not photos:
            return
        dataset = PhotoDataset(photos, self._source, author)
        todo = list(tiles(len(photos), TILE))
        truth = dataset.truth()
        with closing(SingleInput(dataset, truth, self._backbones)) as inputs:
            answered = predict_tiles(self._method, inputs, truth, todo, TILE, self._entry.named)
            for photo, (_, given, predictions) in zip(photos, answered, strict=True):
                yield _answer(photo.name, predictions, given)

    @property
    def galleries(self) -> Mapping[str, FeatureStore]:
        """The feature stores that the method has opened, by dataset."""
        return self._stores.opened

    def location(self, dataset: str) -> DataLocation:
        """Where the files of a gallery lie, as far as the method was told."""
        return self._stores.locations[dataset]

    def document(
        self, answers: Sequence[Answer], candidates: int, author: str | None = None
    ) -> dict[str, Any]:
        """Answers as JSON, with what they depend on and what must be said beside them."""
        return {
            "method": self._entry.name,
            "made": self.record(author),
            "notes": self.notes(),
            "photos": [answer.to_dict(candidates) for answer in answers],
        }

    def record(self, author: str | None = None) -> dict[str, Any]:
        """What the answers depend on beside the photos, as in the recipe of a run."""
        return {
            **method_spec(self._entry, self._params, self._method),
            "inputs": {"decoder": decoder_name(), **self._features_content()},
            "source": self._source,
            "author": author,
            "seed": self._context.seed,
            "device": self._context.device.partition(":")[0],
            "dtype": self._context.dtype,
            "tile": TILE,
        }

    def _filter_misfit(self, author: str | None) -> UsageError:
        if author is None:
            fix = "give their photographer with --author NAME, or leave author_filter off"
            return UsageError("author_filter needs to know who took the photos", fix=fix)
        return UsageError(
            f"method '{self._entry.name}' does not leave out the photos of a photographer",
            found="author_filter = false" if hasattr(self._params, "author_filter") else "no author_filter",
            fix="leave --author away, or give --set author_filter=true to a method that has it",
        )

    def _features_content(self) -> dict[str, Any]:
        each = [one.content() for one in self._backbones]
        return {"backbones": each} if len(each) > 1 else dict(*each)

    def notes(self) -> list[str]:
        """What must be said beside every answer; complete once there is one."""
        names = list(self._stores.opened)
        known = [self._registry.datasets[name].info for name in names if name in self._registry.datasets]
        if not names or len(known) < len(names) or not all(info.procedural for info in known):
            return []
        return [
            f"this model knows only {' and '.join(names)}, pictures of a procedural planet; "
            "what it says of a real photo means nothing"
        ]


def check_looks(entry: Entry[MethodInfo], kind: object) -> None:
    """Refuse a method that would answer without the picture."""
    if kind in RESERVED_INPUTS and kind != "image":
        raise UsageError(
            f"method '{entry.name}' does not look at photos, so it cannot say where one was taken",
            found=f"input = '{kind}'",
            fix="give another with --method: one whose input is 'image' or a backbone's name",
        )


def _answer(photo: str, predictions: Predictions, given: TileInput) -> Answer:
    status = given.failures.get(0) or statuses(predictions)[0]
    if status != "ok":
        return Answer(photo, status)
    latitude, longitude = predictions.coordinates[0].tolist()
    score = predictions.confidence
    return Answer(
        photo,
        status,
        place=(latitude, longitude),
        score=None if score is None else _number(score[0]),
        within=_within(predictions),
        candidates=() if predictions.candidates is None else _candidates(predictions),
    )


def _within(predictions: Predictions) -> dict[float, float] | None:
    shares = stated_within(predictions.coordinates, predictions.candidates, predictions.within)[0]
    return None if np.isnan(shares).any() else dict(zip(RADII_KM, shares.tolist(), strict=True))


def _candidates(predictions: Predictions) -> list[Candidate]:
    """The first query's candidates, by probability where they have one, else as the method ranks them."""
    assert predictions.candidates is not None  # the caller has looked
    given, _ = most_probable_first(predictions.candidates)
    places = given.coordinates[0]
    count = int((~np.isnan(places).any(axis=1)).sum())  # padding stands at the end
    distance_km = haversine_km(predictions.coordinates[0], places[:count])
    return [
        Candidate(
            latitude=float(places[slot, 0]),
            longitude=float(places[slot, 1]),
            distance_km=float(distance_km[slot]),
            probability=None if given.probability is None else _number(given.probability[0, slot]),
            source=None if given.source is None else str(given.source[0, slot]) or None,
            photo_id=None if given.photo_id is None else str(given.photo_id[0, slot]) or None,
        )
        for slot in range(count)
    ]


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
