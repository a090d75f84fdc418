"""The coordinates of a file of answers: degrees where they are understood, a refusal where they are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ..console import visible
from ..errors import UsageError, unknown_name
from ..geo import on_globe
from .answer_columns import Source
from .cells import NULL_WORDS, is_longitude_first, is_null, read_angles, read_place
from .conventions import is_pattern, look_like_radians, trouble_of

if TYPE_CHECKING:
    from ..types import Floats

Units = Literal["auto", "degrees", "radians"]
Order = Literal["latlon", "lonlat"]

_SHOWN = 3


@dataclass(frozen=True)
class Options:
    """What the user says of a file of answers."""

    select: str | None
    columns: Mapping[str, str]
    units: Units
    order: Order
    allow_truth: bool = False

    def check(self) -> None:
        for name, value, known in (("units", self.units, Units), ("order", self.order, Order)):
            if value not in get_args(known):
                raise unknown_name(f"there are no {name} '{value}'", value, get_args(known))


def judge(
    rows: pd.DataFrame, columns: tuple[str, ...], options: Options, source: Source, *, prose: bool
) -> tuple[Floats, list[str], list[str]]:
    """Degrees, a status per row, and remarks on how they were read and on the rows that are no answer.

    `rows` hold text in the columns `latitude` and `longitude`, or `answer`, which `prose` allows to be
    sentences; `columns` are their names in the file. UsageError for coordinates that are not understood.
    """
    options.check()
    if "answer" in rows:
        longitude_first = options.order == "lonlat" or is_longitude_first(columns[0])
        values, absent, remarks = _read_places(rows["answer"], longitude_first, prose)
        text, worded = rows["answer"], np.zeros(len(rows), dtype=bool)
    else:
        values, null, remarks = _read_pairs(rows["latitude"], rows["longitude"])
        worded, said = _refused_in_words(rows["latitude"], rows["longitude"], values, null)
        absent, remarks = null | worded, remarks + said
        text = rows["latitude"].str.cat(rows["longitude"], sep="; ")
    if options.units == "radians":
        values = np.degrees(values)
    elif options.units == "auto" and look_like_radians(values):
        raise UsageError(
            f"the answers in {source.name} look like radians",
            found=f"nearly all of {len(values):,} rows within 1.5708 and 3.1416 of zero",
            fix=f"say {source.option('units', 'radians')}, or {source.option('units', 'degrees')} if they "
            "really lie there",
        )
    values, wrapped = _understood(values, absent, text, columns, source, prose)
    usable = on_globe(values)
    findings = (
        (absent & ~worded, "answers are null: no prediction"),
        (~usable & ~absent, "answers are no place on Earth: invalid coordinate"),
        ((values == 0).all(axis=1), "answers are exactly (0, 0), as some tools write for no answer"),
    )
    remarks += wrapped + [
        f"{found.sum():,} of {len(values):,} {words}" for found, words in findings if found.any()
    ]
    status = np.where(absent, "no prediction", np.where(usable, "ok", "invalid coordinate"))
    return np.where(usable[:, None], values, np.nan), status.tolist(), remarks


def _read_pairs(
    latitude: pd.Series[str], longitude: pd.Series[str]
) -> tuple[Floats, NDArray[np.bool_], list[str]]:
    cells = [pa.chunked_array([pa.array(axis, pa.large_string())]) for axis in (latitude, longitude)]
    axes = [read_angles(cells[0], "latitude"), read_angles(cells[1], "longitude")]
    notations = dict.fromkeys(name for axis in axes for name in axis.notations)
    values = np.stack([axis.degrees for axis in axes], axis=1)  # (n, 2)
    remarks = [f"read with {', '.join(notations)}"] if notations else []
    return values, is_null(cells[0]) & is_null(cells[1]), remarks


def _refused_in_words(
    latitude: pd.Series[str], longitude: pd.Series[str], values: Floats, null: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Rows that say something without any number, as language models refuse, and a remark on them.

    None where no row of the file holds a place: then its columns are of something else.
    """
    digits = latitude.str.contains("[0-9]") | longitude.str.contains("[0-9]")
    worded = ~digits.to_numpy(dtype=bool) & ~null
    if not worded.any() or not np.isfinite(values).all(axis=1).any():
        return np.zeros(len(values), dtype=bool), []
    said = visible(latitude[worded].mode().iloc[0])[:60]
    return worded, [f"{worded.sum():,} of {len(values):,} answers are words, as '{said}': no prediction"]


def _read_places(
    cells: pd.Series[str], longitude_first: bool, prose: bool
) -> tuple[Floats, NDArray[np.bool_], list[str]]:
    """Cells of two numbers; with `prose` also sentences, of which one without any number is no answer."""
    found = [read_place(cell, prose=prose, longitude_first=longitude_first) for cell in cells]
    values = np.array([(np.nan, np.nan) if place is None else place for place in found])  # (n, 2)
    absent = np.array(
        [place is None and _says_nothing(cell, prose) for place, cell in zip(found, cells, strict=True)]
    )
    lists = sum(cell.lstrip()[:1] in ("[", "(") and len(re.findall(r"[\[({]", cell)) > 2 for cell in cells)
    remarks = [f"{lists:,} of {len(cells):,} cells hold several answers: the first is taken"] if lists else []
    return values.reshape(-1, 2), absent, remarks


def _says_nothing(cell: str, prose: bool) -> bool:
    words = re.split(r"[\[\](){},\s]+", cell.strip().lower())
    return all(word in NULL_WORDS for word in words) or (prose and not re.search("[0-9]", cell))


def _understood(
    values: Floats,
    absent: NDArray[np.bool_],
    text: pd.Series[str],
    columns: tuple[str, ...],
    source: Source,
    prose: bool,
) -> tuple[Floats, list[str]]:
    """Longitudes from 0 to 360 turned to -180 to 180, with a remark; UsageError if not understood."""
    bad = np.flatnonzero(~on_globe(values) & ~absent)
    if not len(bad):
        return values, []
    odd = [] if prose else bad[np.isnan(values[bad]).any(axis=1)].tolist()
    odd_cells = {row: _odd_cell(text.iloc[row], values[row]) for row in odd}
    trouble = trouble_of(values, odd_cells)
    if trouble is not None and trouble.kind == "0 to 360" and not (values[:, 1] < 0).any():
        values = np.where([False, True] & (values > 180), values - 360, values)
        return values, [
            f"{len(trouble.rows):,} of {len(values):,} longitudes count from 0 to 360: 360 subtracted"
        ]
    answered = len(values) - int(absent.sum())
    if trouble is not None and is_pattern(trouble, answered):
        fix = trouble.fix
        if trouble.kind == "exchanged":
            fix = exchanged_columns(source, columns, len(columns) > 1 or order_tells(text))
        raise _not_understood(source, trouble.rows, text, f"{len(trouble.rows):,} {trouble.words}", fix)
    if 2 * len(bad) > answered:
        what = f"{len(bad):,} of {answered:,} rows hold no place on Earth"
        if not text.iloc[bad].str.contains("[0-9]").any():
            raise _not_understood(
                source, bad, text, what, "answers in words are read by the method place-names"
            )
        fix = "name the columns of the answer, or write degrees in a copy"
        if prose:  # the column was named already
            fix = "write each place as `latitude, longitude` in degrees in a copy"
        raise _not_understood(source, bad, text, what, fix)
    return values, []


def _odd_cell(text: str, values: Floats) -> str:
    """Of a pair of cells the one that is no number; a single cell itself."""
    cells = text.split("; ")
    return cells[int(np.isfinite(values[0]))] if len(cells) == 2 else text


def _not_understood(
    source: Source, rows: NDArray[np.int64], text: pd.Series[str], what: str, fix: str
) -> UsageError:
    shown = " | ".join(text.iloc[row] for row in rows[:_SHOWN].tolist())
    return UsageError(f"the answers in {source.name} are not understood: {what}", found=shown[:400], fix=fix)


def order_tells(cells: pd.Series[str]) -> bool:
    """Whether the order of the numbers in cells is open; names, letters and WKT say it themselves."""
    return any(
        read_place(cell, prose=True) != read_place(cell, prose=True, longitude_first=True) for cell in cells
    )


def exchanged_columns(source: Source, columns: tuple[str, ...], by_order: bool) -> str:
    """The options that read latitude as longitude and the reverse; `by_order` is from `order_tells`."""
    if not by_order:
        return "exchange the two in a copy: the cells name them, or are longitude first by standard"
    if len(columns) == 1:
        return source.option("order", "lonlat")
    return f"name them the other way round: {source.columns(latitude=columns[1], longitude=columns[0])}"


def confidence_of(rows: pd.DataFrame) -> tuple[Floats | None, list[str]]:
    """Finite numbers to rank by, NaN for none, and a remark on those that cannot be ranked."""
    if "confidence" not in rows:
        return None, []
    values = pd.to_numeric(rows["confidence"], errors="coerce").to_numpy(dtype=np.float64)
    odd = ~np.isfinite(values) & ~is_null(pa.chunked_array([pa.array(rows["confidence"], pa.large_string())]))
    remark = f"{odd.sum():,} of {len(values):,} confidences are no finite number and were left out"
    return np.where(odd, np.nan, values), [remark] if odd.any() else []
