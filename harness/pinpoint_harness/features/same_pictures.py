"""Whether a store was made from the pictures that are here: by their stamps, else by their bytes.

A copy of a dataset whose times of change were not kept has other stamps and the same bytes. A store knows
the bytes of each of its pictures, so that a copy is read through, which decodes and computes nothing,
and only once: that it is the same is noted beside the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..artifacts import check_files, write_atomic
from ..devices import usable_cores
from ..errors import ArtifactError
from ..images import Failure
from ..progress import phase
from ..reading import reading
from .store import FeatureStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..images import ImageStore

CONTENTS = "contents.parquet"
DIGEST_BYTES = 16
NOTHING = bytes(DIGEST_BYTES)
"""In place of the digest of a picture that could not be read."""

_CHUNK = 256
_SAME = "same-pictures-"

log = logging.getLogger(__name__)


def digest_of(data: bytes | Failure) -> bytes:
    return NOTHING if isinstance(data, Failure) else hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def encode_contents(ids: Sequence[str], digests: NDArray[np.uint8]) -> bytes:
    """The file of a store that knows its pictures; `digests` is `(n, DIGEST_BYTES)`."""
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(DIGEST_BYTES), len(digests), [None, pa.py_buffer(np.ascontiguousarray(digests).data)]
    )
    stream = io.BytesIO()
    table = pa.table({"id": pa.array(ids, pa.string()), "blake2b": values})
    pq.write_table(table, stream, version="2.6", compression="zstd", use_dictionary=False)
    return stream.getvalue()


def made_from(
    store: FeatureStore, ids: Sequence[str], refs: NDArray[np.int64], images: ImageStore, now: str
) -> bool:
    """Whether a store was made from these pictures, whose fingerprint is `now`; reads them if need be."""
    noted = store.folder / f"{_SAME}{now[:32]}"
    if store.spec["images"]["pictures_sha256"] == now or noted.exists():
        return True
    read = contents_of(store)
    known = None if read is None else dict(zip(read[0], map(bytes, read[1]), strict=True))
    if known is None or known.keys() != set(ids):
        return False
    log.info("the pictures of '%s' have other times of change: their bytes are compared", store.folder)
    if not _are_alike([known[one] for one in ids], refs, images, store.dataset):
        return False
    with contextlib.suppress(ArtifactError):  # of somebody else, and looked at again the next time
        write_atomic(noted, b"")
    return True


def contents_of(store: FeatureStore) -> tuple[list[str], NDArray[np.uint8]] | None:
    """The ids that a store was made for, and the digest of each one's picture, `(n, DIGEST_BYTES)`.

    None for a store that does not know its pictures.
    """
    path = store.folder / CONTENTS
    if not path.exists():
        return None
    check_files(store.folder, [CONTENTS])
    with reading(path, ArtifactError), pq.ParquetFile(path) as file:
        table = file.read()
        digests = b"".join(table["blake2b"].to_pylist())
        return table["id"].to_pylist(), np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)


def _are_alike(known: Sequence[bytes], refs: NDArray[np.int64], images: ImageStore, name: str) -> bool:
    """Whether every picture has the bytes that are known of it; ends at the first that has not."""
    with (
        ThreadPoolExecutor(usable_cores()) as readers,
        phase(f"pictures of {name}", len(known)) as advance,
    ):
        for start in range(0, len(known), _CHUNK):
            chunk = refs[start : start + _CHUNK].tolist()
            digests = list(readers.map(lambda ref: digest_of(images.read(ref)), chunk))
            if digests != list(known[start : start + _CHUNK]):
                return False
            advance(len(chunk))
    return True


def found_by_content(
    stores: Sequence[FeatureStore], ids: Sequence[str], refs: NDArray[np.int64], images: ImageStore, now: str
) -> FeatureStore | None:
    """The first of some stores that was made from these pictures."""
    return next((store for store in stores if made_from(store, ids, refs, images, now)), None)


def stores_in(parent: Path) -> list[FeatureStore]:
    """The stores of one dataset and backbone that can be used."""
    found = []
    for manifest in sorted(parent.glob("*/manifest.json")):
        with contextlib.suppress(ArtifactError):
            found.append(FeatureStore.open(manifest.parent))
    return found
