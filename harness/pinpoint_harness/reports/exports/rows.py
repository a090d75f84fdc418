"""A run's rows as a table for other programs: answers, candidates, probabilities."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from ...running import Run

_NESTED = ("candidates", "within")


def rows_as(run: Run, kind: str) -> bytes:
    """The stored table as `parquet`, `jsonl` (an object a row) or `csv`, where lists are JSON in a cell."""
    table = run.table()
    stream = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, stream, compression="zstd")
        return stream.getvalue()
    if kind == "jsonl":
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in table.to_pylist())
        return "".join(f"{line}\n" for line in lines).encode()
    for name in _NESTED:
        cells = [None if cell is None else json.dumps(cell) for cell in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(cells, pa.string()))
    pyarrow.csv.write_csv(table, stream)
    return stream.getvalue()
