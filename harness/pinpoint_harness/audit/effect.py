"""What leaks are worth: a run's accuracy without them, and what its hits rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import UsageError
from ..evaluation import Scores, errors_km, get_protocol, hits, score_run
from ..features import OpenedGallery
from ..running import candidates_of
from ..running.predictions import to_frame
from .result import KINDS, VIEWS, Audit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..features import FeatureStore
    from ..running import Run

_COORDINATE_DIGITS = 6
"""Eleven centimetres: what a place keeps through any file of answers."""


@dataclass(frozen=True)
class Hits:
    """Answers within one radius, by whose gallery photo stands where they point."""

    radius_km: float
    hits: int
    same_author: int
    other_author: int
    elsewhere: int
    """At no gallery photo's place, as where places are averaged."""


@dataclass(frozen=True)
class Effect:
    """One run: its scores over each view's queries, None where none is left or the view is unknown."""

    title: str
    protocol: str
    views: Mapping[str, Scores | None]
    hits: Sequence[Hits]

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": self.title,
            "protocol": self.protocol,
            "views": {name: scores and scores.to_dict() for name, scores in self.views.items()},
            "hits": [vars(item) for item in self.hits],
        }


def effect_of(run: Run, audit: Audit, stores: Sequence[FeatureStore]) -> Effect:
    """Score a run over every view of an audit of its dataset, and look up the rows its hits rest on."""
    protocol = str(run.record["dataset"]["default_protocol"])
    views: dict[str, Scores | None] = {VIEWS["all"]: score_run(run, protocol)}
    for kind, column in KINDS.items():
        left = audit.count(column)
        views[VIEWS[column]] = score_run(run, protocol, part=audit.view([kind])) if left else None
    return Effect(run.title, protocol, views, _hits(run, protocol, stores))


def _hits(run: Run, protocol: str, stores: Sequence[FeatureStore]) -> list[Hits]:
    table = run.table()
    frame = to_frame(table)
    chosen = get_protocol(protocol)
    error_km = errors_km(frame, chosen, candidates_of(table, photos=False) if run.oracle else None)
    owner = _owners(frame, table, stores)
    found = []
    within_each = hits(error_km, run.radii_km, chosen.inclusive).T  # (radii, n)
    for radius_km, within in zip(run.radii_km, within_each, strict=True):
        counts = [int((within & (owner == whose)).sum()) for whose in ("same", "other", "none")]
        found.append(Hits(radius_km, int(within.sum()), *counts))
    return found


def _owners(frame: pd.DataFrame, table: Any, stores: Sequence[FeatureStore]) -> NDArray[np.str_]:
    """Whose photo stands at each answer's place: `same`, `other` or `none`.

    The photo behind the answer, where its candidates name one of these stores'; else any at the
    very same place, of which the query's author's counts.
    """
    queries = frame[["predicted_latitude", "predicted_longitude", "author"]].copy()
    queries.columns = pd.Index(["latitude", "longitude", "author"])
    queries["query"] = np.arange(len(queries))
    places = pd.concat([_places(store) for store in stores], ignore_index=True)
    for columns in (queries, places):
        columns[["latitude", "longitude"]] = columns[["latitude", "longitude"]].round(_COORDINATE_DIGITS)
    met = queries.merge(places, on=["latitude", "longitude"], suffixes=("", "_there"))
    met["mine"] = met["author"].notna() & (met["author"] == met["author_there"])
    owner = np.full(len(frame), "none", dtype="<U5")
    owner[met["query"].unique()] = "other"
    owner[met["query"][met["mine"]].unique()] = "same"
    for query, author in _named_photos(frame, table, stores):
        mine = isinstance(author, str) and author == frame["author"].iat[query]
        owner[query] = "same" if mine else "other"
    return owner


def _places(store: FeatureStore) -> pd.DataFrame:
    frame: pd.DataFrame = store.table.select(["latitude", "longitude", "author"]).to_pandas()
    return frame


def _named_photos(
    frame: pd.DataFrame, table: Any, stores: Sequence[FeatureStore]
) -> Sequence[tuple[int, str | None]]:
    """Queries whose answer is the place of a candidate that is one of the stores' photos, and its author."""
    candidates = candidates_of(table)
    if candidates is None or candidates.source is None or candidates.photo_id is None:
        return []
    answer = frame[["predicted_latitude", "predicted_longitude"]].to_numpy()
    same = (candidates.coordinates == answer[:, None]).all(axis=2)  # (n, k)
    chosen = np.where(same.any(axis=1), same.argmax(axis=1), -1)
    found = []
    for store in stores:
        query = np.flatnonzero(chosen >= 0)
        query = query[candidates.source[query, chosen[query]] == store.dataset]
        row = store.find(candidates.photo_id[query, chosen[query]].tolist())
        query, row = query[row >= 0], row[row >= 0]
        # In a store of another edition the photo may lie elsewhere.
        right = (store.coordinates()[row] == answer[query]).all(axis=1)
        authors = store.table["author"]
        found += [
            (int(one), authors[int(at)].as_py()) for one, at in zip(query[right], row[right], strict=True)
        ]
    return found


def galleries_behind(run: Run) -> list[OpenedGallery]:
    """The galleries whose features a run's method opened; UsageError if there are none."""
    if not run.galleries or run.oracle:
        raise UsageError(
            f"method '{run.label}' opens no gallery of features",
            fix="name a gallery: pinpoint audit GALLERY DATASET --backbone NAME --run RUN",
        )
    return run.galleries
