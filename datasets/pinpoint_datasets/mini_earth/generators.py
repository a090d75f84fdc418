"""The versions of the generator, which a world's recipe names: both are frozen, a change makes another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pinpoint_harness.errors import UsageError

from .drawing import appearance
from .drawing.attributes import Floats
from .second import appearance as second_appearance
from .second.world import SettledWorld
from .world import World, WorldSpec


@dataclass(frozen=True)
class Generator:
    """Who stands where, what a place looks like, and how cameras see it."""

    world: Callable[[WorldSpec], World]
    place_attributes: Callable[..., Floats]
    photo_views: Callable[..., Floats]
    street_views: Callable[..., Floats]


def _generator(world: Callable[[WorldSpec], World], looks: Any) -> Generator:
    return Generator(world, looks.place_attributes, looks.photo_views, looks.street_views)


GENERATORS = {1: _generator(World, appearance), 2: _generator(SettledWorld, second_appearance)}


def generator_of(version: int) -> Generator:
    """The generator of a recipe's version; raises UsageError where there is none."""
    if version not in GENERATORS:
        raise UsageError(
            f"mini-Earth has no generator of version {version}",
            found=f"versions {', '.join(map(str, GENERATORS))}",
            fix="name one of these",
        )
    return GENERATORS[version]
