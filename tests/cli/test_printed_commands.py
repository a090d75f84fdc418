"""Commands that a message prints are given as they stand, and lead to the same home."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from pinpoint_harness.cli.main import cli
from pinpoint_harness.home import command, find_home
from pinpoint_harness.running import find_run


def pinpoint(*words: str, code: int = 0, answer: str = "") -> str:
    result = CliRunner().invoke(cli, words, prog_name="pinpoint", input=answer)
    assert result.exit_code == code, result.output
    return result.output


def printed(text: str) -> list[str]:
    """The words of the last command in a text, as a shell reads them, without `pinpoint`."""
    return shlex.split(re.findall(r"pinpoint ([^;\n]+)", text)[-1])


@pytest.fixture
def home(tmp_path: Path) -> list[str]:
    return ["--home", str(tmp_path / "my home")]


def test_a_single_photo_is_refused_with_the_folder_that_is_meant(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)}
    folder = tmp_path / "my photos"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.jpg", exif=exif)
    refused = pinpoint("datasets", "verify", "photos", str(folder / "a.jpg"), code=2)
    assert "is a single picture" in refused
    (fix,) = re.findall(r"give its folder: (.+)", refused)
    text = pinpoint("datasets", "verify", "photos", *shlex.split(fix))
    assert "1 of 1" in text
    run = ["random-prior" if word == "METHOD" else word for word in printed(text)]
    pinpoint(*run, "--home", str(tmp_path))


def test_the_run_that_an_empty_table_asks_for_is_found_by_it(home: list[str]) -> None:
    words = printed(pinpoint("table", "capitals", *home, code=2))
    assert words == ["run", "METHOD", "capitals", *home]
    pinpoint(*["random-prior" if word == "METHOD" else word for word in words])
    assert "random-prior" in pinpoint("table", "capitals", *home)


def test_a_damaged_run_is_removed_as_its_message_says(home: list[str]) -> None:
    pinpoint("run", "random-prior", "capitals", *home)
    run = find_run("random-prior@capitals", Path(home[1]) / "runs")
    (run.folder / "predictions.parquet").write_bytes(b"?")
    words = printed(pinpoint("score", run.key, *home, code=2))
    assert words[:2] == ["runs", "rm"]
    pinpoint(*words, answer="y\n")
    assert not run.folder.exists()


def test_stages_and_stores_are_made_where_the_method_looks_for_them(home: list[str]) -> None:
    untrained = pinpoint("run", "cells", "capitals", *home, code=2)
    assert printed(untrained)[-2:] == home
    settings = ["--set", "gallery=capitals", "--set", "backbone=mini"]
    unembedded = pinpoint("run", "nearest-photo", "capitals", *settings, *home, code=2)
    assert printed(unembedded)[-2:] == home


@pytest.mark.parametrize("place", ["runs", "stores", "models"])
def test_a_home_is_named_only_where_it_is_not_found_anyway(
    place: str, tmp_path: Path, monkeypatch: Any
) -> None:
    there = getattr(find_home(tmp_path), place)
    assert command(["doctor"], there) == f"pinpoint doctor --home {tmp_path}"
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path))
    assert command(["doctor"], there) == command(["doctor"]) == "pinpoint doctor"


def test_a_parameter_that_sets_others_is_shown_as_it_is_set() -> None:
    text = pinpoint("methods", "show", "pinpoint", "--set", "config=full")
    assert "default full" in text
    assert "config=bogus does not fit" in pinpoint(
        "methods", "show", "pinpoint", "--set", "config=bogus", code=2
    )
