"""How any file that holds a table is written: text, Parquet, a folder of Parquet, or JSON."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from ..reading import reads
from .delimited import sniff
from .json_rows import is_json
from .json_tables import json_cells
from .table_form import TableForm

_SAMPLE_ROWS = 50


@reads()
def open_form(
    path: Path, *, delimiter: str | None = None, header: bool | None = None, quoting: bool = True
) -> TableForm:
    """As `sniff`, and JSON in the shapes that answers come in; its cells are read at once."""
    if path.is_dir() or not is_json(path):
        return sniff(path, delimiter=delimiter, header=header, quoting=quoting)
    text, _ = json_cells(path, as_columns=True)
    names = tuple(map(str, text.columns))
    sample = tuple(text.head(_SAMPLE_ROWS).itertuples(index=False, name=None))
    arrays = [pa.array(text[name], pa.large_string()) for name in names]
    return TableForm(path, "json", names, sample=sample, cells=pa.table(arrays, names=names))
