"""One row of a results table, and the metrics it can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...errors import UsageError, unknown_name
from ...evaluation import DISTRIBUTION_METRICS, GEOSCORE_MAXIMUM, Estimate, radius_of
from ...types import FARTHEST_KM, RADII_KM, STATUS

Kind = Literal["measured", "oracle", "published"]

UNSTATED = "?"
"""What a row carries where its source does not say."""

_AREA = re.compile(r"recall_(\d+)km2")
_PLACES = ("acc_country", "acc_region", "acc_area", "acc_city")


@dataclass(frozen=True)
class Metric:
    """How a metric is named, shown, ranked and bounded."""

    name: str
    label: str
    decimals: int
    maximum: float
    lower_is_better: bool = False
    radius_km: float | None = None


@dataclass(frozen=True)
class Present:
    """The second figure of a row, over the images that could be opened.

    `values` are metrics by name; `ids_sha256` tells which images these are.
    """

    n: int
    ids_sha256: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One method's figures on one dataset, and everything needed to read them rightly.

    The strings are those of the published files: `mllm` (a multimodal language model) and `web`
    (web search) are `yes`, `no` or `?`; `n` is the number of images scored, as its source spells
    it. `total` is the size of the whole dataset. A row that is not `complete` covers `n` of
    `total` and is never ranked. `counts` and `clusters` are those of `Scores`; they are empty for
    published rows, `counts` may be empty for others too. Rows that share one of the `letters` of a
    metric cannot be told apart in it; empty where nothing was compared. `truth` is the hash of the truth
    of the whole dataset, "" where it is not known: rows of different truth are never ranked together.
    `short` is the name for narrow tables, "" for `method` itself. A row with `repeats` is the mean over
    several runs; its cells have their standard deviation as `standard_error` and no bounds. `run` is the key
    of the run that was measured, "" for other rows.
    """

    method: str
    cells: Mapping[str, Estimate]
    kind: Kind = "measured"
    protocol: str = UNSTATED
    source: str = ""
    mllm: str = UNSTATED
    web: str = UNSTATED
    views: str = UNSTATED
    n: str = UNSTATED
    gallery: str = UNSTATED
    author_filter: str = UNSTATED
    verified: str = UNSTATED
    note: str = ""
    total: int | None = None
    complete: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)
    clusters: str = ""
    present: Present | None = None
    footnotes: tuple[str, ...] = ()
    letters: Mapping[str, str] = field(default_factory=dict)
    truth: str = ""
    short: str = ""
    repeats: tuple[str, ...] = ()
    run: str = ""

    def __post_init__(self) -> None:
        for name, estimate in self.cells.items():
            find_metric(name)
            if estimate.value is not None and not math.isfinite(estimate.value):
                raise UsageError(
                    f"row '{self.method}': {name} is {estimate.value}",
                    fix="give None, which is shown as a dash",
                )
        if self.counts and set(self.counts) != {"total", *STATUS}:
            known = ", ".join(("total", *STATUS))
            raise UsageError(f"row '{self.method}': counts are of {known}", found=", ".join(self.counts))
        if self.counts and sum(self.counts[word] for word in STATUS) != self.counts["total"]:
            raise UsageError(f"row '{self.method}': the counts do not add up", found=str(dict(self.counts)))

    def value(self, metric: str) -> float | None:
        """The figure itself, or None where the row has none for this metric."""
        estimate = self.cells.get(metric)
        return None if estimate is None else estimate.value


def find_metric(name: str) -> Metric:
    """The metric a column is named after; UsageError for a name that is none."""
    if (radius := radius_of(name)) is not None:
        written = name.removeprefix("acc_").removesuffix("km")
        return Metric(name, f"{written} km", 1, 100.0, radius_km=radius)
    if name in _PLACES:
        return Metric(name, name.removeprefix("acc_"), 1, 100.0)
    if name in ("mean_km", "median_km"):
        return Metric(name, name.replace("_", " "), 1, FARTHEST_KM, lower_is_better=True)
    if area := _AREA.fullmatch(name):
        return Metric(name, f"recall {int(area[1]):,} km²", 1, 100.0)
    if name == "nll":
        return Metric(name, "NLL (nats/sr)", 2, math.inf, lower_is_better=True)
    if name == "geoscore":
        return Metric(name, "GeoScore", 0, GEOSCORE_MAXIMUM)
    known = [f"acc_{radius:g}km" for radius in RADII_KM] + [
        *_PLACES,
        "mean_km",
        "median_km",
        "geoscore",
        *DISTRIBUTION_METRICS,
    ]
    raise unknown_name(f"no metric is called '{name}'", name, known, "acc_<radius>km is of any radius")


def leading_integer(text: str) -> int | None:
    """The number a count begins with: 4096 of `4096 (last batch dropped)`, None of `?`."""
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else None
