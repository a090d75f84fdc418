"""Recipes: lists of commands with the scores they should give."""

from __future__ import annotations

from .log import append_log, check_log
from .recipes import Cell, Recipe, check, load_recipe, look_for, recipe_names

__all__ = [
    "Cell",
    "Recipe",
    "append_log",
    "check",
    "check_log",
    "load_recipe",
    "look_for",
    "recipe_names",
]
