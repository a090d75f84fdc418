"""The runs of one dataset side by side: one row per photo, a column per run, as small typed arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...errors import HarnessError
from ...evaluation import errors_km, get_protocol, hits, metric_names
from ...evaluation.calibration import stated_within
from ...evaluation.slices import Slicing, slice_by
from ...running import radii_of
from ...running.predictions import candidates_of, to_frame, within_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...evaluation.protocols import Protocol
    from ...running import Run
    from ...types import Floats

DEGREE_STEPS = 10_000
"""Coordinates are whole numbers of 1/10,000 degree (11 m)."""

NOWHERE_DEG = 200.0
"""Both coordinates where there is no answer: in no view of the map."""

LEAST_KM, MOST_KM, STEPS = 0.001, 20_100.0, 16_800
"""Errors are kept in equal steps of their logarithm, each 0.1 % wide, 0 to `STEPS`; 65535 is none."""

CITY_KM = 25.0

BY = ("continent", "country", "density", "author")
MOST_SLICES = 40
OTHERS = "(all others)"


@dataclass(frozen=True, eq=False)
class Column:
    """One run over the rows of its section: `(n,)` each, NaN or the last classes where it has none."""

    run: Run
    name: str
    answers: Floats
    """`(n, 2)` degrees."""
    error_km: Floats
    """By the protocol; `inf` for a miss, NaN for a photo that was not asked about."""
    sure: Floats
    """Confidence, or the probability within 25 km where there is none; NaN where nothing is said."""
    protocol: Protocol
    known: NDArray[np.bool_] = field(repr=False)
    """Photos that were asked about."""
    radii_km: tuple[float, ...]

    @cached_property
    def band(self) -> NDArray[np.uint8]:
        """The class of each error: of m radii 0 to m - 1 within them, m beyond, then no answer, not asked."""
        beyond = len(self.radii_km)
        within = hits(np.where(self.known, self.error_km, np.inf), self.radii_km, self.protocol.inclusive)
        band = np.where(within.any(axis=1), within.argmax(axis=1), beyond)
        band[np.isinf(self.error_km)] = beyond + 1
        band[~self.known] = beyond + 2
        return band.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Section:
    """All runs of one edition of one dataset, under one protocol; `why_not` says which slices lack."""

    dataset: str
    title: str
    truth_hash: str
    protocol: Protocol
    radii_km: tuple[float, ...]
    notes: tuple[str, ...]
    runs: tuple[Run, ...]
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    slicings: dict[str, Slicing]
    why_not: dict[str, str]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The accuracies within its radii."""
        return metric_names(self.radii_km)[: len(self.radii_km)]

    @property
    def city_radius(self) -> int:
        """The place among the radii of the one nearest to a city's, 25 km."""
        return int(np.abs(np.log(np.array(self.radii_km) / CITY_KM)).argmin())

    @property
    def complete(self) -> list[Column]:
        """Runs over the whole dataset, which alone are compared and ranked."""
        return [one for one in self.columns if one.run.partial is None and one.known.all()]


def build_section(
    runs: Sequence[Run],
    protocol: str | None,
    truth: Callable[[], pd.DataFrame],
    gallery: Callable[[], Floats],
) -> Section:
    """`runs` are of one dataset and truth; `truth` and `gallery` are asked for slices only."""
    dataset = runs[0].record["dataset"]
    chosen = get_protocol(protocol or dataset["default_protocol"])
    radii_km = radii_of(runs)
    tables = [run.table() for run in runs if not run.oracle]
    frames = [to_frame(table) for table in tables]
    kept = ["id", "latitude", "longitude", "author", "cluster"]
    frame = pd.concat([one[kept] for one in frames]) if frames else runs[0].predictions()[kept]
    frame = frame.drop_duplicates("id", ignore_index=True)
    names = run_names(runs)
    columns = tuple(
        _column(run, name, table, one, frame, chosen, radii_km)
        for (run, name), table, one in zip(
            [pair for pair in zip(runs, names, strict=True) if not pair[0].oracle],
            tables,
            frames,
            strict=True,
        )
    )
    slicings, why_not = _slicings(frame, truth, gallery)
    return Section(
        dataset=runs[0].dataset,
        title=dataset["title"],
        truth_hash=runs[0].record["recipe"]["dataset_hash"],
        protocol=chosen,
        radii_km=radii_km,
        notes=tuple(dataset["notes"]),
        runs=tuple(runs),
        frame=frame,
        columns=columns,
        slicings=slicings,
        why_not=why_not,
    )


def run_names(runs: Sequence[Run]) -> list[str]:
    """The shortest of label, title and title with key by which each run differs from the others."""
    forms = [
        [run.label for run in runs],
        [run.title for run in runs],
        [f"{run.title} [{run.key[:8]}]" for run in runs],
    ]
    return [
        next((form[at] for form in forms if form.count(form[at]) == 1), forms[-1][at])
        for at in range(len(runs))
    ]


def largest(slicing: Slicing, most: int = MOST_SLICES) -> Slicing:
    """The same with all but the largest slices put together; the order stays."""
    if len(slicing.names) <= most:
        return slicing
    counts = np.bincount(slicing.codes, minlength=len(slicing.names))
    kept = np.sort(np.argsort(-counts, kind="stable")[: most - 1])
    renumbered = np.full(len(slicing.names), len(kept))
    renumbered[kept] = np.arange(len(kept))
    names = (*(slicing.names[code] for code in kept.tolist()), OTHERS)
    return Slicing(slicing.by, names, renumbered[slicing.codes], slicing.source)


def error_codes(error_km: Floats) -> NDArray[np.uint16]:
    """Errors as steps of their logarithm; 65535 for a miss or none."""
    there = np.isfinite(error_km)
    steps = np.full(len(error_km), 65_535.0)
    share = np.log(np.maximum(error_km[there], LEAST_KM) / LEAST_KM) / np.log(MOST_KM / LEAST_KM)
    steps[there] = np.rint(share * STEPS)
    return steps.astype(np.uint16)


def sure_ranks(sure: Floats) -> NDArray[np.uint16]:
    """1 for the least sure to 65535 for the surest, equal ones alike; 0 where nothing is said."""
    ranks = np.zeros(len(sure), dtype=np.uint16)
    said = ~np.isnan(sure)
    if said.any():
        values, place = np.unique(sure[said], return_inverse=True)
        ranks[said] = np.rint(1 + place * 65_534 / max(len(values) - 1, 1))
    return ranks


def typed_columns(section: Section) -> dict[str, Any]:
    """What the page filters by, as typed arrays of `n` each; `join.js` puts coordinates together again."""
    data: dict[str, Any] = {}

    def put(name: str, degrees: Floats) -> None:
        steps = np.rint(np.where(np.isnan(degrees), NOWHERE_DEG, degrees) * DEGREE_STEPS).astype(np.int32)
        # Apart, since bytes of one kind are packed a fifth smaller.
        data[name], data[f"{name}_high"] = (steps & 0xFFFF).astype(np.uint16), (steps >> 16).astype(np.int8)

    for name in ("latitude", "longitude"):
        put(name[:3], section.frame[name].to_numpy())
    for number, one in enumerate(section.columns):
        put(f"lat{number}", one.answers[:, 0])
        put(f"lon{number}", one.answers[:, 1])
        data[f"error{number}"], data[f"band{number}"] = error_codes(one.error_km), one.band
        data[f"sure{number}"] = sure_ranks(one.sure)
    for by, slicing in section.slicings.items():
        data[by] = slicing.codes.astype(np.uint8 if len(slicing.names) < 256 else np.uint16)
    return data


def _column(
    run: Run,
    name: str,
    table: Any,
    own: pd.DataFrame,
    frame: pd.DataFrame,
    protocol: Protocol,
    radii_km: tuple[float, ...],
) -> Column:
    rows = pd.Index(own["id"]).get_indexer(pd.Index(frame["id"]))
    known = rows >= 0
    answers = own[["predicted_latitude", "predicted_longitude"]].to_numpy(np.float64)
    error_km = errors_km(own, protocol)
    sure = own["confidence"].to_numpy(np.float64)
    if np.isnan(sure).all():
        candidates = candidates_of(table, photos=False)
        sure = stated_within(answers, candidates, within_of(table), (25.0,), protocol=protocol)[:, 0]
        sure[np.isinf(error_km)] = np.nan

    def placed(values: Floats) -> Floats:
        found = np.full((len(frame), *values.shape[1:]), np.nan)
        found[known] = values[rows[known]]
        return found

    answers = np.where(np.isinf(error_km)[:, None], np.nan, answers)
    return Column(run, name, placed(answers), placed(error_km), placed(sure), protocol, known, radii_km)


def _slicings(
    frame: pd.DataFrame, truth: Callable[[], pd.DataFrame], gallery: Callable[[], Floats]
) -> tuple[dict[str, Slicing], dict[str, str]]:
    found, why_not = {}, {}
    for by in BY:
        try:
            slicing = slice_by(by, frame, truth=truth, gallery=gallery)
        except HarnessError as error:
            why_not[by] = f"{error.problem}{f'; {error.fix}' if error.fix else ''}"
        else:
            found[by] = largest(slicing) if by == "author" else slicing
    return found, why_not
