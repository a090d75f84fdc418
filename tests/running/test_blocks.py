"""A method that can look at several tiles at once is asked for a block of them, with the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pinpoint_harness.batching import Tile, tiles
from pinpoint_harness.errors import PluginError
from pinpoint_harness.running.inputs import Inputs, TileInput
from pinpoint_harness.running.runner import predict_blocks, predict_tiles
from pinpoint_harness.types import Predictions, Queries

ROWS = 150
TRUTH = pd.DataFrame(
    {"id": [f"p{row}" for row in range(ROWS)], "author": None, "source": "photos"}
)  # fmt: skip


class Numbers(Inputs):
    """The third tile has nothing to ask."""

    queries_at_once = 64

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        return (TileInput(np.arange(size), answerable=tile.index != 2) for tile in tiles)


class Searching:
    def __init__(self, short: int = 0) -> None:
        self.blocks: list[int] = []
        self.short = short

    def predict(self, queries: Queries) -> Predictions:
        return Predictions(np.stack([queries.key % 90, queries.input % 90], axis=1).astype(float))

    def predict_tiles(self, tiles: Sequence[Queries]) -> Iterator[Predictions]:
        self.blocks.append(len(tiles))
        return (self.predict(queries) for queries in tiles[self.short :])


def answered(by: Any, method: Any) -> list[Any]:
    todo = list(tiles(ROWS, 16))
    return [(tile.index, answer.coordinates) for tile, _, answer in by(method, Numbers(), TRUTH, todo, 16)]


def test_a_block_gives_the_answers_of_its_tiles() -> None:
    method = Searching()
    one_by_one, blocks = answered(predict_tiles, method), answered(predict_blocks, method)
    assert method.blocks == [3, 4, 2]  # of 4, 4 and 2 tiles, one without anything to ask
    for (index, mine), (other, theirs) in zip(one_by_one, blocks, strict=True):
        assert index == other
        assert np.array_equal(mine, theirs, equal_nan=True)
    assert np.isnan(blocks[2][1]).all()


def test_more_answers_than_tiles_are_an_error_of_the_method() -> None:
    class Generous(Searching):
        def predict_tiles(self, tiles: Sequence[Queries]) -> Iterator[Predictions]:
            yield from super().predict_tiles([*tiles, tiles[0]])

    with pytest.raises(PluginError, match="more answers than it was given tiles"):
        answered(predict_blocks, Generous())


def test_too_few_answers_are_an_error_of_the_method() -> None:
    with pytest.raises(PluginError, match="failed on a tile of 16 queries"):
        answered(predict_blocks, Searching(short=1))
