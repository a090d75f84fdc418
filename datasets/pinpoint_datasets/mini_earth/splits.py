"""Names of pictures and people, and the splits that hang on the md5 of those names.

A trains the embedder and is the gallery, B trains the reranker, C selects and calibrates. The rules
are those for MP-16 and OSV-5M with larger shares for B and C, since mini-Earth is small: a quarter of
the photos by the md5 of the image's name, of which a quarter by the author's is C; of street view a
twelfth by the creator's md5 is C, and of the rest 18 in a hundred by the picture's are B.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .draws import Integers, below, draw

Names = NDArray[np.str_]

_FIRST_ID = {"photos": 2_000_000_000, "query-clean": 4_000_000_000, "query-noisy": 6_000_000_000}
_FIRST_STREET_ID = {"streetview": 100_000_000_000_000, "query-street": 500_000_000_000_000}


def photo_names(seed: int, table: str, count: int) -> Names:
    """`aa_bb_<id>.jpg`, as MP-16 spells them."""
    rows = np.arange(count)
    digits = _FIRST_ID[table] + rows * 41 + below(draw(seed, f"{table} id", rows), 41)
    folder = below(draw(seed, f"{table} folder", rows), 65536)
    return np.array(
        [f"{pair >> 8:02x}_{pair & 255:02x}_{digit}.jpg" for pair, digit in zip(folder, digits, strict=True)]
    )


def streetview_names(seed: int, table: str, count: int) -> Names:
    """Fifteen digits, as Mapillary's."""
    rows = np.arange(count)
    digits = (
        _FIRST_STREET_ID[table] + rows * 9_000_000_011 + below(draw(seed, f"{table} id", rows), 2**31 - 1)
    )
    return digits.astype(str)


def photographer_names(author: Integers) -> Names:
    """`<digits>@N0x`, as Flickr's."""
    digits = 10_000_000 + author * 89 + below(draw(0, "photographer", author), 89)
    return np.array([f"{digit}@N{number % 8:02d}" for digit, number in zip(digits, author, strict=True)])


def creator_names(author: Integers) -> Names:
    """Digits, as Mapillary's."""
    return (100_000_000_000 + author * 104_729 + below(draw(0, "creator name", author), 104_729)).astype(str)


def md5_number(name: str) -> int:
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16)


def split_photos(names: Iterable[str], authors: Iterable[str]) -> Names:
    """`A`, `B` or `C` of each photo, from its name exactly as spelled and its photographer."""
    return np.array([_photo(name, author) for name, author in zip(names, authors, strict=True)])


def _photo(name: str, author: str) -> str:
    if md5_number(name) % 100 < 75:
        return "A"
    return "C" if md5_number(author) % 4 == 0 else "B"


def split_streetview(names: Sequence[str] | Names, creators: Sequence[str] | Names) -> Names:
    """`A`, `B` or `C` of each street-view picture; no creator of C stands in A or B."""
    held_out = {creator: md5_number(creator) % 12 == 0 for creator in set(creators)}
    return np.array(
        [
            "C" if held_out[creator] else "B" if md5_number(name) % 100 < 18 else "A"
            for name, creator in zip(names, creators, strict=True)
        ]
    )
