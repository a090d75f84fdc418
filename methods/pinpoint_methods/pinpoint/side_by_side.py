"""Features of one dataset by several backbones: one store, whose rows hold them side by side.

Each embedder learns from those of its own backbone. The raw similarity is the mean of the backbones', as that
of several embedders is the mean of theirs. Splits, places and people are the first store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinpoint_harness.errors import DataError
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.search import unit_rows


@dataclass(frozen=True)
class SideBySide(FeatureStore):
    """Stores of the same photos, the first of which says who they are."""

    parts: tuple[FeatureStore, ...] = ()

    @classmethod
    def of(cls, stores: Sequence[FeatureStore]) -> FeatureStore:
        """One store as it is; of several, DataError unless they hold the same photos."""
        first, *others = stores
        for other in others:
            if not other.table["id"].equals(first.table["id"]):
                raise DataError(
                    f"stores of '{first.dataset}' by several backbones hold other photos",
                    found=f"{len(first):,} by {first.backbone}, {len(other):,} by {other.backbone}",
                    fix="embed it with both from the same pictures",
                )
        if not others:
            return first
        return cls(first.folder, first.record, "+".join(store.key for store in stores), tuple(stores))

    @property
    def width(self) -> int:
        return sum(store.width for store in self.parts)

    @cached_property
    def matrix(self) -> Any:
        return _Columns([store.matrix for store in self.parts])


class _Columns:
    """Matrices side by side, of which rows are taken."""

    def __init__(self, matrices: Sequence[NDArray[np.float16]]) -> None:
        self._matrices = matrices

    def __getitem__(self, rows: Any) -> NDArray[np.float16]:
        return np.concatenate([matrix[rows] for matrix in self._matrices], axis=1)


def stores_of(store: FeatureStore) -> tuple[FeatureStore, ...]:
    """The stores by single backbones."""
    return store.parts if isinstance(store, SideBySide) else (store,)


def unit_features(store: FeatureStore, rows: NDArray[np.int64]) -> Tensor:
    """Unit vectors of some rows, fp16."""
    return unit_parts([torch.from_numpy(one.matrix[rows]) for one in stores_of(store)])


def unit_parts(parts: Sequence[Tensor]) -> Tensor:
    """Unit vectors of features by each backbone, `(n, sum of widths)` fp16: products are means of theirs."""
    if len(parts) == 1:
        return unit_rows(parts[0])
    return torch.cat([unit_rows(part).float() * len(parts) ** -0.5 for part in parts], dim=1).half()


def parts_of(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a method is given of one backbone or of several, by backbone."""
    return given if isinstance(given, tuple) else (given,)
