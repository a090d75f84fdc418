"""A method on trial: how the checks of `testing` build it, ask it, and what they ask it about."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
import PIL.ExifTags
import PIL.Image
from numpy.typing import NDArray

from ..batching import Tile, padded, whole_blocks
from ..errors import ArtifactError, HarnessError, PluginError, UsageError
from ..images import Failure
from ..images.decode import decode
from ..params import build, specs, train_command
from ..plugins import Entry
from ..running import NoParams, QuerySet, check_predictions, preset_of, statuses
from ..running.predictions import build as stored_table
from ..training import StageMissingError
from ..types import Context, Method, MethodInfo, Predictions, Queries

Pixels = NDArray[np.uint8]
Answer = dict[str, Any]

COMPARED = ("predicted_latitude", "predicted_longitude", "confidence", "status", "candidates", "within")
"""What is stored of an answer, beside the truth it is compared to."""


class Trial:
    """A method on trial, and the queries it is asked: two tiles, of which the second only disturbs.

    Like the runner, it fills every call up to whole row blocks and throws away what was filled in; a
    single query is answered alone, as `locate` does.
    """

    def __init__(
        self,
        method: Entry[MethodInfo] | type[Any],
        parameters: Mapping[str, Any],
        context: Context,
        tile: int,
        widths: Mapping[str, int],
    ) -> None:
        self.info = method.info if isinstance(method, Entry) else None
        self.target: Any = method.load() if isinstance(method, Entry) else method
        owner = f"method '{method.name}'" if isinstance(method, Entry) else method.__name__
        trusted = isinstance(method, Entry) and method.origin.trust == "built-in"
        if trusted and getattr(self.target, "input", None) == "id":
            raise UsageError(f"{owner} joins answers that are stored already: there is nothing to check")
        declared = getattr(self.target, "Params", NoParams)
        self.entry = method if isinstance(method, Entry) else None
        self.params, self.misdeclared = _parameters(declared, parameters, owner, self.entry)
        self.context = context
        self.tile = tile
        self.widths = widths
        self.rows = np.arange(tile)
        self.other_rows = np.arange(tile, 2 * tile)
        self.truth = made_up_truth([f"photo-{row}.jpg" for row in range(2 * tile)])
        self._calls = 0

    @cached_property
    def method(self) -> Method:
        return self.built()

    @cached_property
    def first(self) -> list[Answer]:
        """The method's first answers, to which all later ones are compared."""
        return self.predict_rows(self.rows)

    @cached_property
    def pictures(self) -> list[Pixels] | None:
        if self.method.input != "image":
            return None
        return [developed(drawn_jpeg(row)) for row in range(2 * self.tile)]

    def built(self) -> Method:
        with self._another_random_state():
            try:
                return cast(Method, self.target(self.params, self.context))
            except StageMissingError as error:
                if self.entry is None:
                    raise
                fix = train_command(self.entry.name, self.params, self.entry.preset, self.context.models)
                raise ArtifactError(error.problem, found=error.found, fix=fix) from error

    def take(
        self,
        rows: NDArray[np.int64],
        pictures: Sequence[Pixels] | None = None,
        truth: pd.DataFrame | None = None,
    ) -> Queries:
        """A tile that nobody else holds, filled up; `pictures` and `truth` stand in for the trial's own."""
        if len(rows) > 1:
            full = padded(Tile(0, 0, len(rows)), whole_blocks(len(rows)))
            rows, pictures = rows[full], None if pictures is None else [pictures[row] for row in full]
        if pictures is None and self.pictures is not None:
            pictures = [self.pictures[row] for row in rows]
        given: Any = None if pictures is None else [picture.copy() for picture in pictures]
        if self.method.input in self.widths:
            given = self._features(rows)
        return QuerySet.of(self.truth if truth is None else truth).take(rows, given)

    def _features(self, rows: NDArray[np.int64]) -> Any:
        """Random features, the same for the same row: fp16 `(n, width)` on the method's device."""
        import torch

        width = self.widths[self.method.input]
        drawn = [np.random.default_rng(int(row)).normal(size=width) for row in rows]
        return torch.from_numpy(np.array(drawn)).to(self.context.device, torch.float16)

    def predict_rows(
        self,
        rows: NDArray[np.int64],
        pictures: Sequence[Pixels] | None = None,
        method: Method | None = None,
    ) -> list[Answer]:
        """What a run would store of the answers; PluginError if they break their form."""
        return self.stored(self.predict(self.take(rows, pictures), method))[: len(rows)]

    def predict(self, queries: Queries, method: Method | None = None) -> Predictions:
        chosen = method or self.method
        with self._another_random_state():
            answer = chosen.predict(queries)
        check_predictions(answer, len(queries))
        return answer

    def stored(self, answer: Predictions) -> list[Answer]:
        truth = self.truth.iloc[np.resize(np.arange(len(self.truth)), len(answer))]
        table = stored_table(truth, answer, statuses(answer))
        rows: list[Answer] = table.select(list(COMPARED)).to_pylist()
        return rows

    @contextlib.contextmanager
    def _another_random_state(self) -> Iterator[None]:
        """Global generators as no earlier call found them, and afterwards as they were."""
        self._calls += 1
        torch = sys.modules.get("torch")
        forked = (
            torch.random.fork_rng(range(torch.cuda.device_count())) if torch else contextlib.nullcontext()
        )
        python_state, numpy_state = random.getstate(), np.random.get_state()
        with forked:
            random.seed(self._calls)
            np.random.seed(self._calls)
            if torch:
                torch.manual_seed(self._calls)
            try:
                yield
            finally:
                random.setstate(python_state)
                np.random.set_state(numpy_state)


def _parameters(
    declared: Any, given: Mapping[str, Any], owner: str, entry: Entry[MethodInfo] | None
) -> tuple[Any, str]:
    """An instance from the given values, and what is wrong with the declaration or the preset."""
    if not dataclasses.is_dataclass(declared) or not isinstance(declared, type):
        return None, f"Params is {declared!r}, no dataclass"
    if not declared.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return None, f"{declared.__name__} is not frozen"
    try:
        preset = preset_of(entry) if entry else {}
        known = specs(declared, preset, given)
    except PluginError as error:
        return None, f"{error.problem}: {error.found}"
    except TypeError as error:
        return None, str(error)
    defaults = {spec.name: spec.default for spec in known if not spec.required}
    params = build(declared, given, owner, preset)
    try:
        checked = build(declared, {**defaults, **given}, owner)
    except UsageError as error:
        return None, f"a default does not fit: {error.problem}"
    wrong = [name for name in defaults if getattr(params, name) != getattr(checked, name)]
    return params, f"the default of {wrong[0]} is not of the declared type" if wrong else ""


# Made-up queries


def made_up_truth(names: Sequence[str]) -> pd.DataFrame:
    number = np.arange(len(names))
    return pd.DataFrame(
        {
            "id": names,
            "image": names,
            "latitude": 0.0,
            "longitude": 0.0,
            "author": [("ann", "ben", None)[row % 3] for row in number],
            "source": [("photos", "streetview")[row % 2] for row in number],
        }
    )


def drawn_jpeg(number: int, *, falsified: bool = False) -> bytes:
    """A picture of coloured fields, the same for the same number whatever else is in the file."""
    generator = np.random.default_rng(number)
    height, width = generator.integers(6, 17, size=2)
    fields = generator.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(fields.repeat(16, axis=0).repeat(16, axis=1))
    metadata = {"exif": _exif(number), "comment": f"Paris\n48.8584\n{number}.2945"} if falsified else {}
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, **metadata)
    return stream.getvalue()


def _exif(number: int) -> PIL.Image.Exif:
    tags = PIL.ExifTags.GPS
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.IFD.GPSInfo] = {
        tags.GPSLatitudeRef: "N",
        tags.GPSLatitude: (48.0, 51.0, float(number)),
        tags.GPSLongitudeRef: "E",
        tags.GPSLongitude: (2.0, 17.0, float(number)),
    }
    return exif


def developed(data: bytes) -> Pixels:
    pixels = decode(data)
    if isinstance(pixels, Failure):
        raise HarnessError("a picture drawn for the checks cannot be decoded", found=pixels.status)
    return pixels
