"""An answer has the same bits at every place of a tile, whoever its neighbours are and however many.

With two threads, since that is where a product of a few rows differs from row to row: they share the
rows out, and what does not fill a kernel is finished by another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from pinpoint_datasets.mini_earth.backbone import TILE as MINI_TILE
from pinpoint_harness.api import evaluate
from pinpoint_harness.artifacts import Subset
from pinpoint_harness.batching import ROW_BLOCK, Tile, padded, whole_blocks
from pinpoint_harness.errors import UsageError
from pinpoint_harness.features import features_of, tile_of
from pinpoint_harness.features.backbones.tower import HuggingFaceTower
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_request
from pinpoint_harness.testing import check_method
from pinpoint_harness.types import Context
from pinpoint_methods.common.linear import AlignedLinear

TILES = (5, 16, 23)
"""A size users choose, one that must hold, and one of which the last block is half empty."""


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@given(st.integers(1, 10_000))
def test_blocks_are_whole_and_no_larger_than_needed(rows: int) -> None:
    assert whole_blocks(rows) % ROW_BLOCK == 0
    assert rows <= whole_blocks(rows) < rows + ROW_BLOCK


# Networks of any shape


class Attention(nn.Module):
    """Tokens of one query attend to one another, as candidates' tokens do in a reranker."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.stack([x, x.flip(1), x * 0.5], dim=1)  # (n, 3, width)
        mixed, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        return x + mixed[:, 0]


def network(width: int, hidden: int, depth: int, out: int, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [AlignedLinear(width, hidden)]
        for number in range(depth):
            more = Attention(hidden) if number % 2 else nn.Linear(hidden, hidden)
            layers += [nn.LayerNorm(hidden), more, nn.GELU()]
        return nn.Sequential(*layers, AlignedLinear(hidden, out)).eval().requires_grad_(False)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 800),
    hidden=st.integers(2, 40).map(lambda eighths: 8 * eighths),  # heads whose widths 4 divides, as everywhere
    depth=st.integers(0, 4),
    out=st.sampled_from([1, 2, 3, 64, 256]),
    rows=st.integers(1, 70),
    tile=st.integers(1, 300),
    seed=st.integers(0, 1000),
)
def test_a_network_gives_a_row_the_same_bits_at_every_place(
    width: int, hidden: int, depth: int, out: int, rows: int, tile: int, seed: int
) -> None:
    size = whole_blocks(tile)
    random = np.random.default_rng(seed)
    model = network(width, hidden, depth, out, seed)
    count = min(rows, size)
    features = torch.from_numpy(random.normal(size=(size, width))).float()
    alone = model(features[np.zeros(size, int)])
    assert torch.equal(alone, alone[:1].expand_as(alone))
    short = model(features[padded(Tile(0, 0, count), size)])[:count]
    order = random.permutation(size)
    mixed = model(features[order])
    assert torch.equal(mixed[np.argsort(order)][:count], short)
    assert torch.equal(short[0], alone[0])


@pytest.mark.parametrize("out", [1, 2, 5, 11])
@pytest.mark.parametrize("width", [5, 9, 30, 777])
def test_few_outputs_do_not_depend_on_where_a_row_begins(width: int, out: int) -> None:
    layer = AlignedLinear(width, out)
    lists = torch.randn(1, 3, width).repeat(48, 1, 1)  # three rows a query, so that queries begin anywhere
    for rows in (lists, lists[:, 0].contiguous()):
        product = layer(rows)
        assert torch.equal(product, product[:1].expand_as(product))
        plain = torch.nn.functional.linear(rows, layer.weight, layer.bias)
        assert product.detach().numpy() == pytest.approx(plain.detach().numpy(), abs=1e-5)


# Backbones


class Odd:
    """A backbone with a tile that is no whole block."""

    width, tile = 7, 5

    def __init__(self) -> None:
        self.given: list[int] = []
        self.model = network(30, 40, 1, self.width, 3)

    def content(self) -> dict[str, Any]:
        return {}

    def prepare(self, image: Any) -> Any:
        return image

    def features(self, images: Any) -> torch.Tensor:
        self.given.append(len(images))
        return self.model(torch.stack(list(images)))


def test_a_backbone_gets_whole_blocks_and_a_picture_the_same_feature_at_every_place() -> None:
    backbone = Odd()
    assert tile_of(backbone) == ROW_BLOCK
    picture = torch.linspace(-1, 1, 30)
    for count in (1, 5, 9, 16, 21):
        pictures = iter([(row, picture) for row in range(count)])
        features, failures = features_of(Tile(0, 0, count), backbone, pictures, "odd", tile_of(backbone))
        assert not failures
        assert features.shape == (count, 7)
        assert (features == features[0]).all()
    assert set(backbone.given) == {ROW_BLOCK}


TINY = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_every_kind_of_tower_gives_a_picture_the_same_bits_at_every_place(kind: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    model: Any = {
        "clip": lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**TINY, image_size=32, patch_size=8)),
        "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**TINY, image_size=32, patch_size=8)),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**TINY, image_size=32, patch_size=8)),
    }[kind]()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"do_resize": true, "size": {"height": 32, "width": 32}, "resample": 3, "do_center_crop": false,'
        ' "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098,'
        ' "image_processor_type": "SiglipImageProcessor"}'
    )
    assert_equal_at_every_place(HuggingFaceTower(tmp_path, Context()))


def test_mini_gives_a_picture_the_same_bits_at_every_place() -> None:
    assert MINI_TILE % ROW_BLOCK == 0
    assert_equal_at_every_place(load_registry().backbones["mini"].load()(None, Context()))


def assert_equal_at_every_place(backbone: Any) -> None:
    random = np.random.default_rng(1)
    size = tile_of(backbone)
    pictures = [
        backbone.prepare(picture) for picture in random.integers(0, 256, (size, 40, 40, 3), dtype=np.uint8)
    ]
    alone = backbone.features([pictures[3]] * size)
    assert torch.equal(alone, alone[:1].expand_as(alone))
    order = random.permutation(size)
    mixed = backbone.features([pictures[row] for row in order])
    assert torch.equal(mixed[int(np.flatnonzero(order == 3)[0])], alone[0])


# Methods

ELSEWHERE = {
    "stored-predictions": "joins answers that are there already, by id",
    "place-names": "joins answers that are there already, by id",
    "geoclip": "test_geoclip.py, on small models in the real format",
    "consensus": "joins answers that are there already, by id",
    "fused-retrieval": "test_fused.py, through one backbone and several",
    "chipoint-retrieval": "test_fused.py, on small heads in the real format",
    "g3-retrieval": "test_g3.py, on small tensors in the real format",
    "osv5m-baseline": "test_osv5m_baseline.py, on small weights in the real format",
    "plonk": "test_plonk.py, on small models in the real format",
    "streetclip": "test_streetclip.py, on small models in the real format",
}
GIVEN: dict[str, dict[str, Any]] = {
    "constant": {"latitude": 1, "longitude": 2},
    "random-prior": {},
    "nearest-photo": {},
    "knn-vote": {},
    "lknn": {},
    "superglobal": {"top": 20},
    "cells": {"levels": "60,30", "prototype_photos": 8},
    "regression": {"depth": 1},
    "feature-reranker": {"k": 6},
}
OF_PINPOINT = ("pinpoint", "pinpoint-plus", "pinpoint-top1-gps", "pinpoint-top1-image", "pinpoint-top1-raw")
"""One of each way to answer; the others differ in what they train or leave out."""


def test_no_method_is_forgotten() -> None:
    ours = {name for name, entry in load_registry().methods.items() if entry.origin.trust == "built-in"}
    named = {*ELSEWHERE, *GIVEN}
    assert ours - named == {name for name in ours if name.startswith("pinpoint")}
    assert named <= ours


@pytest.mark.parametrize("name", [*GIVEN, *OF_PINPOINT])
def test_every_method_answers_a_query_the_same_at_every_place(name: str) -> None:
    given = dict(GIVEN.get(name, {}))
    if name not in ("constant", "random-prior"):
        given["backbone"] = "one of nobody's"
    entry = load_registry().method(name)
    # A method that is trained is trained for each.
    for tile in TILES[-1:] if hasattr(entry.load(), "stages") else TILES:
        checks = check_method(entry, given, tile=tile)
        failed = [(check.name, check.found) for check in checks if not check.passed]
        assert not failed, (tile, failed)
        assert {"neighbours", "position", "single"} <= {check.name for check in checks}


# What a run hands a method


@pytest.mark.parametrize(("tile", "size"), [(1, 16), (16, 16), (17, 32), (300, 304)])
def test_a_run_rounds_its_tile_up_and_says_so(
    tile: int, size: int, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "counting.py"
    file.write_text(COUNTING)
    registry = load_registry([str(file)])
    run = evaluate("counting", "capitals", home=tmp_path, tile=tile, registry=registry)
    counts = {int(note) for note in run.record["notes"]}
    assert counts == {size}
    assert (f"a tile of {tile} is rounded up to {size}" in caplog.text) == (tile != size)
    again = evaluate("counting", "capitals", home=tmp_path, tile=size, registry=registry)
    assert again.folder == run.folder


COUNTING = """
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl

class Counting:
    input, answer_version = "none", 1
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        return Predictions(np.zeros((len(queries), 2)), notes=(str(len(queries)),))

@hookimpl
def pinpoint_register(register):
    register.method("counting", f"{__name__}:Counting", MethodInfo(title="Counts"))
"""


def test_a_tile_of_nothing_is_refused() -> None:
    registry = load_registry()
    opened = registry.open_dataset("capitals", None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="holds no query"):
        build_request(registry.method("constant"), "capitals", opened, parameters={}, subset=Subset(), tile=0)
