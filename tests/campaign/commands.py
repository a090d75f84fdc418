"""Trials of whole commands: what is stored is damaged, plugins are broken, arguments are odd."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from tests.campaign.kinds import damaged
from tests.campaign.trials import Kind
from tests.support.stores import made_store

from pinpoint_harness.cli.main import cli

CONSTANT = ("run", "constant", "capitals", "--set", "latitude=1", "--set", "longitude=2")
READING = (
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "show", "constant@capitals"),
    ("runs", "verify", "--all"),
    ("score", "constant@capitals"),
    ("table", "capitals"),
    ("stores", "list"),
    ("stores", "verify", "--all"),
    ("clean", "runs", "stores", "--dry-run"),
)


def pinpoint(*arguments: str, home: Path | None = None) -> Result:
    """A command line; anything but an exit is raised."""
    where = [] if home is None else ["--home", str(home)]
    result = CliRunner().invoke(cli, [*arguments, *where])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.exit_code
    if result.exit_code:
        assert result.stderr.strip(), "it fails without a word"
    return result


@cache
def sound_home() -> Path:
    """A run, its scores and a store."""
    home = Path(tempfile.mkdtemp(prefix="pinpoint-campaign-"))
    assert pinpoint(*CONSTANT, home=home).exit_code == 0
    features = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float16)
    places = np.random.default_rng(1).uniform(-80, 80, (30, 2))
    made_store(home / "stores", features, places, dataset="capitals")
    return home


@cache
def sound_figures() -> str:
    return pinpoint("score", "constant@capitals", home=sound_home()).stdout.partition("\nrun:")[0]


def stored(number: int, folder: Path) -> str:
    """One file of what is stored is changed: no figure changes, nothing ends in a traceback, verify tells."""
    draw = np.random.default_rng([7, number])
    home = folder / "home"
    shutil.copytree(sound_home(), home)
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != ".lock")
    victim = files[number % len(files)]
    before = victim.read_bytes()
    _tamper(victim, draw)
    is_changed = (victim.is_file() and victim.read_bytes() != before) or not victim.is_file()
    answers = {command: pinpoint(*command, home=home) for command in READING}
    score = answers["score", "constant@capitals"]
    if score.exit_code == 0:
        assert score.stdout.partition("\nrun:")[0] == sound_figures(), victim.name
    if is_changed and victim.name not in ("sessions.jsonl",) and victim.parent.name != "scores":
        kind = "runs" if "runs" in victim.relative_to(home).parts else "stores"
        told = answers[kind, "verify", "--all"]
        listed = answers[kind, "list"]
        assert told.exit_code == 1, f"{victim.name}: not noticed by verify"
        assert listed.exit_code == 0, f"{victim.name}: the listing stopped"
    return "answered" if score.exit_code == 0 else "refused"


def _tamper(victim: Path, draw: np.random.Generator) -> None:
    how = draw.random()
    if how < 0.1:
        victim.unlink()
    elif how < 0.2:
        victim.write_bytes(b"")
    elif how < 0.4 and victim.suffix == ".json":
        victim.write_text(json.dumps(_odd_json(json.loads(victim.read_bytes()), draw)))
    else:
        victim.write_bytes(damaged(victim.read_bytes(), draw))


def _odd_json(value: Any, draw: np.random.Generator) -> Any:
    """An object with one of its fields, at any depth, of another type or gone."""
    if not isinstance(value, dict) or not value or draw.random() < 0.1:
        odd: list[Any] = [None, [], {}, "x", 5, True, "\ud800", "\x1b[2J"]
        return odd[int(draw.integers(len(odd)))]
    name = sorted(value)[int(draw.integers(len(value)))]
    if draw.random() < 0.3:
        return {key: inner for key, inner in value.items() if key != name}
    return {**value, name: _odd_json(value[name], draw)}


# Broken plugins

_PLUGIN = """
import sys
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl
{module}
class Broken:
    input = "none"
    answer_version = {version}
    def __init__(self, params, context):
        {constructor}
    def content(self):
        return {content}
    def predict(self, queries):
        {predict}
        return {answer}

@hookimpl
def pinpoint_register(register):
    {hook}
    register.method("broken", f"{{__name__}}:Broken", MethodInfo(title="Broken"))
"""
_SOUND = {
    "module": "",
    "version": "1",
    "constructor": "pass",
    "content": "{}",
    "predict": "n = len(queries)",
    "answer": "Predictions(np.zeros((n, 2)))",
    "hook": "pass",
}
_RAISED = (
    "sys.exit(0)",
    "sys.exit()",
    "sys.exit('x')",
    "raise SystemExit(0)",
    "raise KeyError('x')",
    "raise BaseException",
    "raise GeneratorExit",
    "raise StopIteration",
    "raise MemoryError",
    "raise RecursionError",
    "1 / 0",
    "raise ImportError('no module')",
    "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'x')",
    "raise OSError(28, 'full')",
)
_VALUES = (
    "None",
    "1.5",
    "'1'",
    "[]",
    "{}",
    "{1: 2}",
    "{'a': float('nan')}",
    "{'a': np.int64(1)}",
    "{'a': b'x'}",
    "{'a': '\\ud800'}",
    "(item for item in 'abc')",
    "object()",
    "True",
    "lambda: 1",
    "{'a': {1, 2}}",
    "type",
    "(lambda d: d.update(a=d) or d)({})",
)
_ANSWERS = (
    "None",
    "np.zeros((n, 2))",
    "Predictions(None)",
    "Predictions(np.zeros((n, 3)))",
    "Predictions(np.zeros((n + 1, 2)))",
    "Predictions(np.zeros((n, 2), object))",
    "Predictions(np.zeros((n, 2), complex))",
    "Predictions(np.zeros((n, 2), 'U3'))",
    "Predictions(np.zeros((n, 2), np.float16))",
    "Predictions([(0, 0)] * n)",
    "Predictions(np.ma.masked_all((n, 2)))",
    "Predictions(((0, 0) for _ in range(n)))",
    "Predictions(np.zeros((n, 2)), notes='text')",
    "Predictions(np.zeros((n, 2)), notes=(5,))",
    "Predictions(np.zeros((n, 2)), notes=('\\ud800',))",
    "Predictions(np.zeros((n, 2)), notes=(note for note in 'ab'))",
    "Predictions(np.zeros((n, 2)), notes=None)",
    "Predictions(np.zeros((n, 2)), status=['odd'] * n)",
    "Predictions(np.zeros((n, 2)), status=iter(['ok'] * n))",
    "Predictions(np.zeros((n, 2)), status=[None] * n)",
    "Predictions(np.zeros((n, 2)), status=5)",
    "Predictions(np.zeros((n, 2)), confidence=np.full(n, np.inf))",
    "Predictions(np.zeros((n, 2)), confidence=[1.0] * n)",
    "Predictions(np.zeros((n, 2)), confidence=np.zeros(n, object))",
    "Predictions(np.zeros((n, 2)), within=np.zeros((n, 2)))",
    "Predictions(np.zeros((n, 2)), candidates=5)",
    "Predictions(np.zeros((n, 2)), candidates=np.zeros((n, 3, 2)))",
    "(Predictions(np.zeros((1, 2))) for _ in range(n))",
    "Predictions",
    "iter([])",
    "[Predictions(np.zeros((n, 2)))]",
)
_PLACES: dict[str, tuple[str, ...]] = {
    "module": _RAISED,
    "constructor": _RAISED,
    "predict": _RAISED,
    "hook": _RAISED,
    "version": _VALUES,
    "content": _VALUES,
    "answer": _ANSWERS,
}
BROKEN = [(place, words) for place, values in _PLACES.items() for words in values]
HARMLESS = {("version", "True"), ("content", "{}")}


def plugins(number: int, folder: Path) -> str:
    """A plugin that is broken in one place: the command fails in words, and no other command fails."""
    place, words = BROKEN[number % len(BROKEN)]
    path = folder / f"broken{number}.py"
    path.write_text(_PLUGIN.format(**{**_SOUND, place: words}), errors="surrogatepass")
    result = pinpoint("run", "broken", "capitals", "--plugin", str(path), home=folder)
    if (place, words) in {("content", "{}"), ("content", "[]"), ("content", "{1: 2}")}:
        return "answered"
    assert result.exit_code == 2, f"{place}: {words} ends with {result.exit_code}"
    assert "error:" in result.stderr
    assert "Traceback" not in result.stderr
    return "refused"


# Arguments

_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "a\nb",
    "\x1b]0;x\x07",
    "\u202egpj",
    "\udcff",
    "a" * 300,
    "é" * 200,
    "/" * 40,
    "..",
    "../../x",
    "-",
    "--",
    "\0",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 500,
    "@",
    "@@latest",
    "constant@",
    "%s%n",
    "{}",
    "~",
    "*",
    "con",
    "a/b/c",
)
_COMMANDS: tuple[Callable[[str], Sequence[str]], ...] = (
    lambda text: ("run", text, "capitals"),
    lambda text: ("run", "constant", text),
    lambda text: (*CONSTANT, "--name", text),
    lambda text: ("run", "constant", "capitals", "--set", f"latitude={text}", "--set", "longitude=0"),
    lambda text: (*CONSTANT, "--set", text),
    lambda text: (*CONSTANT, "--ids", text),
    lambda text: (*CONSTANT, "--data", text),
    lambda text: (*CONSTANT, "--images", text),
    lambda text: (*CONSTANT, "--radii", text),
    lambda text: (*CONSTANT, "--plugin", text),
    lambda text: (*CONSTANT, "--as", text),
    lambda text: (*CONSTANT, "--limit", text),
    lambda text: ("score", text),
    lambda text: ("score", text, "--dataset", "capitals"),
    lambda text: ("score", "constant@capitals", "--protocol", text),
    lambda text: ("score", "constant@capitals", "--radii", text),
    lambda text: ("score", "constant@capitals", "--exclude", text),
    lambda text: ("table", text),
    lambda text: ("table", "capitals", "--runs", text),
    lambda text: ("compare", text, "constant@capitals"),
    lambda text: ("runs", "show", text),
    lambda text: ("runs", "explain", "constant@capitals", text),
    lambda text: ("runs", "breakdown", "constant@capitals", "--by", text),
    lambda text: ("runs", "rm", text, "--dry-run"),
    lambda text: ("stores", "export", text, "x.npy"),
    lambda text: ("stores", "import", "capitals", text, "--backbone", "a/b", "--normalisation", "none"),
    lambda text: ("embed", "capitals", "--backbone", text),
    lambda text: ("locate", text, "--method", "constant"),
    lambda text: ("reproduce", text, "--dry-run"),
    lambda text: ("ceiling", "capitals", "--gallery", text),
    lambda text: ("audit", text, "capitals"),
    lambda text: ("datasets", "verify", text),
    lambda text: ("plot", "errors", text),
    lambda text: ("report", text),
    lambda text: (text,),
)
ARGUMENTS = len(_COMMANDS) * (len(_TEXTS) + 1)
_LONG_RADII = ",".join(str(radius) for radius in range(1, 400))


def arguments(number: int, folder: Path) -> str:
    """An odd word in the place of any other; the home lies beside, and is as it was or holds a new run."""
    words = (*_TEXTS, _LONG_RADII)
    command, text = _COMMANDS[number % len(_COMMANDS)], words[number // len(_COMMANDS) % len(words)]
    home = folder / "home"
    shutil.copytree(sound_home(), home)
    with contextlib.chdir(folder):  # what a command writes by a bare name stays in the trial's folder
        result = pinpoint(*command(text), home=home)
    return "answered" if result.exit_code == 0 else "refused"


TRIALS = {
    "stored artifacts": Kind(stored, lambda number: sound_figures()),
    "broken plugins": Kind(plugins),
    "arguments": Kind(arguments, lambda number: sound_home()),
}
