"""Small files that would fill the memory are refused, and large ones that pack well are not."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinpoint_harness.errors import DataError
from pinpoint_harness.readers import read_coordinates, read_table, sniff

LINE = b"1.5,2.5\n"


@pytest.mark.parametrize("delimiter", [b",", b" "])
def test_a_gzipped_table_that_unpacks_a_thousandfold_is_refused(delimiter: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    body = LINE.replace(b",", delimiter) * (200 * 2**20 // len(LINE))
    path.write_bytes(gzip.compress(b"lat,lon\n".replace(b",", delimiter) + body, compresslevel=9))
    del body
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to more than 200 times"):
        read_coordinates(path)
    assert tracemalloc.get_traced_memory()[1] < 180 * 2**20
    tracemalloc.stop()


def test_a_gzipped_table_that_packs_well_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fine.csv.gz"
    path.write_bytes(gzip.compress(b"lat,lon\n" + LINE * 100_000))
    assert len(read_table(sniff(path))) == 100_000


def test_parquet_of_one_row_said_a_million_times_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    rows = 6_000_000
    same = pa.array([1.5]).take(pa.array([0] * rows, pa.int32()))
    pq.write_table(pa.table({"lat": same, "lon": same}), path, compression="zstd")
    with pytest.raises(DataError, match="6,000,000 rows in a file of"):
        read_coordinates(path)
