"""Which pictures a command has found so far: one that is away when it is looked for again is not missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

_seen: ContextVar[dict[tuple[str, ...], Hashes] | None] = ContextVar("pictures that were found", default=None)


@contextmanager
def remembered_pictures() -> Iterator[None]:
    """Within, every picture that is found has to be there whenever it is looked for again."""
    if _seen.get() is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def gone_since(roots: tuple[str, ...], names: pd.Series[str], is_found: NDArray[np.bool_]) -> str | None:
    """Remember what was found below some roots; a root or a name that was there before and is not now.

    By hashes of the names, eight bytes a picture.
    """
    seen = _seen.get()
    if seen is None:
        return None
    for root in {root for place in seen for root in place}:
        if not Path(root).exists():
            return root
    hashes = pd.util.hash_pandas_object(names, index=False).to_numpy()
    before = seen.get(roots, np.empty(0, np.uint64))
    gone = np.flatnonzero(~is_found & np.isin(hashes, before)) if len(before) else before
    seen[roots] = np.union1d(before, hashes[is_found])
    return str(names.iloc[int(gone[0])]) if len(gone) else None
