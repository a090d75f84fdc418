"""The wheel holds the four packages with their data, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("harness", "methods", "datasets", "results")
DATA = {".safetensors", ".npz", ".py", ".typed", ".csv", ".png", ".toml", ".txt", ".css", ".html", ".js"}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Members of a wheel built from a copy, so that nothing is left in the checkout."""
    import shutil

    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in SOURCE_ROOTS:
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "runs", "*.egg-info")
        )
    out = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(copy),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_every_module_and_data_file_of_the_checkout_is_in_the_wheel(names: set[str]) -> None:
    expected = {
        str(path.relative_to(ROOT / root))
        for root in SOURCE_ROOTS
        for path in (ROOT / root).glob("pinpoint_*/**/*")
        if path.suffix in DATA and "__pycache__" not in path.parts
    }
    assert names == expected


def test_nothing_but_the_four_packages_is_installed_at_top_level(names: set[str]) -> None:
    top = {name.partition("/")[0] for name in names}
    assert top == {"pinpoint_harness", "pinpoint_methods", "pinpoint_datasets", "pinpoint_results"}


def test_published_rows_and_recipes_travel_with_it(names: set[str]) -> None:
    assert "pinpoint_results/published/im2gps3k.csv" in names
    assert "pinpoint_results/expected/demo.toml" in names
    assert "pinpoint_datasets/capitals.csv" in names
