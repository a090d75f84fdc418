"""From a run to its scores under a protocol: every truth row counts, failures are misses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import predictions as answers
from .artifacts import canonical_json, read_json, write_atomic
from .errors import UsageError
from .intervals import Clusters, Estimate, cluster, estimate_all
from .places import ADMIN_PRESETS, admin_estimates
from .protocols import Protocol, get_protocol
from .records import id_list_sha256
from .runs import Run
from .types import RADII_KM, STATUS, Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORE_VERSION = 1
"""Rises when the same answers would score differently; older stored scores are then redone."""

RESAMPLES = 1000
_ABSENT = ("missing", "unreadable")


@dataclass(frozen=True)
class Scores:
    """What one protocol says of one run.

    `estimates` counts every truth row. `present` is the second figure, over the photos that could
    be read, with the hash of their ids; None when that is all of them.
    """

    protocol: str
    counts: dict[str, int]
    clusters: str
    estimates: dict[str, Estimate]
    present: dict[str, Estimate] | None
    present_rows: int
    present_ids_sha256: str

    def to_frame(self) -> pd.DataFrame:
        """One row per metric: value, standard error, interval, n."""
        return pd.DataFrame({name: item.to_dict() for name, item in self.estimates.items()}).T

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "counts": self.counts,
            "clusters": self.clusters,
            "estimates": _as_dicts(self.estimates),
            "present": None if self.present is None else _as_dicts(self.present),
            "present_rows": self.present_rows,
            "present_ids_sha256": self.present_ids_sha256,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Scores:
        known = {name: stored[name] for name in cls.__dataclass_fields__}
        present = known["present"]
        return cls(
            **known
            | {
                "estimates": _as_estimates(known["estimates"]),
                "present": None if present is None else _as_estimates(present),
            }
        )


def score_run(
    run: Run,
    protocol: str,
    *,
    radii_km: Sequence[float] = RADII_KM,
    resamples: int = RESAMPLES,
    seed: int = 0,
    truth: Callable[[], pd.DataFrame] | None = None,
) -> Scores:
    """Score a stored run by a protocol or admin preset, or read its score if it was scored so before.

    `truth` gives the dataset's table, which only administrative accuracy needs: place names are
    not in the run.
    """
    by_places = protocol in ADMIN_PRESETS
    settings = {
        "score_version": SCORE_VERSION,
        "radii_km": [] if by_places else list(radii_km),
        "resamples": resamples,
        "seed": seed,
    }
    path = run.folder / "scores" / f"{protocol}{'' if by_places else _radii_suffix(radii_km)}.json"
    if path.exists() and (stored := read_json(path)).get("settings") == settings:
        return Scores.from_dict(stored)
    how = {"cluster_column": run.record["dataset"]["cluster_column"], "resamples": resamples, "seed": seed}
    if by_places:
        if truth is None:
            raise UsageError(f"'{protocol}' needs the truth's place names", fix="give the truth table")
        scores = score_places(run.predictions(), truth(), protocol, **how)
    else:
        table = run.table()
        alternatives = answers.candidates_of(table) if run.oracle else None
        frame = answers.to_frame(table)
        chosen = get_protocol(protocol)
        scores = score_frame(frame, chosen, alternatives=alternatives, radii_km=radii_km, **how)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, canonical_json({**scores.to_dict(), "settings": settings}, sort_keys=False))
    return scores


def score_places(
    frame: pd.DataFrame,
    truth: pd.DataFrame,
    preset: str,
    *,
    cluster_column: str = "",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Administrative accuracy of a run's rows, in the form of any other score."""
    clusters = cluster(frame["author"].tolist(), cluster_column or "author", len(frame))
    return Scores(
        protocol=preset,
        counts=_counts(frame),
        clusters=clusters.describe(),
        estimates=admin_estimates(frame, truth, preset, clusters, resamples=resamples, seed=seed),
        present=None,
        present_rows=len(frame),
        present_ids_sha256="",
    )


def score_frame(
    frame: pd.DataFrame,
    protocol: Protocol,
    *,
    cluster_column: str = "",
    alternatives: Candidates | None = None,
    radii_km: Sequence[float] = RADII_KM,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score rows of `id, latitude, longitude, predicted_latitude, predicted_longitude, status, author`.

    `alternatives` makes an oracle of it: each row counts with the best of its candidates.
    """
    error_km = errors_km(frame, protocol, alternatives)
    status = frame["status"].str.partition(":")[0]
    present = (~status.isin(_ABSENT)).to_numpy()

    def estimates(rows: NDArray[np.bool_]) -> tuple[dict[str, Estimate], Clusters]:
        clusters = cluster(frame["author"][rows].tolist(), cluster_column or "author", int(rows.sum()))
        return (
            estimate_all(
                error_km[rows],
                clusters,
                radii_km=radii_km,
                inclusive=protocol.inclusive,
                round_geoscore=protocol.round_geoscore,
                resamples=resamples,
                seed=seed,
            ),
            clusters,
        )

    everything, clusters = estimates(np.ones(len(frame), dtype=bool))
    second = estimates(present)[0] if 0 < present.sum() < len(frame) else None
    return Scores(
        protocol=protocol.name,
        counts=_counts(frame),
        clusters=clusters.describe(),
        estimates=everything,
        present=second,
        present_rows=int(present.sum()),
        present_ids_sha256=id_list_sha256(frame["id"][present]),
    )


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    counts = frame["status"].str.partition(":")[0].value_counts()
    return {"total": len(frame)} | {word: int(counts.get(word, 0)) for word in STATUS}


def errors_km(
    frame: pd.DataFrame, protocol: Protocol, alternatives: Candidates | None = None
) -> NDArray[np.float64]:
    """Distance of every row's answer, `inf` for a miss; of the best alternative where there are some."""
    truth = frame[["latitude", "longitude"]].to_numpy()
    best = protocol.distance_km(truth, frame[["predicted_latitude", "predicted_longitude"]].to_numpy())
    if alternatives is not None:
        for slot in range(alternatives.coordinates.shape[1]):
            best = np.minimum(best, protocol.distance_km(truth, alternatives.coordinates[:, slot]))
    return best


def _radii_suffix(radii_km: Sequence[float]) -> str:
    """Nothing for the field's five radii, else the radii themselves."""
    return "" if tuple(radii_km) == RADII_KM else "+" + "+".join(f"{radius:g}km" for radius in radii_km)


def _as_dicts(estimates: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_dict() for name, estimate in estimates.items()}


def _as_estimates(stored: dict[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(values) for name, values in stored.items()}
