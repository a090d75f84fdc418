"""Recipes for real data, run from the first step to the last on a miniature in the real layouts."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tests.support.pinpoint_world import one_thread
from tests.support.processors import SiglipImageProcessorPil
from tests.support.real_layouts import write_real_layouts
from transformers import SiglipConfig, SiglipModel
from transformers.utils import logging as transformers_logging

from pinpoint_harness.cli.main import cli
from pinpoint_harness.features import iter_stores
from pinpoint_harness.home import HOME_VARIABLE, OLD_VARIABLES
from pinpoint_harness.reproduce import recipe_names
from pinpoint_methods.pinpoint.small import CHECK_WITH

REAL = [name for name in recipe_names() if name.startswith(("nearest-photo-", "pinpoint-"))]

SMALL = {**CHECK_WITH, "passes": 4, "batch": 16, "reranker_batch": 8, "leave_out_cosine": 1.0}
"""A miniature of the model, and look-alikes only where pictures are equal: random weights see little else."""


def small_tower(folder: Path) -> Path:
    """A vision tower in the format of SigLIP, of random weights."""
    side, part = 32, {"intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**part, "hidden_size": 16, "vocab_size": 64, "max_position_embeddings": 8}
    vision = {**part, "hidden_size": 32, "image_size": side, "patch_size": 8}
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval().save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data, weights and one home for all recipes, which share what they have in common."""
    root = tmp_path_factory.mktemp("real")
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    write_real_layouts(root / "data")
    small_tower(root / "tower")
    with pytest.MonkeyPatch.context() as patch, one_thread():
        for name in OLD_VARIABLES.values():
            patch.delenv(name, raising=False)
        patch.setenv("PINPOINT_DATA", str(root / "data"))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setenv(HOME_VARIABLE, str(root / "home"))
        yield root


def smaller(step: list[str], tower: Path) -> list[str]:
    """A step with the small tower, and for Pinpoint the small model."""
    words = [*step, "--weights", str(tower)] if step[0] in ("embed", "train", "run") else list(step)
    if step[0] in ("train", "run") and step[1] == "pinpoint":
        words += [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    return words


@pytest.mark.parametrize("name", REAL)
def test_a_recipe_for_real_data_runs_from_an_unmodified_download_to_its_scores(
    miniature: Path, name: str
) -> None:
    text = (files("pinpoint_results") / "expected" / f"{name}.toml").read_text()
    recipe: dict[str, Any] = tomllib.loads(text)
    steps = [smaller(step, miniature / "tower") for step in recipe["steps"]]
    lines = text.splitlines()
    first, last = lines.index("steps = ["), lines.index("]")
    file = miniature / f"{name}.toml"
    written = [f"  {json.dumps(step)}," for step in steps]
    file.write_text("\n".join([*lines[: first + 1], *written, *lines[last:]]) + "\n")
    found = CliRunner().invoke(cli, ["reproduce", str(file), "--json"], prog_name="pinpoint")
    assert found.exit_code == 1, f"{found.output}\n{found.exception!r}"  # no cell is the paper's
    cells = json.loads(found.stdout)
    expected = [metric for block in recipe["expected"] for metric in block["cells"]]
    assert [cell["metric"] for cell in cells] == expected
    assert all(cell["found"] is not None for cell in cells)


def test_a_training_is_told_of_each_dataset_where_it_lies(
    miniature: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PINPOINT_DATA")
    data = miniature / "data"
    words = smaller(["train", "pinpoint", "--set", "config=full", "--stage", "splits"], miniature / "tower")
    words += ["--set", "leave_out=yfcc4k", "--home", str(tmp_path)]
    alone = CliRunner().invoke(cli, words, prog_name="pinpoint")
    assert alone.exit_code == 2
    assert "the truth of mp16-pro was not found" in alone.output
    tar = data / "mp16-pro"
    places = {"mp16-pro": tar / "metadata", "osv5m-train": data / "osv5m", "yfcc4k": data / "yfcc4k"}
    given = [word for name, place in places.items() for word in ("--data", f"{name}={place}")]
    done = CliRunner().invoke(
        cli, [*words, *given, "--images", f"mp16-pro={tar}", "--json"], prog_name="pinpoint"
    )
    assert done.exit_code == 0, done.output
    assert {store.dataset for store in iter_stores(tmp_path / "stores")} == set(places)
    for wrong in ("mp16-pro", "=x", "im2gps3k=x"):
        refused = CliRunner().invoke(cli, [*words, "--data", wrong], prog_name="pinpoint")
        assert refused.exit_code == 2
        assert "error: " in refused.output


@pytest.mark.parametrize("name", REAL)
def test_a_recipe_for_real_data_declares_every_store_that_it_opens(miniature: Path, name: str) -> None:
    recipe = tomllib.loads((files("pinpoint_results") / "expected" / f"{name}.toml").read_text())
    needed = {need["dataset"] for need in recipe["needs"] if "dataset" in need}
    embedded = {step[1] for step in recipe["steps"] if step[0] == "embed"}
    assert embedded <= needed
    made = {store.dataset for store in iter_stores(miniature / "home" / "stores")}
    used = {"mp16-pro", recipe["steps"][-1][1].partition("@")[2]}
    if name.startswith("pinpoint-"):
        used |= {"osv5m-train", "im2gps3k", "yfcc4k", "osv5m"}
        assert used == embedded
    assert used <= needed
    assert not made or used <= made
