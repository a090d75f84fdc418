"""The contract of a method, as checks: for `pinpoint methods check` and for a plugin's own tests.

    from pinpoint_harness.testing import assert_contract, registered_by

    def test_the_method_keeps_the_contract():
        assert_contract(registered_by(my_plugin).method("my-method"))

The queries are made up and the pictures are drawn, so nothing has to be downloaded. What is
compared is what a run would store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..batching import Tile, padded
from ..errors import HarnessError, UsageError
from ..plugins import Entry, Origin, Registry
from ..types import Context, MethodInfo
from .trial import COMPARED, Answer, Trial, developed, drawn_jpeg, made_up_truth

TILE = 16
"""Queries in one call; a run asks more at once, which would only make the checks slower."""

INPUTS = ("none", "image")

_SUSPICIOUS_RADIANS = 8


@dataclass(frozen=True)
class Check:
    """One promise of the contract: whether it is kept, else what was found and what to do."""

    name: str
    passed: bool
    found: str = ""
    fix: str = ""
    promise: str = ""


def check_method(
    method: Entry[MethodInfo] | type[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    context: Context | None = None,
    tile: int = TILE,
    widths: Mapping[str, int] | None = None,
) -> list[Check]:
    """Every check that can be made, in the order of `RULES`.

    `widths` are those of the backbones whose features a method may ask for; it then gets random
    ones. A check that could say nothing because an earlier one failed is left out, and so are those of
    pictures for a method that sees none. A bare class declares no licence, so that is not looked
    at. Raises UsageError for parameters that the method does not take.
    """
    if tile < 2:
        raise UsageError(f"a tile of {tile} has no neighbours to check", fix="give 2 or more")
    trial = Trial(method, parameters or {}, context or Context(), tile, widths or {})
    checks: dict[str, Check] = {}
    for rule in RULES:
        if all(name in checks and checks[name].passed for name in rule.needs) and rule.applies(trial):
            checks[rule.name] = _apply(rule, trial)
    return list(checks.values())


def assert_contract(
    method: Entry[MethodInfo] | type[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    context: Context | None = None,
    tile: int = TILE,
    widths: Mapping[str, int] | None = None,
) -> None:
    """AssertionError that lists every failed check of `check_method`."""
    __tracebackhide__ = True
    failed = [
        check
        for check in check_method(method, parameters, context=context, tile=tile, widths=widths)
        if not check.passed
    ]
    if failed:
        raise AssertionError(
            "\n".join(
                f"{check.name}: {check.promise}\n  found: {check.found}\n  fix:   {check.fix}"
                for check in failed
            )
        )


def registered_by(plugin: ModuleType) -> Registry:
    """What one plugin registers, alone, whether it is installed or not."""
    registry = Registry()
    registry.add_plugin(plugin, Origin(plugin.__name__, "explicit"))
    return registry


# The rules: each says what was found wrong, or nothing


def _declaration(trial: Trial) -> str:
    declared = {name: getattr(trial.info, name) for name in ("licence", "training_data")}
    return ", ".join(f"{name} is {value!r}" for name, value in declared.items() if value.strip() in ("", "?"))


def _answer_version(trial: Trial) -> str:
    version = getattr(trial.target, "answer_version", None)
    fits = isinstance(version, int) and not isinstance(version, bool) and version >= 1
    return "" if fits else f"answer_version is {version!r}"


def _input(trial: Trial) -> str:
    asked = getattr(trial.method, "input", None)
    return "" if asked in INPUTS or asked in trial.widths else f"input is {asked!r}"


def _set_up(trial: Trial) -> str:
    return "" if hasattr(trial.method, "predict") else f"{type(trial.method).__name__} has no predict"


def _answers(trial: Trial) -> str:
    _ = trial.first  # raises what is wrong with it
    return ""


def _range(trial: Trial) -> str:
    off = [answer for answer in trial.first if answer["status"] == "invalid coordinate"]
    return f"{len(off)} of {len(trial.first)} answers are no place on Earth" if off else ""


def _units(trial: Trial) -> str:
    places = {(answer["predicted_latitude"], answer["predicted_longitude"]) for answer in trial.first}
    near = [abs(north) <= np.pi / 2 and abs(east) <= np.pi for north, east in places if north is not None]
    if len(near) < _SUSPICIOUS_RADIANS or not all(near):
        return ""
    return f"{len(near)} different answers, all within 1.5708 of the equator and 3.1416 of the prime meridian"


def _single(trial: Trial) -> str:
    trial.predict_rows(trial.rows[:1])
    return ""


def _untouched(trial: Trial) -> str:
    given, kept = trial.take(trial.rows), trial.take(trial.rows)
    trial.predict(given)
    changed = [
        name
        for name in ("key", "author_token", "source", "input")
        if not _same_content(getattr(given, name), getattr(kept, name))
    ]
    return f"predict changed {', '.join(changed)}" if changed else ""


def _seed(trial: Trial) -> str:
    return _difference(trial.first, trial.predict_rows(trial.rows, method=trial.built()))


def _memory(trial: Trial) -> str:
    trial.predict_rows(trial.other_rows)
    return _difference(trial.first, trial.predict_rows(trial.rows))


def _neighbours(trial: Trial) -> str:
    every_other = trial.rows % 2 == 0
    mixed = trial.predict_rows(np.where(every_other, trial.rows, trial.other_rows))
    half = trial.tile // 2
    # As the runner fills the last tile of a dataset.
    repeated = trial.predict_rows(padded(Tile(0, 0, half), trial.tile))
    found = _difference(trial.first[::2], mixed[::2]) or _difference(trial.first[:half], repeated[:half])
    if not found and trial.pictures is not None:
        # As the harness fills the place of a picture that cannot be read.
        one_failed = [trial.pictures[0 if row == 1 else row] for row in trial.rows]
        answers = trial.predict_rows(trial.rows, one_failed)
        found = _difference([trial.first[0], *trial.first[2:]], [answers[0], *answers[2:]])
    return found


def _position(trial: Trial) -> str:
    for rows in (trial.rows[::-1], np.roll(trial.rows, 1)):
        if found := _difference([trial.first[row] for row in rows], trial.predict_rows(rows)):
            return found
    everywhere = trial.predict_rows(np.full(trial.tile, trial.tile // 2))  # one query at every place
    return _difference([everywhere[0]] * trial.tile, everywhere)


def _odd_pictures(trial: Trial) -> str:
    shapes = ((1, 1), (1, 400), (400, 1), (64, 64))
    levels = np.linspace(0, 255, trial.tile).astype(np.uint8)  # from black to white
    odd = [np.full((*shapes[row % len(shapes)], 3), levels[row]) for row in trial.rows]
    trial.predict_rows(trial.rows, odd)
    return ""


def _files(trial: Trial) -> str:
    names = [f"{90 - row}.{row}_{10 * row}.{row}_Paris,_France.jpg" for row in trial.rows]
    with tempfile.TemporaryDirectory() as folder:
        for row, name in enumerate(names):
            Path(folder, name).write_bytes(drawn_jpeg(row, falsified=True))
        pictures = [developed(Path(folder, name).read_bytes()) for name in names]
        renamed = trial.take(trial.rows, pictures, made_up_truth(names))
        return _difference(trial.first, trial.stored(trial.predict(renamed))[: trial.tile])


@dataclass(frozen=True)
class _Rule:
    """A promise and how it is put to the test.

    `needs` names the rules without which this one says nothing: where one of them is broken,
    whatever is found here has that cause.
    """

    name: str
    promise: str
    test: Callable[[Trial], str]
    fix: str
    needs: tuple[str, ...] = ()
    applies: Callable[[Trial], bool] = lambda trial: True


def _sees_pictures(trial: Trial) -> bool:
    return trial.method.input == "image"


RULES = (
    _Rule(
        "declaration",
        "the licence and the training data are named",
        _declaration,
        "name both in MethodInfo; training_data='none' if nothing was trained",
        applies=lambda trial: trial.info is not None,
    ),
    _Rule(
        "parameters",
        "parameters are a frozen dataclass whose defaults fit",
        lambda trial: trial.misdeclared,
        "declare a @dataclass(frozen=True) of int, float, bool, str or Path fields made by param(...)",
    ),
    _Rule(
        "version",
        "answer_version is a whole number from 1",
        _answer_version,
        "set answer_version = 1, and raise it whenever the same parameters give other answers",
    ),
    _Rule(
        "set-up",
        "the method can be built from its parameters and a context",
        _set_up,
        "write __init__(self, params, context) and predict(self, queries)",
        needs=("parameters",),
    ),
    _Rule(
        "input",
        "the method asks to see nothing, pictures, or a backbone's features",
        _input,
        "set input = 'none', 'image' or a backbone's name; ids and file names would give the answers away",
        needs=("set-up",),
    ),
    _Rule(
        "answers",
        "every query gets an answer of the agreed shape and type",
        _answers,
        "return Predictions(coordinates) with a float64 array (n, 2), NaN where there is no answer",
        needs=("input",),
    ),
    _Rule(
        "range",
        "answers are places on Earth",
        _range,
        "give (latitude, longitude): -90 to 90 and -180 to 180, in this order",
        needs=("answers",),
    ),
    _Rule(
        "units",
        "answers are in degrees",
        _units,
        "these look like radians: use numpy.degrees",
        needs=("answers",),
    ),
    _Rule(
        "single",
        "a tile of one query is answered",
        _single,
        "keep the first axis: squeeze() drops it where it has length 1",
        needs=("answers",),
    ),
    _Rule(
        "untouched",
        "predict leaves its queries as they are",
        _untouched,
        "work on a copy: pictures of a tile may share their memory",
        needs=("answers",),
    ),
    _Rule(
        "seed",
        "the same seed gives the same answers, whoever else draws",
        _seed,
        "draw from a generator of your own, seeded with context.seed and the query",
        needs=("answers",),
    ),
    _Rule(
        "memory",
        "an answer does not depend on the tiles asked before",
        _memory,
        "keep nothing between calls of predict: a resumed run begins in the middle",
        needs=("seed",),
    ),
    _Rule(
        "neighbours",
        "an answer does not depend on the other queries of its tile",
        _neighbours,
        "use no statistic of the tile, such as a mean over it or a common padding",
        needs=("memory",),
    ),
    _Rule(
        "position",
        "an answer does not depend on its place in the tile",
        _position,
        "use nothing that counts along the tile, such as one generator for all of its queries",
        needs=("neighbours",),
    ),
    _Rule(
        "odd-pictures",
        "pictures of one pixel, a line or a single colour do not stop the tile",
        _odd_pictures,
        "answer NaN where a picture is of no use",
        needs=("answers",),
        applies=_sees_pictures,
    ),
    _Rule(
        "files",
        "other file names, comments and EXIF positions change nothing",
        _files,
        "answer from the pixels alone: a key is made from the photo's name",
        needs=("memory",),
        applies=_sees_pictures,
    ),
)
"""In the order they are made; a rule stands behind those it needs."""


def _apply(rule: _Rule, trial: Trial) -> Check:
    fix = rule.fix
    try:
        found = rule.test(trial)
    except HarnessError as error:
        found = "; ".join(part for part in (error.problem, error.found) if part)
        fix = error.fix or fix
    except Exception as error:  # noqa: BLE001 - whatever the method raises is what was found
        found = f"{type(error).__name__}: {error}"
    return Check(rule.name, not found, found, fix if found else "", rule.promise)


def _difference(expected: Sequence[Answer], answers: Sequence[Answer]) -> str:
    """What differs between two lists of answers to the same queries, bit for bit."""
    differing = [(one, other) for one, other in zip(expected, answers, strict=True) if one != other]
    if not differing:
        return ""
    one, other = differing[0]
    name = next(name for name in COMPARED if one[name] != other[name])
    return (
        f"{len(differing)} of {len(expected)} answers differ, the first in its {name}: "
        f"{one[name]} and {other[name]}"
    )


def _same_content(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same_content, one, other))
    if hasattr(one, "shape"):  # a tensor, wherever it lies
        return bool((one == other).all())
    return bool(one == other)
