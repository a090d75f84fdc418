"""What a method on trial is asked about, and what it may search: all made up, and the same every time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.ExifTags
import PIL.Image
from numpy.typing import NDArray

from ..artifacts import Artifact
from ..errors import HarnessError
from ..features import FeatureStore, store_parent, write_matrix_header
from ..features.store import VERSION, store_files
from ..images import Failure
from ..images.decode import decode
from ..photo_ids import truth_hash

Pixels = NDArray[np.uint8]
Place = tuple[float, float]

DEFAULT_WIDTH = 64
"""Of the features of a backbone that nobody has registered."""

_AUTHORS = ("ann", "ben", "cem")
_ROWS = 480
_GALLERY_AUTHORS = 48
_TOWNS = 24
_TOWN_DEGREES = 0.05
_LIKENESS = 0.05
"""Of a photo by the query's author: noise in its features, which are normal."""


def made_up_names(count: int) -> list[str]:
    """Names of queries, spelled as Flickr's photos are in the field's tables."""
    return [_name("queries", number) for number in range(count)]


def made_up_truth(names: Sequence[str], *, all_authors: bool = False) -> pd.DataFrame:
    """The queries' table; every third photo has no known author unless `all_authors`."""
    number = np.arange(len(names))
    known = (*_AUTHORS[:2], _AUTHORS[2] if all_authors else None)
    return pd.DataFrame(
        {
            "id": names,
            "image": names,
            "latitude": 0.0,
            "longitude": 0.0,
            "author": [known[row % 3] for row in number],
            "source": [("photos", "streetview")[row % 2] for row in number],
        }
    )


def made_up_feature(row: int, width: int) -> NDArray[np.float64]:
    """The feature of a query, `(width,)`."""
    return np.random.default_rng(row).normal(size=width)


def drawn_jpeg(number: int, *, falsified: bool = False) -> bytes:
    """A picture of coloured fields, the same for the same number whatever else is in the file."""
    generator = np.random.default_rng(number)
    height, width = generator.integers(6, 17, size=2)
    fields = generator.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(fields.repeat(16, axis=0).repeat(16, axis=1))
    metadata = {"exif": _exif(number), "comment": f"Paris\n48.8584\n{number}.2945"} if falsified else {}
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, **metadata)
    return stream.getvalue()


def _exif(number: int) -> PIL.Image.Exif:
    tags = PIL.ExifTags.GPS
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.IFD.GPSInfo] = {
        tags.GPSLatitudeRef: "N",
        tags.GPSLatitude: (48.0, 51.0, float(number)),
        tags.GPSLongitudeRef: "E",
        tags.GPSLongitude: (2.0, 17.0, float(number)),
    }
    return exif


def developed(data: bytes) -> Pixels:
    """The pixels of a drawn picture."""
    pixels = decode(data)
    if isinstance(pixels, Failure):
        raise HarnessError("a picture drawn for the checks cannot be decoded", found=pixels.status)
    return pixels


@dataclass
class MadeUpStores:
    """The stores of a method on trial: whatever name it asks for is a gallery of 480 photos and more.

    Photos lie in 24 towns, have random features and 48 authors; some have none, and every second is street
    view. Among them stand a copy of each query's photo, under its id, and a like photo by the query's
    author. Both lie at places where no other photo does: `copies` and `by_author` hold these by the number
    of the query, over all galleries that were opened. `moved` puts the copy of the first elsewhere.
    """

    folder: Path
    queries: pd.DataFrame
    widths: Mapping[str, int]
    weights: Callable[[str], str] | None = None
    moved: bool = False
    backbones: set[str] = field(default_factory=set)
    copies: dict[int, set[Place]] = field(default_factory=dict)
    by_author: dict[int, set[Place]] = field(default_factory=dict)

    @property
    def opened(self) -> bool:
        """Whether the method has opened a gallery."""
        return bool(self.backbones)

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        self.backbones.add(backbone)
        truth = self.truth(name)
        for first, places in ((0, self.copies), (len(self.queries), self.by_author)):
            planted = truth[["latitude", "longitude"]].iloc[first : first + len(self.queries)]
            for row, place in enumerate(planted.itertuples(index=False, name=None)):
                places.setdefault(row, set()).add(place)
        features = self._features(name, self.width_of(backbone))
        order = np.argsort(truth["id"])  # a store is sorted by id
        sorted_truth = truth.iloc[order].reset_index(drop=True)
        return write_store(self.folder, name, backbone, features[order], sorted_truth)

    def weights_of(self, backbone: str) -> str:
        return self.weights(backbone) if self.weights else ""

    def width_of(self, backbone: str) -> int:
        return self.widths.get(backbone) or DEFAULT_WIDTH

    def truth(self, name: str) -> pd.DataFrame:
        """The table of a gallery: copies of the queries, photos by their authors, then all others."""
        asked, random = len(self.queries), _random(name)
        names = [*self.queries["id"], *(_name(name, number) for number in range(asked + _ROWS))]
        places = random.uniform([-60, -180], [70, 180], (_TOWNS, 2))[np.arange(len(names)) % _TOWNS]
        places += random.normal(0, _TOWN_DEGREES, places.shape)
        places[: 2 * asked] = random.uniform([-60, -180], [70, 180], (2 * asked, 2))
        if self.moved:
            places[0] = -places[0]
        by = [_AUTHORS[row % 3] for row in range(asked)]
        others = [f"author-{row % _GALLERY_AUTHORS}" if row % 20 else None for row in range(_ROWS)]
        return pd.DataFrame(
            {
                "id": names,
                "image": names,
                "latitude": places[:, 0],
                "longitude": places[:, 1],
                "author": [*by, *by, *others],
                "source": [("photos", "streetview")[row % 2] for row in range(len(names))],
            }
        )

    def _features(self, name: str, width: int) -> NDArray[np.float64]:
        """In the order of `truth`, `(rows, width)`."""
        random, asked = _random(name), len(self.queries)
        copies = np.stack([made_up_feature(row, width) for row in range(asked)])
        like = copies + _LIKENESS * random.normal(size=copies.shape)
        return np.concatenate([copies, like, random.normal(size=(_ROWS, width))])


def write_store(
    root: Path, dataset: str, backbone: str, features: NDArray[Any], truth: pd.DataFrame
) -> FeatureStore:
    """A store of `(n, width)` features as an import leaves it; `truth` has a row for each, ordered by id."""
    half = np.asarray(features, np.float16)

    def write(stream: Any) -> None:
        write_matrix_header(stream, *half.shape)
        stream.write(half.tobytes())

    spec = {
        "version": VERSION,
        "imported": {"sha256": hashlib.sha256(half.tobytes()).hexdigest(), "set": dataset},
        "dataset_hash": truth_hash(truth),
        "authors": int(truth["author"].notna().sum()),
    }
    record = {
        "dataset": dataset,
        "backbone": backbone,
        "rows": len(half),
        "width": half.shape[1],
        "failed": 0,
        "normalisation": "none",
        "subset": None,
        "recipe": spec,
    }
    artifact = Artifact.begin(store_parent(root, dataset, backbone), "features", spec)
    if not artifact.complete:
        artifact.finish(store_files(truth, {}, write, record))
    return FeatureStore.open(artifact.folder)


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def _name(kind: str, number: int) -> str:
    digest = hashlib.sha256(f"{kind} {number}".encode()).hexdigest()
    return f"{digest[:2]}_{digest[2:4]}_{int(digest[4:12], 16):010}.jpg"
