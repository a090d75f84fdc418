"""Which photos are held out, by md5 of their authors."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore


def held_out_rows(store: FeatureStore, one_in: int) -> NDArray[np.bool_]:
    """Whole authors; where a photo's is unknown it trains, unless nobody's is known."""
    names = store.table["author"].to_pylist()
    if not any(isinstance(name, str) for name in names):
        names = store.table["id"].to_pylist()
    # With a word before it: a dataset may itself be cut by md5 of its authors, and lack some remainders.
    drawn = {
        name: isinstance(name, str) and md5_number(f"held out {name}") % one_in == 0 for name in set(names)
    }
    return np.fromiter((drawn[name] for name in names), dtype=bool, count=len(names))


def md5_number(text: str) -> int:
    """A number drawn by a text: evenly spread, the same everywhere."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), 16)
