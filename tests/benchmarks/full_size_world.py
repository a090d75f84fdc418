"""The plugin of the rehearsal at full size: synthetic photos on disk, and an encoder of the real width.

Datasets `full/photos`, `full/streetview` and `full/queries` lie in `$PINPOINT_REHEARSAL`; the backbone
`stub` projects 8 x 8 pixels to 1,536 numbers. Photos of one town are alike, and towns have Zipf's sizes.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pinpoint_harness import BackboneInfo, DatasetInfo, hookimpl
from pinpoint_harness.images.containers.store import ImageStore

WIDTH, TOWNS, SIDE = 1536, 3000, 8
FOLDER = Path(os.environ.get("PINPOINT_REHEARSAL", "."))
PER_PERSON = 24


def write_photos(folder: Path, name: str, count: int, seed: int) -> None:
    """A table and an archive of so many pictures."""
    known, random = np.random.default_rng(0), np.random.default_rng(seed)
    towns = np.column_stack(
        [np.degrees(np.arcsin(known.uniform(-0.9, 0.95, TOWNS))), known.uniform(-180, 180, TOWNS)]
    )
    looks = known.integers(40, 216, (TOWNS, SIDE, SIDE, 3))
    town = (random.zipf(1.3, count) - 1) % TOWNS
    places = np.clip(towns[town] + random.standard_t(2, (count, 2)) * 0.05, [-90, -180], [90, 180])
    ids = [f"{name[0]}{row:08}" for row in range(count)]
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for row, key in enumerate(ids):
            pixels = np.clip(looks[town[row]] + random.normal(0, 30, (SIDE, SIDE, 3)), 0, 255)
            stream = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG", compress_level=0)
            archive.writestr(f"{key}.png", stream.getvalue())
    who = random.permutation(count) % max(1, count // PER_PERSON)
    frame = pd.DataFrame(
        {
            "id": ids,
            "image": [f"{key}.png" for key in ids],
            "latitude": places[:, 0],
            "longitude": places[:, 1],
            "author": [f"{name}-{person}" for person in who],
        }
    )
    frame.to_parquet(folder / f"{name}.parquet")


class Rehearsal:
    name = ""

    def __init__(self, location: Any) -> None:
        self.info = DatasetInfo(title=self.name, source="", licence="", cluster_column="author")

    def truth(self) -> pd.DataFrame:
        frame = pd.read_parquet(FOLDER / f"{self.name}.parquet")
        return frame.assign(source="streetview" if self.name == "streetview" else "photos")

    def images(self) -> ImageStore:
        return ImageStore.open([FOLDER / f"{self.name}.zip"])


class Photos(Rehearsal):
    name = "photos"


class StreetView(Rehearsal):
    name = "streetview"


class Queries(Rehearsal):
    name = "queries"


class Stub:
    """A random projection: work that is small and of the real shape."""

    width, tile = WIDTH, 256

    def __init__(self, weights: Any, context: Any) -> None:
        shape = (SIDE * SIDE * 3, WIDTH)
        self._projection = np.random.default_rng(7).standard_normal(shape, dtype=np.float32) / 100

    def content(self) -> dict[str, Any]:
        return {"version": 1}

    def prepare(self, image: Any) -> Any:
        return image.reshape(-1).astype(np.float32) - 128

    def features(self, images: Any) -> Any:
        return np.stack(images) @ self._projection


@hookimpl
def pinpoint_register(register: Any) -> None:
    info = DatasetInfo(title="Rehearsal", source="", licence="")
    for name, target in (("photos", "Photos"), ("streetview", "StreetView"), ("queries", "Queries")):
        register.dataset(f"full/{name}", f"{__name__}:{target}", info)
    register.backbone("stub", f"{__name__}:Stub", BackboneInfo(title="Stub", width=WIDTH))
