"""The contract an answer meets before it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import PluginError
from ..geo import on_globe
from ..types import RADII_KM, STATUS, Candidates, Predictions

if TYPE_CHECKING:
    from ..types import Floats

_PROBABILITY_TOLERANCE = 1e-6
_SHOWN = 200
_BROKEN = {chr(code) for code in range(0xD800, 0xE000)}
"""Halves of signs, which no file can hold."""


def check_log_density(log_density: Floats, n: int) -> None:
    """Hold the densities a method gives at `n` places to its contract; PluginError names what is wrong."""
    _check_array("log_density", log_density, (n,), np.float64)
    _check_rows("log_density must be below inf, or NaN for none", ~(log_density == np.inf))


def check_predictions(predictions: Predictions, n: int) -> None:
    """Hold a method's answer to `n` queries to its contract; PluginError names what is wrong.

    A coordinate off the globe is a wrong answer, not a broken contract: see `statuses`.
    """
    if not isinstance(predictions, Predictions):
        raise PluginError("predict must return Predictions", found=type(predictions).__name__)
    _check_array("coordinates", predictions.coordinates, (n, 2), np.float64)
    if predictions.confidence is not None:
        _check_array("confidence", predictions.confidence, (n,), np.float64)
        _check_rows("confidence must be finite, or NaN for none", ~np.isinf(predictions.confidence))
    if predictions.status is not None:
        _check_status(predictions.status, predictions.coordinates)
    if predictions.candidates is not None:
        _check_candidates(predictions.candidates, n)
    if predictions.within is not None:
        _check_within(predictions.within, n)
    notes = predictions.notes
    if not isinstance(notes, tuple | list) or not all(isinstance(note, str) for note in notes):
        raise PluginError("notes must be a tuple of strings", found=repr(notes)[:_SHOWN])
    if any(char in _BROKEN for note in notes for char in note):
        raise PluginError("notes must be text that UTF-8 can hold", found=ascii(notes)[:_SHOWN])


def _check_array(name: str, array: object, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    expected = f"{name} must be a numpy array of {dtype.__name__} and shape {shape}"
    if isinstance(array, np.ma.MaskedArray):  # what is hidden would be stored
        raise PluginError(expected, found="a masked array", fix="fill it: NaN stands for none")
    if not isinstance(array, np.ndarray) or isinstance(array, np.matrix):  # whose rows are matrices
        raise PluginError(expected, found=f"{type(array).__module__}.{type(array).__name__}")
    if array.shape != shape or not np.issubdtype(array.dtype, dtype):
        raise PluginError(expected, found=f"{array.dtype} of shape {array.shape}")


def _check_rows(rule: str, kept: NDArray[np.bool_]) -> None:
    """Raise if the rule is broken in any row; `kept` is `(n,)` or `(n, k)`."""
    broken = np.flatnonzero(~kept.all(axis=tuple(range(1, kept.ndim))))
    if len(broken):
        raise PluginError(
            rule, found=f"{len(broken)} of {len(kept)} answers break it, the first is {broken[0]}"
        )


def _check_status(status: Sequence[str], coordinates: NDArray[np.float64]) -> None:
    if not isinstance(status, tuple | list | np.ndarray):
        raise PluginError("status must be a list of words", found=type(status).__name__)
    if len(status) != len(coordinates):
        raise PluginError(f"status must have {len(coordinates)} entries", found=f"{len(status)} entries")
    known = np.array([word in STATUS or str(word).startswith("unreadable: ") for word in status], dtype=bool)
    if not known.all():
        raise PluginError(
            f"status must be one of: {', '.join(STATUS)}", found=repr(status[int(np.argmin(known))])
        )
    said_ok = np.array([word == "ok" for word in status], dtype=bool)
    _check_rows(
        "an answer whose status is not ok must have NaN coordinates",
        said_ok | np.isnan(coordinates).all(axis=1),
    )


def _check_candidates(candidates: Candidates, n: int) -> None:
    if not isinstance(candidates, Candidates):
        raise PluginError("candidates must be Candidates", found=type(candidates).__name__)
    coordinates = candidates.coordinates
    k = coordinates.shape[1] if isinstance(coordinates, np.ndarray) and coordinates.ndim == 3 else 0
    _check_array("candidates.coordinates", coordinates, (n, k, 2), np.float64)
    padding = np.isnan(coordinates[..., 0]) & np.isnan(coordinates[..., 1])  # (n, k)
    _check_rows("candidates.coordinates must be places, or NaN to pad", padding | on_globe(coordinates))
    _check_rows("candidates must be padded at the end only", padding[:, 1:] >= padding[:, :-1])
    if candidates.probability is not None:
        _check_array("candidates.probability", candidates.probability, (n, k), np.float64)
        probability = np.where(padding, 0.0, candidates.probability)
        _check_rows("candidates.probability must lie in 0 to 1", (probability >= 0) & (probability <= 1))
        total = probability.sum(axis=1)
        _check_rows("candidates.probability must sum to at most 1", total <= 1 + _PROBABILITY_TOLERANCE)
    if candidates.source is not None:
        _check_array("candidates.source", candidates.source, (n, k), np.str_)
    if candidates.photo_id is not None:
        _check_array("candidates.photo_id", candidates.photo_id, (n, k), np.str_)
        named = np.zeros((n, k), dtype=bool) if candidates.source is None else candidates.source != ""
        rule = "candidates.photo_id must stand beside the source, the dataset that holds the photo"
        _check_rows(rule, named | (candidates.photo_id == ""))
    if candidates.score is not None:
        _check_array("candidates.score", candidates.score, (n, k), np.float64)
        _check_rows("candidates.score must be finite, or NaN for none", ~np.isinf(candidates.score))
    if candidates.found_by is not None:
        _check_array("candidates.found_by", candidates.found_by, (n, k), np.str_)


def _check_within(within: Floats, n: int) -> None:
    _check_array("within", within, (n, len(RADII_KM)), np.float64)
    none = np.isnan(within)
    _check_rows("within must be stated for all radii or for none", none.any(axis=1) == none.all(axis=1))
    stated = np.where(none, 0.0, within)
    _check_rows("within must lie in 0 to 1, or be NaN for none", (stated >= 0) & (stated <= 1))
    rises = np.diff(stated, axis=1) >= -_PROBABILITY_TOLERANCE
    _check_rows("within must not fall with a growing radius", rises)
