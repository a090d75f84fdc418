"""Truths that are no table of plain columns: JSON, folders of Parquet, both coordinates in one cell."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.readers import TableDataset, read_coordinates
from pinpoint_harness.types import DataLocation

ROWS = [("101", 48.85, 2.35), ("102", -33.87, 151.21), ("103", 40.71, -74.0)]


def table(path: Path) -> TableDataset:
    dataset = load_registry().open_dataset("table", DataLocation(path))
    assert isinstance(dataset, TableDataset)
    return dataset


def rows_of(frame: pd.DataFrame) -> list[tuple[str, float, float]]:
    return list(frame[["id", "latitude", "longitude"]].itertuples(index=False, name=None))


def as_lines(records: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, records))


def feature(name: str, latitude: float, longitude: float) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [longitude, latitude]}
    return {"type": "Feature", "id": name, "properties": {"author": "x"}, "geometry": point}


SHAPES: dict[str, str] = {
    "records": json.dumps([{"id": one, "lat": lat, "lon": lon, "author": "x"} for one, lat, lon in ROWS]),
    "records under a name": json.dumps({"photos": [{"id": a, "lat": b, "lng": c} for a, b, c in ROWS]}),
    "lines": as_lines([{"image_id": int(a), "latitude": b, "longitude": c} for a, b, c in ROWS]),
    "lines, nested": as_lines([{"id": a, "place": {"lat": str(b), "lon": str(c)}} for a, b, c in ROWS]),
    "lines, list": as_lines([{"id": a, "coordinates": [b, c], "tags": ["x", "y"]} for a, b, c in ROWS]),
    "GeoJSON": json.dumps({"type": "FeatureCollection", "features": [feature(*row) for row in ROWS]}),
    "by photo": json.dumps({a: {"latitude": b, "longitude": c, "city": "x"} for a, b, c in ROWS}),
    "lists by photo": json.dumps({a: [b, c] for a, b, c in ROWS}),
    "WKT": "id,geometry\n" + "".join(f"{a},POINT({c} {b})\n" for a, b, c in ROWS),
    "cells": "id;place\n" + "".join(f"{a};({b}, {c})\n" for a, b, c in ROWS),
    "longitude first": "id;lonlat\n" + "".join(f"{a};[{c}, {b}]\n" for a, b, c in ROWS),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_truth_and_a_gallery_are_read_in_the_shapes_of_answers(name: str, tmp_path: Path) -> None:
    (tmp_path / "truth.any").write_text(SHAPES[name])
    assert rows_of(table(tmp_path / "truth.any").truth()) == ROWS
    points = read_coordinates(tmp_path / "truth.any")
    assert points.tolist() == [[lat, lon] for _, lat, lon in ROWS]


REFUSED: dict[str, tuple[str, str]] = {
    "two places": (
        as_lines([{"id": a, "from": {"lat": b, "lon": c}, "to": {"lat": b, "lon": c}} for a, b, c in ROWS]),
        "no column for: latitude, longitude",
    ),
    "a place that is none": ("id;place\n1;(1.5, 2)\n2;(3.5, 4)\n3;(5.5, 6)\n4;(7.5, 8)\n5;[9.5]\n", "5"),
    "exchanged": (json.dumps({a: [c, b] for a, b, c in ROWS}), "two columns exchanged"),
    "damaged": ('{"id": 1, "lat": 1', "not valid JSON"),
    "no rows": ("[1, 2]", "no JSON file of photos and places"),
    "the same photo twice": (as_lines([{"id": 1, "lat": 1, "lon": 2}] * 2), "occur more than once"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_truth_in_such_a_shape_is_held_to_the_same_rules(name: str, tmp_path: Path) -> None:
    content, words = REFUSED[name]
    (tmp_path / "truth.any").write_text(content)
    with pytest.raises(DataError) as caught:
        table(tmp_path / "truth.any").truth()
    assert words in str(caught.value)


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (10, 200, 30)).save(stream, "PNG")
    return stream.getvalue()


def shards(folder: Path, column: Callable[[str], dict[str, Any]]) -> Path:
    folder.mkdir()
    for number, row in enumerate(ROWS):
        columns = {"id": [row[0]], "lat": [row[1]], "lon": [row[2]], **column(row[0])}
        pq.write_table(pa.table(columns), folder / f"test-{number:05}-of-00003.parquet")
    return folder


def test_a_folder_of_parquet_shards_is_one_truth(tmp_path: Path) -> None:
    folder = shards(tmp_path / "set", lambda name: {"country": ["FR" if name == "101" else None]})
    read = table(folder).read()
    assert rows_of(read.frame) == ROWS
    assert len(read.sha256) == 64


def test_shards_may_hold_the_pictures(tmp_path: Path) -> None:
    folder = shards(tmp_path / "set", lambda name: {"image": [{"bytes": picture(), "path": f"{name}.png"}]})
    words = ["datasets", "verify", "table", str(folder)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "3" in result.stdout


def test_shards_of_two_tables_are_refused(tmp_path: Path) -> None:
    folder = shards(tmp_path / "set", lambda name: {})
    pq.write_table(pa.table({"id": ["9"], "x": [1.0]}), folder / "zzz.parquet")
    with pytest.raises(DataError, match="no column 'lat' as the files beside it have"):
        table(folder).truth()


def test_answers_may_lie_in_shards(tmp_path: Path) -> None:
    folder = shards(tmp_path / "set", lambda name: {})
    (tmp_path / "truth.csv").write_text(SHAPES["cells"])
    words = ["score", str(folder), "--dataset", "table", "--data", str(tmp_path / "truth.csv")]
    result = CliRunner().invoke(cli, [*words, "--home", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scores"][0]["counts"]["ok"] == 3
