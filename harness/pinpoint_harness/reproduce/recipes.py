"""Recipes: lists of `pinpoint` command lines with the scores they lead to, kept as data.

One TOML file per recipe in `pinpoint_results/expected`:

    title = "What it shows"
    status = "expected"                 # has been run; or "unverified": for those who hold the data
    hours = 0.1
    steps = [["run", "constant", "capitals", "--set", "latitude=0", "--set", "longitude=0"]]
    more = []                           # further steps, run only with --all
    next = [["table", "capitals"]]      # what to do with the results, said at the end, not run
    jobs.train = { gpus = 1, hours = 8 }  # what steps of a command ask a cluster for; jobs.default of others
    lanes = "world"                     # steps that differ in this name do not need one another; or several
                                        # names: a step belongs to the first of them that stands in it, and
                                        # names in a list within the list do not need one another either

    [each]                              # a step is repeated for all values of the names in its braces
    world = ["3", "4"]

    [[needs]]                           # what must be there first
    dataset = "yfcc4k"                  # or weights = "hub id", or method = "name"
    images = true
    gigabytes = 0.7

    [[expected]]
    run = "constant@capitals"
    protocol = "wgs84-lt"
    tolerance = 0.05                    # in the metric's own unit; within three times it is "near"
    cells = { acc_2500km = 3.1 }
"""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError, HarnessError, unknown_name
from ..reading import reading
from .recipe_fields import check_fields

if TYPE_CHECKING:
    from ..home import Home
    from ..plugins import Registry

MOST_STEPS = 10_000
_RECIPES = ("reproduce", "demo")
_NAME = re.compile(r"\{([^{}]*)\}")

NEAR = 3.0
"""A cell is near if it misses its expectation by no more than this many tolerances."""

Verdict = Literal["OK", "near", "FAIL"]


@dataclass(frozen=True)
class Need:
    """Something that must be there before the steps can run: a dataset, weights, or a method."""

    kind: Literal["dataset", "weights", "method"]
    name: str
    images: bool = False
    gigabytes: float = 0.0
    get: str = ""


@dataclass(frozen=True)
class Expectation:
    """Scores of one run under one protocol, and how far from them is still the same."""

    run: str
    protocol: str
    tolerance: float
    cells: Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """The words of one command line after `pinpoint`, and its lane as `NAME=VALUE`.

    Neighbours of different lanes whose names are `beside` each other do not need one another. All else
    needs all before it.
    """

    words: tuple[str, ...]
    lane: str | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """Command lines, what they need, and what they lead to."""

    name: str
    title: str
    status: Literal["expected", "unverified"]
    steps: tuple[Step, ...]
    more: tuple[Step, ...] = ()
    next: tuple[Step, ...] = ()
    needs: tuple[Need, ...] = ()
    expected: tuple[Expectation, ...] = ()
    hours: float = 0.0
    jobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the steps of a command ask a cluster for, as `jobs.Resources`; `default` stands for the others."""
    source: str = ""

    @property
    def gigabytes(self) -> float:
        return sum(need.gigabytes for need in self.needs)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes of the steps, in the order in which they begin."""
        return tuple(dict.fromkeys(step.lane for step in self.steps if step.lane is not None))


@dataclass(frozen=True)
class Cell:
    """One expected figure beside what came out."""

    run: str
    protocol: str
    metric: str
    expected: float
    found: float | None
    tolerance: float

    @property
    def difference(self) -> float | None:
        return None if self.found is None else self.found - self.expected

    @property
    def verdict(self) -> Verdict:
        if self.difference is None or not math.isfinite(self.difference):
            return "FAIL"
        # The last digit of a figure given to two decimals is not the difference that counts.
        miss = abs(self.difference) - 1e-9
        return "OK" if miss <= self.tolerance else "near" if miss <= NEAR * self.tolerance else "FAIL"


@dataclass(frozen=True)
class Finding:
    """Whether one need is met, and what to do where it is not."""

    need: Need
    found: bool
    detail: str


def recipe_names() -> list[str]:
    folder = files("pinpoint_results") / "expected"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """A recipe that comes with the package, or the path of one's own TOML file."""
    if name.endswith(".toml"):
        with reading(name, what="the recipe"):
            return parse_recipe(Path(name).read_text(encoding="utf-8"), Path(name).stem)
    if name not in recipe_names():
        raise unknown_name(f"there is no recipe '{name}'", name, recipe_names())
    text = (files("pinpoint_results") / "expected" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_recipe(text, name)


def parse_recipe(text: str, name: str) -> Recipe:
    """A recipe from its TOML; anything unknown or missing is an error that says where."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"recipe '{name}' is not TOML", found=str(error)) from error
    check_fields(content, text, name)
    steps = [*content["steps"], *content.get("more", [])]
    if nested := [step for step in steps if step[0] in _RECIPES]:
        raise DataError(
            f"recipe '{name}': a step runs a recipe",
            found=" ".join(nested[0]),
            fix="write that recipe's steps; one that leads back to itself would never end",
        )
    each = content.pop("each", {})
    lanes = _lanes(content.pop("lanes", []), each, name)
    recipe = Recipe(
        name=name,
        steps=_steps(content.pop("steps"), each, lanes),
        more=_steps(content.pop("more", []), each, lanes),
        next=_steps(content.pop("next", []), each, {}),
        needs=tuple(_need(item, name) for item in content.pop("needs", [])),
        expected=tuple(Expectation(**item) for item in content.pop("expected", [])),
        **content,
    )
    if recipe.status not in ("expected", "unverified"):
        raise DataError(f"recipe '{name}' has the status '{recipe.status}'", fix="expected or unverified")
    return recipe


def _lanes(
    given: str | Sequence[str | Sequence[str]], each: Mapping[str, Sequence[str]], recipe: str
) -> dict[str, tuple[str, ...]]:
    """The names of lanes in the order they were given, and those each stands beside, itself among them."""
    groups = [(group,) if isinstance(group, str) else tuple(group) for group in _as_list(given)]
    lanes = {name: group for group in groups for name in group}
    for name in lanes:
        if name not in each:
            found = ", ".join(each) or "none"
            raise DataError(f"recipe '{recipe}': {name!r} in lanes is not a name of [each]", found=found)
    if len(lanes) < sum(map(len, groups)):
        raise DataError(f"recipe '{recipe}': a name stands in lanes twice", found=repr(given))
    return lanes


def _as_list(given: str | Sequence[str | Sequence[str]]) -> Sequence[str | Sequence[str]]:
    return [given] if isinstance(given, str) else given


def _steps(
    lists: Sequence[Sequence[str]],
    each: Mapping[str, Sequence[str]],
    lanes: Mapping[str, tuple[str, ...]],
) -> tuple[Step, ...]:
    """Command lines as they are run, those with names in braces once for every combination of values."""
    steps: list[Step] = []
    for step in lists:
        names = [name for name in each if any(f"{{{name}}}" in word for word in step)]
        if len(steps) + math.prod(len(each[name]) for name in names) > MOST_STEPS:
            raise DataError(
                f"a recipe has more than {MOST_STEPS:,} steps",
                found=f"{' '.join(step)} for every combination of {', '.join(names)}",
                fix="give fewer values in [each], or several recipes",
            )
        for values in itertools.product(*(each[name] for name in names)):
            chosen = dict(zip(names, values, strict=True))
            words = tuple(_filled(word, chosen) for word in step)
            name = next((name for name in lanes if name in chosen), None)
            steps.append(Step(words) if name is None else Step(words, f"{name}={chosen[name]}", lanes[name]))
    return tuple(steps)


def _filled(word: str, values: Mapping[str, str]) -> str:
    """A word with values for names; braces in a value stand for themselves."""
    return _NAME.sub(lambda found: values.get(found[1], found[0]), word)


def check(recipe: Recipe, home: Home) -> list[Cell]:
    """Every expected figure beside what the stored runs score, those that the recipe made first of all."""
    from ..evaluation import score_run
    from ..running import find_run

    cells, made = [], home.runs_made()
    for expectation in recipe.expected:
        run = find_run(expectation.run, home.runs, made)
        scores = score_run(run, expectation.protocol).estimates
        for metric, value in expectation.cells.items():
            found = scores[metric].value if metric in scores else None
            cells.append(
                Cell(expectation.run, expectation.protocol, metric, value, found, expectation.tolerance)
            )
    return cells


def look_for(recipe: Recipe, registry: Registry) -> list[Finding]:
    """What the recipe needs and whether it is here; nothing is downloaded, no photo is opened."""
    looks = {"dataset": _find_dataset, "weights": _find_weights, "method": _find_method}
    return [looks[need.kind](need, registry) for need in recipe.needs]


def _need(item: Mapping[str, Any], recipe: str) -> Need:
    kinds = {"dataset", "weights", "method"} & set(item)
    if len(kinds) != 1:
        raise DataError(
            f"recipe '{recipe}': a need names a dataset, weights or a method", found=repr(dict(item))
        )
    (kind,) = kinds
    rest = {key: value for key, value in item.items() if key != kind}
    return Need(kind=kind, name=item[kind], **rest)  # type: ignore[arg-type]


def _find_dataset(need: Need, registry: Registry) -> Finding:

    try:
        dataset = registry.open_dataset(need.name)
        rows = len(dataset.truth())
        if need.images:
            dataset.images().close()
    except HarnessError as error:
        where = need.get or f"set $PINPOINT_DATA to the folder that holds {need.name}/"
        return Finding(need, False, f"{error.problem}; {where}")
    return Finding(need, True, f"{rows:,} rows" + (", pictures found" if need.images else ""))


def _find_weights(need: Need, registry: Registry) -> Finding:
    from huggingface_hub import try_to_load_from_cache

    here = Path(need.name).is_dir() or isinstance(try_to_load_from_cache(need.name, "config.json"), str)
    fix = need.get or f"hf download {need.name}"
    return Finding(need, here, "in the local cache" if here else f"not in the local cache; {fix}")


def _find_method(need: Need, registry: Registry) -> Finding:
    here = need.name in registry.methods
    return Finding(need, here, "registered" if here else need.get or "not in this version")
