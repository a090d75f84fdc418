"""From a run to its scores under a protocol: every truth row counts, failures are misses."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..artifacts import canonical_json, own_sha256
from ..errors import DataError, UsageError
from ..photo_ids import rows_sha256
from ..running import Run
from ..running import predictions as answers
from ..types import RADII_KM, STATUS, Candidates
from .admin import ADMIN_PRESETS, admin_estimates, place_names_sha256
from .bootstrap import Clusters, Estimate, cluster_rows, estimate_all
from .distributions import DISTRIBUTIONS, NLL, nll_estimates, recall_estimates
from .metrics import metric_names
from .protocols import Protocol, get_protocol
from .score_files import read_scores, score_source, store_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORE_VERSION = 2
"""Rises when the same answers would score differently; older stored scores are then redone."""

log = logging.getLogger(__name__)

RESAMPLES = 1000
_LONGEST_RADII = 80
"""Signs of radii in the name of a file; names of 255 bytes are the longest there are."""
_ABSENT = ("missing", "unreadable")


@dataclass(frozen=True)
class Part:
    """Some of a dataset's photos under a name, such as those left when leaks are taken out.

    A score over a part says so, and no table ranks it against full rows.
    """

    title: str
    ids: frozenset[str]
    dataset_hash: str

    def rows(self, run: Run, ids: pd.Series[str]) -> NDArray[np.bool_]:
        """Which rows of a run belong to it; an error for another dataset's run, or if there are none."""
        if run.record["recipe"]["dataset_hash"] != self.dataset_hash:
            raise DataError(
                f"the part '{self.title}' is not of the truth that '{run.title}' was run on",
                found=f"{len(self.ids):,} photos of another set or edition; the run is on '{run.dataset}'",
                fix=f"audit '{run.dataset}' with the truth file of the run",
            )
        kept = ids.isin(self.ids).to_numpy()
        if not kept.any():
            raise UsageError(f"no photo of '{run.title}' is left {self.title}", fix="leave out less")
        return kept


@dataclass(frozen=True)
class Scores:
    """What one protocol says of one run.

    `estimates` counts every truth row, or every row of the `part` that is named. `present` is the
    second figure, over the photos that could be read, with the hash of their ids; None when that
    is all of them.
    """

    protocol: str
    counts: dict[str, int]
    clusters: str
    estimates: dict[str, Estimate]
    present: dict[str, Estimate] | None
    present_rows: int
    present_ids_sha256: str
    part: str = ""

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
            **({"part": self.part} if self.part else {}),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Scores:
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name != "part"}
        known["part"] = stored.get("part", "")
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
    radii_km: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    truth: Callable[[], pd.DataFrame] | None = None,
    part: Part | None = None,
) -> Scores:
    """Score a stored run by a protocol or preset, or read its score if it was scored so before.

    Presets are those of `ADMIN_PRESETS` and `DISTRIBUTIONS`.

    Radii are those of the run's dataset unless others are given. Only the photos of `part` count where one
    is given. `truth` gives the dataset's table, which only
    administrative accuracy needs: place names are not in the run, and other names make another score.
    ArtifactError for a run whose files are damaged, whatever has been scored before.
    """
    by_places, beside = protocol in ADMIN_PRESETS, protocol in DISTRIBUTIONS
    radii_km = run.radii_km if radii_km is None else tuple(radii_km)
    settings: dict[str, Any] = {
        "score_version": SCORE_VERSION,
        "radii_km": [] if by_places or beside else list(radii_km),
        "resamples": resamples,
        "seed": seed,
    }
    name = f"{protocol}{'' if by_places or beside else _radii_suffix(radii_km, run.radii_km)}"
    if part is not None:
        chosen_ids = rows_sha256(sorted(part.ids))
        settings["part"] = {"title": part.title, "ids_sha256": chosen_ids}
        name += f"+part-{chosen_ids[:16]}"
    places = truth() if by_places and truth is not None else None
    if places is not None:
        settings["place_names_sha256"] = place_names_sha256(places)
    run.check()
    source = score_source(run, name)
    for stored in read_scores(run, name):
        if (known := _stored_score(stored, settings)) is not None:
            return known
    how = {"cluster_column": run.record["dataset"]["cluster_column"], "resamples": resamples, "seed": seed}
    if by_places:
        if places is None:
            raise UsageError(f"'{protocol}' needs the truth's place names", fix="give the truth table")
        frame = _only(run, part, run.table())[0]
        scores = score_places(frame, places, protocol, **how)
    elif beside:
        scores = score_distribution(_rows(run, part, run.table()), protocol, **how)
    else:
        frame, alternatives = _only(run, part, run.table())
        chosen = get_protocol(protocol)
        scores = score_frame(frame, chosen, alternatives=alternatives, radii_km=radii_km, **how)
    if part is not None:
        rows = run.record["counts"]["total"]
        scores = replace(scores, part=f"{scores.counts['total']:,} of {rows:,}, {part.title}")
    stored = {**scores.to_dict(), "settings": settings, "of": source}
    store_score(run, name, canonical_json({**stored, "sha256": own_sha256(stored)}, sort_keys=False))
    return scores


def _stored_score(stored: dict[str, Any], settings: Mapping[str, Any]) -> Scores | None:
    """What is stored, if it says of what it is and was measured with these settings; else None.

    Without place names at hand those that it was made with are taken on trust.
    """
    try:
        own = {"place_names_sha256": None, **stored["settings"]}
        asked = {"place_names_sha256": own["place_names_sha256"], **settings}
        return Scores.from_dict(stored) if "of" in stored and asked == own else None
    except (LookupError, TypeError, ValueError) as error:
        log.warning("a stored score cannot be read: %s; the run is scored again", error)
        return None


def _rows(run: Run, part: Part | None, table: pa.Table) -> pa.Table:
    return table if part is None else table.filter(pa.array(part.rows(run, table["id"].to_pandas())))


def _only(run: Run, part: Part | None, table: pa.Table) -> tuple[pd.DataFrame, Candidates | None]:
    """The run's rows that count and, of an oracle, their alternatives."""
    table = _rows(run, part, table)
    return answers.to_frame(table), answers.candidates_of(table, photos=False) if run.oracle else None


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
    clusters = cluster_rows(frame, cluster_column)
    return Scores(
        protocol=preset,
        counts=_counts(frame),
        clusters=clusters.describe(),
        estimates=admin_estimates(frame, truth, preset, clusters, resamples=resamples, seed=seed),
        present=None,
        present_rows=len(frame),
        present_ids_sha256="",
    )


def score_distribution(
    table: pa.Table, preset: str, *, cluster_column: str = "", resamples: int = RESAMPLES, seed: int = 0
) -> Scores:
    """Recall by area or NLL of a run's table, in the form of any other score."""
    frame = answers.to_frame(table)
    clusters = cluster_rows(frame, cluster_column)
    how = {"resamples": resamples, "seed": seed}
    if preset == NLL:
        estimates = nll_estimates(answers.log_density_of(table), clusters, **how)
    else:
        truth = frame[["latitude", "longitude"]].to_numpy()
        estimates = recall_estimates(truth, answers.candidates_of(table, photos=False), clusters, **how)
    return Scores(
        protocol=preset,
        counts=_counts(frame),
        clusters=clusters.describe(),
        estimates=estimates,
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
    metric_names(radii_km)  # refuses what is no distance
    error_km = errors_km(frame, protocol, alternatives)
    status = frame["status"].str.partition(":")[0]
    present = (~status.isin(_ABSENT)).to_numpy()

    def estimates(rows: NDArray[np.bool_]) -> tuple[dict[str, Estimate], Clusters]:
        clusters = cluster_rows(frame[rows], cluster_column)
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
        present_ids_sha256=rows_sha256(frame["id"][present]),
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


def _radii_suffix(radii_km: Sequence[float], own_km: Sequence[float]) -> str:
    """Nothing for the dataset's own radii, else the radii themselves, or their hash where they are many."""
    if tuple(radii_km) == tuple(own_km):
        return ""
    named = "+".join(f"{radius:g}km" for radius in radii_km)
    exact = all(float(f"{radius:g}") == radius for radius in radii_km)
    if exact and len(named) <= _LONGEST_RADII:
        return f"+{named}"
    digest = hashlib.sha256(repr([float(radius) for radius in radii_km]).encode()).hexdigest()
    return f"+{len(radii_km)}-radii-{digest[:16]}"


def _as_dicts(estimates: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_dict() for name, estimate in estimates.items()}


def _as_estimates(stored: dict[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(values) for name, values in stored.items()}
