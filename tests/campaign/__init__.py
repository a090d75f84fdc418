"""The reliability campaign: seeded trials of what strangers' files, kills and broken plugins can do.

A quick part runs with the tests; `tox -e campaign` runs the whole and prints its counts, which stand in
docs/reliability.md.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

WHOLE = {
    "pictures": 4000,
    "archives": 1000,
    "tables": 3000,
    "features": 1000,
    "checkpoints": 300,
    "recipes": 1000,
    "stored artifacts": 300,
    "broken plugins": 104,
    "arguments": 1050,
    "kills": 100,
    "concurrent starts": 20,
}
"""Trials of each kind."""

QUICK = {
    "pictures": 30,
    "archives": 12,
    "tables": 30,
    "features": 20,
    "checkpoints": 2,
    "recipes": 30,
    "stored artifacts": 3,
    "broken plugins": 4,
    "arguments": 8,
    "kills": 1,
    "concurrent starts": 1,
}
"""Those that run with the tests."""

_MODULES = ("kinds", "commands", "processes")


def trial_of(kind: str) -> Callable[[int, Path], str]:
    """What makes one trial of a kind in a folder of its own, from its number; what all share is made here."""
    for name in _MODULES:
        module = import_module(f"{__name__}.{name}")
        trials: dict[str, Callable[[int, Path], str]] = module.TRIALS
        if kind in trials:
            module.WARM.get(kind, tuple)()
            return trials[kind]
    raise KeyError(kind)
