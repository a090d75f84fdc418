"""Pictures opened in place: folders, zip and Parquet files, tar files whole or split, never extracted."""

from .common import Failure, Skipped, is_passing, position_files_only
from .parquet import holds_pictures
from .sightings import remembered_pictures
from .store import ImageStore, PassingTroubleError, dataset_roots, find_any, unreadable_now

__all__ = [
    "Failure",
    "ImageStore",
    "PassingTroubleError",
    "Skipped",
    "dataset_roots",
    "find_any",
    "holds_pictures",
    "is_passing",
    "position_files_only",
    "remembered_pictures",
    "unreadable_now",
]
