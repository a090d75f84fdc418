"""How hard a world is: the nearest photo's accuracy by gallery, beside chance and the ceiling.

    python -m pinpoint_datasets.mini_earth.measure --seed 1

Raw `mini` features, cosine similarity, one nearest picture; the galleries are the splits A. Written
for tuning the world before any learned method existed; the project's own commands give the same rows.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint_harness import geo
from pinpoint_harness.images import Failure
from pinpoint_harness.images.decode import decode
from pinpoint_harness.types import RADII_KM, DataLocation

from .archive import ensure_world
from .backbone import features, load_mini
from .datasets import Photos, QueryClean, QueryNoisy, QueryStreet, StreetView
from .world import WorldSpec

Floats = NDArray[np.float64]
QUERIES = {"query-clean": QueryClean, "query-noisy": QueryNoisy, "query-street": QueryStreet}


class Measured:
    """One table in memory: features of unit length, coordinates, authors."""

    def __init__(self, table: type, folder: Path) -> None:
        dataset = table(DataLocation(folder))
        truth = dataset.truth()
        if "split" in truth:
            truth = truth[truth["split"] == "A"]
        with dataset.images() as store:
            data = [store.read(ref) for ref in store.find(truth["image"])]
        pictures = [decode(item) for item in data if not isinstance(item, Failure)]
        found = torch.from_numpy(
            features(np.stack([p for p in pictures if not isinstance(p, Failure)]), load_mini())
        )
        self.features = torch.nn.functional.normalize(found)
        self.places = truth[["latitude", "longitude"]].to_numpy(np.float64)
        self.authors = truth["author"].to_numpy()


def nearest(
    queries: Measured, gallery: Measured, *, author_filter: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row and similarity of each query's nearest picture."""
    rows, scores = [], []
    for start in range(0, len(queries.places), 1000):
        part = slice(start, start + 1000)
        similarity = queries.features[part] @ gallery.features.T
        if author_filter:
            same = queries.authors[part, None] == gallery.authors[None]
            similarity[torch.from_numpy(same.astype(bool))] = -2
        best, row = similarity.max(dim=1)
        rows.append(row.numpy())
        scores.append(best.numpy())
    return np.concatenate(rows), np.concatenate(scores)


def shares(truth: Floats, answer: Floats) -> list[float]:
    error_km = geo.haversine_km(truth, answer)
    return [round(100 * float((error_km < radius).mean()), 1) for radius in RADII_KM]


def ceiling(queries: Measured, galleries: list[Measured]) -> list[float]:
    """What the best gallery coordinate would score."""
    from scipy.spatial import KDTree

    everywhere = np.concatenate([gallery.places for gallery in galleries])
    _, row = KDTree(geo.unit_xyz(everywhere)).query(geo.unit_xyz(queries.places))
    return shares(queries.places, everywhere[row])


def rows(folder: Path) -> list[list[object]]:
    photos, streetview = Measured(Photos, folder), Measured(StreetView, folder)
    generator = np.random.default_rng(0)
    table: list[list[object]] = []
    for name, dataset in QUERIES.items():
        queries = Measured(dataset, folder)
        everywhere = np.concatenate([photos.places, streetview.places])
        drawn = everywhere[generator.integers(0, len(everywhere), len(queries.places))]
        table.append([name, "random-prior", "both", "", *shares(queries.places, drawn)])
        for filtered in (False, True):
            answers = [nearest(queries, gallery, author_filter=filtered) for gallery in (photos, streetview)]
            for gallery, (row, _), label in zip(
                (photos, streetview), answers, ("photos", "streetview"), strict=True
            ):
                table.append(
                    [name, "nearest-photo", label, filtered, *shares(queries.places, gallery.places[row])]
                )
            better = answers[0][1] >= answers[1][1]
            both = np.where(better[:, None], photos.places[answers[0][0]], streetview.places[answers[1][0]])
            table.append([name, "nearest-photo", "both", filtered, *shares(queries.places, both)])
        table.append([name, "ceiling", "both", "", *ceiling(queries, [photos, streetview])])
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = ensure_world(WorldSpec(seed=arguments.seed), arguments.folder)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        ["queries", "method", "gallery", "author_filter", *(f"{radius:g} km" for radius in RADII_KM)]
    )
    writer.writerows(rows(folder))


if __name__ == "__main__":
    main()
