"""From bytes to RGB or a `Failure`: containers that are opened in place, decoding, reading ahead."""

from __future__ import annotations

from .containers import (
    Failure,
    ImageStore,
    PassingTroubleError,
    Skipped,
    dataset_roots,
    find_any,
    holds_pictures,
    remembered_pictures,
)
from .decode import decoder_name, resize

__all__ = [
    "Failure",
    "ImageStore",
    "PassingTroubleError",
    "Skipped",
    "dataset_roots",
    "decoder_name",
    "find_any",
    "holds_pictures",
    "remembered_pictures",
    "resize",
]
