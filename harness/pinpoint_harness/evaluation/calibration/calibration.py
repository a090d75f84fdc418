"""From a stored run to what its confidence is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...errors import DataError
from ...running import Run
from ...running import predictions as answers
from ...types import RADII_KM, Candidates
from ..bootstrap import cluster_rows
from ..metrics import hits
from ..protocols import Protocol, get_protocol
from ..scoring import RESAMPLES, errors_km
from .confidence import stated_within
from .reliability import Reliability, reliability
from .risk_coverage import RiskCoverage, risk_coverage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...types import Floats

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """What a run's confidence is worth under one protocol, per radius.

    `reliability` is empty where the run has no probabilities. `ranking` says what the rows were
    ordered by for `risk`. `notes` are sentences that belong to the figures.
    """

    protocol: str
    rows: int
    clusters: str
    ranking: str
    notes: tuple[str, ...]
    reliability: tuple[Reliability, ...]
    risk: tuple[RiskCoverage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, text and None, as printed by `--json`."""
        return asdict(self)


def calibrate(
    run: Run,
    *,
    protocol: str | None = None,
    radii_km: Sequence[float] | None = None,
    bins: int = BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Calibration:
    """Calibration and risk-coverage of a stored run; a failure is a miss with confidence 0.

    DataError for a run that states neither a confidence nor probabilities.
    """
    table = run.table()
    return calibrate_answers(
        answers.to_frame(table),
        answers.candidates_of(table, photos=False),
        get_protocol(protocol or run.record["dataset"]["default_protocol"]),
        within=answers.within_of(table),
        cluster_column=run.record["dataset"]["cluster_column"],
        radii_km=run.radii_km if radii_km is None else radii_km,
        bins=bins,
        resamples=resamples,
        seed=seed,
    )


def calibrate_answers(
    frame: pd.DataFrame,
    candidates: Candidates | None,
    protocol: Protocol,
    *,
    within: Floats | None = None,
    cluster_column: str = "",
    radii_km: Sequence[float] = RADII_KM,
    bins: int = BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Calibration:
    """The same of rows as in a run's table: truth, answer, `confidence`, `author`.

    `within`, `(n, 5)`, is what the method states of `RADII_KM`; see `stated_within` for what is used.
    """
    clusters = cluster_rows(frame, cluster_column)
    error_km = errors_km(frame, protocol)
    hit = hits(error_km, radii_km, protocol.inclusive)  # (n, radii)
    answered = np.isfinite(error_km)
    places = frame[["predicted_latitude", "predicted_longitude"]].to_numpy()
    sure = stated_within(places, candidates, within, radii_km, protocol=protocol)  # (n, radii)
    stated = np.asarray(~np.isnan(sure).any(axis=1))
    ranks, ranking, notes = _ranking(frame["confidence"].to_numpy(), sure, answered)
    how = {"resamples": resamples, "seed": seed}
    if (stated & answered).any():
        part = clusters.among(stated)
        reliable = reliability(sure[stated], hit[stated], part, radii_km, bins=bins, **how)
        if not stated.all():
            notes += (f"{(~stated).sum():,} answers without probabilities are left out of the reliability",)
    else:
        reliable = ()
        notes += (
            "the run states no probability for every one of these radii, and has no candidates with "
            "probabilities: reliability cannot be measured",
        )
    if ranks.shape[1] == 1:
        risk = risk_coverage(ranks[:, 0], hit, clusters, radii_km, **how)
    else:
        risk = tuple(
            risk_coverage(ranks[:, column], hit[:, [column]], clusters, [radius], **how)[0]
            for column, radius in enumerate(radii_km)
        )
    return Calibration(protocol.name, len(frame), clusters.describe(), ranking, notes, reliable, risk)


def _ranking(
    confidence: Floats, sure: Floats, answered: NDArray[np.bool_]
) -> tuple[Floats, str, tuple[str, ...]]:
    """Ranks `(n, 1)` or, one for each radius, `(n, radii)`; in words; and notes."""
    known = answered & ~np.isnan(confidence)
    if known.any():
        silent = int((answered & ~known).sum())
        notes = (f"{silent:,} answers without a confidence are ranked last",) if silent else ()
        return np.where(known, confidence, -np.inf)[:, None], "confidence", notes
    known = answered & ~np.isnan(sure).any(axis=1)
    if known.any():
        return np.where(known[:, None], sure, -np.inf), "probability within the radius", ()
    raise DataError(
        "the run states neither a confidence nor probabilities",
        found=f"{int(answered.sum()):,} answers, every one as sure as any other",
        fix="let the method return Predictions with `confidence`, `within`, or candidates with `probability`",
    )
