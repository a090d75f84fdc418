"""From bytes to RGB or a `Failure`: containers that are opened in place, decoding, reading ahead."""

from __future__ import annotations

from .containers import Failure, ImageStore, Skipped, dataset_roots
from .decode import decoder_name, exif_gps, resize

__all__ = [
    "Failure",
    "ImageStore",
    "Skipped",
    "dataset_roots",
    "decoder_name",
    "exif_gps",
    "resize",
]
