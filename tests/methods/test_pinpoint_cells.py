"""The log probability of a candidate's cell as a feature: who trains the classifier, and what it tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.pinpoint_world import World

from pinpoint_harness.errors import UsageError
from pinpoint_harness.features import build_exclusion
from pinpoint_harness.search import unit_rows
from pinpoint_methods.common.head import Head, load_head
from pinpoint_methods.common.place_cells.quadtree import codes_of
from pinpoint_methods.common.place_cells.table import CellTable
from pinpoint_methods.pinpoint import place_classifier as module
from pinpoint_methods.pinpoint.config import CONFIGS
from pinpoint_methods.pinpoint.place_classifier import PlaceClassifier
from pinpoint_methods.pinpoint.retriever import galleries_of, open_retriever

SOURCES = ("photos", "streetview")


def test_features_are_the_log_probabilities_of_each_candidate_s_cells() -> None:
    random, sizes = np.random.default_rng(0), [2, 5]
    head = Head(6, 1, 8, sum(sizes)).initialise(1)
    cells = [torch.from_numpy(random.integers(0, sizes, (rows, 2))) for rows in (7, 4)]
    raw = torch.from_numpy(random.normal(size=(3, 6))).half()
    rows = [torch.tensor([[0, 6], [3, -1], [2, 2]]), torch.tensor([[1], [3], [0]])]
    told = PlaceClassifier(head, sizes, cells).features(raw, rows)
    assert told.shape == (3, 3, 2)
    with torch.no_grad():
        outputs = head(raw.float()).double().numpy()
    for query in range(3):
        for slot, (gallery, row) in enumerate(
            [(0, rows[0][query, 0]), (0, rows[0][query, 1]), (1, rows[1][query, 0])]
        ):
            for partition, part in enumerate((outputs[query, :2], outputs[query, 2:])):
                p = np.exp(part) / np.exp(part).sum()
                cell = int(cells[gallery][max(int(row), 0), partition])
                assert told[query, slot, partition].item() == pytest.approx(np.log(p[cell]), abs=1e-5)


@pytest.fixture(scope="module")
def made(pinpoint_world: World) -> Any:
    return pinpoint_world.train("pinpoint", passes=1.0, list_features=True, cells=6)


def test_the_head_learns_from_the_rows_of_the_galleries_and_no_others(
    pinpoint_world: World, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Watched(module.HeadTrainer):
        def __init__(self, params: Any, head: Any, features: Any, *others: Any, **named: Any) -> None:
            seen.append(features)
            super().__init__(params, head, features, *others, **named)

    monkeypatch.setattr(module, "HeadTrainer", Watched)
    changes = {"passes": 1.0, "list_features": True, "cells": 6}
    pinpoint_world.train("pinpoint", stage="cells", fresh=True, **changes)
    raw = [np.load(made["raw"].folder / f"{source}.raw.npy") for source in SOURCES]
    every, mixed = (
        np.concatenate(raw),
        torch.randperm(len(seen[0]), generator=torch.Generator().manual_seed(0)),
    )
    assert len(seen[0]) == len(every)
    np.testing.assert_array_equal(seen[0].index_select(0, mixed).numpy(), every[mixed.numpy()])


def test_each_row_s_cells_hold_its_place_and_as_many_rows_as_were_asked(made: Any) -> None:
    folder = made["cells"].folder
    galleries = galleries_of(made["raw"].folder, made["raw"].folder, SOURCES, "cpu")
    table, rows = CellTable.read(folder), []
    for source, gallery in galleries.items():
        cells = np.load(folder / f"{source}.npy")
        codes = codes_of(gallery.coordinates)
        for partition, part in enumerate(table.partitions):
            mine = cells[:, partition]
            assert ((codes >= part.first[mine]) & (codes < part.end[mine])).all()
        rows.append(cells)
    most = [np.bincount(cells).max() for cells in np.concatenate(rows).T]
    assert all(count <= limit for count, limit in zip(most, (120, 24, 6), strict=True))


def test_rerankers_are_told_them_after_all_other_features(pinpoint_world: World, made: Any) -> None:
    config = pinpoint_world.request("pinpoint", passes=1.0, list_features=True, cells=6).params
    folders = {name: stage.folder for name, stage in made.items()}
    galleries = galleries_of(folders["gallery"], folders["raw"], SOURCES, "cpu")
    stores = pinpoint_world.context().stores
    assert stores is not None
    raw = unit_rows(torch.from_numpy(stores.gallery("toy/photos", "colours").matrix[:5]))
    image = torch.nn.functional.normalize(
        torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=1
    )
    nobody = build_exclusion(np.arange(5, dtype=np.uint64), np.zeros(5, np.uint64), False)
    told = []
    for cells in (None, folders["cells"]):
        retriever = open_retriever(config, "photos", galleries, folders["support"], cells=cells)
        found = retriever.find(image.half(), raw, [nobody], {"image": 8, "raw": 2, "location": 2})
        told.append(retriever.lists(found, image.half(), raw, [nobody]))
    without, lists = told
    assert torch.equal(lists.features[..., :-3], without.features)
    sizes = CellTable.read(folders["cells"]).sizes
    head = load_head(folders["cells"], "cpu")
    known = np.load(folders["cells"] / "photos.npy")
    for number, outputs in enumerate(head(raw.float()).split(sizes, dim=1)):
        expected = outputs.log_softmax(dim=1).gather(1, torch.from_numpy(known[lists.row, number]))
        torch.testing.assert_close(lists.features[..., number - 3][lists.valid], expected[lists.valid])


@pytest.mark.parametrize("changes", [{}, {"list_features": True, "reranker": "none"}])
def test_cells_that_no_reranker_reads_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cells is a hand-made feature"):
        replace(CONFIGS["mini"], cells=25, **changes)
    assert replace(CONFIGS["mini"], cells=25, list_features=True).cells == 25
