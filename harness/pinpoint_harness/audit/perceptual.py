"""Perceptual hashes: 256 bits of a picture's low frequencies, compared by how many differ.

The bits are those of `imagehash.phash(image, hash_size=16)`, the package the field uses: grey, 64 x
64 by Lanczos, the 16 x 16 lowest frequencies of the cosine transform, each against their median.
It is ten lines on libraries that are here anyway, where the package would bring a wavelet library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn

from ..artifacts import Artifact, row_table, safe_name
from ..devices import usable_cores
from ..images import Failure, decoder_name
from ..images.prefetch import prefetch
from ..photo_ids import rows_sha256
from .identical import Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 16
BITS = SIDE * SIDE
_SAMPLED = 4 * SIDE
_SHARD_ROWS = 8192
_VERSION = 1


def perceptual_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(h, w, 3)` uint8 to the hash's bits, packed into `(32,)` bytes."""
    grey = Image.fromarray(pixels).convert("L").resize((_SAMPLED, _SAMPLED), Image.Resampling.LANCZOS)
    lowest = dctn(np.asarray(grey, dtype=np.float64))[:SIDE, :SIDE]
    return np.packbits(lowest > np.median(lowest))


def hash_pictures(pictures: Pictures, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Hashes `(n, 32)` of the given rows, and which of them could be read; zeros for the others."""
    hashes = np.zeros((len(rows), BITS // 8), dtype=np.uint8)
    valid = np.zeros(len(rows), dtype=bool)
    decoded = prefetch(
        lambda index: pictures.read(int(rows[index])),
        len(rows),
        threads=usable_cores(),
        depth=64,
        transform=perceptual_hash,
    )
    for index, found in decoded:
        if not isinstance(found, Failure):
            hashes[index], valid[index] = found, True
    return hashes, valid


def hash_all(parent: Path, ids: Any, pictures: Pictures) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Hashes of every picture, kept as an artifact that resumes: a gallery is decoded once."""
    spec = {
        "hash": _VERSION,
        "rows": rows_sha256(ids),
        "pictures_sha256": pictures.store.fingerprint(pd.Series(ids), pictures.refs),
        "decoder": decoder_name(),
    }
    artifact = Artifact.begin(parent / safe_name("perceptual-hash"), "perceptual-hash", spec)

    def make(start: int, stop: int) -> NDArray[np.uint8]:
        hashes, valid = hash_pictures(pictures, np.arange(start, stop))
        return np.column_stack([hashes, valid.astype(np.uint8)])

    row_table.fill(artifact, "hashing", len(pictures), _SHARD_ROWS, make)
    table = row_table.read(artifact.folder)
    return table[:, :-1], table[:, -1].astype(bool)


def hamming(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bits that differ between rows of hashes, `(n, 32)` each."""
    differing: NDArray[np.int64] = np.unpackbits(first ^ second, axis=1).sum(axis=1, dtype=np.int64)
    return differing


def as_vectors(hashes: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Unit vectors whose inner product is 1 - 2 x differing / 256, exactly: hashes for the exact search."""
    one = np.float16(1 / SIDE)
    return np.where(np.unpackbits(hashes, axis=1), one, -one)
