"""Lists of several lengths, taken together by their length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_PAIRS_AT_ONCE = 1 << 20
"""Of members of one list, whose distances are at hand at once."""


def equally_long(counts: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """A length, and the numbers of lists that have it, in pieces of bounded memory; empty lists in none.

    Lists of one length are computed together: a sum over a longer one, filled up, ends in other digits.
    """
    for count in np.unique(counts[counts > 0]).tolist():
        lists = np.flatnonzero(counts == count)
        step = max(1, _PAIRS_AT_ONCE // count**2)
        for start in range(0, len(lists), step):
            yield count, lists[start : start + step]
