"""Exact nearest rows by inner product, and nearest places on Earth.

    gallery = Gallery.of({"image": image_fp16, "gps": gps_fp16}, Rows(rank=..., author_token=..., xyz=...))
    found = search(gallery, {"image": queries, "gps": queries}, {"image": 8, "gps": 2}, Exclusion(...))
    found["image"].rows  # (queries, 8), -1 where nothing is left

What is found never depends on the batch, the tile, the number of threads, how the gallery is
ordered, nor on the device: scores are exact, and ties go to the lower rank.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import search as search
    from .exclusion import Exclusion as Exclusion
    from .gallery import Gallery as Gallery
    from .gallery import unit_rows as unit_rows
    from .placement import FreeMemory as FreeMemory
    from .placement import HostRows as HostRows
    from .placement import place as place
    from .result import Hits as Hits
    from .result import SearchResult as SearchResult
    from .rows import Rows as Rows
    from .rows import xyz_of as xyz_of
    from .slices import own_rows as own_rows
    from .support import SupportIndex as SupportIndex
    from .support import mask_support as mask_support
    from .survey import Survey as Survey
    from .survey import Surveyor as Surveyor

_HOMES = {
    "engine": ("search",),
    "exclusion": ("Exclusion",),
    "gallery": ("Gallery", "unit_rows"),
    "placement": ("FreeMemory", "HostRows", "place"),
    "result": ("Hits", "SearchResult"),
    "rows": ("Rows", "xyz_of"),
    "slices": ("own_rows",),
    "survey": ("Survey", "Surveyor"),
    "support": ("SupportIndex", "mask_support"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pinpoint_harness.search' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
