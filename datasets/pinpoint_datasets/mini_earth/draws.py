"""Random integers by counting: the same on every machine, in any order, in any number of processes.

`draw(seed, "stream", key, ...)` hashes its arguments (splitmix64), so that no draw depends on another
having been made before. Whatever decides who stands where uses integers alone; `unit` is for looks.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(words: Words) -> Words:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed


@functools.cache
def _stream(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def draw(seed: int, stream: str, *keys: ArrayLike) -> Words:
    """A 64-bit word for each combination of keys, which are integers and broadcast together."""
    start = (seed * 0x9E3779B97F4A7C15 + _stream(stream)) % 2**64
    state: Words = mix(np.array([start], np.uint64))
    for key in keys:
        words = np.atleast_1d(np.asarray(key, np.int64)).astype(np.uint64)  # wraps: -1 is the largest word
        state = mix((state ^ mix(words + _GOLDEN)) + _GOLDEN)
    return state


def below(words: Words, limit: ArrayLike) -> Integers:
    """Integers in [0, limit), limit up to 2^31: the word's upper half, scaled."""
    scaled = (words >> np.uint64(32)) * np.asarray(limit, np.int64).astype(np.uint64)
    return (scaled >> np.uint64(32)).astype(np.int64)


def bell(seed: int, stream: str, *keys: ArrayLike, half_width: ArrayLike) -> Integers:
    """The sum of four draws about 0, within 2 half widths; its standard deviation is 0.58 of one."""
    sides = np.asarray(half_width, np.int64)
    return sum(below(draw(seed, stream, *keys, part), sides + 1) for part in range(4)) - 2 * sides


def pick(words: Words, cumulative: Integers) -> Integers:
    """Positions drawn by weight, from the running total of integer weights."""
    return np.searchsorted(cumulative, below(words, cumulative[-1]), side="right").astype(np.int64)


def isqrt(values: Integers) -> Integers:
    """Whole square roots of integers up to 2^50, exact: the rounding of the float is undone."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    root -= root * root > values
    root += (root + 1) * (root + 1) <= values
    return root


def unit(words: Words) -> NDArray[np.float32]:
    """Numbers in [0, 1) for how things look; never for where they are."""
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
