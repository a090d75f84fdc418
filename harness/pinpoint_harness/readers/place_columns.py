"""Where a table without columns called latitude and longitude may keep its coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from .cells import LATITUDE_NAMES, LONGITUDE_NAMES, NULL_WORDS, read_place
from .delimited import pick_column
from .table_form import TableForm

AXES = (LATITUDE_NAMES, LONGITUDE_NAMES)
_MOST_CELLS = 0.8
"""Share of a sample's cells that must be places for their column to hold places."""


def nested_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of columns `x.latitude`, `x.longitude` of one object."""
    objects = dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name)
    inside = [[pick_column(names, [f"{one}.{axis}" for axis in axes]) for axes in AXES] for one in objects]
    return [pair for latitudes, longitudes in inside for pair in product(latitudes, longitudes)]


def holds_places(cells: Sequence[str], *, prose: bool = True) -> bool:
    """Whether nearly all cells that say something name one place; with `prose` perhaps in a sentence."""
    telling = [cell for cell in cells if cell.strip().lower() not in NULL_WORDS]
    places = sum(read_place(cell, prose=prose) is not None for cell in telling)
    in_brackets = any(cell.lstrip()[:1] in ("[", "(", "{") for cell in telling)
    return bool(telling) and places >= _MOST_CELLS * len(telling) and (in_brackets or "." in "".join(telling))


def only_position(form: TableForm) -> tuple[str, str] | None:
    """The one place a table without such columns has for coordinates: two columns of an object, or one twice.

    None where there is none, or more than one.
    """
    found = nested_pairs(form.names)
    if form.sample:
        columns = zip(form.names, zip(*form.sample, strict=False), strict=False)
        found += [(name, name) for name, cells in columns if holds_places(cells, prose=False)]
    return found[0] if len(found) == 1 else None
