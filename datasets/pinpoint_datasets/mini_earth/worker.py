"""One of the processes that draw a world: `python -m ...worker FOLDER 0,2,4 seed=1 photos=32000 ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from pinpoint_harness.artifacts import Artifact

from .archive import Tables, draw_shards
from .world import WorldSpec


def main(folder: str, numbers: str, *spec: str) -> None:
    """Draw the numbered shards of the world that `folder` has begun, each written whole or not at all."""
    chosen = WorldSpec(**{name: int(value) for name, value in (part.split("=") for part in spec)})
    artifact = Artifact.begin(Path(folder), "mini-earth", chosen.as_dict())
    tables = Tables(chosen)
    with artifact.work():
        for _ in draw_shards(artifact, tables, [int(number) for number in numbers.split(",")]):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
