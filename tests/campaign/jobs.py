"""The commands that trials of processes and of room are made with, and what each leaves undisturbed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tests.campaign.commands import pinpoint
from tests.support.photo_files import encode, photo

PHOTOS = 70
_TOYS = """
import time
import numpy as np
from pinpoint_harness import BackboneInfo, MethodInfo, Predictions, hookimpl

class Steady:
    input = "none"
    answer_version = 1
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        time.sleep(0.002)
        spread = (queries.key % np.uint64(80)).astype(float)
        return Predictions(np.stack([spread, spread], axis=1), notes=("a note",))

class Seeing(Steady):
    input = "image"
    def predict(self, queries):
        light = np.array([picture.mean() / 4 for picture in queries.input])
        return Predictions(np.stack([light, light], axis=1))

class Colours:
    width, tile = 3, 16
    def __init__(self, weights, context):
        pass
    def content(self):
        return {}
    def prepare(self, image):
        return image.mean(axis=(0, 1))
    def features(self, images):
        time.sleep(0.002)
        return np.stack(images).astype(np.float16)

@hookimpl
def pinpoint_register(register):
    register.method("steady", f"{__name__}:Steady", MethodInfo(title="Steady"))
    register.method("seeing", f"{__name__}:Seeing", MethodInfo(title="Seeing"))
    register.backbone("colours", f"{__name__}:Colours", BackboneInfo(title="Colours", width=3))
"""


_RECIPE = """
title = "Two steps"
status = "expected"
hours = 0.1
steps = [["run", "steady", "capitals"], ["table", "capitals"]]
"""


@cache
def data() -> Path:
    """Photos with their truth, features of them, and a plugin."""
    folder = Path(tempfile.mkdtemp(prefix="pinpoint-campaign-"))
    (folder / "photos").mkdir()
    lines = ["id,latitude,longitude"]
    for number in range(PHOTOS):
        (folder / "photos" / f"p{number}.jpg").write_bytes(encode(photo(seed=number), "JPEG"))
        lines.append(f"p{number}.jpg,{number % 80},{number % 170}")
    (folder / "truth.csv").write_text("\n".join(lines))
    (folder / "toys.py").write_text(_TOYS)
    (folder / "recipe.toml").write_text(_RECIPE)
    np.savez(
        folder / "x.npz",
        ids=np.array([f"p{number}" for number in range(PHOTOS)]),
        features=np.random.default_rng(0).normal(size=(PHOTOS, 8)).astype(np.float32),
    )
    return folder


@dataclass(frozen=True)
class Job:
    """A command, what must be there before it, and whether what it prints is its result."""

    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    is_printed: bool = False

    def arguments(self, home: Path) -> list[str]:
        return [word.replace("{home}", str(home)) for word in (*self.words, "--home", str(home))]


def jobs() -> Mapping[str, Job]:
    plugin = ("--plugin", str(data() / "toys.py"))
    where = ("--data", str(data() / "truth.csv"), *plugin)
    pictures = ("--images", str(data() / "photos"))
    made = ("--backbone", "owner/made", "--normalisation", "none")
    small = ["hidden=8", "depth=1", "epochs=4", "batch=16", "train=table", "backbone=owner/made"]
    settings = tuple(word for setting in small for word in ("--set", setting))
    gallery = ("--gallery-data", str(data() / "truth.csv"), "--gallery-images", str(data() / "photos"))
    audited = ("table", "--backbone", "colours", *where, *pictures, *gallery)
    report = ("report", "steady@table", "-o", "{home}/report.html")
    located = sorted(str(path) for path in (data() / "photos").iterdir())[:24]
    return {
        "run": Job(("run", "steady", "table", "--tile", "16", *where)),
        "run on pictures": Job(("run", "seeing", "table", "--tile", "16", *where, *pictures)),
        "embed": Job(("embed", "table", "--backbone", "colours", *where, *pictures)),
        "import": Job(("stores", "import", "table", str(data() / "x.npz"), *made, *where)),
        "train": Job(("train", "regression", *settings, *plugin), ("import",)),
        "audit": Job(("audit", "table", *audited, "--run", "steady@table"), ("embed", "run")),
        "report": Job((*report, *where), ("run",)),
        "reproduce": Job(("reproduce", str(data() / "recipe.toml"), *plugin)),
        "locate": Job(("locate", *located, "--method", "seeing", "--json", *plugin), is_printed=True),
    }


@cache
def prepared(name: str) -> Path:
    """A home with what a command needs."""
    home = Path(tempfile.mkdtemp(prefix="pinpoint-campaign-"))
    for earlier in jobs()[name].before:
        result = pinpoint(*jobs()[earlier].arguments(home))
        assert result.exit_code == 0, result.stderr
    return home


@cache
def whole(name: str) -> tuple[Mapping[str, bytes], float]:
    """What a command makes that is not disturbed, and the seconds it takes."""
    with tempfile.TemporaryDirectory(prefix="pinpoint-campaign-") as folder:
        made = []
        for home in (Path(folder, "before"), Path(folder, "home")):  # some is loaded once
            shutil.copytree(prepared(name), home)
            started = time.perf_counter()
            made.append(outcome(name, home))
        assert made[0] == made[1], f"{name} is not the same twice"
        return made[1], time.perf_counter() - started


def outcome(name: str, home: Path) -> Mapping[str, bytes]:
    """Carry a command out; its files, and what it prints where that is its result."""
    result = pinpoint(*jobs()[name].arguments(home))
    assert result.exit_code == 0, result.stderr
    printed = {"stdout": result.stdout.encode()} if jobs()[name].is_printed else {}
    return {**contents(home), **printed}


def contents(home: Path) -> Mapping[str, bytes]:
    """Every file that is a result, by its place; logs and locks are none."""
    files = sorted(path for path in home.rglob("*") if path.is_file())
    kept = [path for path in files if path.suffix != ".jsonl" and not path.name.startswith(".")]
    return {str(path.relative_to(home)): path.read_bytes() for path in kept}
