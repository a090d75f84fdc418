"""Photos by dataset and id, and those behind a run's candidates: a square each, or why there is none.

What is not on this machine is a reason to be shown, not an error; only a place that the user named
must hold what it should.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..errors import HarnessError
from ..images import Failure
from ..images.decode import decode
from ..types import DataLocation
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
    where the run found them, else in their usual places.
    """

    run: Run
    registry: Registry
    location: DataLocation = field(default_factory=DataLocation)

    def queries(self, ids: Sequence[str], places: Floats) -> list[Photo]:
        """Photos of the run's own dataset; `places` `(n, 2)` are their coordinates in the run."""
        try:
            return self._photos(self.run.registered_dataset, self.location, ids, places)
        except HarnessError as error:
            if self.location != DataLocation():
                raise
            return [f"{self.run.dataset}: {error.problem}"] * len(ids)

    def candidates(self, source: NDArray[np.str_], photo_id: NDArray[np.str_], places: Floats) -> list[Photo]:
        """Gallery photos: `(n,)` datasets and ids and `(n, 2)` coordinates, as the run has them."""
        photos: list[Photo] = ["the run names no photo, only a place"] * len(source)
        for name in np.unique(source[photo_id != ""]).tolist():
            mine = np.flatnonzero((source == name) & (photo_id != ""))
            try:
                found = self._photos(name, self._place(name), photo_id[mine].tolist(), places[mine])
            except HarnessError as error:
                found = [f"{name}: {error.problem}"] * len(mine)
            for at, photo in zip(mine.tolist(), found, strict=True):
                photos[at] = photo
        return photos

    def _place(self, gallery: str) -> DataLocation:
        """Where the files of a gallery lie: that of the run's dataset may be that dataset itself."""
        opened = [one.location for one in self.run.galleries if one.dataset == gallery]
        if opened and opened[0] != DataLocation():
            return opened[0]
        return self.location if gallery == self.run.registered_dataset else DataLocation()

    def _photos(self, name: str, location: DataLocation, ids: Sequence[str], places: Floats) -> list[Photo]:
        with closing(DatasetPhotos(self.registry.open_dataset(name, location))) as photos:
            return photos.read(ids, places)


class DatasetPhotos:
    """The photos of a dataset, which stays open for more of them until it is closed."""

    def __init__(self, dataset: Dataset) -> None:
        self._truth = dataset.truth()
        self._ids = pd.Index(self._truth["id"])
        self._store = dataset.images()

    def read(self, ids: Sequence[str], places: Floats) -> list[Photo]:
        """Photos by id, each decoded once, as far as their coordinates are `places` `(n, 2)`."""
        truth = self._truth.iloc[self._ids.get_indexer(pd.Index(ids))]
        near = np.abs(truth[["latitude", "longitude"]].to_numpy(np.float64) - places) <= _SAME_PLACE_DEG
        same = near.all(axis=1) & (truth["id"].to_numpy(object) == np.array(ids, dtype=object))
        once = truth[same].drop_duplicates("id")
        refs = self._store.find(once["image"]).tolist()
        photos = {name: _photo(self._store.read(ref)) for name, ref in zip(once["id"], refs, strict=True)}
        return [
            photos[name] if known else "the dataset here is another edition"
            for name, known in zip(ids, same.tolist(), strict=True)
        ]

    def close(self) -> None:
        self._store.close()


def _photo(data: bytes | Failure) -> Photo:
    picture = data if isinstance(data, Failure) else decode(data)
    return f"photo {picture.status}" if isinstance(picture, Failure) else fit_square(picture, SIDE)
