"""A method on trial: how the checks of `testing` build it, train it and ask it."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..batching import Tile, padded, whole_blocks
from ..errors import PluginError, UsageError
from ..params import build, specs
from ..plugins import Entry, Origin
from ..running import NoParams, QuerySet, backbones_of, check_predictions, preset_of, statuses
from ..running.predictions import build as stored_table
from ..training import TrainRequest, train
from ..types import Context, Method, MethodInfo, Predictions, Queries
from .made_up import (
    MadeUpStores,
    Pixels,
    developed,
    drawn_jpeg,
    made_up_feature,
    made_up_names,
    made_up_truth,
)

Answer = dict[str, Any]

COMPARED = ("predicted_latitude", "predicted_longitude", "confidence", "status", "candidates", "within")
"""What is stored of an answer, beside the truth it is compared to."""


@dataclasses.dataclass(frozen=True)
class _BareClass(Entry[MethodInfo]):
    """A class that nobody has registered."""

    target_class: Any = None

    def load(self) -> Any:
        return self.target_class


class Trial(contextlib.AbstractContextManager["Trial"]):
    """A method on trial, and the queries it is asked: two tiles, of which the second only disturbs.

    Like the runner, it fills every call up to whole row blocks and throws away what was filled in; a
    single query is asked about alone, as `locate` does. Galleries and stages lie in a folder that is
    gone when the trial is closed.
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
        self.entry = method if isinstance(method, Entry) else _registered(method)
        self.target: Any = self.entry.load()
        owner = f"method '{method.name}'" if isinstance(method, Entry) else method.__name__
        trusted = isinstance(method, Entry) and method.origin.trust == "built-in"
        if trusted and getattr(self.target, "input", None) == "id":
            raise UsageError(f"{owner} joins answers that are stored already: there is nothing to check")
        if "models" in parameters and self.is_trained:
            raise UsageError(f"{owner} is trained in miniature for the check", fix="leave models=... out")
        declared = getattr(self.target, "Params", NoParams)
        settings = {**getattr(self.target, "check_with", {}), **parameters}
        self.params, self.misdeclared = _parameters(
            declared, settings, owner, method if isinstance(method, Entry) else None
        )
        self.tile = tile
        self.widths = widths
        self.rows = np.arange(tile)
        self.other_rows = np.arange(tile, 2 * tile)
        self.names = made_up_names(2 * tile)
        # The author filter refuses queries without a known author.
        self.all_authors = bool(getattr(self.params, "author_filter", False))
        self.truth = made_up_truth(self.names, all_authors=self.all_authors)
        self._folder = tempfile.TemporaryDirectory(prefix="pinpoint-check-")
        self.stores = self._made_up_stores(context, moved=False)
        self.moved_stores = self._made_up_stores(context, moved=True)
        self.context = dataclasses.replace(context, stores=self.stores, models=self._home / "models")
        self._calls = 0

    def __exit__(self, *failure: object) -> None:
        self._folder.cleanup()

    @property
    def _home(self) -> Path:
        return Path(self._folder.name)

    def _made_up_stores(self, context: Context, *, moved: bool) -> MadeUpStores:
        weights = None if context.stores is None else context.stores.weights_of
        return MadeUpStores(self._home / "stores", self.truth, self.widths, weights, moved)

    @property
    def is_trained(self) -> bool:
        return hasattr(self.target, "stages")

    def train(self) -> None:
        """Make the method's stages from the made-up stores."""
        with self._another_random_state():
            request = TrainRequest(
                self.entry, self.params, self.context, self.context.models, self.stores.truth
            )
            train(request)

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

    def built(self, params: Any = None, *, moved: bool = False) -> Method:
        """The method once more, with other parameters or over galleries where `moved` changes one place."""
        context = dataclasses.replace(self.context, stores=self.moved_stores) if moved else self.context
        with self._another_random_state():
            return cast(Method, self.target(self.params if params is None else params, context))

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
        if self.method.input not in ("none", "image"):
            given = self._features(rows)
        return QuerySet.of(self.truth if truth is None else truth).take(rows, given)

    def _features(self, rows: NDArray[np.int64]) -> Any:
        """Random features, the same for the same row: fp16 `(n, width)` on the method's device."""
        import torch

        each = []
        for name in backbones_of(self.method.input):
            drawn = np.array([made_up_feature(int(row), self.stores.width_of(name)) for row in rows])
            each.append(torch.from_numpy(drawn).to(self.context.device, torch.float16))
        return each[0] if len(each) == 1 else tuple(each)

    def predict_rows(
        self,
        rows: NDArray[np.int64],
        pictures: Sequence[Pixels] | None = None,
        method: Method | None = None,
        truth: pd.DataFrame | None = None,
    ) -> list[Answer]:
        """What a run would store of the answers; PluginError if they break their form."""
        return self.stored(self.predict(self.take(rows, pictures, truth), method))[: len(rows)]

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


def _registered(target: type[Any]) -> Entry[MethodInfo]:
    info, origin = MethodInfo(title=target.__name__), Origin(target.__module__, "explicit")
    return _BareClass("method", target.__name__, "", info, origin, target_class=target)


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
