"""Which feature store answers a question: found by dataset and backbone, or completed on the spot."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts import Selection, Subset, canonical_json, safe_name, was_finished
from ..batching import WorkerShare
from ..devices import embedding_context
from ..errors import DataError, UsageError
from ..home import command
from ..images import PassingTroubleError
from ..params import train_command
from ..photo_ids import truth_hash
from ..types import Context, DataLocation
from .backbones import BackboneSource, find_backbone
from .embed import EmbedRequest, complete
from .same_pictures import made_from
from .store import FeatureStore, iter_stores, store_parent

if TYPE_CHECKING:
    import pandas as pd

    from ..plugins import Entry, Registry
    from ..types import Dataset, MethodInfo


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedGallery:
    """A gallery as it was asked for: by `name`, a dataset's or a store's folder, and where its files lie.

    `images` are folders or archives of its pictures, where they do not lie with the other files.
    """

    name: str
    dataset: str
    backbone: str
    data: str | None
    images: tuple[str, ...] = ()

    @property
    def location(self) -> DataLocation:
        """Where its files lie; the usual places where nobody said so."""
        images = tuple(Path(place) for place in self.images)
        return DataLocation(None if self.data is None else Path(self.data), images=images)


@dataclass(frozen=True)
class StoreLookup:
    """The stores under one root, as a run sees them; `weights` replaces those the backbone names.

    `gallery_images` are the pictures of galleries that have no features yet, where they do not lie with
    their datasets' other files; `locations` say of datasets where all their files lie.
    `opened` lists the galleries that were asked for, in order, for the record of a run.
    """

    registry: Registry
    root: Path
    device: str = "cpu"
    weights: str | None = None
    share: WorkerShare | None = None
    gallery_images: tuple[Path, ...] = ()
    locations: Mapping[str, DataLocation] = field(default_factory=dict)
    opened: dict[str, OpenedGallery] = field(default_factory=dict, compare=False)

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        """The features of a whole dataset by its name, or any store by its folder.

        As for the dataset that is run, a store of other pictures than the dataset has now does not count,
        if it has any here; a store that is named by its folder is taken as it is.
        """
        location = self.locations.get(name, DataLocation(data, images=self.gallery_images))
        store = self._found(name, backbone, location) or self._complete(name, backbone, location)
        place = None if location.path is None else str(location.path)
        images = tuple(map(str, location.images))
        self.opened[name] = OpenedGallery(name, store.dataset, backbone, place, images)
        return store

    def _found(self, name: str, backbone: str, location: DataLocation) -> FeatureStore | None:
        """The store of a gallery, None where it is to be made or its pictures are others now."""
        if location.path is not None or was_finished(Path(name)):
            return self.find_gallery(name, backbone, location.path)
        source = self._source(backbone)
        whole = self._whole(name, source)
        return self._choose(self._of_pictures_here(name, whole, location), source)

    def _of_pictures_here(
        self, name: str, stores: Sequence[FeatureStore], location: DataLocation
    ) -> Sequence[FeatureStore]:
        """The stores of a gallery that were made from the pictures it has now.

        All of them where neither the edition of the dataset that they were made from nor pictures are there.
        """
        if all(store.imported for store in stores):
            return stores
        try:
            dataset = self.registry.open_dataset(name, location)
            truth = dataset.truth()
        except (DataError, UsageError) as error:
            log.info("the stored features of '%s' are taken without a look at its pictures: %s", name, error)
            return stores
        edition = truth_hash(truth)
        same = [store for store in stores if store.spec["dataset_hash"] == edition]
        return _of_its_pictures(same, dataset, truth) if same else stores

    def _whole(self, name: str, source: BackboneSource) -> list[FeatureStore]:
        return [store for store in self._stores(name, source) if store.record["subset"] is None]

    def _complete(self, name: str, backbone: str, location: DataLocation) -> FeatureStore:
        source = self._source(backbone)
        try:
            dataset = self.registry.open_dataset(name, location)
            return complete(self._request(name, dataset, source, Subset()))
        except DataError as error:
            raise DataError(
                f"the gallery '{name}' has no features by '{source.name}' yet, and cannot be embedded",
                found=": ".join(part for part in (error.problem, error.found) if part),
                fix=f"{_embed_command(name, source.name, 'PATH', self.root, images='PATH')}; or name a "
                "store's folder as the gallery",
            ) from error

    def find_gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore | None:
        """What `gallery` gives without opening the dataset: None where that is still to be done."""
        source = self._source(backbone)
        if was_finished(Path(name)):
            store = FeatureStore.open(Path(name))
            if store.backbone != source.name:
                raise DataError(
                    f"the gallery '{name}' does not hold features of '{source.name}'",
                    found=f"features of '{store.backbone}'",
                    fix="embed both sides with one backbone",
                )
            return store
        if data is not None:
            return None
        return self._choose(self._whole(name, source), source)

    def queries(self, name: str, dataset: Dataset, backbone: str, selection: Selection) -> FeatureStore:
        """The features of a dataset that is run: of all of it if they are there, else of the selection.

        A store of another edition of the dataset has features of another truth, and does not count; nor
        does one of other pictures than those that the dataset has here, if it has any.
        """
        source = self._source(backbone)
        edition = truth_hash(selection.full)
        whole = [store for store in self._whole(name, source) if store.spec["dataset_hash"] == edition]
        found = self._choose(_of_its_pictures(whole, dataset, selection.full), source)
        return found or complete(self._request(name, dataset, source, selection.subset))

    def weights_of(self, backbone: str) -> str:
        """The folder or Hugging Face id of a backbone's weights; "" where it carries its own."""
        return self._source(backbone).weights

    def _source(self, backbone: str) -> BackboneSource:
        known = any(self.root.glob(f"*/{safe_name(backbone)}/*/manifest.json"))
        return find_backbone(self.registry, backbone, self.weights, imported=known)

    def _request(self, name: str, dataset: Dataset, source: BackboneSource, subset: Subset) -> EmbedRequest:
        if source.elsewhere:
            raise UsageError(
                f"there are no features of '{name}' by '{source.name}'",
                found=f"'{source.name}' is no backbone, but a name that features were imported under",
                fix=f"pinpoint stores import {name} FILE --backbone {source.name} --normalisation none",
            )
        context = embedding_context(self.device)
        return EmbedRequest(name, dataset, source, self.root, context, subset, self.share)

    def _stores(self, dataset: str, source: BackboneSource) -> list[FeatureStore]:
        parent = store_parent(self.root, dataset, source.name)
        return [
            store for store in iter_stores(self.root, dataset, source.name) if store.folder.parent == parent
        ]

    def _choose(self, stores: Sequence[FeatureStore], source: BackboneSource) -> FeatureStore | None:
        """The one that fits; none if nothing does, an error if the choice would be a guess.

        Features made here count only if the weights are those of today, as far as those are on
        this machine, and those made as they would be made now come first. Of several made with
        one recipe, while more and more photos were found, the one with most rows is taken, and of those
        the newest.
        """
        fitting = list(stores)
        if any(not store.imported for store in stores) and source.is_here():
            context = embedding_context(self.device)
            # As JSON, in which a recipe was stored: there are no tuples in it.
            wanted = canonical_json(dict(source.content(source.open(context))))
            fitting = [
                store
                for store in stores
                if store.imported or canonical_json(store.spec["backbone"]) == wanted
            ]
            made_so = [
                store
                for store in fitting
                if store.imported or (store.spec["device"], store.spec["dtype"]) == _made(context)
            ]
            fitting = made_so or fitting
        same_spec = {_without_images(store) for store in fitting}
        if len(same_spec) > 1:
            raise UsageError(
                f"there are {len(fitting)} stores of '{fitting[0].dataset}' by '{source.name}'",
                found=", ".join(f"{store.folder} ({_origin(store)})" for store in fitting),
                fix="move all but one away, or name a gallery by its folder",
            )
        return max(fitting, key=lambda store: (len(store), store.finished_ns, store.key), default=None)


@dataclass(frozen=True)
class FinishedStores:
    """The stores that a lookup finds, for a method: none is made while somebody waits for an answer.

    Through these a method sees all that it knows of the world, so `opened` says what that is.
    """

    store_lookup: StoreLookup
    method: Entry[MethodInfo]
    params: Any
    opened: dict[str, FeatureStore] = field(default_factory=dict)
    locations: dict[str, DataLocation] = field(default_factory=dict)
    """Where the files of those galleries lie, as far as the method says so."""

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        store = self.store_lookup.find_gallery(name, backbone)
        if store is None:
            trained = hasattr(self.method.load(), "stages")
            raise DataError(
                f"method '{self.method.name}' needs the features of '{name}' by '{backbone}'",
                found=f"none under '{self.store_lookup.root}'",
                fix=train_command(self.method.name, self.params, self.method.preset, self.store_lookup.root)
                if trained
                else _embed_command(name, backbone, data, self.store_lookup.root),
            )
        self.opened[store.dataset] = store
        self.locations[store.dataset] = DataLocation(data)
        return store

    def weights_of(self, backbone: str) -> str:
        return self.store_lookup.weights_of(backbone)


def _embed_command(name: str, backbone: str, data: Path | str | None, root: Path, images: str = "") -> str:
    words = ["embed", name, "--backbone", backbone]
    words += ["--data", str(data)] if data else []
    return command([*words, *(["--images", images] if images else [])], root)


def _of_its_pictures(
    stores: Sequence[FeatureStore], dataset: Dataset, truth: pd.DataFrame
) -> Sequence[FeatureStore]:
    """The stores made from the pictures that a dataset has now; all of them where it has none here.

    Features may travel without the pictures they were made from.
    """
    if all(store.imported for store in stores):
        return stores
    try:
        with dataset.images() as images:
            refs = images.find(truth["image"])
            if not (refs >= 0).any():
                return stores
            now = images.fingerprint(truth["id"], refs)
            ordered = truth["id"].tolist()
            fitting = [one for one in stores if one.imported or made_from(one, ordered, refs, images, now)]
    except PassingTroubleError:
        raise
    except DataError as error:
        words = "the stored features of '%s' are taken without a look at its pictures: %s"
        log.info(words, stores[0].dataset, error)
        return stores
    if not fitting:
        words = "features are computed anew: '%s' was made from other pictures"
        log.warning(words, stores[-1].folder)
    return fitting


def _made(context: Context) -> tuple[str, str]:
    return context.device.partition(":")[0], context.dtype


def _without_images(store: FeatureStore) -> str:
    spec: dict[str, Any] = {**store.spec, "images": None}
    return repr(sorted(spec.items(), key=lambda item: item[0]))


def _origin(store: FeatureStore) -> str:
    if store.imported:
        return "imported"
    return f"{store.spec['device']}, {store.spec['dtype']}"
