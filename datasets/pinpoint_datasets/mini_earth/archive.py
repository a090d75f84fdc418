"""A world as ordinary files: tables as MP-16 and OSV-5M have them, pictures as JPEG in zips.

    photos.csv, query-clean.csv, query-noisy.csv    IMG_ID,AUTHOR,LAT,LON
    streetview.csv, query-street.csv                id,latitude,longitude,country,city,creator_id
    leaks.csv                                       IMG_ID,leak,original  (of query-noisy)
    <table>-<number>.zip                            the pictures, 1,000 in each

The folder is an artifact: written in pieces, resumed after a kill, described by a manifest with the
sha256 of every file. Tables are the same on every machine; pictures on every machine alike.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinpoint_harness.artifacts import Artifact, Content
from pinpoint_harness.errors import ArtifactError
from pinpoint_harness.home import worlds_root
from pinpoint_harness.progress import phase

from .drawing.scene import render
from .draws import Integers
from .generators import generator_of
from .infos import SIZES, WORLDS
from .splits import Names, creator_names, photo_names, photographer_names, streetview_names
from .world import EXACT_DUPLICATE, KINDS, PLACEHOLDER, Pictures, WorldSpec

TABLES = ("photos", "streetview", "query-clean", "query-street", "query-noisy")
"""Query-noisy comes last: it copies pictures of the photos."""

SHARD = 1000
JPEG_QUALITY = 88
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold; files must not depend on the clock."""


@dataclass(frozen=True)
class Shard:
    """Some rows of one table."""

    table: str
    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        return f"{self.table}-{self.number:03d}.zip"


class Tables:
    """The tables of a world: rows, names and people."""

    def __init__(self, spec: WorldSpec) -> None:
        self.generator = generator_of(spec.version)
        self.world = self.generator.world(spec)

    @functools.cache  # noqa: B019 - one world in a process
    def rows(self, table: str) -> Pictures:
        rows: Pictures = getattr(self.world, table.replace("-", "_"))()
        return rows

    @functools.cache  # noqa: B019
    def names(self, table: str) -> Names:
        name = streetview_names if "street" in table else photo_names
        return name(self.world.seed, table, len(self.rows(table)))

    def shards(self) -> list[Shard]:
        """All pieces in the order of their numbers as files."""
        return [
            Shard(table, number, start, min(start + SHARD, len(self.rows(table))))
            for table in TABLES
            for number, start in enumerate(range(0, len(self.rows(table)), SHARD))
        ]

    def csv(self, table: str) -> bytes:
        """One truth table."""
        rows, land = self.rows(table), self.world.land
        latitude, longitude = map(_degrees, land.to_e7(rows.city, rows.east_m, rows.north_m))
        if "street" not in table:
            people = photographer_names(rows.author)
            return _csv(
                "IMG_ID,AUTHOR,LAT,LON", zip(self.names(table), people, latitude, longitude, strict=True)
            )
        country, city = land.country[rows.city], [land.name[number] for number in rows.city]
        header = "id,latitude,longitude,country,city,creator_id"
        people = creator_names(rows.author)
        return _csv(header, zip(self.names(table), latitude, longitude, country, city, people, strict=True))

    def leaks(self) -> bytes:
        """What stands in query-noisy that makes it too easy, or says nothing."""
        rows = self.rows("query-noisy")
        originals = np.where(rows.original >= 0, self.names("photos")[rows.original], "")
        kinds = [KINDS[kind] for kind in rows.kind]
        return _csv("IMG_ID,leak,original", zip(self.names("query-noisy"), kinds, originals, strict=True))

    def files(self) -> dict[str, bytes]:
        """Every table by its file name."""
        return {**{f"{table}.csv": self.csv(table) for table in TABLES}, "leaks.csv": self.leaks()}


def _degrees(e7: Integers) -> list[str]:
    return [
        f"{'-' if value < 0 else ''}{abs(value) // 10**7}.{abs(value) % 10**7:07d}" for value in e7.tolist()
    ]


def _csv(header: str, rows: Iterator[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    text.write(header + "\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


# Pictures


def draw_shard(tables: Tables, shard: Shard, artifact: Artifact) -> bytes:
    """The zip of one shard."""
    rows = tables.rows(shard.table).take(slice(shard.start, shard.stop))
    world, generator = tables.world, tables.generator
    if "street" in shard.table:
        view = generator.street_views(world, rows)
    else:
        view = generator.photo_views(world, rows, first=shard.start, hard=shard.table == "query-noisy")
    pictures = [_jpeg(picture) for picture in render(generator.place_attributes(world, rows), view)]
    for row in np.flatnonzero(rows.kind == PLACEHOLDER):
        pictures[row] = placeholder()
    for row in np.flatnonzero(rows.kind == EXACT_DUPLICATE):
        pictures[row] = _drawn_before(tables, artifact, int(rows.original[row]))
    suffix = ".jpg" if "street" in shard.table else ""
    names = [f"{name}{suffix}" for name in tables.names(shard.table)[shard.start : shard.stop]]
    return _zip(names, pictures)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return data.getvalue()


@functools.cache
def placeholder() -> bytes:
    """What a photo site shows where a photo was taken away: always the same bytes."""
    picture = np.full((64, 64, 3), 236, np.uint8)
    picture[16:48, 12:52] = 208
    picture[20:44, 16:48] = 246
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    picture[(np.abs(across - down) < 2) & (across > 15) & (across < 49)] = (214, 92, 92)
    return _jpeg(picture)


def _drawn_before(tables: Tables, artifact: Artifact, photo: int) -> bytes:
    number = photo // SHARD  # photos are the first table
    with zipfile.ZipFile(artifact.shard_path(number, ".zip")) as archive:
        return archive.read(str(tables.names("photos")[photo]))


def _zip(names: Sequence[str], contents: Sequence[bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        for name, content in zip(names, contents, strict=True):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return data.getvalue()


# The artifact


def spec_of(world: str) -> WorldSpec:
    """The recipe of a world whose datasets are in the registry: `mini-earth-v2-1`."""
    version, seed = WORLDS[world]
    photos, streetview, queries = SIZES[version]
    return WorldSpec(seed, photos, streetview, queries, version)


def ensure_world(spec: WorldSpec | None = None, folder: Path | None = None, workers: int = 2) -> Path:
    """The folder of a world, written first where it is not there yet or not complete.

    `folder` holds worlds, each in a folder named by the key of its recipe. Raises ArtifactError
    where it cannot be written, or where a half-written world is of other library versions.
    """
    spec = spec or WorldSpec()
    artifact = Artifact.begin(folder or worlds_root(), "mini-earth", spec.as_dict())
    if artifact.complete:
        return artifact.folder
    tables = Tables(spec)
    shards = tables.shards()
    with artifact.work():
        _draw_missing(artifact, tables, shards, workers)
    zips = {shard.file_name: _copy(artifact.shard_path(n, ".zip")) for n, shard in enumerate(shards)}
    artifact.finish({**tables.files(), **zips})
    return artifact.folder


def _copy(path: Path) -> Content:
    def write(stream: BinaryIO) -> None:
        with path.open("rb") as source:
            shutil.copyfileobj(source, stream)

    return write


def _draw_missing(artifact: Artifact, tables: Tables, shards: list[Shard], workers: int) -> None:
    done = artifact.finished_shards(".zip")
    sizes = [shard.stop - shard.start for shard in shards]
    with phase("drawing mini-Earth", sum(sizes), done=sum(sizes[number] for number in done)) as advance:
        for copying in (False, True):  # pictures that others copy must be there first
            group = [n for n, shard in enumerate(shards) if (shard.table == TABLES[-1]) == copying]
            for number in _draw(artifact, tables, [n for n in group if n not in done], workers):
                advance(sizes[number])


def _draw(artifact: Artifact, tables: Tables, numbers: list[int], workers: int) -> Iterator[int]:
    """Draw shards here or in processes of their own; yields each number once it is on disk."""
    if workers <= 1 or len(numbers) <= 1:
        yield from draw_shards(artifact, tables, numbers)
        return
    running = [
        _start_worker(artifact, tables.world.spec, numbers[first::workers])
        for first in range(min(workers, len(numbers)))
    ]
    try:
        left = set(numbers)
        while left:
            ended = [process.poll() for process in running]
            for number in sorted(left & artifact.finished_shards(".zip")):
                left.discard(number)
                yield number
            if left and all(code is not None for code in ended):
                raise ArtifactError(
                    f"{len(left)} parts of mini-Earth were not drawn in '{artifact.folder}'",
                    found=f"the drawing processes ended with {ended}; their messages stand above",
                    fix="run the command again: it goes on where it stopped",
                )
            time.sleep(0.1)
    finally:
        for process in running:
            process.terminate()
            process.wait()


def _start_worker(artifact: Artifact, spec: WorldSpec, numbers: list[int]) -> subprocess.Popen[bytes]:
    """A plain process rather than a pool: it imports nothing of the caller's main module."""
    listed = ",".join(map(str, numbers))
    command = [
        sys.executable,
        "-m",
        "pinpoint_datasets.mini_earth.worker",
        str(artifact.folder.parent),
        listed,
    ]
    command += [f"{name}={value}" for name, value in asdict(spec).items()]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def draw_shards(artifact: Artifact, tables: Tables, numbers: Sequence[int]) -> Iterator[int]:
    """Draw those that are not there yet; yields each number once it is on disk.

    In an order of one's own: two commands that draw a world at the same time share the work.
    """
    shards = tables.shards()
    for number in random.Random(os.getpid()).sample(numbers, len(numbers)):
        if number not in artifact.finished_shards(".zip"):
            artifact.write_shard(number, ".zip", draw_shard(tables, shards[number], artifact))
        yield number
