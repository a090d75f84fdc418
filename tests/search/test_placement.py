"""Where a matrix lies changes no bit of what is found in it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pinpoint_harness.search import (
    Exclusion,
    FreeMemory,
    Gallery,
    Rows,
    engine,
    place,
    scan,
    search,
    unit_rows,
)
from pinpoint_harness.search import placement as placement_module
from pinpoint_harness.search.placement import HostRows

ROWS, WIDTH = 1500, 24
PLENTY = 1 << 40


@pytest.fixture
def features(tmp_path: Path) -> Any:
    """Features in a file, some of them equal, none of length 1."""
    drawn = (3 * np.random.default_rng(0).standard_normal((ROWS, WIDTH))).astype(np.float16)
    drawn[700:710] = drawn[3]
    np.save(tmp_path / "features.npy", drawn)
    return np.load(tmp_path / "features.npy", mmap_mode="r")


def found(matrix: Any) -> tuple[Any, Any]:
    token = np.arange(ROWS, dtype=np.uint64) % 40 + 1
    queries = unit_rows(torch.randn(70, WIDTH, generator=torch.Generator().manual_seed(1)))
    gallery = Gallery.of({"raw": matrix}, Rows(author_token=token))
    hits = search(gallery, {"raw": queries}, {"raw": 9}, Exclusion(author_token=token[:70]))["raw"]
    return hits.rows, hits.scores


@pytest.mark.parametrize(
    ("free", "said", "kept"),
    [
        (FreeMemory(PLENTY, PLENTY), "on cpu", torch.Tensor),
        (FreeMemory(1000, PLENTY), "in memory", HostRows),
        (FreeMemory(1000, 1000), "on disk, mapped", HostRows),
    ],
)
def test_every_place_gives_the_same_bits_and_is_said_in_one_line(
    features: Any,
    free: FreeMemory,
    said: str,
    kept: type,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = found(unit_rows(torch.from_numpy(np.array(features))))
    monkeypatch.setattr(placement_module, "_STRETCH_BYTES", 2 * WIDTH * 512)
    monkeypatch.setattr(engine, "_BATCH_QUERIES", {"cpu": 16})
    with caplog.at_level(logging.INFO):
        placed = place(features, "cpu", "raw vectors", rewrite=unit_rows, free=free)
    assert isinstance(placed, kept)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("raw vectors: 0.0 GB ")
    assert said in line
    for mine, theirs in zip(found(placed), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_a_cpu_copies_nothing_and_says_nothing(features: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        placed = place(features, "cpu", "raw vectors")
    assert isinstance(placed, torch.Tensor)
    assert placed.data_ptr() == features.ctypes.data
    assert not caplog.records


def test_stretches_are_read_once_for_all_batches_and_fetched_ahead(
    features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def rewrite(rows: torch.Tensor) -> torch.Tensor:
        read.append(len(rows))
        return unit_rows(rows)

    monkeypatch.setattr(placement_module, "_STRETCH_BYTES", 2 * WIDTH * 512)
    monkeypatch.setattr(engine, "_BATCH_QUERIES", {"cpu": 16})
    monkeypatch.setattr(scan, "_TILE_ROWS", {"cpu": (64, 128)})
    rows = HostRows(torch.from_numpy(np.array(features)), "cpu", rewrite, ahead=True)
    gallery = Gallery.of({"raw": rows})
    read.clear()
    search(gallery, {"raw": torch.randn(70, WIDTH)}, {"raw": 1})
    passes = [count for count in read if count >= ROWS % 512]  # the rest are rows that are scored exactly
    assert passes == [512, 512, 476]


def test_rows_are_those_of_the_matrix_wherever_a_slice_begins(features: Any) -> None:
    rows = HostRows(torch.from_numpy(np.array(features)), "cpu", ahead=True)
    rows.read_by(64)
    rows.stretch = 128
    for start, stop in ((0, 10), (120, 130), (128, 256), (1400, 1500), (0, 1500), (250, 256)):
        assert np.array_equal(rows[start:stop].numpy(), features[start:stop])
    chosen = torch.tensor([1499, 0, 700, 0])
    assert np.array_equal(rows.index_select(0, chosen).numpy(), features[chosen.numpy()])


def test_unit_rows_do_not_depend_on_how_many_there_are() -> None:
    drawn = torch.randn(5000, 48, generator=torch.Generator().manual_seed(2)).half()
    whole = unit_rows(drawn)
    assert torch.equal(whole[4090:4110], unit_rows(drawn[4090:4110]))
    assert torch.equal(whole[7:8], unit_rows(drawn[7:8]))


@pytest.mark.parametrize("free", [None, FreeMemory(PLENTY, PLENTY), FreeMemory(9, PLENTY), FreeMemory(9, 9)])
def test_some_rows_of_a_matrix_are_a_matrix(features: Any, free: FreeMemory | None) -> None:
    numbers = np.arange(1, ROWS, 3)
    placed = place(features, "cpu", "features to train on", rows=numbers, free=free)
    expected = torch.from_numpy(features[numbers])
    assert placed.shape == expected.shape
    assert torch.equal(placed[17:400], expected[17:400])
    chosen = torch.tensor([3, 499, 0])
    assert torch.equal(placed.index_select(0, chosen), expected[chosen])
    if isinstance(placed, HostRows):
        assert torch.equal(placed.begin(chosen)(), expected[chosen])
