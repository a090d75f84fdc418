"""Trials of whole processes: killed at any moment, and several at once on one folder."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from tests.campaign.commands import pinpoint
from tests.support.photo_files import encode, photo

from pinpoint_harness.cli.main import cli

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
    np.savez(
        folder / "x.npz",
        ids=np.array([f"p{number}" for number in range(PHOTOS)]),
        features=np.random.default_rng(0).normal(size=(PHOTOS, 8)).astype(np.float32),
    )
    return folder


def commands() -> Mapping[str, Sequence[str]]:
    where = ["--data", str(data() / "truth.csv"), "--plugin", str(data() / "toys.py")]
    pictures = ["--images", str(data() / "photos")]
    made = ["--backbone", "owner/made", "--normalisation", "none"]
    return {
        "run": ["run", "steady", "table", "--tile", "16", *where],
        "run on pictures": ["run", "seeing", "table", "--tile", "16", *where, *pictures],
        "embed": ["embed", "table", "--backbone", "colours", *where, *pictures],
        "import": ["stores", "import", "table", str(data() / "x.npz"), *made, *where],
    }


@cache
def whole(name: str) -> tuple[Mapping[str, bytes], float]:
    """What a command makes that is not disturbed, and the seconds it takes."""
    with tempfile.TemporaryDirectory(prefix="pinpoint-campaign-") as folder:
        pinpoint(*commands()[name], home=Path(folder, "before"))  # what is loaded once
        started = time.perf_counter()
        assert pinpoint(*commands()[name], home=Path(folder, "home")).exit_code == 0
        return contents(Path(folder, "home")), time.perf_counter() - started


def contents(home: Path) -> Mapping[str, bytes]:
    """Every file that is a result, by its place; logs and locks are none."""
    files = sorted(path for path in home.rglob("*") if path.is_file())
    kept = [path for path in files if path.suffix != ".jsonl" and not path.name.startswith(".")]
    return {str(path.relative_to(home)): path.read_bytes() for path in kept}


def kills(number: int, folder: Path) -> str:
    """Killed after a random time, a command that is given again leaves the same bytes and nothing else."""
    draw = np.random.default_rng([8, number])
    name = sorted(commands())[number % len(commands())]
    expected, seconds = whole(name)
    fatal = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT][int(draw.integers(4))]
    child = started([*commands()[name], "--home", str(folder)])
    time.sleep(draw.random() * seconds)
    os.kill(child, fatal)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    result = pinpoint(*commands()[name], home=folder)
    assert result.exit_code == 0, result.stderr
    assert contents(folder) == expected, f"{name} after {fatal!r}"
    return "answered" if ended == 0 else "refused"


def starts(number: int, folder: Path) -> str:
    """Four processes that begin the same at once, some of them afresh: each ends well, nothing is lost."""
    draw = np.random.default_rng([9, number])
    name = sorted(commands())[number % len(commands())]
    expected, seconds = whole(name)
    said, children = folder / "said.txt", []
    for _ in range(4):
        fresh = ["--fresh"] if draw.random() < 0.5 else []
        children.append(started([*commands()[name], *fresh, "--home", str(folder / "home")], str(said)))
        time.sleep(draw.random() * seconds / 4)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0, 0], f"{codes}: {said.read_text()}"
    assert contents(folder / "home") == expected, name
    return "answered"


def started(arguments: Sequence[str], said: str = os.devnull) -> int:
    """A child at work on a command line, which writes what it says into a file; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (
            Path(said).open("a") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            cli.main(list(arguments), prog_name="pinpoint")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(code)


TRIALS: dict[str, Callable[[int, Path], str]] = {"kills": kills, "concurrent starts": starts}
WARM: dict[str, Callable[[], object]] = dict.fromkeys(TRIALS, lambda: [whole(name) for name in commands()])
"""What takes long and is made once, outside of any trial's time."""
