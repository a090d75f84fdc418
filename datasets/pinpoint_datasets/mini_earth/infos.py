"""Mini-Earth's entries in the registry; importing this imports nothing heavy."""

from __future__ import annotations

from dataclasses import replace

from pinpoint_harness.types import BackboneInfo, DatasetInfo

_SOURCE = "drawn by this package on first use"
_LICENCE = "Apache-2.0; cities: GeoNames, CC-BY-4.0; land: NOAA GLOBE, public domain"
_PROCEDURAL = "procedural pictures: results show that software works, never that an idea does"


def _info(title: str, rows: int | None, people: str, *notes: str, protocol: str = "wgs84-lt") -> DatasetInfo:
    return DatasetInfo(
        title=title,
        source=_SOURCE,
        licence=_LICENCE,
        citation="GeoNames geographical database, geonames.org",
        expected_rows=rows,
        default_protocol=protocol,
        cluster_column=people,
        notes=(*notes, _PROCEDURAL),
        procedural=True,
    )


DEFAULT_SEED, SECOND_SEED = 1, 2
"""Seeds of the worlds for development: they shaped the generator, and methods are chosen on them."""

HELD_OUT = (3, 4, 5, 6)
"""Seeds of the worlds that no choice was made on.

What worlds 3 and 4 said led to another Pinpoint, so that is measured on 5 and 6.
"""


def world_name(dataset: str, seed: int) -> str:
    """The name of a dataset in the world of another seed: `mini-earth-3/photos`."""
    return dataset.replace("mini-earth/", f"mini-earth-{seed}/")


_FIRST = {
    "mini-earth/photos": (
        "pinpoint_datasets.mini_earth.datasets:Photos",
        _info("Mini-Earth, 32,000 photos by photographers: splits A (gallery), B and C", 32_000, "AUTHOR"),
    ),
    "mini-earth/streetview": (
        "pinpoint_datasets.mini_earth.datasets:StreetView",
        _info(
            "Mini-Earth, 32,000 street-view pictures: splits A (gallery), B and C",
            32_000,
            "creator_id",
            "about a fifth of the countries have none",
            protocol="haversine-6371-lt",
        ),
    ),
    "mini-earth/gallery-photos": (
        "pinpoint_datasets.mini_earth.datasets:GalleryPhotos",
        _info("Mini-Earth, the gallery of photos: split A of mini-earth/photos", None, "AUTHOR"),
    ),
    "mini-earth/gallery-streetview": (
        "pinpoint_datasets.mini_earth.datasets:GalleryStreetView",
        _info(
            "Mini-Earth, the gallery of street view: split A of mini-earth/streetview",
            None,
            "creator_id",
            protocol="haversine-6371-lt",
        ),
    ),
    "mini-earth/query-clean": (
        "pinpoint_datasets.mini_earth.datasets:QueryClean",
        _info("Mini-Earth, 8,000 photos by photographers of their own", 8_000, "AUTHOR"),
    ),
    "mini-earth/query-noisy": (
        "pinpoint_datasets.mini_earth.datasets:QueryNoisy",
        _info(
            "Mini-Earth, 8,000 harder photos by photographers of the gallery, with planted leaks",
            8_000,
            "AUTHOR",
            "every photographer also stands in the gallery; near and exact duplicates and placeholders are "
            "listed in leaks.csv",
        ),
    ),
    "mini-earth/query-street": (
        "pinpoint_datasets.mini_earth.datasets:QueryStreet",
        _info(
            "Mini-Earth, 8,000 street-view pictures at least 1 km from those of split A",
            8_000,
            "creator_id",
            "pictures lie at least 1 km from every street-view picture of the gallery: an answer from it "
            "scores about 0 at 1 km by construction",
            protocol="haversine-6371-lt",
        ),
    ),
}


def _in_world(target: str, info: DatasetInfo, seed: int) -> tuple[str, DatasetInfo]:
    module, _, name = target.partition(":")
    what = "held out" if seed in HELD_OUT else "for development"
    title = info.title.replace("Mini-Earth", f"Mini-Earth, world {seed} ({what})", 1)
    return f"{module}:World{seed}.{name}", replace(info, title=title, version=f"{info.version}.{seed}")


MINI_EARTH = _FIRST | {
    world_name(name, seed): _in_world(target, info, seed)
    for seed in (SECOND_SEED, *HELD_OUT)
    for name, (target, info) in _FIRST.items()
}
"""Name to target and info, as the registry takes them."""

MINI = BackboneInfo(
    title="Mini-Earth's own encoder: pictures of 64 x 64 to 512 numbers, trained on pictures of no world",
    width=512,
    licence="Apache-2.0",
    training_data="pictures whose drawing attributes are random; its labels were those attributes",
)
