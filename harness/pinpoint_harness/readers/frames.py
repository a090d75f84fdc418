"""A pandas table as the readers see any table: cells of text, so that it goes through their checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import DataError, name_list
from .delimited import Table
from .table_form import TableForm

_EXACT_BELOW = 2.0**53
_SAMPLE_ROWS = 50


def table_of_frame(frame: pd.DataFrame, title: str) -> Table:
    """The columns of a frame as text, an absent value being empty; `title` names it in messages."""
    twice = frame.columns[frame.columns.map(str).duplicated()]
    if len(twice):
        raise DataError(
            f"{title}: there is more than one column '{twice[0]}'",
            found=f"the columns {name_list(list(map(str, frame.columns)))}",
            fix="rename or drop one of them",
        )
    columns = {
        str(name): pa.array([_cell(value) for value in frame[name].tolist()], pa.large_string())
        for name in frame
    }
    cells = pa.table(columns)
    sample = tuple(
        zip(*(cells.column(name).slice(0, _SAMPLE_ROWS).to_pylist() for name in columns), strict=True)
    )
    return Table(TableForm(Path(title), "frame", tuple(columns), sample=sample, cells=cells), cells)


def plain_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that occur once and whose first cells are no lists, features or pictures."""
    once = [name for name in frame.columns if (frame.columns == name).sum() == 1]
    return [name for name in once if frame[name].iloc[:_SAMPLE_ROWS].map(np.isscalar).any()]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict | np.ndarray):
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        return json.dumps(plain, default=str)
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT_BELOW else repr(float(value))
    return str(value)
