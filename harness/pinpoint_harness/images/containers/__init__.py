"""Pictures opened in place: folders, zip files, tar files whole or split, never extracted."""

from .common import Failure, Skipped
from .store import ImageStore, dataset_roots

__all__ = ["Failure", "ImageStore", "Skipped", "dataset_roots"]
