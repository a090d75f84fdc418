"""What a method asked to see, tile by tile: nothing, pictures, or (for stored answers) the ids."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts import Selection
from ..batching import Tile, padded
from ..errors import DataError, HarnessError, PluginError, UsageError
from ..photo_ids import hash_ids
from ..types import Dataset, Queries
from .request import Request

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..features import FeatureStore, LiveBackbone
    from ..images import Failure, ImageStore

    Pixels = NDArray[np.uint8]


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileInput:
    """The input of one tile: `values` for the method, and the rows that have none.

    `failures` maps a position in the tile to its status. `answerable` is false when nothing is
    left to ask. `keys` are the texts behind the keys of the queries, where these are not their ids.
    """

    values: Any
    failures: Mapping[int, str] = field(default_factory=dict)
    answerable: bool = True
    keys: Sequence[str] | None = None


class Inputs:
    """The inputs of a whole run; closed when it ends. These are for methods that look at nothing."""

    queries_at_once: int = 1
    """How many queries a method may look at beside one another: of features many, of pictures a tile."""

    def tile_size(self, default: int) -> int:
        """How many queries the method gets at once."""
        return default

    def content(self) -> dict[str, Any] | None:
        """What the inputs add to the key of the run, None for nothing."""
        return None

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        """The input of each tile, in order."""
        return (TileInput(None) for _ in tiles)

    def close(self) -> None:
        """Release what was opened."""


def open_inputs(kind: str, request: Request, selection: Selection) -> Inputs:
    """The inputs a method declares with its `input` attribute, for the selected photos."""
    method = request.method
    if kind == "none":
        return Inputs()
    if kind == "image":
        return ImageInput(request.dataset, selection.truth)
    if kind == "id":
        if method.origin.trust != "built-in":
            raise PluginError(
                f"method '{method.name}' asks to see ids",
                found="file names and ids of the benchmarks give the answer away",
                fix="use input = 'none' or 'image'; stored answers go through `pinpoint score FILE`",
            )
        return IdInput(selection.truth)
    if not isinstance(kind, str) or not kind:
        raise PluginError(
            f"method '{method.name}' asks for input {kind!r}",
            fix="use input = 'none', 'image', or the name of a backbone",
        )
    if request.store_lookup is None:
        raise UsageError(
            f"method '{method.name}' asks for features of '{kind}'",
            found="a request without feature stores",
            fix="make the request with api.build_request(..., registry=...)",
        )
    names = backbones_of(kind)
    if len(names) > 1 and request.store_lookup.weights:
        raise UsageError(
            f"--weights replaces those of one backbone, and '{method.name}' looks through {len(names)}",
            fix=f"leave it out, or give --set a folder in place of one of {kind}",
        )
    each = [
        FeatureInput(
            request.store_lookup.queries(request.dataset_name, request.dataset, name, selection),
            selection.truth,
            request.context.device,
        )
        for name in names
    ]
    return each[0] if len(each) == 1 else SeveralFeatures(each)


def look_for_pictures(request: Request, selection: Selection) -> None:
    """Remember which pictures are there before the method is made, for whose galleries it may take hours."""
    from ..images import PassingTroubleError

    if getattr(request.method.load(), "input", "") in ("none", "id"):
        return
    try:
        with request.dataset.images() as images:
            images.find(selection.truth["image"])
    except PassingTroubleError:
        raise
    except HarnessError:  # said where they are needed, which they may not be
        return


def backbones_of(kind: str) -> list[str]:
    """The backbones that an `input` names, several separated by commas."""
    return [name.strip() for name in kind.split(",")]


class IdInput(Inputs):
    """For stored answers: ids and spellings of the whole set at once, so that all are joined together.

    The truth goes with them, so that a file of it is not taken for answers.
    """

    def __init__(self, truth: pd.DataFrame) -> None:
        self._names = truth[["id", "image", "latitude", "longitude"]]

    def tile_size(self, default: int) -> int:
        return len(self._names)

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        return (TileInput(self._names.iloc[tile.start : tile.stop]) for tile in tiles)


class ImageInput(Inputs):
    """Pictures, decoded ahead of the method; it sees pixels and never a name, a path or EXIF."""

    def __init__(self, dataset: Dataset, truth: pd.DataFrame) -> None:
        from ..images import find_any

        self._ids = truth["id"]
        self._store: ImageStore = dataset.images()
        try:
            self._refs = find_any(self._store, truth["image"], "")
        except BaseException:
            self._store.close()
            raise

    def content(self) -> dict[str, Any]:
        """Which pictures were there, and what decodes them: finding more or others makes another run."""
        from ..images import decoder_name

        return {"pictures_sha256": self._store.fingerprint(self._ids, self._refs), "decoder": decoder_name()}

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        """Each tile's pictures, a failed one replaced by a stand-in whose answer is thrown away."""
        from ..images.prefetch import prefetch_tiles

        # Two tiles: one with the method, one being decoded.
        with closing(prefetch_tiles(self._store, self._refs, tiles, depth=2 * size)) as decoded:
            for tile in tiles:
                yield _full_tile(_pictures_of(tile, decoded), size)

    def close(self) -> None:
        for remark in self._store.remarks:
            log.warning("%s", remark)
        self._store.close()


class SingleInput(ImageInput):
    """Photos without ids, each in a tile of its own; its key is the hash of its pixels.

    The method gets the pixels, or with `backbones` features made on the spot, `(1, width)` on its device, of
    several a tuple.
    """

    def __init__(self, dataset: Dataset, truth: pd.DataFrame, backbones: Sequence[LiveBackbone] = ()) -> None:
        super().__init__(dataset, truth)
        self._backbones = backbones

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        """Each photo alone; a backbone gets as many at once as it takes."""
        from ..images import Failure
        from ..images.prefetch import prefetch_tiles

        prepare: list[Callable[[Any], Any]] = [one.backbone.prepare for one in self._backbones]
        prepare = prepare or [lambda pixels: pixels]
        batch = min((one.tile for one in self._backbones), default=1)

        def see(pixels: Pixels) -> tuple[str, Any]:
            return _pixel_hash(pixels), [by(pixels) for by in prepare]

        with closing(prefetch_tiles(self._store, self._refs, tiles, 2 * batch, see)) as decoded:
            for start in range(0, len(tiles), batch):
                seen = [next(decoded)[1] for _ in tiles[start : start + batch]]
                prepared = [item if isinstance(item, Failure) else item[1] for item in seen]
                values, failures = self._values(prepared)
                for position, item in enumerate(seen):
                    if position in failures:
                        yield TileInput(None, {0: failures[position]}, answerable=False)
                    else:
                        yield TileInput(next(values), keys=[item[0]])

    def _values(self, prepared: Sequence[Any]) -> tuple[Iterator[Any], dict[int, str]]:
        """What the method gets of each readable photo, and the status of the others by position."""
        failures = _failures(prepared)
        if not self._backbones:
            return (item for row, item in enumerate(prepared) if row not in failures), failures
        import torch

        each = []
        for number, one in enumerate(self._backbones):
            mine = [item if row in failures else item[number] for row, item in enumerate(prepared)]
            features, failures = one.features(mine)
            each.append(torch.from_numpy(features).to(one.device)[:, None])  # (readable, 1, width)
        return (zip(*each, strict=True) if len(each) > 1 else iter(each[0])), failures


_FEATURES_AT_ONCE = 8192
"""Queries whose features a method may have at once: a gallery larger than memory is read once for all."""


class FeatureInput(Inputs):
    """Features from a store, found by id; a tensor `(tile, width)` of fp16 on the method's device."""

    queries_at_once = _FEATURES_AT_ONCE

    def __init__(self, store: FeatureStore, truth: pd.DataFrame, device: str) -> None:
        self._store = store
        self._rows = store.find(truth["id"].tolist())
        failures = store.failures
        lost = np.flatnonzero(self._rows < 0)
        self._failures = {int(row): failures.get(truth["id"].iloc[row], "missing") for row in lost}
        self._device = device

    def content(self) -> dict[str, Any]:
        return {"store": self._store.key}

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        """Each tile's features, a missing one replaced by a stand-in whose answer is thrown away."""
        import torch

        for tile in tiles:
            rows = self._rows[padded(tile, size)]  # (size,)
            failures = {
                row - tile.start: self._failures[row]
                for row in range(tile.start, tile.stop)
                if row in self._failures
            }
            if len(failures) == len(tile):
                yield TileInput(None, failures, answerable=False)
                continue
            rows = np.where(rows < 0, rows[rows >= 0][0], rows)
            features = torch.from_numpy(self._store.matrix[rows])  # (size, width)
            yield TileInput(features.to(self._device), failures)


def _pictures_of(tile: Tile, decoded: Iterator[tuple[int, Any]]) -> list[Any]:
    """A tile's pictures as they are; DataError where they take most of the memory there is."""
    from ..images.budget import memory_bytes

    pictures, taken, most = [], 0, 3 * memory_bytes() // 4
    for _ in range(len(tile)):
        pictures.append(next(decoded)[1])
        taken += getattr(pictures[-1], "nbytes", 0)
        if taken > most:
            raise DataError(
                f"a tile of {len(tile)} pictures does not fit into memory",
                found=f"{len(pictures)} of them take {taken / 2**30:.1f} GiB, a method is given them whole",
                fix="give a smaller --tile, such as 16; another tile makes another run",
            )
    return pictures


class SeveralFeatures(Inputs):
    """Features by several backbones, a tuple of tensors; a photo without one of them has none."""

    queries_at_once = _FEATURES_AT_ONCE

    def __init__(self, each: Sequence[FeatureInput]) -> None:
        self._each = each

    def content(self) -> dict[str, Any]:
        return {"stores": [one.content()["store"] for one in self._each]}

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        for found in zip(*(one.stream(tiles, size) for one in self._each), strict=True):
            failures = {row: status for one in found for row, status in one.failures.items()}
            values = tuple(one.values for one in found)
            yield TileInput(values, failures, answerable=all(one.answerable for one in found))


def _full_tile(images: Sequence[Pixels | Failure], size: int) -> TileInput:
    """A full tile: failures replaced by the first picture that is there, the end padded by the last.

    Several rows may show one picture, so none can be written to.
    """
    from ..images import Failure

    failures = _failures(images)
    good = [image for image in images if not isinstance(image, Failure)]
    if not good:
        return TileInput(None, failures, answerable=False)
    for image in good:
        image.setflags(write=False)
    filled = [good[0] if isinstance(image, Failure) else image for image in images]
    return TileInput(filled + [filled[-1]] * (size - len(filled)), failures)


def _failures(images: Sequence[Any]) -> dict[int, str]:
    """The status of each failure among the images, by position."""
    from ..images import Failure

    return {index: image.status for index, image in enumerate(images) if isinstance(image, Failure)}


def _pixel_hash(pixels: Pixels) -> str:
    """Equal for equal pixels, whatever the file around them is."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.data)
    return digest.hexdigest()


@dataclass(frozen=True)
class QuerySet:
    """The queries of a run, in the order of the truth."""

    key: NDArray[np.uint64]
    author_token: NDArray[np.uint64]
    source: list[str]

    @classmethod
    def of(cls, truth: pd.DataFrame) -> QuerySet:
        return cls(
            key=hash_ids(truth["id"].tolist()),
            author_token=hash_ids(truth["author"].tolist()),
            source=truth["source"].tolist(),
        )

    def take(self, rows: NDArray[np.int64], inputs: Any, keys: Sequence[str] | None = None) -> Queries:
        """The given rows as one tile for a method; a row may stand in it twice, as padding.

        `keys` are the texts behind the keys, where these are not the ids of the truth.
        """
        return Queries(
            key=self.key[rows] if keys is None else hash_ids(keys),
            author_token=self.author_token[rows],
            source=[self.source[row] for row in rows],
            input=inputs,
        )
