"""What a method asked to see, tile by tile: nothing, pictures, or (for stored answers) the ids."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..artifacts import Selection, id_list_sha256
from ..batching import Tile, padded
from ..errors import PluginError, UsageError
from ..photo_ids import hash_ids
from ..types import Dataset, Queries
from .request import Request

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..features import FeatureStore
    from ..images import Failure, ImageStore

    Pixels = NDArray[np.uint8]


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TileInput:
    """The input of one tile: `values` for the method, and the rows it cannot be asked about.

    `failures` maps a position in the tile to its status. `answerable` is false when nothing is
    left to ask.
    """

    values: Any
    failures: Mapping[int, str] = field(default_factory=dict)
    answerable: bool = True


class Inputs(Protocol):
    """The inputs of a whole run; closed when it ends."""

    def tile_size(self, default: int) -> int:
        """How many queries the method gets at once."""
        ...

    def content(self) -> dict[str, Any] | None:
        """What the inputs add to the key of the run, None for nothing."""
        ...

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        """The input of each tile, in order."""
        ...

    def close(self) -> None: ...


def open_inputs(kind: str, request: Request, selection: Selection) -> Inputs:
    """The inputs a method declares with its `input` attribute, for the selected photos."""
    method = request.method
    if kind == "none":
        return NoInput()
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
    store = request.store_lookup.queries(request.dataset_name, request.dataset, kind, selection)
    return FeatureInput(store, selection.truth, request.context.device)


class NoInput:
    """For methods that look at nothing."""

    def tile_size(self, default: int) -> int:
        return default

    def content(self) -> None:
        return None

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        return (TileInput(None) for _ in tiles)

    def close(self) -> None:
        pass


class IdInput(NoInput):
    """For stored answers: ids and spellings of the whole set at once, so that all are joined together.

    The truth goes with them, so that a file of it is not taken for answers.
    """

    def __init__(self, truth: pd.DataFrame) -> None:
        self._names = truth[["id", "image", "latitude", "longitude"]]

    def tile_size(self, default: int) -> int:
        return len(self._names)

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        return (TileInput(self._names.iloc[tile.start : tile.stop]) for tile in tiles)


class ImageInput:
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

    def tile_size(self, default: int) -> int:
        return default

    def content(self) -> dict[str, Any]:
        """Which photos were there, and what decodes them: finding more later makes another run."""
        from ..images import decoder_name

        return {"present_ids_sha256": id_list_sha256(self._ids[self._refs >= 0]), "decoder": decoder_name()}

    def stream(self, tiles: Sequence[Tile], size: int) -> Iterator[TileInput]:
        """Each tile's pictures, a failed one replaced by a stand-in whose answer is thrown away."""
        from ..images.prefetch import prefetch

        rows = np.concatenate([np.arange(tile.start, tile.stop) for tile in tiles] or [np.empty(0, np.int64)])
        threads = os.cpu_count() or 1
        # Two tiles: one with the method, one being decoded.
        decoded = prefetch(
            lambda index: self._store.read(self._refs[rows[index]]),
            len(rows),
            threads=threads,
            depth=2 * size,
            remark=lambda index, text: self._store.remark(self._refs[rows[index]], text),
        )
        with closing(decoded):
            for tile in tiles:
                yield tile_of_images([next(decoded)[1] for _ in range(len(tile))], size)

    def close(self) -> None:
        for remark in self._store.remarks:
            log.warning("%s", remark)
        self._store.close()


class FeatureInput:
    """Features from a store, found by id; a tensor `(tile, width)` of fp16 on the method's device."""

    def __init__(self, store: FeatureStore, truth: pd.DataFrame, device: str) -> None:
        self._store = store
        self._rows = store.find(truth["id"].tolist())
        failures = store.failures
        lost = np.flatnonzero(self._rows < 0)
        self._failures = {int(row): failures.get(truth["id"].iloc[row], "missing") for row in lost}
        self._device = device

    def tile_size(self, default: int) -> int:
        return default

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

    def close(self) -> None:
        pass


def tile_of_images(images: Sequence[Pixels | Failure], size: int) -> TileInput:
    """A full tile: failures replaced by the first picture that is there, the end padded by the last."""
    from ..images import Failure

    failures = {index: image.status for index, image in enumerate(images) if isinstance(image, Failure)}
    good = [image for image in images if not isinstance(image, Failure)]
    if not good:
        return TileInput(None, failures, answerable=False)
    filled = [good[0] if isinstance(image, Failure) else image for image in images]
    return TileInput(filled + [filled[-1]] * (size - len(filled)), failures)


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

    def take(self, rows: NDArray[np.int64], inputs: Any) -> Queries:
        """The given rows as one tile for a method; a row may stand in it twice, as padding."""
        return Queries(
            key=self.key[rows],
            author_token=self.author_token[rows],
            source=[self.source[row] for row in rows],
            input=inputs,
        )
