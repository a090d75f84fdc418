"""Completing a feature store: every photo of a dataset through a backbone, once.

Pictures are decoded and prepared ahead in threads while the network works. It gets exactly one
tile of pictures at a time, in whole row blocks, so a feature depends neither on its neighbours nor
on its place among them, nor on where a killed process went on.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..artifacts import (
    Artifact,
    Content,
    Selection,
    Session,
    Subset,
    canonical_json,
    read_json,
)
from ..batching import Tile, WorkerShare, tiles, whole_blocks
from ..devices import embedding_context
from ..errors import DataError, PluginError, UnfinishedError
from ..images import Failure, decoder_name, find_any, remembered_pictures
from ..images.prefetch import prefetch_tiles
from ..plugins import plugin_code
from ..processes import Processes, joined_processes
from ..progress import phase
from ..types import Backbone, Context, Dataset
from .backbones import BackboneSource
from .known_features import KnownFeature, KnownFeatures
from .same_pictures import CONTENTS, DIGEST_BYTES, digest_of, encode_contents, found_by_content, stores_in
from .store import ALL_ZERO, NOT_FINITE, VERSION, FeatureStore, store_files, store_parent, write_matrix_header

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..images import ImageStore

    Prepared = Iterator[tuple[int, Any]]

SHARD_TILES = 16
"""Tiles that are committed as one; not in the key, since shards are joined in the end."""

_FEATURES = ".npy"
_FAILURES = ".failures.json"
_CONTENTS = ".contents"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedRequest:
    """A dataset, a backbone, and how and where to bring them together.

    Without a `share` all of it is embedded, by the processes of a torchrun where there are some.
    """

    dataset_name: str
    dataset: Dataset
    source: BackboneSource
    root: Path
    context: Context = field(default_factory=Context)
    subset: Subset = field(default_factory=Subset)
    share: WorkerShare | None = None
    fresh: bool = False


def complete(request: EmbedRequest) -> FeatureStore:
    """The store of the request: found, resumed, or made.

    Photos that cannot be read, and those whose feature is not finite or zero, are in the store's failures.
    The processes of a torchrun embed a part each, and the first puts the store together when all are done.
    With a `share`, only that part is embedded; whoever is last puts the store together, for the
    others who are still running. UnfinishedError is raised where nobody is left to wait for.
    """
    alone = nullcontext(Processes())
    joined = joined_processes(request.context.device) if request.share is None else alone
    with remembered_pictures(), joined as processes:
        return _complete(request, processes)


def _complete(request: EmbedRequest, processes: Processes) -> FeatureStore:
    share = request.share or WorkerShare(processes.rank, processes.count)
    # In the order of the ids, so that the store does not depend on that of the truth file.
    selection = Selection.of(request.dataset.truth(), request.subset).by_id()
    truth = selection.truth
    with request.dataset.images() as images:
        refs = find_any(images, truth["image"], f" of '{request.dataset_name}'")
        # Behind the pictures, which may go while it is fetched.
        backbone = request.source.open(request.context, fetch=True)
        spec = _spec(request, backbone, selection, images, refs)
        parent = store_parent(request.root, request.dataset_name, request.source.name)
        join = request.share is not None and share.count > 1
        artifact = processes.in_turn(
            lambda first: Artifact.begin(
                parent, "features", spec, fresh=request.fresh, join=join or not first
            )
        )

        def found() -> Path | None:
            if artifact.complete:
                return artifact.folder
            copied = None if request.fresh else _of_the_same(parent, spec, truth, refs, images)
            return None if copied is None else copied.folder

        if folder := processes.by_first(found):
            return FeatureStore.open(folder)
        with Session(artifact.folder, request.context) as session:
            with artifact.work():
                session.phase("prepare")
                _embed(artifact, request, share, backbone, truth, images, refs)
                session.phase("embed")
            processes.wait()
            if processes.first:
                artifact.finish(lambda: _assemble(artifact, request, backbone, truth))
            processes.wait()
            session.phase("store")
    return FeatureStore.open(artifact.folder)


def _spec(
    request: EmbedRequest,
    backbone: Backbone,
    selection: Selection,
    images: ImageStore,
    refs: NDArray[np.int64],
) -> dict[str, Any]:
    """Everything that changes a feature or a row, by content and never by name or place."""
    return {
        "version": VERSION,
        **selection.spec(),
        "images": {
            "pictures_sha256": images.fingerprint(selection.truth["id"], refs),
            "decoder": decoder_name(),
        },
        "backbone": dict(request.source.content(backbone)),
        "device": request.context.device.partition(":")[0],
        "dtype": request.context.dtype,
        "tile": tile_of(backbone),
    }


def _of_the_same(
    parent: Path, spec: Mapping[str, Any], truth: pd.DataFrame, refs: NDArray[np.int64], images: ImageStore
) -> FeatureStore | None:
    """A store of this spec that was made from a copy of these very pictures."""
    now = spec["images"]["pictures_sha256"]
    wanted = _but_for_pictures(spec)
    alike = [one for one in stores_in(parent) if not one.imported and _but_for_pictures(one.spec) == wanted]
    return found_by_content(alike, truth["id"].tolist(), refs, images, now)


def _but_for_pictures(spec: Mapping[str, Any]) -> bytes:
    """A spec as JSON, in which it was stored: there are no tuples in it."""
    return canonical_json({**spec, "images": {**spec["images"], "pictures_sha256": None}})


def _shards(truth: pd.DataFrame, backbone: Backbone) -> list[Tile]:
    return list(tiles(len(truth), SHARD_TILES * tile_of(backbone)))


def _embed(
    artifact: Artifact,
    request: EmbedRequest,
    share: WorkerShare,
    backbone: Backbone,
    truth: pd.DataFrame,
    images: ImageStore,
    refs: NDArray[np.int64],
) -> None:
    """Commit every shard of this process's share that is not there yet."""
    done = _finished(artifact)
    mine = [shard for shard in _shards(truth, backbone) if share.has(shard.index)]
    todo = [shard for shard in mine if shard.index not in done]
    depth = 2 * tile_of(backbone)  # one tile with the network, one being decoded
    contents = np.zeros((len(truth), DIGEST_BYTES), np.uint8)
    known = None
    if todo and not request.fresh:
        known = KnownFeatures.of(request.root, request.source.name, artifact.spec)

    def seen(row: int, data: bytes | Failure) -> bytes | Failure | KnownFeature:
        digest = digest_of(data)
        contents[row] = np.frombuffer(digest, np.uint8)
        return (known.find(digest) if known else None) or data

    prepared = prefetch_tiles(images, refs, todo, depth, backbone.prepare, seen)
    title = f"{request.source.name} of {request.dataset_name}"
    total, left = (sum(map(len, chosen)) for chosen in (mine, todo))
    with closing(prepared), phase(title, total, done=total - left) as advance:
        for shard in todo:
            features, failures = features_of(
                shard, backbone, prepared, request.source.entry.named, tile_of(backbone)
            )
            # Failures first: the features stand for "this shard is done".
            named = {str(shard.start + row): why for row, why in failures.items()}
            artifact.write_shard(shard.index, _FAILURES, canonical_json(named))
            artifact.write_shard(shard.index, _CONTENTS, contents[shard.start : shard.stop].tobytes())
            artifact.write_shard(shard.index, _FEATURES, partial(np.save, arr=features))
            advance(len(shard))
    for remark in images.remarks:
        log.warning("%s", remark)


def tile_of(backbone: Backbone) -> int:
    """Pictures in one call: those the backbone asks for, filled up to whole row blocks."""
    return whole_blocks(backbone.tile)


def features_of(
    shard: Tile, backbone: Backbone, prepared: Prepared, named: str, tile_size: int
) -> tuple[NDArray[np.float16], dict[int, str]]:
    """Features of a shard's readable photos in order, and the status of each of the others by position.

    `tile_size` is `tile_of(backbone)`, or 1 for a backbone that `takes_any_tile`.
    """
    features = np.empty((len(shard), backbone.width), np.float16)
    failures: dict[int, str] = {}
    waiting: list[tuple[int, Any]] = []
    running: tuple[list[int], Any] | None = None

    def collect() -> None:
        if running is not None:
            rows, answer = running
            half = _half(answer, (tile_size, backbone.width), named)[: len(rows)]
            features[rows] = half
            failures.update(_without_content(half, rows, named))

    def start() -> tuple[list[int], Any]:
        filled = [image for _, image in waiting]
        # Copies, for a backbone that works in place.
        filled += [copy.deepcopy(filled[-1]) for _ in range(tile_size - len(filled))]
        return [row for row, _ in waiting], backbone.features(filled)

    fix = "mend it and give the same command again to resume"
    with plugin_code(f"{named} failed; what was finished before is kept", fix):
        for row in range(len(shard)):
            image = next(prepared)[1]
            if isinstance(image, Failure):
                failures[row] = image.status
            elif isinstance(image, KnownFeature):
                features[row] = image.feature
            else:
                waiting.append((row, image))
            if len(waiting) == tile_size or (waiting and row == len(shard) - 1):
                answer = start()
                # A GPU is still at it: what is fetched now is the tile before.
                collect()
                running, waiting = answer, []
        collect()
    readable = [row for row in range(len(shard)) if row not in failures]
    return features[readable], failures


@dataclass(frozen=True)
class LiveBackbone:
    """A backbone for photos that are in no store; it is opened when first needed, its weights fetched.

    It gets its own tile of pictures, padded, so its features equal those of a store bit by bit. One that
    takes any tile gets one picture, and its features differ from a store's in last digits.
    """

    source: BackboneSource
    device: str

    @cached_property
    def backbone(self) -> Backbone:
        return self.source.open(embedding_context(self.device), fetch=True)

    @property
    def tile(self) -> int:
        return 1 if getattr(self.backbone, "takes_any_tile", False) else tile_of(self.backbone)

    def content(self) -> dict[str, Any]:
        """What the features depend on beside the pictures."""
        return {
            "backbone": dict(self.source.content(self.backbone)),
            "dtype": embedding_context(self.device).dtype,
            "tile": self.tile,
        }

    def features(self, prepared: Sequence[Any]) -> tuple[NDArray[np.float16], dict[int, str]]:
        """`features_of` the prepared pictures and failures."""
        whole = Tile(0, 0, len(prepared))
        return features_of(whole, self.backbone, enumerate(prepared), self.source.entry.named, self.tile)


def _half(answer: Any, shape: tuple[int, int], named: str) -> NDArray[np.float16]:
    """A backbone's answer as fp16 in the host's memory; what fp16 cannot hold becomes infinite."""
    if isinstance(answer, np.ma.MaskedArray):  # what is hidden would be stored
        raise PluginError(f"{named} must answer with an array or tensor", found="a masked array")
    if hasattr(answer, "cpu"):  # a tensor, narrowed before it travels
        answer = answer.half().cpu().numpy()
    with np.errstate(over="ignore"):
        half = np.asarray(answer).astype(np.float16, copy=False)
    if half.shape != shape:
        raise PluginError(
            f"{named} must answer with an array of shape {shape}",
            found=f"shape {half.shape}",
        )
    return half


def _without_content(half: NDArray[np.float16], rows: Sequence[int], named: str) -> dict[int, str]:
    """The status of those rows that hold no numbers or nothing but zeros; DataError if of several all do."""
    finite = np.isfinite(half).all(axis=1)
    zero = np.asarray(~half.any(axis=1))  # which resembles every photo alike
    if len(rows) > 1 and not (finite & ~zero).any():
        raise DataError(
            f"{named} gives no {'feature but zeros' if zero.any() else 'finite feature'} for any of "
            f"{len(rows)} photos",
            found="numbers that are zero in fp16, which holds none below 6e-8"
            if zero.any()
            else "NaN, infinity, or more than the 65,504 that fp16 holds",
            fix="check its weights; try --dtype float32",
        )
    return {
        rows[row]: ALL_ZERO if zero[row] else NOT_FINITE for row in np.flatnonzero(zero | ~finite).tolist()
    }


def _assemble(
    artifact: Artifact, request: EmbedRequest, backbone: Backbone, truth: pd.DataFrame
) -> Mapping[str, Content]:
    """The final files from all shards."""
    shards = _shards(truth, backbone)
    missing = {shard.index for shard in shards} - _finished(artifact)
    if missing:
        raise UnfinishedError(
            f"{len(shards) - len(missing)} of {len(shards)} shards are embedded; the rest is other "
            "processes' share"
        )
    failures: dict[int, str] = {}
    for shard in shards:
        read = read_json(artifact.shard_path(shard.index, _FAILURES))
        failures |= {int(row): why for row, why in read.items()}
    rows = len(truth) - len(failures)
    if not rows:
        raise DataError(
            f"none of the {len(truth)} photos of '{request.dataset_name}' could be read",
            found=f"the first is {failures[0]}",
            fix="check the pictures: pinpoint datasets verify",
        )

    def write(stream: BinaryIO) -> None:
        write_matrix_header(stream, rows, backbone.width)
        for shard in shards:
            features = np.load(artifact.shard_path(shard.index, _FEATURES), allow_pickle=False)
            stream.write(features.tobytes())

    record = {
        "dataset": request.dataset_name,
        "backbone": request.source.name,
        "rows": rows,
        "width": backbone.width,
        "failed": len(failures),
        "normalisation": "none",
        "subset": artifact.spec["subset"],
        "recipe": dict(artifact.spec),
    }
    files = [artifact.shard_path(shard.index, _CONTENTS) for shard in shards]
    contents = np.frombuffer(b"".join(path.read_bytes() for path in files), np.uint8).reshape(
        -1, DIGEST_BYTES
    )
    known = {CONTENTS: encode_contents(truth["id"].tolist(), contents)}
    return {**store_files(truth, failures, write, record), **known}


def _finished(artifact: Artifact) -> set[int]:
    """The shards of which all parts stand."""
    parts = (_FEATURES, _FAILURES, _CONTENTS)
    return set.intersection(*(artifact.finished_shards(suffix) for suffix in parts))
