"""Recipes: lists of `pinpoint` command lines, kept as data beside the results they lead to."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from .errors import DataError, UsageError


@dataclass(frozen=True)
class Recipe:
    """What it shows, and the arguments of each `pinpoint` call in order."""

    title: str
    steps: tuple[tuple[str, ...], ...]


def load_recipe(name: str) -> Recipe:
    """A recipe that comes with the package."""
    folder = files("pinpoint_results") / "recipes"
    known = sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )
    if name not in known:
        raise UsageError(f"there is no recipe '{name}'", found=", ".join(known))
    return parse_recipe((folder / f"{name}.toml").read_text(encoding="utf-8"), name)


def parse_recipe(text: str, name: str) -> Recipe:
    """`title = "..."` and `steps = [["run", ...], ...]`."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"recipe '{name}' is not TOML", found=str(error)) from error
    title, steps = content.get("title"), content.get("steps", [])
    lists = isinstance(steps, list) and all(isinstance(step, list) and step for step in steps)
    if (
        not isinstance(title, str)
        or not lists
        or not all(isinstance(word, str) for step in steps for word in step)
    ):
        raise DataError(f"recipe '{name}' needs a title and steps, each a list of words")
    return Recipe(title, tuple(tuple(step) for step in steps))
