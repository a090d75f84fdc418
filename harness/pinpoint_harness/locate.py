"""Where was this photo taken? A method asked about photos of which nobody has the truth.

    for answer in locate_photos(["holiday.jpg"], "nearest-photo", {"gallery": "mp16"}):
        print(answer.photo, answer.place)

The same path as a run with a tile of 1: pictures are decoded alike, and the method gets pixels or
features and an opaque key, never a path, a name or EXIF. Nothing is stored.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .batching import Tile, tiles
from .devices import embedding_context
from .errors import DataError, UsageError
from .evaluation.calibration import stated_within
from .features import FinishedStores, StoreLookup, features_of, tile_of
from .features.backbones import BackboneSource, find_backbone
from .geo import haversine_km
from .home import Home, find_home
from .images import Failure, ImageStore, decoder_name
from .images.containers.folder import ARCHIVE_SUFFIXES, read_file
from .images.prefetch import prefetch
from .photo_ids import hash_ids
from .plugins import RESERVED_INPUTS, Entry, Registry, load_registry
from .running import (
    TileInput,
    build_method,
    build_params,
    choose_device,
    method_spec,
    predict_tile,
    statuses,
    tile_of_images,
)
from .types import RADII_KM, Candidates, Context, MethodInfo, Predictions, Queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .types import Backbone

    Pixels = NDArray[np.uint8]

log = logging.getLogger(__name__)

TILE = 1
"""Queries in one call: an answer waits for no other photo and depends on none.

One row alone is no whole block, so last digits may differ from those of a run.
"""


@dataclass(frozen=True)
class Photo:
    """A picture that can be read. The name is the user's and reaches no method."""

    name: str
    read: Callable[[], bytes | Failure]


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


def locate_photos(
    paths: Sequence[str | Path],
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    source: str = "photos",
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
        answers = list(locator.answers(photos))
    for note in locator.notes():
        log.warning("%s", note)
    return answers


@contextmanager
def open_photos(paths: Sequence[Path], follow_links: bool = False) -> Iterator[list[Photo]]:
    """The pictures at these paths: files as given, those in folders and archives ordered by name.

    What turns out to be no picture is found when it is read. `follow_links` opens what links in
    folders lead to. UsageError for a path that leads
    nowhere, DataError for a folder without pictures.
    """
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise UsageError(
            f"there is no '{absent[0]}'",
            found=f"{len(absent)} of {len(paths)} paths lead nowhere",
            fix="give photos, folders or archives",
        )
    with ExitStack() as resources:
        photos: list[Photo] = []
        for path in paths:
            if path.is_dir() or path.name.lower().endswith(ARCHIVE_SUFFIXES):
                photos += _listed(
                    path, resources.enter_context(ImageStore.open([path], follow_links=follow_links))
                )
            else:
                photos.append(Photo(_shown(path), partial(read_file, str(path))))
        yield photos


def _listed(path: Path, store: ImageStore) -> list[Photo]:
    listing = store.everything().sort_values("image", kind="stable")
    if listing.empty:
        reasons = "; ".join(map(str, store.skipped))
        raise DataError(f"there are no pictures in '{path}'", found=reasons or "nothing that could be one")
    for left_out in store.skipped:
        log.warning("left out: %s", left_out)
    return [
        Photo(_shown(path / name), partial(store.read, ref))
        for name, ref in zip(listing["image"], listing["ref"].tolist(), strict=True)
    ]


def _shown(path: Path) -> str:
    """A path that can be printed, whatever bytes are in it."""
    text = os.fsencode(path).decode(errors="replace")
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


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
        _check_looks(self._entry, getattr(self._entry.load(), "input", ""))
        self._params = build_params(self._entry, settings)
        self._source = source
        device = choose_device(self._entry, device)
        home = home or find_home()
        store_lookup = StoreLookup(registry, home.stores, device, weights)
        self._stores = FinishedStores(store_lookup, self._entry, self._params)
        self._context = Context(device=device, stores=self._stores, models=home.models)
        self._method = build_method(self._entry, self._params, self._context)
        kind = self._method.input
        _check_looks(self._entry, kind)
        self._inputs: _Inputs = (
            _Pictures() if kind == "image" else _Features(find_backbone(registry, kind, weights), device)
        )

    def answers(self, photos: Sequence[Photo]) -> Iterator[Answer]:
        """An answer for each photo in turn; one that cannot be read has the reason as its status."""
        for photo, (key, given) in zip(photos, self._inputs.stream(photos), strict=True):
            queries = Queries(hash_ids([key]), hash_ids([None]), [self._source], given.values)
            yield _answer(photo.name, predict_tile(self._method, queries, given), given)

    def record(self) -> dict[str, Any]:
        """What the answers depend on beside the photos, as in the recipe of a run."""
        own = self._method.content() if hasattr(self._method, "content") else None
        return {
            **method_spec(self._entry, self._params, own),
            "inputs": self._inputs.content(),
            "source": self._source,
            "seed": self._context.seed,
            "device": self._context.device.partition(":")[0],
            "dtype": self._context.dtype,
            "tile": TILE,
        }

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


def _check_looks(entry: Entry[MethodInfo], kind: object) -> None:
    """Refuse a method that would answer without the picture."""
    if kind in RESERVED_INPUTS and kind != "image":
        raise UsageError(
            f"method '{entry.name}' does not look at photos, so it cannot say where one was taken",
            found=f"input = '{kind}'",
            fix="give another with --method: one whose input is 'image' or a backbone's name",
        )


class _Inputs(Protocol):
    """What the method asked for, photo by photo."""

    def content(self) -> dict[str, Any]: ...

    def stream(self, photos: Sequence[Photo]) -> Iterator[tuple[str, TileInput]]:
        """Key and input of each photo in order."""
        ...


@dataclass(frozen=True)
class _Seen:
    """A decoded picture and its key: equal for equal pixels, whatever the file around them is."""

    key: str
    prepared: Any

    @classmethod
    def of(cls, pixels: Pixels, prepare: Callable[[Pixels], Any]) -> _Seen:
        digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
        digest.update(pixels.data)
        return cls(digest.hexdigest(), prepare(pixels))


def _see(
    photos: Sequence[Photo], prepare: Callable[[Pixels], Any], depth: int
) -> Generator[tuple[int, _Seen | Failure], None, None]:
    """Decoded ahead of whoever looks at them."""
    return prefetch(
        lambda index: photos[index].read(),
        len(photos),
        threads=os.cpu_count() or 1,
        depth=depth,
        transform=partial(_Seen.of, prepare=prepare),
        remark=lambda index, text: log.warning("%s: %s", photos[index].name, text),
    )


class _Pictures:
    """For methods that look at pixels."""

    def content(self) -> dict[str, Any]:
        return {"decoder": decoder_name()}

    def stream(self, photos: Sequence[Photo]) -> Iterator[tuple[str, TileInput]]:
        with closing(_see(photos, lambda pixels: pixels, depth=2)) as seen:
            for _, item in seen:
                if isinstance(item, Failure):
                    yield "", tile_of_images([item], TILE)
                else:
                    yield item.key, tile_of_images([item.prepared], TILE)


@dataclass(frozen=True)
class _Features:
    """For methods that look at features: made on the spot, and bit by bit those of a store.

    A backbone always gets its own tile of pictures, padded, which costs as much for one photo as
    for a tile; one that takes any tile gets one picture, and its features differ in last digits.
    """

    source: BackboneSource
    device: str

    @cached_property
    def _backbone(self) -> Backbone:
        return self.source.open(embedding_context(self.device), fetch=True)

    @property
    def _tile(self) -> int:
        return TILE if getattr(self._backbone, "takes_any_tile", False) else tile_of(self._backbone)

    def content(self) -> dict[str, Any]:
        return {
            "decoder": decoder_name(),
            "backbone": dict(self.source.content(self._backbone)),
            "dtype": embedding_context(self.device).dtype,
            "tile": self._tile,
        }

    def stream(self, photos: Sequence[Photo]) -> Iterator[tuple[str, TileInput]]:
        import torch

        size = self._tile
        with closing(_see(photos, self._backbone.prepare, depth=2 * size)) as seen:
            for tile in tiles(len(photos), size):
                items = [next(seen)[1] for _ in range(len(tile))]
                prepared = [item if isinstance(item, Failure) else item.prepared for item in items]
                features, failures = features_of(
                    Tile(0, 0, len(tile)), self._backbone, enumerate(prepared), self.source.name, size
                )
                on_device = torch.from_numpy(features).to(self.device)  # (readable, width)
                row = 0
                for position, item in enumerate(items):
                    if isinstance(item, Failure) or position in failures:
                        yield "", TileInput(None, {0: failures[position]}, answerable=False)
                    else:
                        yield item.key, TileInput(on_device[row : row + 1])
                        row += 1


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
    """The first query's candidates, best first."""
    given: Candidates = predictions.candidates  # type: ignore[assignment]  # the caller has looked
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
