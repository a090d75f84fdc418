"""The real benchmarks in miniature: drawn pictures and made-up truth in the published names and layouts."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tests.support.photo_files import encode, photo

TOWNS = np.random.default_rng(5).uniform([-55, -170], [60, 170], (12, 2))

GALLERY, ASKED = 90, 8
"""Pictures of each gallery and of each benchmark."""


def _rows(count: int, seed: int, names: Sequence[str]) -> tuple[NDArray[Any], list[str]]:
    """A place in one of the towns for each name, and its author."""
    random = np.random.default_rng(seed)
    town = np.arange(count) % len(TOWNS)
    places = (TOWNS[town] + random.normal(0, 0.03, (count, 2))).round(5)
    return places, [f"{10_000_000 + 7 * (row % 17)}@N{row % 17:02}" for row in range(count)]


def _picture(place: NDArray[Any], seed: int) -> bytes:
    """The look of a town, and a look of the picture's own."""
    town = int(np.linalg.norm(TOWNS - place, axis=1).argmin())
    both = [np.asarray(photo(40, 40, number), float) for number in (town, 1000 + seed)]
    from PIL import Image

    mixed = Image.fromarray((0.6 * both[0] + 0.4 * both[1]).astype(np.uint8))
    return encode(mixed, "JPEG", quality=90)


def _flickr_table(path: Path, names: Sequence[str], author: str, seed: int) -> NDArray[Any]:
    places, people = _rows(len(names), seed, names)
    frame = pd.DataFrame({"IMG_ID": names, author: people, "LAT": places[:, 0], "LON": places[:, 1]})
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return places


def write_mp16_pro(root: Path) -> None:
    """Both tables in `metadata/`, and one tar of pictures in parts, as the hub has them."""
    names = [f"{n:02x}_{(3 * n) % 256:02x}_{2_000_000 + 31 * n}.jpg" for n in range(GALLERY)]
    for file in ("MP16_Pro_filtered.csv", "MP16_Pro_places365.csv"):
        places = _flickr_table(root / "mp16-pro" / "metadata" / file, names, "AUTHOR", 1)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for row, name in enumerate(names):
            data = _picture(places[row], row)
            info = tarfile.TarInfo(f"mp-16-images/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    whole = stream.getvalue()
    third = len(whole) // 3
    for part in range(3):
        piece = whole[part * third : (part + 1) * third if part < 2 else None]
        (root / "mp16-pro" / f"mp-16-images{part:02}").write_bytes(piece)


def write_benchmark(root: Path, name: str, table: str, folder: str, author: str, seed: int) -> None:
    """A table and a flat folder of pictures."""
    names = [
        f"{700_000_000 + 13 * n + seed}_{n:010x}_{n}_{10_000_000 + n}@N00.jpg"
        if name == "im2gps3k"
        else f"{800_000_000 + 17 * n}.jpg"
        for n in range(ASKED)
    ]
    places = _flickr_table(root / name / table, names, author, seed)
    (root / name / folder).mkdir()
    for row, file in enumerate(names):
        (root / name / folder / file).write_bytes(_picture(places[row], 10_000 * seed + row))


def write_osv5m(root: Path) -> None:
    """`train.csv` and `test.csv` beside `images/<split>/NN.zip`."""
    for split, count, seed in (("train", GALLERY, 2), ("test", ASKED, 3)):
        ids = [str(10**14 * seed + 977 * n) for n in range(count)]
        places, _ = _rows(count, seed, ids)
        creators = [f"{3.0e14 + row % 19:.1f}" for row in range(count)]
        frame = pd.DataFrame(
            {"id": ids, "latitude": places[:, 0], "longitude": places[:, 1], "creator_id": creators}
        )
        folder = root / "osv5m" / "images" / split
        folder.mkdir(parents=True)
        frame.to_csv(root / "osv5m" / f"{split}.csv", index=False)
        for part in range(2):
            with zipfile.ZipFile(folder / f"{part:02}.zip", "w") as archive:
                for row in range(part, count, 2):
                    archive.writestr(f"{part:02}/{ids[row]}.jpg", _picture(places[row], 10_000 * seed + row))


def write_real_layouts(root: Path) -> None:
    """All that the recipes for real data read."""
    write_mp16_pro(root)
    write_osv5m(root)
    write_benchmark(root, "im2gps3k", "im2gps3k_places365.csv", "im2gps3ktest", "AUTHOR", 4)
    write_benchmark(root, "yfcc4k", "yfcc4k_places365.csv", "yfcc4k", "OwnerNSID", 5)
