"""The reliability campaign: seeded trials of what strangers' files, kills and broken plugins can do.

A quick part runs with the tests; `tox -e campaign` runs the whole and prints its counts, which stand in
docs/reliability.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.campaign.trials import Kind

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
    "kills": 108,
    "concurrent starts": 40,
    "little room": 108,
    "limits of memory": 27,
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
    "little room": 1,
    "limits of memory": 1,
}
"""Those that run with the tests."""

_MODULES = ("kinds", "commands", "processes", "room")


def kind_of(name: str) -> Kind:
    """How trials of a kind are made."""
    for module in _MODULES:
        kinds: dict[str, Kind] = import_module(f"{__name__}.{module}").TRIALS
        if name in kinds:
            return kinds[name]
    raise KeyError(name)
