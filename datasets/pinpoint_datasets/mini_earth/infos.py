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


DEFAULT = "mini-earth"

WORLDS = {
    DEFAULT: (1, 1),
    "mini-earth-2": (1, 2),
    "mini-earth-3": (1, 3),
    "mini-earth-4": (1, 4),
    "mini-earth-5": (1, 5),
    "mini-earth-6": (1, 6),
    "mini-earth-v2-1": (2, 1),
    "mini-earth-v2-2": (2, 2),
    "mini-earth-v2-3": (2, 3),
    "mini-earth-v2-4": (2, 4),
}
"""Version of the generator and seed of each world, by what its datasets' names begin with."""

HELD_OUT = (
    "mini-earth-3",
    "mini-earth-4",
    "mini-earth-5",
    "mini-earth-6",
    "mini-earth-v2-3",
    "mini-earth-v2-4",
)
"""Worlds that no choice was made on; the others shaped generator and methods.

What worlds 3 and 4 of version 1 said led to another Pinpoint, so that is measured on 5 and 6.
"""

SIZES = {1: (32_000, 32_000, 8_000), 2: (32_000, 48_000, 6_000)}
"""Photos, street view and queries of each set, by the version of the generator."""


def world_name(dataset: str, world: str) -> str:
    """The name of a default world's dataset in another world: `mini-earth-3/photos`."""
    return dataset.replace(DEFAULT, world, 1)


def class_path(world: str, known: str) -> str:
    """A dataset's class in the module `datasets`: the default world's, or one in another world's space."""
    return known if world == DEFAULT else f"{world_space(world)}.{known}"


def world_space(world: str) -> str:
    """`World3`, `WorldV2_1`: a name that Python takes."""
    return "World" + world.removeprefix(f"{DEFAULT}-").replace("-", "_").title()


_TABLES = ("photos", "streetview", "queries")
_STREET = {"people": "creator_id", "protocol": "haversine-6371-lt"}
_DATASETS: dict[str, tuple[str, str, str | None, dict[str, str]]] = {
    "photos": ("Photos", "{photos:,} photos by photographers: splits A (gallery), B and C", "photos", {}),
    "streetview": (
        "StreetView",
        "{streetview:,} street-view pictures: splits A (gallery), B and C",
        "streetview",
        {**_STREET, "note": "about a fifth of the countries have none"},
    ),
    "gallery-photos": ("GalleryPhotos", "the gallery of photos: split A of mini-earth/photos", None, {}),
    "gallery-streetview": (
        "GalleryStreetView",
        "the gallery of street view: split A of mini-earth/streetview",
        None,
        _STREET,
    ),
    "query-clean": ("QueryClean", "{queries:,} photos by photographers of their own", "queries", {}),
    "query-noisy": (
        "QueryNoisy",
        "{queries:,} harder photos by photographers of the gallery, with planted leaks",
        "queries",
        {
            "note": "every photographer also stands in the gallery; near and exact duplicates and "
            "placeholders are listed in leaks.csv"
        },
    ),
    "query-street": (
        "QueryStreet",
        "{queries:,} street-view pictures at least 1 km from those of split A",
        "queries",
        {
            **_STREET,
            "note": "pictures lie at least 1 km from every street-view picture of the gallery: an answer "
            "from it scores about 0 at 1 km by construction",
        },
    ),
}
"""Class, title, the size it has, and what differs from photos."""


def _of_version(version: int, title: str, size: str | None, how: dict[str, str]) -> DatasetInfo:
    sizes = dict(zip(_TABLES, SIZES[version], strict=True))
    return _info(
        f"Mini-Earth, {title.format(**sizes)}",
        None if size is None else sizes[size],
        how.get("people", "AUTHOR"),
        *(how[key] for key in ("note",) if key in how),
        protocol=how.get("protocol", "wgs84-lt"),
    )


def _in_world(info: DatasetInfo, world: str) -> DatasetInfo:
    if world == DEFAULT:
        return info
    version, seed = WORLDS[world]
    generator = f"generator {version}, " if version > 1 else ""
    role = "held out" if world in HELD_OUT else "for development"
    title = info.title.replace("Mini-Earth", f"Mini-Earth, {generator}world {seed} ({role})", 1)
    return replace(info, title=title, version=f"{version}.{seed}")


MINI_EARTH = {
    f"{world}/{name}": (
        f"pinpoint_datasets.mini_earth.datasets:{class_path(world, known)}",
        _in_world(_of_version(version, title, size, how), world),
    )
    for world, (version, _) in WORLDS.items()
    for name, (known, title, size, how) in _DATASETS.items()
}
"""Name to target and info, as the registry takes them."""

MINI = BackboneInfo(
    title="Mini-Earth's own encoder: pictures of 64 x 64 to 512 numbers, trained on pictures of no world",
    width=512,
    licence="Apache-2.0",
    training_data="pictures whose drawing attributes are random; its labels were those attributes",
)
