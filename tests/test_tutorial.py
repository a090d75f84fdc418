"""The tutorial works as it is written: its files, commands and outputs, from the first to the last."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import shlex
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from click.testing import CliRunner

from pinpoint_harness.api import read_run
from pinpoint_harness.cli.main import cli
from pinpoint_harness.features import FeatureStore, PhotoGallery
from pinpoint_harness.plugins import hookspecs
from pinpoint_harness.testing import RULES
from pinpoint_harness.types import MethodInfo

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_STEPS = PAGE.with_name("new-method.md")
NOT_HERE = "/data/"
"""Where the page's commands look for real photos; such a line is not run."""

NOT_FOR_PLUGINS = {"open", "record", "folder", "spec", "imported", "finished_ns"}
"""Of a feature store: what the harness itself goes by."""


def blocks(page: Path = PAGE) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


class Walker:
    """Does what a reader of the page does, in a folder and a Python environment of its own."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.site = place / "site"
        self.monkeypatch = monkeypatch
        self.output = ""
        self.code = 0
        monkeypatch.chdir(place)

    def walk(self, language: str, content: str) -> None:
        {"bash": self.run, "text": self.compare, "python": self.python, "diff": self.edit}[language](content)

    def run(self, commands: str) -> None:
        for line in commands.splitlines():
            assert self.code == 0, self.output  # of the line before, unless the page shows its error
            program, *words = shlex.split(line)
            if program == "cd":
                self.monkeypatch.chdir(words[0])
            elif program == "pip":
                self.install(words)
            elif program == "pytest":
                self.output = self.subprocess("-m", "pytest", "-p", "no:cacheprovider", *words)
                assert " passed" in self.output
            elif NOT_HERE not in line:
                assert program == "pinpoint"
                result = CliRunner().invoke(cli, words, prog_name="pinpoint")
                assert isinstance(result.exception, SystemExit | None), f"{line}: {result.exception!r}"
                self.output, self.code = result.output, result.exit_code

    def install(self, words: list[str]) -> None:
        """As pip would, without a network and without touching the environment of the tests."""
        options = ["-q", "--no-deps", "--no-build-isolation", "--prefix", str(self.site)]
        self.subprocess("-m", "pip", *words, *options)
        (packages,) = self.site.rglob("site-packages")
        site.addsitedir(str(packages))
        importlib.invalidate_caches()

    def subprocess(self, *words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def compare(self, shown: str) -> None:
        """Every line stands in the output, in this order; `...` stands for anything."""
        lines = [r"[^\n]*".join(map(re.escape, line.split("..."))) for line in shown.splitlines()]
        assert re.search(r"[\s\S]*".join(lines), self.output), f"{shown}\n---\n{self.output}"
        assert self.code == (2 if shown.startswith("error: ") else 1 if "FAILED" in shown else 0)
        self.code = 0

    def python(self, source: str) -> None:
        named = re.match(r"# (\S+\.py)\n", source)
        if named:
            self.save(Path(named[1]), source)
        else:
            exec(compile(source, PAGE.name, "exec"), {})

    def edit(self, patch: str) -> None:
        old_name, new_name, *lines = patch.splitlines(keepends=True)
        assert (old_name[:4], new_name[:4]) == ("--- ", "+++ ")
        path = Path(new_name[4:].strip())
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        assert path.read_text().count(before) == 1
        self.save(path, path.read_text().replace(before, after))

    def save(self, path: Path, content: str) -> None:
        """A command of the page starts afresh; here the modules it changed must be forgotten."""
        path.write_text(content)
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.place):
                del sys.modules[name]
        importlib.invalidate_caches()


@pytest.fixture
def walker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walker]:
    for name in ("PINPOINT_HOME", "PINPOINT_DATA", "PINPOINT_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kept = sys.path[:], sys.meta_path[:], sys.path_hooks[:], set(sys.modules)
    yield Walker(tmp_path, monkeypatch)
    sys.path[:], sys.meta_path[:], sys.path_hooks[:] = kept[:3]
    for name in set(sys.modules) - kept[3]:
        if name.startswith(("pinpoint_north", "pinpoint_my", "pinpoint_plugin_", "__editable__")):
            del sys.modules[name]
    importlib.invalidate_caches()


def take_photos(folder: Path) -> None:
    """What the reader brings along: the photos of the dataset's table, one of them damaged."""
    folder.mkdir(parents=True)
    for brightness, name in enumerate(["eiffel-tower", "opera-house"], 1):
        PIL.Image.fromarray(np.full((40, 60, 3), 100 * brightness, np.uint8)).save(folder / f"{name}.jpg")
    (folder / "table-mountain.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")


def test_the_tutorial_leads_from_nothing_to_rows_in_two_tables(walker: Walker) -> None:
    for language, content in blocks():
        walker.walk(language, content)
        if "datasets new my-places" in content:
            take_photos(walker.place / "pinpoint-my-places" / "photos")
    assert walker.code == 0
    runs = sorted(path.parent.name for path in walker.place.rglob("results/runs/*/*/*"))
    assert runs == [
        "brightness",
        "equator",
        "equator",
        "nearest-place",
        "north-belt",
        "north-belt",
        "north-belt",
        "random-prior",
    ]
    status = read_run("brightness@my-places").predictions()["status"]
    assert status.str.partition(":")[0].tolist() == ["ok", "ok", "unreadable"]


def test_the_tutorial_lists_every_check_with_its_promise() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", PAGE.read_text().partition("## The contract")[2], re.M)
    assert listed == [(rule.name, rule.promise) for rule in RULES]


def test_the_tutorial_names_every_hook_and_all_that_can_be_registered() -> None:
    page = PAGE.read_text()
    hooks = [name for name in vars(hookspecs) if name.startswith("pinpoint_")]
    kinds = [name for name in vars(hookspecs.Register) if not name.startswith("_")]
    for word in (*hooks, *(f"register.{name}(name, target, info)" for name in kinds)):
        assert word in page


def test_the_tutorial_describes_every_field_of_a_method_and_every_part_of_a_gallery() -> None:
    page = PAGE.read_text()
    fields = re.findall(
        r"^\| `(\w+)` \|", page.partition("| field of `MethodInfo`")[2].partition("\n\n")[0], re.M
    )
    assert fields == [item.name for item in dataclasses.fields(MethodInfo)]
    for owner, heading in ((PhotoGallery, "| of a `PhotoGallery`"), (FeatureStore, "| of a `FeatureStore`")):
        table = page.partition(heading)[2].partition("\n\n")[0]
        listed = set(re.findall(r"(\w+)\(", table)) | set(re.findall(r"`(\w+)`", table))
        public = {name for name in vars(owner) if not name.startswith("_")}
        assert public - NOT_FOR_PLUGINS <= listed
    for word in ("expected_rows", "within", "candidates", "content()", "preset"):
        assert word in page


def test_the_tutorials_method_on_a_gallery_has_about_twenty_lines() -> None:
    (source,) = [content for _, content in blocks() if content.startswith("# nearest_place.py")]
    method = source.partition("class NearestPlace")[2].partition("@hookimpl")[0]
    assert len(method.strip().splitlines()) <= 20


@pytest.mark.parametrize("language", ["bash", "python", "diff", "text"])
def test_the_tutorial_has_blocks_of_every_kind_and_of_no_other(language: str) -> None:
    assert language in {kind for kind, _ in blocks()} <= {"bash", "python", "diff", "text"}


# From nothing to a row with letters


def take_tables(folder: Path) -> None:
    """What the reader of the first steps brings along: tables with authors, and pictures of the places."""
    random = np.random.default_rng(0)
    for table, pictures, count in (("asked", "photos", 60), ("gallery", "gallery", 90)):
        (folder / pictures).mkdir(parents=True)
        lines = ["image,latitude,longitude,author"]
        for number in range(count):
            latitude, longitude = (number % 12 - 6) * 10 + random.normal(0, 0.01), 15 * (number % 12 - 6) + 7
            colours = np.array([128 + 9 * (number % 12 - 6), 20 * (number % 12), 250 - 20 * (number % 12)])
            pixels = np.clip(colours + random.normal(0, 9, (40, 60, 3)), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(folder / pictures / f"{table[0]}{number}.png")
            lines.append(f"{table[0]}{number}.png,{latitude:.4f},{longitude},author-{number % 17}")
        (folder / f"{table}.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("number", "name"), [(0, "my-pictures"), (1, "my-neighbours")])
def test_a_new_method_comes_to_a_row_with_letters_in_under_ten_commands(
    number: int, name: str, walker: Walker
) -> None:
    take_tables(walker.place / "mine")
    commands = blocks(FIRST_STEPS)[number][1].replace("/data/mine", str(walker.place / "mine"))
    assert len(commands.splitlines()) < 10
    walker.run(commands)
    assert walker.code == 0, walker.output
    rows = [line for line in walker.output.splitlines() if re.match(rf"{name} +[\d.]", line)]
    assert len(rows) == 1, walker.output
    assert re.search(r"[\d.] [ab]+ ", rows[0]), walker.output
    assert "Letters: rows" in walker.output
    if name == "my-neighbours":
        run = read_run("my-neighbours@mine")
        assert run.record["method"]["author_filter"] == "yes"
        asked, gallery = (pd.read_csv(walker.place / "mine" / f"{one}.csv") for one in ("asked", "gallery"))
        by = dict(zip(gallery["image"].str.removesuffix(".png"), gallery["author"], strict=True))
        for author, found in zip(asked["author"], run.table()["candidates"].to_pylist(), strict=True):
            assert author not in {by[one["photo_id"].removesuffix(".png")] for one in found}
