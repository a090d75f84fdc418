"""How well the towers retrieve for split C, by the very search that answers queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint_harness.geo import haversine_km
from pinpoint_harness.search import Exclusion, Gallery, Rows, search, xyz_of
from pinpoint_harness.types import RADII_KM

from ..common.gallery import unit_rows
from .towers import Towers, in_tiles

if TYPE_CHECKING:
    from torch import Tensor

    from pinpoint_harness.types import Floats

CHANNELS = ("image", "gps", "raw")


@dataclass(frozen=True)
class Photos:
    """Some rows of a store: features on any device, where they lie and who took them."""

    features: Tensor  # (n, width), fp16
    coordinates: Floats  # (n, 2)
    author_token: NDArray[np.uint64]  # (n,)

    def __len__(self) -> int:
        return len(self.features)


class Validation:
    """Top-1 accuracy at the five radii, by source and channel; authors are kept apart.

    `exclude_km` leaves out what lies as near to a query, as the source's test set does.
    """

    def __init__(
        self,
        queries: Mapping[str, Photos],
        galleries: Mapping[str, Photos],
        exclude_km: Mapping[str, float | None],
        device: str,
    ) -> None:
        self._queries, self._galleries, self._device = queries, galleries, device
        self._exclusions = {
            source: Exclusion(
                author_token=some.author_token,
                xyz=None if exclude_km[source] is None else xyz_of(some.coordinates),
                radius_km=exclude_km[source],
            )
            for source, some in queries.items()
        }
        self._rows = {
            source: Rows(author_token=gallery.author_token, xyz=xyz_of(gallery.coordinates))
            for source, gallery in galleries.items()
        }
        self._raw = {source: self._of_raw(source) for source in queries}

    def look(self, model: Towers) -> dict[str, float]:
        """`<source>_<channel>_<radius>km`: share of C's queries placed within the radius."""
        accuracy: dict[str, float] = {}
        for source in self._queries:
            for channel, found in (*self._of(model, source).items(), ("raw", self._raw[source])):
                accuracy |= {f"{source}_{channel}_{radius}": share for radius, share in found.items()}
        return accuracy

    def _of(self, model: Towers, source: str) -> dict[str, dict[str, float]]:
        def image(features: Tensor) -> Tensor:
            return model.image(features, source)  # type: ignore[no-any-return] # modules answer with Any

        gallery, device = self._galleries[source], self._device
        xyz = torch.from_numpy(xyz_of(gallery.coordinates)).to(device)
        matrices = {
            "image": in_tiles(image, gallery.features, device).to(device),
            "gps": in_tiles(model.location, xyz, device),
        }
        queries = in_tiles(image, self._queries[source].features, device).to(device)
        return self._accuracy(source, matrices, dict.fromkeys(matrices, queries))

    def _of_raw(self, source: str) -> dict[str, float]:
        gallery, queries = (
            unit_rows(some.features).to(self._device)
            for some in (self._galleries[source], self._queries[source])
        )
        return self._accuracy(source, {"raw": gallery}, {"raw": queries})["raw"]

    def _accuracy(
        self, source: str, matrices: Mapping[str, Tensor], queries: Mapping[str, Tensor]
    ) -> dict[str, dict[str, float]]:
        gallery = Gallery.of(matrices, self._rows[source])
        found: Any = search(gallery, queries, dict.fromkeys(queries, 1), self._exclusions[source])
        truth, places = self._queries[source].coordinates, self._galleries[source].coordinates
        accuracy = {}
        for channel in queries:
            row = found[channel].rows[:, 0].cpu().numpy()
            error_km = np.where(row < 0, np.inf, haversine_km(truth, places[row]))
            accuracy[channel] = {f"{radius:g}km": float((error_km < radius).mean()) for radius in RADII_KM}
        return accuracy
