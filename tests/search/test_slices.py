"""Galleries in slices: two and three processes answer like one, to the last bit."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests.support.together import together

from pinpoint_harness import processes
from pinpoint_harness.errors import HarnessError
from pinpoint_harness.processes import joined_processes, sliced_galleries
from pinpoint_harness.search import (
    Exclusion,
    Gallery,
    Rows,
    SearchResult,
    search,
    unit_rows,
)
from pinpoint_harness.search import slices as of_slices

ROWS, QUERIES, WIDTH = 701, 90, 24
K = {"image": 40, "raw": 3}


def made_up() -> tuple[dict[str, torch.Tensor], Rows, dict[str, torch.Tensor], Exclusion]:
    """A gallery with equal rows, ranks that are not the rows' order, a crowd by one author, and questions."""
    random = np.random.default_rng(5)
    channels = {}
    for name in K:
        rows = unit_rows(torch.from_numpy(random.normal(size=(ROWS, WIDTH))))
        rows[::5] = rows[3]  # ties across all slices
        channels[name] = rows
    xyz = random.normal(size=(ROWS, 3)).astype(np.float32)
    xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    facts = Rows(
        rank=random.permutation(ROWS).astype(np.int64),
        key=np.arange(1, ROWS + 1, dtype=np.uint64),
        author_token=random.integers(0, 9, ROWS, dtype=np.uint64),
        xyz=xyz,
    )
    asked = {name: matrix[:QUERIES] for name, matrix in channels.items()}
    exclusion = Exclusion(
        own_row=np.where(np.arange(QUERIES) % 3, np.arange(QUERIES), -1),
        own_key=np.arange(300, 300 + QUERIES, dtype=np.uint64),
        author_token=random.integers(0, 9, QUERIES, dtype=np.uint64),
        xyz=xyz[:QUERIES],
        radius_km=2000.0,
    )
    return channels, facts, asked, exclusion


def check_equal(one: SearchResult, other: SearchResult) -> None:
    for name in K:
        for what in ("rows", "scores", "counts"):
            assert torch.equal(getattr(one[name], what), getattr(other[name], what)), (name, what)


def check_answers() -> None:
    """In each process: what all find together is what it finds alone."""
    channels, facts, asked, exclusion = made_up()
    of_slices.PIECE_QUERIES = 64
    with joined_processes("cpu") as processes:
        for rows in (facts, replace(facts, rank=None)):
            alone = Gallery.of(channels, rows)
            with sliced_galleries(processes):
                own = of_slices.own_rows(ROWS)
                parts = {name: matrix[own].numpy() for name, matrix in channels.items()}
                together = [Gallery.of(channels, rows), Gallery.of(parts, rows, whole=ROWS)]
            assert together[0].count < ROWS == together[0].whole
            for hidden in (None, exclusion):
                for gallery in together:
                    check_equal(search(gallery, asked, K, hidden), search(alone, asked, K, hidden))
            none = {name: some[:0] for name, some in asked.items()}
            check_equal(search(together[0], none, K), search(alone, none, K))
            for ragged in (torch.tensor([700, 0, 355, 3, 3]), torch.empty(0, dtype=torch.int64)):
                assert torch.equal(together[0].vectors("raw", ragged), channels["raw"][ragged])
        # Those of the first process count, should another compute other last digits.
        told = {name: some * (1 if processes.first else 0.5) for name, some in asked.items()}
        check_equal(search(together[0], told, K), search(alone, asked, K))
        with pytest.raises(HarnessError, match="must ask the same"):
            search(together[0], {"raw": asked["raw"][: 5 + processes.rank]}, {"raw": 2})


@pytest.mark.parametrize("count", [2, 3])
def test_processes_with_slices_of_a_gallery_answer_like_one(count: int) -> None:
    assert together(count, check_answers) == [0] * count


def test_a_gallery_is_whole_where_there_is_one_process_or_fewer_rows_than_processes() -> None:
    channels, facts, _, _ = made_up()
    with joined_processes("cpu") as processes, sliced_galleries(processes) as holders:
        gallery = Gallery.of(channels, facts)
    assert gallery.part is None
    assert gallery.count == gallery.whole == ROWS
    assert not holders.used
    with sliced_galleries(replace(processes, count=3)):
        assert of_slices.own_slice(2) is None
        assert of_slices.own_rows(10) == slice(0, 3)


def join_again() -> None:
    """In each process: a group is left and joined again, while the first is slow to leave."""
    processes._PATIENCE = timedelta(seconds=20)
    leave = dist.destroy_process_group

    def slowly() -> None:
        if os.environ["RANK"] == "0":
            time.sleep(0.5)
        leave()

    dist.destroy_process_group = slowly
    for turn in range(3):
        with joined_processes("cpu") as joined:
            assert joined.gather((turn, joined.rank)) == [(turn, 0), (turn, 1)]


def test_processes_join_again_however_soon_after_the_others() -> None:
    assert together(2, join_again) == [0, 0]
