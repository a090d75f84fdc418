"""Ids as other programs have changed them: turned into floats, or written with their quotes."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_FLOAT = re.compile(r"(-?[0-9]+)(?:\.([0-9]*))?(?:[eE]\+?([0-9]+))?")
_QUOTED = re.compile(r"""="(.*)"|b?"(.*)"|b?'(.*)'|'([0-9]+)""", re.DOTALL)
"""`"id"`, `'id'`, `b'id'` as Python writes bytes, and `="id"` and `'7` as spreadsheets keep a number text."""
_SUSPECT = r"""^(?:b?["'=]|-?[0-9]+\.[0-9]*(?:[eE]\+?[0-9]+)?$)"""
"""What either may match, looked for in millions of ids at once."""
_EXACT_BELOW = 2**53


def plain_ids(ids: pd.Series[str]) -> tuple[pd.Series[str], list[str]]:
    """Ids without blanks around them and without quotes, and floats that are whole numbers as these.

    A note says how many changed otherwise than by their blanks. Digits that were lost stay a float:
    `lost_digits` finds them.
    """
    if whole_numbers(ids) is not None:
        return ids, []
    ids = ids.str.strip()
    suspect = pc.match_substring_regex(pa.array(ids, pa.large_string()), _SUSPECT)
    doubtful = ids[suspect.to_numpy(zero_copy_only=False)]
    plain = doubtful.map(_plain)
    changed = plain[plain != doubtful]
    if changed.empty:
        return ids, []
    ids = ids.copy()
    ids[changed.index] = changed
    first = f"'{doubtful[changed.index[0]]}' as '{changed.iloc[0]}'"
    return ids, [f"{len(changed):,} of {len(ids):,} ids are read without quotes or as whole numbers: {first}"]


def whole_numbers(ids: pd.Series[str]) -> NDArray[np.int64] | None:
    """Ids all of which are written as whole numbers, `(n,)`; else None.

    Then nothing else stands in any of them, which for millions costs a tenth of looking for it.
    """
    try:
        numbers = pc.cast(pa.array(ids, from_pandas=True), pa.int64())
    except pa.ArrowInvalid:
        return None
    return None if numbers.null_count else np.asarray(numbers.to_numpy(zero_copy_only=False), np.int64)


def lost_digits(ids: pd.Series[str]) -> pd.Series[bool]:
    """Which ids are floats that no longer tell which number they were, such as 1.23457E+09."""
    return ids.str.fullmatch(r"-?[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|-?[0-9]+[eE]\+[0-9]+").astype(bool)


def lost_zeros(ids: pd.Series[str], wanted: pd.Series[str]) -> pd.Series[bool]:
    """Which ids are shorter numbers that `wanted` has with zeros before them.

    That is told only where all that is wanted are numbers of one width, some of them with zeros before.
    """
    stems = wanted.str.replace(r"\.[A-Za-z]+$", "", regex=True)
    of_one_width = stems.str.len().nunique() == 1 and stems.str.fullmatch("[0-9]+").all()
    if not of_one_width or not stems.str.startswith("0").any():
        return pd.Series(False, index=ids.index)
    width = len(stems.iloc[0])
    short = ids.str.fullmatch(f"[0-9]{{1,{width - 1}}}") if width > 1 else ids.str.fullmatch("(?!)")
    return (short & ids.str.zfill(width).isin(stems)).astype(bool)


def _plain(text: str) -> str:
    if quoted := _QUOTED.fullmatch(text):
        text = next(part for part in quoted.groups() if part is not None).strip()
    found = _FLOAT.fullmatch(text)
    if found is None or (found[2] is None and found[3] is None):
        return text
    whole, fraction, exponent = found[1], found[2] or "", int(found[3] or 0)
    rest = fraction[exponent:]
    # The digit of ones must be written: 1.23457E+09 may have been any of 10,000 numbers.
    if exponent > len(fraction) or rest.strip("0") or "." not in text:
        return text
    number = int(whole + fraction[:exponent])
    return str(number) if abs(number) < _EXACT_BELOW else text
