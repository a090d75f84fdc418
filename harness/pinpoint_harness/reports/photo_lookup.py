"""Photos by dataset and id, and those behind a run's candidates: a square each, or why there is none.

What is not on this machine is a reason to be shown, not an error; only a place that the user named
must hold what it should.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..artifacts import canonical_json
from ..errors import HarnessError
from ..features import FeatureStore, FinishedStores, StoreLookup, iter_stores
from ..home import Home
from ..images import Failure
from ..images.decode import decode
from ..running import build_method, build_params, method_spec
from ..types import Context, DataLocation
from .contact_sheet import fit_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..plugins import Registry
    from ..running import Run
    from ..types import Dataset, Floats

    Photo = NDArray[np.uint8] | str
    """RGB `(SIDE, SIDE, 3)`, or the reason why it cannot be shown."""

SIDE = 224

_SAME_PLACE_DEG = 1e-6


@dataclass(frozen=True)
class PhotoLookup:
    """Where the photos of one run are looked for.

    `location` is where the files of the run's dataset lie, as for `--data`; galleries are datasets
    in their usual places, and `home` holds the feature stores that give their rows an id.
    """

    run: Run
    registry: Registry
    home: Home
    location: DataLocation = field(default_factory=DataLocation)

    def queries(self, ids: Sequence[str], places: Floats) -> list[Photo]:
        """Photos of the run's own dataset; `places` `(n, 2)` are their coordinates in the run."""
        return self._photos(self.run.dataset, self.location, ids, places)

    def candidates(self, source: Sequence[str], row: NDArray[np.int64], places: Floats) -> list[Photo]:
        """Gallery photos: `(n,)` sources and rows and `(n, 2)` coordinates, as the run has them.

        A row is one of the feature store that the run's recipe names, and no other store will do; or
        the run's method says by `candidate_photos` which photo it is.
        """
        photos: list[Photo] = ["the run names no photo, only a place"] * len(source)
        for name in sorted({str(name) for name in source if name}):
            mine = [at for at, other in enumerate(source) if other == name and row[at] >= 0]
            for at, photo in zip(mine, self._of_gallery(name, row[mine], places[mine]), strict=True):
                photos[at] = photo
        return photos

    def _of_gallery(self, name: str, row: NDArray[np.int64], places: Floats) -> list[Photo]:
        store = self._run_stores.get(name)
        if store is not None:
            return self._photos(name, DataLocation(), store.table["id"].take(row).to_pylist(), places)
        if self._method is None:
            why = f"the run's recipe names no feature store of '{name}' under '{self.home.stores}'"
            return [why] * len(row)
        if isinstance(self._method, str):
            return [self._method] * len(row)
        dataset, ids = self._method.candidate_photos(name, row)
        return self._photos(dataset, DataLocation(), ids, places)

    @cached_property
    def _run_stores(self) -> dict[str, FeatureStore]:
        named = set(_texts(self.run.record["recipe"]))
        return {store.dataset: store for store in iter_stores(self.home.stores) if store.key in named}

    @cached_property
    def _method(self) -> Any:
        """The run's method as it answered; None if it knows nothing of photos, or why it cannot be had."""
        record = self.run.record
        name = record["method"]["name"]
        try:
            entry = self.registry.method(name)
            if not hasattr(entry.load(), "candidate_photos"):
                return None
            params = build_params(entry, record["shown_parameters"])
            stores = FinishedStores(StoreLookup(self.registry, self.home.stores), entry, params)
            method: Any = build_method(entry, params, Context(stores=stores, models=self.home.models))
            own = method.content() if hasattr(method, "content") else None
            spec = json.loads(canonical_json(method_spec(entry, params, own)))
        except HarnessError as error:
            return f"{name} cannot be asked for them: {error.problem}"
        same = all(record["recipe"][part] == value for part, value in spec.items())
        return method if same else f"{name} is not here as it was when it answered"

    def _photos(self, name: str, location: DataLocation, ids: Sequence[str], places: Floats) -> list[Photo]:
        try:
            dataset = self.registry.open_dataset(name, location)
            truth = dataset.truth()
            found = truth.iloc[pd.Index(truth["id"]).get_indexer(pd.Index(ids))]
            return _read(dataset, found, ids, places)
        except HarnessError as error:
            if location != DataLocation():
                raise
            return [f"{name}: {error.problem}"] * len(ids)


def _read(dataset: Dataset, truth: pd.DataFrame, ids: Sequence[str], places: Floats) -> list[Photo]:
    """The photos of some truth rows, each decoded once, as far as they are the rows asked for."""
    near = np.abs(truth[["latitude", "longitude"]].to_numpy(np.float64) - places) <= _SAME_PLACE_DEG
    same = near.all(axis=1) & (truth["id"].to_numpy(object) == np.array(ids, dtype=object))
    once = truth[same].drop_duplicates("id")
    with dataset.images() as store:
        refs = store.find(once["image"])
        photos = {name: _photo(store.read(ref)) for name, ref in zip(once["id"], refs.tolist(), strict=True)}
    return [
        photos[name] if known else "the dataset here is another edition"
        for name, known in zip(ids, same.tolist(), strict=True)
    ]


def _photo(data: bytes | Failure) -> Photo:
    picture = data if isinstance(data, Failure) else decode(data)
    return f"photo {picture.status}" if isinstance(picture, Failure) else fit_square(picture, SIDE)


def _texts(value: Any) -> Iterator[str]:
    """Every string within nested lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
