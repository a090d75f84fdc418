"""Small files that would fill the memory are refused, and large ones that pack well are not."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinpoint_harness.errors import DataError
from pinpoint_harness.readers import read_coordinates, read_table, sniff

LINE = b"1.5,2.5\n"

READ = """
import os, sys, tracemalloc
from pathlib import Path
from pinpoint_harness.errors import DataError
from pinpoint_harness.readers import read_coordinates
tracemalloc.start()
try:
    read_coordinates(Path(sys.argv[1]))
except DataError as error:
    print(error)
print(tracemalloc.get_traced_memory()[1], flush=True)
os._exit(0)
"""
"""Reads a file and prints what was refused and the peak of memory.

It never stops tracing: pyarrow's threads may still be reading, and Python 3.11 dies of that
(python/cpython#128679)."""


@pytest.mark.parametrize("delimiter", [b",", b" "])
def test_a_gzipped_table_that_unpacks_a_thousandfold_is_refused(delimiter: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    body = LINE.replace(b",", delimiter) * (200 * 2**20 // len(LINE))
    path.write_bytes(gzip.compress(b"lat,lon\n".replace(b",", delimiter) + body, compresslevel=9))
    del body
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    said, peak = done.stdout.rsplit("\n", 2)[:2]
    assert "unpacks to more than 200 times" in said
    assert int(peak) < 180 * 2**20


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
