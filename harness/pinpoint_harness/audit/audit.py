"""The audit itself: galleries opened, compared with the queries, and one row written for each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..artifacts import Selection
from ..errors import DataError, UsageError
from ..features import store_parent
from ..photo_ids import flickr_id, hash_ids, truth_hash
from ..processes import current_processes, joined_processes, sliced_galleries
from ..search.rows import LabelIndex
from ..types import DataLocation
from .identical import Contents, Pictures, compare_features, compare_files
from .near_duplicates import GROUNDS, Found, Limits, Side, calibrate, compare, judge
from .result import SCHEMA, VERSION, Audit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..features import FeatureStore, StoreLookup
    from ..plugins import Registry
    from ..types import Dataset

log = logging.getLogger(__name__)

_NONE = -1
_IDS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class AuditRequest:
    """What to hold against what.

    `galleries` are datasets or folders of stores, each with the place of its truth and pictures;
    `training` are datasets of which only the ids are looked at. With `every_hash` whole galleries are
    hashed and not only the photos that features single out.
    """

    dataset_name: str
    dataset: Dataset
    galleries: Sequence[tuple[str, DataLocation]]
    backbone: str
    store_lookup: StoreLookup
    limits: Limits = field(default_factory=Limits)
    training: Sequence[str] = ()
    every_hash: bool = False


def audit(request: AuditRequest) -> Audit:
    """Compare every query with every gallery; features that are not in a store yet are computed first.

    The processes of a torchrun hold a slice of each gallery, and the first one looks at the pictures.
    """
    with joined_processes(request.store_lookup.device) as processes, sliced_galleries(processes):
        return _audit(request)


def _audit(request: AuditRequest) -> Audit:
    names = [name for name, _ in request.galleries]
    if not names or len(set(names)) < len(names):
        raise UsageError("an audit needs galleries, each named once", found=", ".join(names))
    truth = request.dataset.truth()
    store_lookup, backbone = request.store_lookup, request.backbone
    queries = store_lookup.queries(request.dataset_name, request.dataset, backbone, Selection.of(truth))
    stores = [store_lookup.gallery(name, backbone, place.path) for name, place in request.galleries]
    _check_widths(queries, stores)
    with ExitStack() as opened:
        own = _side(queries, truth, request.dataset, opened)
        others = [
            _side(store, *_truth_of(store_lookup.registry, store, place), opened)
            for store, (_, place) in zip(stores, request.galleries, strict=True)
        ]
        hashed = [own.pictures, *(side.pictures for side in others)]
        if request.every_hash and None in hashed:
            raise DataError(
                "hashes of every picture were asked for, and not all pictures are here",
                fix="name them with --images and --gallery-images, or leave --pixels away",
            )
        found = [
            compare(
                own,
                side,
                device=store_lookup.device,
                spot_m=request.limits.spot_m,
                every_hash=store_parent(store_lookup.root, side.store.dataset, "pixels")
                if request.every_hash
                else None,
            )
            for side in others
        ]
        contents = _contents(own, others, found)
    return _assemble(request, truth, own, others, found, contents)


def _check_widths(queries: FeatureStore, stores: Sequence[FeatureStore]) -> None:
    for store in stores:
        if store.width != queries.width:
            raise DataError(
                f"features of '{store.dataset}' do not compare with those of '{queries.dataset}'",
                found=f"widths {store.width} and {queries.width}",
                fix="embed both with one backbone",
            )


def _truth_of(
    registry: Registry, store: FeatureStore, location: DataLocation
) -> tuple[pd.DataFrame | None, Dataset | None]:
    """The dataset behind a gallery's store, for its pictures; none where it cannot be opened."""
    try:
        dataset = registry.open_dataset(store.dataset, location)
        truth = dataset.truth()
    except (DataError, UsageError) as error:
        log.warning("the pictures of the gallery '%s' are not looked at: %s", store.dataset, error.problem)
        return None, None
    if truth_hash(truth) != store.spec["dataset_hash"]:
        words = "the pictures of the gallery '%s' are not looked at: its features are of another truth file"
        log.warning(words, store.dataset)
        return None, None
    return truth, dataset


def _side(
    store: FeatureStore, truth: pd.DataFrame | None, dataset: Dataset | None, opened: ExitStack
) -> Side:
    tokens = hash_ids(store.table["author"])
    if truth is None or dataset is None:
        return Side(store, tokens, None)
    place = _rows_of(store.table["id"], truth["id"])
    named = hash_ids(pa.array(truth["author"], pa.large_string(), from_pandas=True))[place]
    # The truth of today may name photographers that the store was made without.
    tokens = np.where(place >= 0, named, tokens)
    pictures = None
    try:
        images = opened.enter_context(dataset.images())
        refs = images.find(truth["image"])
        if (refs >= 0).any():
            pictures = Pictures(images, np.where(place >= 0, refs[place], _NONE))
    except DataError as error:
        log.warning("the pictures of '%s' are not looked at: %s", store.dataset, error.problem)
    return Side(store, tokens, pictures)


def _rows_of(ids: pa.ChunkedArray, known: pd.Series[str]) -> NDArray[np.int64]:
    """The place of each id among the known ones, -1 where there is none."""
    found = pc.index_in(ids.cast(pa.large_string()), pa.array(known, pa.large_string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def _contents(own: Side, others: Sequence[Side], found: Sequence[Found]) -> Contents:
    """By the files where all of them are at hand, else by features."""
    pictures = [side.pictures for side in others if side.pictures is not None]
    if own.pictures is not None and len(pictures) == len(others):
        asked, places = own.pictures, [side.store.coordinates() for side in (own, *others)]
        return current_processes().by_first(lambda: compare_files(asked, pictures, places))
    return compare_features(own.store, [one.pairs[one.pairs["equal"]] for one in found])


def _assemble(
    request: AuditRequest,
    truth: pd.DataFrame,
    own: Side,
    others: Sequence[Side],
    found: Sequence[Found],
    contents: Contents,
) -> Audit:
    limits = request.limits
    cosine = limits.cosine
    if cosine is None:
        cosine = calibrate([one.far_cosine for one in found], contents.photos)
    pairs = pd.concat([one.pairs.assign(gallery=number) for number, one in enumerate(found)])
    # Placeholders are alike without being photos of anything.
    best = _best_pairs(judge(pairs, limits, cosine), contents)
    rows = own.store.find(truth["id"].tolist())
    by_query = _by_query(best, others).reindex(rows)  # one per row of the truth, missing without features
    known, listed = rows >= 0, np.where(rows >= 0, rows, 0)
    same = (contents.identical & ~contents.placeholder)[listed]
    columns: dict[str, Any] = {
        "id": truth["id"].to_numpy(dtype=object),
        "same_author_rows": _same_author_rows(truth, others),
        "identical_id": np.isin(_photo(truth["id"]), np.concatenate([_photo_of(s) for s in others])),
        "training_id": _training_ids(request, truth),
        "identical_bytes": same & known if contents.of_files else None,
        "placeholder": contents.placeholder[listed] & known,
        **{ground: by_query[ground].to_numpy(dtype=object) == True for ground in GROUNDS},  # noqa: E712
        **{name: by_query[name] for name in _NEAREST},
    }
    table = _with_views(columns, contents.identical[listed] & known)
    return Audit(table, _asked(request, truth, own, others, contents, cosine))


_NEAREST = ("nearest_gallery", "nearest_id", "cosine", "hamming", "distance_km")


def _best_pairs(judged: pd.DataFrame, contents: Contents) -> pd.DataFrame:
    """One pair per query, that with most grounds and then the highest cosine, and every ground it has."""
    grounds = list(GROUNDS)
    judged.loc[contents.placeholder[judged["query"]], grounds] = False
    judged["grounds"] = judged[grounds].sum(axis=1)
    ordered = judged.sort_values(["query", "grounds", "cosine", "row"], ascending=[True, False, False, True])
    best = ordered.drop_duplicates("query").set_index("query")
    best[grounds] = judged.groupby("query")[grounds].any()
    return best


def _by_query(best: pd.DataFrame, others: Sequence[Side]) -> pd.DataFrame:
    """The best pairs with the names of gallery and row."""
    best = best.assign(nearest_gallery="", nearest_id="")
    for number, side in enumerate(others):
        mine = (best["gallery"] == number).to_numpy()
        ids = side.store.table["id"].take(pa.array(best["row"].to_numpy()[mine])).to_pylist()
        best.loc[mine, "nearest_gallery"] = side.store.dataset
        best.loc[mine, "nearest_id"] = ids
    return best


def _same_author_rows(truth: pd.DataFrame, others: Sequence[Side]) -> NDArray[np.object_]:
    """Gallery rows by each query's photographer; None where nobody knows."""
    token = hash_ids(truth["author"].tolist())
    if not token.any() or not any(side.author_token.any() for side in others):
        return np.full(len(truth), None, dtype=object)
    counts = sum(LabelIndex(side.author_token).counts(token) for side in others)
    return np.asarray(counts, dtype=object)


def _training_ids(request: AuditRequest, truth: pd.DataFrame) -> NDArray[np.bool_] | None:
    if not request.training:
        return None
    listed = []
    for name in request.training:
        listed.append(_photo(request.store_lookup.registry.open_dataset(name).truth()["id"]))
    return np.isin(_photo(truth["id"]), np.concatenate(listed))


def _photo(ids: pd.Series[str]) -> NDArray[np.uint64]:
    """What photo an id means, whatever its spelling: by its Flickr digits, or the id itself."""
    return hash_ids(flickr_id(ids).fillna(ids).tolist())


def _photo_of(side: Side) -> NDArray[np.uint64]:
    ids = side.store.table["id"]
    pieces = [ids.slice(start, _IDS_AT_ONCE) for start in range(0, len(ids), _IDS_AT_ONCE)]
    return np.concatenate([_photo(pd.Series(piece.to_pylist(), dtype=str)) for piece in pieces])


def _with_views(columns: dict[str, Any], identical: NDArray[np.bool_]) -> pa.Table:
    count = len(columns["id"])
    grounds = np.logical_or.reduce([columns[ground] for ground in GROUNDS])
    near = (grounds | identical | columns["identical_id"]) & ~columns["placeholder"]
    rows = columns["same_author_rows"]
    columns |= {
        "near_duplicate": near,
        "all": np.ones(count, dtype=bool),
        "other_authors_only": [None if number is None else number == 0 for number in rows],
        "no_near_duplicates": ~near,
        "no_placeholders": ~columns["placeholder"],
    }
    arrays = [
        pa.nulls(count, kind.type) if columns[kind.name] is None else _array(columns[kind.name], kind.type)
        for kind in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return pa.array(values, from_pandas=True).cast(kind) if len(values) else pa.array([], kind)


def _asked(
    request: AuditRequest,
    truth: pd.DataFrame,
    own: Side,
    others: Sequence[Side],
    contents: Contents,
    cosine: float,
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "dataset": request.dataset_name,
        "dataset_hash": truth_hash(truth),
        "galleries": {side.store.dataset: side.store.key for side in others},
        "gallery_rows": {side.store.dataset: len(side.store) for side in others},
        "queries": own.store.key,
        "backbone": own.store.backbone,
        "limits": asdict(request.limits) | {"cosine": cosine},
        "cosine_measured": request.limits.cosine is None,
        "contents_by": "files" if contents.of_files else "features",
        "hashes_of": "nothing"
        if own.pictures is None or all(side.pictures is None for side in others)
        else "every picture"
        if request.every_hash
        else "the most similar pictures",
        "training": list(request.training),
    }
