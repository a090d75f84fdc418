"""Pictures of galleries, asked for by two numbers: which gallery, and which of its rows.

No name or path comes from a request, so nothing but a gallery's own photos can be asked for.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import numpy as np

from ..errors import HarnessError
from ..reports.photo_lookup import DatasetPhotos

if TYPE_CHECKING:
    from ..features import FeatureStore
    from ..plugins import Registry
    from ..types import DataLocation

_QUALITY = 85


class GalleryPictures:
    """The galleries that were opened by any method so far, in the order in which they were."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stores: list[FeatureStore] = []
        self._locations: list[DataLocation] = []
        self._opened: dict[int, DatasetPhotos] = {}
        self._lock = threading.Lock()

    def add(self, store: FeatureStore, location: DataLocation) -> int:
        """The number of a gallery, a new one for one that has none."""
        with self._lock:
            for number, known in enumerate(self._stores):
                if known.folder == store.folder:
                    return number
            self._stores.append(store)
            self._locations.append(location)
            return len(self._stores) - 1

    def jpeg(self, gallery: int, row: int) -> bytes | str:
        """A picture as JPEG, or why it cannot be shown. IndexError for numbers that there are not."""
        store = self._stores[gallery]
        if row >= len(store):
            raise IndexError(row)
        line = store.table.slice(row, 1)
        place = np.array([[line["latitude"][0].as_py(), line["longitude"][0].as_py()]])
        try:
            with self._lock:  # a dataset's store of pictures looks for them as they are asked for
                (photo,) = self._photos(gallery).read([line["id"][0].as_py()], place)
        except HarnessError as error:
            return f"{store.dataset}: {error.problem}"
        if isinstance(photo, str):
            return photo
        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(photo).save(data, "JPEG", quality=_QUALITY)
        return data.getvalue()

    def _photos(self, gallery: int) -> DatasetPhotos:
        if gallery not in self._opened:
            dataset = self._registry.open_dataset(self._stores[gallery].dataset, self._locations[gallery])
            self._opened[gallery] = DatasetPhotos(dataset)
        return self._opened[gallery]

    def close(self) -> None:
        for one in self._opened.values():
            one.close()
