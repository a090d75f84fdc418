"""Pictures opened in place: folders, zip and Parquet files, tar files whole or split, never extracted."""

from .common import Failure, Skipped, position_files_only
from .parquet import holds_pictures
from .store import ImageStore, dataset_roots, find_any

__all__ = [
    "Failure",
    "ImageStore",
    "Skipped",
    "dataset_roots",
    "find_any",
    "holds_pictures",
    "position_files_only",
]
