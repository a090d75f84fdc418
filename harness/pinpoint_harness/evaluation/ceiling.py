"""The best a gallery allows: every photo placed at the gallery point nearest to its truth.

Not a method, for it looks at the truth; its row is marked `oracle` and never ranked.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from ..artifacts import Artifact, Selection, Session, Subset, canonical_json
from ..errors import DataError
from ..features import OpenedGallery
from ..geo import EARTH_RADIUS_KM, chord_from_km, geodesic_km, km_from_chord, unit_xyz
from ..running import Run, run_parent, run_record
from ..running import predictions as answers
from ..running.record import VERSION
from ..running.request import clusters_spec
from ..types import Candidates, Context, Dataset, Predictions

if TYPE_CHECKING:
    from ..types import Floats

LABEL = "ceiling"

_SHELL = 1.0115
"""Geodesics on WGS84 and on the sphere differ by up to 0.57 %, so the nearest point of the one is
within (1 + 0.0057) / (1 - 0.0057) times the distance to the nearest point of the other."""

_FIRST_LOOK = 8
_CHUNK_QUERIES = 8192


def ceiling(
    dataset_name: str,
    dataset: Dataset,
    gallery_name: str,
    gallery: Floats,
    out: Path,
    *,
    gallery_data: Path | None = None,
    subset: Subset | None = None,
    fresh: bool = False,
    listed_as: str | None = None,
) -> Run:
    """Store the ceiling of a gallery of `(m, 2)` coordinates as a run of its own.

    `gallery_name` and `gallery_data` are kept as given: a file, or datasets and where they lie.

    Right under every protocol: each row keeps the nearest point on WGS84 and the nearest on the
    sphere, and scoring takes the better.
    """
    selection = Selection.of(dataset.truth(), subset)
    truth = selection.truth
    places = np.unique(gallery[np.isfinite(gallery).all(axis=1)], axis=0)  # (m, 2), sorted: a set, not a list
    if not len(places):
        raise DataError(f"gallery '{gallery_name}' has no coordinates")
    spec = {
        "version": VERSION,
        "oracle": LABEL,
        "gallery_sha256": hashlib.sha256(np.ascontiguousarray(places).tobytes()).hexdigest(),
        **selection.spec(),
        **clusters_spec(selection.truth, dataset.info),
    }
    artifact = Artifact.begin(run_parent(out, listed_as or dataset_name, LABEL), "run", spec, fresh=fresh)
    if artifact.complete:
        return Run(artifact.folder)
    with Session(artifact.folder, Context()):
        best = nearest_places(truth[["latitude", "longitude"]].to_numpy(), places)
        answer = Predictions(best[:, 0], candidates=Candidates(best))
        table = answers.build(truth, answer, answers.statuses(answer), dataset.info.cluster_column)
        shown = Path(gallery_name).name if Path(gallery_name).is_file() else gallery_name
        data = None if gallery_data is None else str(gallery_data)
        record = run_record(
            label=LABEL,
            parameters={"gallery": gallery_name, "gallery_data": data},
            shown_parameters={"gallery": shown},
            galleries=[OpenedGallery(gallery_name, "", "", data)],
            oracle=True,
            method={"name": LABEL, "title": "Nearest gallery point to the truth", "gallery": shown},
            dataset_name=dataset_name,
            listed_as=listed_as,
            dataset=dataset.info,
            spec=spec,
            status=table.column("status").to_pylist(),
            notes=[f"{len(places):,} distinct gallery points"],
        )
        artifact.finish({"predictions.parquet": answers.encode(table), "run.json": canonical_json(record)})
    return Run(artifact.folder)


def nearest_places(truth: Floats, places: Floats) -> Floats:
    """For each of `(n, 2)` points the nearest place on WGS84 and the nearest on the sphere.

    Returns `(n, 2, 2)`: point, (WGS84, sphere), (latitude, longitude). Exact: all places that
    could be nearest on the ellipsoid are compared by geodesic.
    """
    tree = cKDTree(unit_xyz(places))
    best = np.empty((len(truth), 2, 2))
    for start in range(0, len(truth), _CHUNK_QUERIES):
        chunk = truth[start : start + _CHUNK_QUERIES]
        best[start : start + len(chunk)] = _nearest_in_chunk(chunk, places, tree)
    return best


def _nearest_in_chunk(chunk: Floats, places: Floats, tree: cKDTree) -> Floats:
    xyz = unit_xyz(chunk)
    look = min(_FIRST_LOOK, len(places))
    chords, rows = tree.query(xyz, k=np.arange(1, look + 1))  # (c, look)
    reach_km = km_from_chord(chords[:, 0], EARTH_RADIUS_KM) * _SHELL
    half_turn_km = np.pi * EARTH_RADIUS_KM
    # The last digits of a chord are noise; a millimetre more never loses a place.
    reach = chord_from_km(np.minimum(reach_km + 1e-6, half_turn_km), EARTH_RADIUS_KM)
    geodesic = rows[:, 0].copy()
    full_look = look == len(places)
    for row in np.flatnonzero(chords[:, 1] <= reach if look > 1 else []):
        enough = full_look or chords[row, -1] > reach[row]
        rivals = rows[row] if enough else np.asarray(tree.query_ball_point(xyz[row], reach[row]))
        lengths = geodesic_km(np.broadcast_to(chunk[row], (len(rivals), 2)), places[rivals])
        geodesic[row] = rivals[np.argmin(lengths)]
    return np.stack([places[geodesic], places[rows[:, 0]]], axis=1)
