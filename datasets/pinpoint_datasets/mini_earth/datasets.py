"""Mini-Earth's datasets: the field's layouts, read by the field's reader, drawn when first asked for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

from pinpoint_harness.readers import TableDataset, Truth, TruthSpec

from .archive import ensure_world, spec_of
from .infos import DEFAULT, MINI_EARTH, WORLDS, world_name
from .splits import split_photos, split_streetview

if TYPE_CHECKING:
    from pinpoint_harness.images import ImageStore

_STREETVIEW = {
    "ids": "verbatim",
    "author_names": ("creator_id",),
    "extras": ("country", "city"),
    "source": "streetview",
}


def _spec(name: str, **how: object) -> TruthSpec:
    short = name.removeprefix("mini-earth/")
    spec = TruthSpec(name, MINI_EARTH[name][1], files=(f"{short}.csv",), images=(f"{short}-*.zip",))
    return replace(spec, **how)  # type: ignore[arg-type] # the fields are those of `_STREETVIEW`


class _MiniEarth(TableDataset):
    """Where no data are named, those of its world, drawn first if they are not there."""

    world: ClassVar[str] = DEFAULT

    def read(self) -> Truth:
        self._settle()
        return super().read()

    def images(self) -> ImageStore:
        self._settle()
        return super().images()

    def _settle(self) -> None:
        if self.location.path is None:
            self.location = replace(self.location, path=ensure_world(spec_of(self.world)))


class Photos(_MiniEarth):
    """The photos of A, B and C, with a column `split` worked out from their names."""

    spec = _spec("mini-earth/photos")

    def read(self) -> Truth:
        truth = super().read()
        split = split_photos(truth.frame["image"], truth.frame["author"])
        return replace(truth, frame=truth.frame.assign(split=split))


class GalleryPhotos(Photos):
    """Split A of the photos: what a method may search."""

    spec = replace(
        Photos.spec, name="mini-earth/gallery-photos", info=MINI_EARTH["mini-earth/gallery-photos"][1]
    )

    def read(self) -> Truth:
        return _gallery(super().read())


class StreetView(_MiniEarth):
    """The street-view pictures of A, B and C, with a column `split`."""

    spec = _spec("mini-earth/streetview", **_STREETVIEW)

    def read(self) -> Truth:
        truth = super().read()
        split = split_streetview(truth.frame["image"].to_list(), truth.frame["author"].to_list())
        return replace(truth, frame=truth.frame.assign(split=split))


class GalleryStreetView(StreetView):
    """Split A of the street view: what a method may search."""

    spec = replace(
        StreetView.spec,
        name="mini-earth/gallery-streetview",
        info=MINI_EARTH["mini-earth/gallery-streetview"][1],
    )

    def read(self) -> Truth:
        return _gallery(super().read())


def _gallery(truth: Truth) -> Truth:
    return replace(truth, frame=truth.frame[truth.frame["split"] == "A"].reset_index(drop=True))


class QueryClean(_MiniEarth):
    spec = _spec("mini-earth/query-clean")


class QueryNoisy(_MiniEarth):
    spec = _spec("mini-earth/query-noisy")


class QueryStreet(_MiniEarth):
    spec = _spec("mini-earth/query-street", **_STREETVIEW)


def _world(world: str) -> SimpleNamespace:
    """The same datasets of another world, by the names of their classes."""
    classes = (Photos, GalleryPhotos, StreetView, GalleryStreetView, QueryClean, QueryNoisy, QueryStreet)
    return SimpleNamespace(**{known.__name__: _of_world(known, world) for known in classes})


def _of_world(known: type[_MiniEarth], world: str) -> type[_MiniEarth]:
    name = world_name(known.spec.name, world)
    spec = replace(known.spec, name=name, info=MINI_EARTH[name][1])
    return type(known.__name__, (known,), {"spec": spec, "world": world, "__module__": __name__})


World2, World3, World4, World5, World6, WorldV2_1, WorldV2_2, WorldV2_3, WorldV2_4 = (
    _world(world) for world in WORLDS if world != DEFAULT
)
