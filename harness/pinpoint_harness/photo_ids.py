"""How the spellings of a photo's name relate: which two names mean one photo, and how truths compare.

The same Flickr photo is `47/5d/9744915126.jpg` in one file, `47_5d_9744915126.jpg` in a second and
`9744915126` in a third. Everything that joins by name (answers to truth, truth to image files)
goes through here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_IMAGE_SUFFIX = r"(?i)\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)$"
_ANY_SUFFIX = r"(?s)^(?P<stem>.*?)(?P<suffix>\.[A-Za-z0-9]{1,5})?$"
# `aa_bb_<id>` or `<id>`; and Im2GPS' `City_00003_` before `<id>_<secret>_<server>_<owner>`.
_FLICKR = (
    r"(?i)^(?:(?:[0-9a-f]{2}_[0-9a-f]{2}_)?(?P<alone>[0-9]+)"
    r"|(?:.+_[0-9]{5}_)?(?P<first>[0-9]+)_[0-9a-f]+_[0-9]+_(?P<owner>[0-9]+@N[0-9]+))$"
)
_HASH_CHUNK_ROWS = 1 << 16
_NOTHING, _COLON = (pa.scalar(text, pa.large_string()) for text in ("", ":"))

_Key = Callable[[pa.Array], pa.Array]


def flickr_id(names: pd.Series) -> pd.Series:
    """The digits that identify a Flickr photo, whatever the spelling; missing where there are none.

    Knows `aa/bb/<id>.jpg`, `aa_bb_<id>.jpg`, `<id>.jpg`, `<id>`,
    `<id>_<secret>_<server>_<owner>.jpg` and `City_00003_<id>_<secret>_<server>_<owner>.jpg`, each
    in any folder and with or without extension.
    """
    return _series(_digits(_path(_array(names))), names)


def flickr_owner(names: pd.Series) -> pd.Series:
    """The photographer's id (`78841376@N00`) where the name ends in one; missing elsewhere."""
    parts = pc.extract_regex(_stem(_base(_path(_array(names)))), _FLICKR)
    return _series(_null_if_empty(pc.struct_field(parts, "owner")), names)


def match(wanted: pd.Series, available: pd.Series) -> NDArray[np.int64]:
    """Position in `available` of each wanted name, -1 where there is none: `(n,)`.

    The rules go from strict to lenient, each for the names that are still unmatched: same path;
    same base name; `/` written as `_` or the reverse; with or without the image's extension;
    same Flickr digits. `\\` counts as `/`, the case of an extension does not count, and letters are
    the same however their accents are stored (NFC, or NFD as on a Mac). A name that one rule has
    matched is not matched again by a later one.

    Raises DataError where a rule finds two names for one, on either side: a guess would score a
    photo with another's answer.
    """
    wanted_paths, available_paths = _path(_array(wanted)), _path(_array(available))
    found = np.full(len(wanted_paths), -1, dtype=np.int64)
    taken = np.zeros(len(available_paths), dtype=np.bool_)
    for rule, wanted_key, available_key in _RULES:
        open_rows = np.flatnonzero(found < 0)
        if len(open_rows) == 0:
            break
        keys = wanted_key(wanted_paths.take(pa.array(open_rows)))
        positions = _unique_positions(
            keys, available_key(available_paths), open_rows, (wanted, available), rule
        )
        hits = positions >= 0
        hits[hits] = ~taken[positions[hits]]
        found[open_rows[hits]] = positions[hits]
        taken[positions[hits]] = True
    return found


def truth_hash(frame: pd.DataFrame) -> str:
    """SHA-256 of what is scored: equal for two files that describe the same set, whatever their order.

    `rows_sha256` of ids and coordinates, these as integers of 1e-6 degree (11 cm), rounded half to even.
    """
    micro = np.rint(frame[["latitude", "longitude"]].to_numpy(dtype=np.float64) * 1e6)  # (n, 2)
    if not np.isfinite(micro).all():
        raise DataError("a truth with missing coordinates has no hash", found="NaN or infinity")
    return rows_sha256(frame["id"], *(pa.array(axis.astype(np.int64)) for axis in micro.T))


def rows_sha256(*columns: Any) -> str:
    """SHA-256 of a set of rows, given as columns of texts or whole numbers; their order does not count.

    Before every cell stands its length in bytes, so no two sets of rows read the same, whatever signs are
    in them; a missing cell is no empty one.
    """
    cells = [_measured(_array(column)) for column in columns]
    rows = pc.binary_join_element_wise(*cells, _NOTHING)
    rows = rows.take(pc.sort_indices(rows))
    digest = hashlib.sha256(f"{len(columns)} columns\n".encode())
    for start in range(0, len(rows), _HASH_CHUNK_ROWS):
        digest.update("".join(rows.slice(start, _HASH_CHUNK_ROWS).to_pylist()).encode())
    return digest.hexdigest()


def _measured(cells: pa.Array) -> pa.Array:
    """Each text behind its length in bytes and a colon, `-` for a missing one."""
    lengths = pc.binary_length(cells).cast(pa.large_string())
    return pc.fill_null(pc.binary_join_element_wise(lengths, cells, _COLON), "-")


# Keys: two names are the same under a rule if their keys are equal; a null matches nothing.


def _path(names: pa.Array) -> pa.Array:
    """The whole name with `/` between folders and the extension in lower case."""
    slashed = pc.replace_substring(names, "\\", "/")
    if not pc.all(pc.string_is_ascii(slashed)).as_py():  # ASCII has one form only
        slashed = pc.utf8_normalize(slashed, form="NFC")
    parts = pc.extract_regex(slashed, _ANY_SUFFIX)
    suffix = pc.utf8_lower(pc.struct_field(parts, "suffix"))
    return _null_if_empty(pc.binary_join_element_wise(pc.struct_field(parts, "stem"), suffix, _NOTHING))


def _base(paths: pa.Array) -> pa.Array:
    return _null_if_empty(pc.replace_substring_regex(paths, r"(?s)^.*/", ""))


def _flat(paths: pa.Array) -> pa.Array:
    return pc.replace_substring(paths, "/", "_")


def _stem(paths: pa.Array) -> pa.Array:
    return _null_if_empty(pc.replace_substring_regex(paths, _IMAGE_SUFFIX, ""))


def _digits(paths: pa.Array) -> pa.Array:
    parts = pc.extract_regex(_stem(_base(paths)), _FLICKR)
    alone, first = (_null_if_empty(pc.struct_field(parts, name)) for name in ("alone", "first"))
    return pc.coalesce(alone, first)


def _without_extension(key: _Key) -> _Key:
    return lambda paths: _stem(key(paths))


_SPELLINGS: tuple[tuple[str, _Key, _Key], ...] = (
    ("same path", lambda paths: paths, lambda paths: paths),
    ("same base name", _base, _base),
    ("'/' written as '_'", _flat, _flat),
    ("'/' written as '_'", _flat, _base),
    ("'/' written as '_'", _base, _flat),
)
_RULES: tuple[tuple[str, _Key, _Key], ...] = (
    *_SPELLINGS,
    *(
        (f"{rule} without extension", _without_extension(one), _without_extension(other))
        for rule, one, other in _SPELLINGS
    ),
    ("same Flickr id", _digits, _digits),
)


def _unique_positions(
    keys: pa.Array,
    available_keys: pa.Array,
    rows: NDArray[np.int64],
    names: tuple[pd.Series, pd.Series],
    rule: str,
) -> NDArray[np.int64]:
    """Position of each key among the available ones, -1 for none; both sides must be unambiguous."""
    codes = pc.dictionary_encode(pa.concat_arrays([keys, available_keys])).indices
    codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    of_wanted, of_available = codes[: len(keys)], codes[len(keys) :]
    count = int(codes.max(initial=-1)) + 2  # the last slot stands for code -1
    position = np.full(count, -1, dtype=np.int64)
    valid = of_available >= 0
    position[of_available[valid]] = np.flatnonzero(valid)
    positions: NDArray[np.int64] = position[of_wanted]

    wanted, available = names
    many = np.bincount(of_available[valid], minlength=count)[of_wanted] > 1
    if many.any():
        row = int(np.argmax(many))
        same = np.flatnonzero(of_available == of_wanted[row])[:2]
        raise _ambiguous(wanted.iloc[rows[row]], [available.iloc[index] for index in same], rule)
    matched = of_wanted[positions >= 0]
    shared = np.flatnonzero(np.bincount(matched, minlength=count) > 1)
    if len(shared):
        same = rows[np.flatnonzero(of_wanted == shared[0])[:2]]
        raise _ambiguous(available.iloc[position[shared[0]]], [wanted.iloc[row] for row in same], rule)
    return positions


def _ambiguous(name: str, others: list[str], rule: str) -> DataError:
    return DataError(
        f"'{name}' could be '{others[0]}' or '{others[1]}'",
        found=f"{rule}, twice",
        fix="remove one of the two, or spell the names alike in both places",
    )


def _array(names: Any) -> pa.Array:
    """Texts as one Arrow array, a missing one as null; numbers as their digits."""
    values = names if isinstance(names, pa.Array) else pa.array(names, from_pandas=True)
    values = values.cast(pa.large_string())
    # pandas may hold text in pieces, of either width
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _null_if_empty(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(values, ""), None, values)


def _series(values: pa.Array, like: pd.Series) -> pd.Series:
    import pandas as pd

    text = pd.Series([""]).dtype  # `str`, or `object` before pandas 3
    return pd.Series(values.to_pandas().to_numpy(), index=like.index, name=like.name, dtype=text)


def hash_ids(texts: Sequence[Any] | pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """Eight hash bytes per text, 0 for a missing one: equal texts, equal tokens, nothing else.

    Of an Arrow column some thousand texts at a time become strings.
    """
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        return np.fromiter((_hash_id(text) for text in texts), dtype=np.uint64, count=len(texts))
    tokens = np.empty(len(texts), dtype=np.uint64)
    for start in range(0, len(texts), _HASH_CHUNK_ROWS):
        piece = texts.slice(start, _HASH_CHUNK_ROWS).to_pylist()
        tokens[start : start + len(piece)] = hash_ids(piece)
    return tokens


def _hash_id(text: Any) -> int:
    if not isinstance(text, str):  # None, NaN or pandas.NA: nothing is known
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
