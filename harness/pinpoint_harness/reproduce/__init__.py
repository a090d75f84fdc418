"""Recipes: lists of commands with the scores they should give."""

from __future__ import annotations

from .jobs import Job, jobs_of
from .log import append_log, check_log
from .recipes import Cell, Recipe, check, load_recipe, look_for, recipe_names

__all__ = [
    "Cell",
    "Job",
    "Recipe",
    "append_log",
    "check",
    "check_log",
    "jobs_of",
    "load_recipe",
    "look_for",
    "recipe_names",
]
