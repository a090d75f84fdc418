"""Feature stores made by hand, and where a method finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.features import FeatureStore, write_matrix_header
from pinpoint_harness.features.store import VERSION, store_files
from pinpoint_harness.photo_ids import truth_hash


def write_store(root: Path, dataset: str, features: Any, truth: pd.DataFrame) -> FeatureStore:
    """A store of `(n, width)` features as an import leaves it; `truth` has a row for each."""
    half = np.asarray(features, np.float16)
    truth = truth if "source" in truth else truth.assign(source="photos")

    def write(stream: Any) -> None:
        write_matrix_header(stream, *half.shape)
        stream.write(half.tobytes())

    spec = {
        "version": VERSION,
        "imported": {"rows": half.tobytes().hex()[:500], "set": dataset},
        "dataset_hash": truth_hash(truth),
        "authors": int(truth["author"].notna().sum()),
    }
    record = {
        "dataset": dataset, "backbone": "owner/none", "rows": len(half), "width": half.shape[1],
        "failed": 0, "normalisation": "none", "subset": None, "recipe": spec,
    }  # fmt: skip
    artifact = Artifact.begin(root / dataset / "owner-none", "features", spec)
    artifact.finish(store_files(truth, {}, write, record))
    return FeatureStore.open(artifact.folder)


def made_store(
    root: Path,
    features: Any,
    places: Any,
    *,
    dataset: str = "gallery",
    authors: Sequence[str | None] | None = None,
    ids: Sequence[str] | None = None,
) -> FeatureStore:
    """A store of photos at these places `(n, 2)`."""
    coordinates = np.asarray(places, float)
    truth = pd.DataFrame(
        {
            "id": ids or [f"g{row:04}" for row in range(len(coordinates))],
            "latitude": coordinates[:, 0],
            "longitude": coordinates[:, 1],
            "author": authors or [None] * len(coordinates),
            "source": "photos",
        }
    )
    return write_store(root, dataset, features, truth)


@dataclass
class NamedStores:
    """Stores by name, as a method's context has them; `asked` are the names it opened."""

    stores: Mapping[str, FeatureStore] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        self.asked.append(name)
        return self.stores[name]

    def weights_of(self, backbone: str) -> str:
        return ""
