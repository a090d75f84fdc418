"""Feature stores: how they are made, found, imported and exported."""

from __future__ import annotations

from .embed import EmbedRequest, LiveBackbone, complete, features_of, tile_of
from .exchange import ImportRequest, Normalisation, export_store, import_store
from .gallery import Neighbours, PhotoGallery, build_exclusion
from .lookup import FinishedStores, OpenedGallery, StoreLookup
from .store import (
    FeatureStore,
    find_store,
    iter_stores,
    store_parent,
    survey_stores,
    take_ids,
    write_matrix_header,
)

__all__ = [
    "EmbedRequest",
    "FeatureStore",
    "FinishedStores",
    "ImportRequest",
    "LiveBackbone",
    "Neighbours",
    "Normalisation",
    "OpenedGallery",
    "PhotoGallery",
    "StoreLookup",
    "build_exclusion",
    "complete",
    "export_store",
    "features_of",
    "find_store",
    "import_store",
    "iter_stores",
    "store_parent",
    "survey_stores",
    "take_ids",
    "tile_of",
    "write_matrix_header",
]
