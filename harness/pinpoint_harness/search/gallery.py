"""Row-aligned fp16 matrices as they lie in memory, on disk or on the device, surveyed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import DataError
from .exact import LARGEST_WIDTH
from .placement import HostRows, as_tensor, is_small_copy, rows_of
from .rounded import RoundedRows, rounds_to_bf16
from .rows import Rows
from .slices import Slice, own_slice
from .survey import Survey, survey

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Channel:
    """One matrix and what the survey of its rows found.

    `largest_norm` bounds the length of a row, `largest_spread` that of a row less `centre`, and
    `largest_residual` that of what rounding such a difference to bf16 takes away. `ordinal` numbers
    byte-identical rows by rank (0, 1, 2, ...), and is None if no two rows are equal. `rounded` are the
    rows for a first look in bf16.
    """

    matrix: Tensor | HostRows  # (rows, width), fp16
    largest_norm: float
    largest_spread: float
    largest_residual: float
    centre: Tensor | None  # (width,), float32; None where nothing is taken off
    ordinal: Tensor | None  # (rows,), int32
    rounded: RoundedRows

    @classmethod
    def of(cls, matrix: Tensor | HostRows, known: Survey) -> Channel:
        """A matrix and its survey, whose numbers are taken to where it is searched."""
        ordinal = known.ordinal
        if ordinal is not None and len(ordinal) != len(matrix):
            raise DataError(
                "a survey is of the matrix it stands beside", found=f"{len(ordinal)} and {len(matrix)} rows"
            )
        centre, there = (None if told is None else told.to(matrix.device) for told in (known.centre, ordinal))
        spread, residual = known.largest_spread, known.largest_residual
        rounded = RoundedRows(matrix, centre, keep=_is_kept_rounded(matrix))
        return cls(matrix, known.largest_norm, spread, residual, centre, there, rounded)

    @property
    def width(self) -> int:
        return int(self.matrix.shape[1])


@dataclass(frozen=True)
class Gallery:
    """Channels over the same rows. The fp16 values define the problem; nothing is copied.

    Of a gallery in slices (`sliced_galleries`), `channels`, `rows`, `count` and `rank` are this process's.
    """

    channels: Mapping[str, Channel]
    rows: Rows
    count: int
    device: torch.device
    rank: Tensor | None  # (count,), int64, on the device; None where the row number is the rank
    part: Slice | None = None

    @classmethod
    def of(
        cls,
        matrices: Mapping[str, NDArray[np.float16] | Tensor | HostRows],
        rows: Rows | None = None,
        surveys: Mapping[str, Survey] = MappingProxyType({}),
        *,
        whole: int | None = None,
    ) -> Gallery:
        """Survey the matrices, refusing what cannot be searched: NaN, infinity, other types, unequal rows.

        Reads every matrix once but those whose survey is given. Arrays and maps are used where they lie.
        `rows` are of all rows. Matrices are of all rows as well, of which a process that holds a slice keeps
        its own; or, of a gallery of `whole` rows, they hold `own_rows(whole)` alone.
        """
        if not matrices:
            raise DataError("a gallery has at least one channel", found="none")
        rows = rows or Rows()
        tensors = {name: _as_tensor(name, matrix) for name, matrix in matrices.items()}
        counts = {len(tensor) for tensor in tensors.values()}
        devices = {tensor.device for tensor in tensors.values()}
        if len(counts) > 1 or len(devices) > 1:
            shapes = ", ".join(f"{name} {tuple(t.shape)} on {t.device}" for name, t in tensors.items())
            raise DataError("channels have the same rows on the same device", found=shapes)
        count, device = counts.pop(), devices.pop()
        if device.type not in ("cpu", "cuda"):
            raise DataError("a gallery lies on the CPU or a CUDA device", found=str(device))
        rows.check(count if whole is None else whole)
        if (part := own_slice(count if whole is None else whole)) is not None:
            if whole is None:
                tensors = {name: rows_of(tensor, part.rows) for name, tensor in tensors.items()}
            surveys = {}  # they number the equal rows of all slices
            rows, count = rows.take(part.rows), part.stop - part.start
        rank = None if rows.rank is None else torch.from_numpy(rows.rank.astype(np.int64)).to(device)
        known = {
            name: surveys[name] if name in surveys else survey(name, tensor, rank)
            for name, tensor in tensors.items()
        }
        channels = {name: Channel.of(tensor, known[name]) for name, tensor in tensors.items()}
        return cls(channels, rows, count, device, rank, part)

    @property
    def whole(self) -> int:
        """Rows of all processes."""
        return self.count if self.part is None else self.part.whole

    def vectors(self, channel: str, rows: Tensor) -> Tensor:
        """Some of all rows of a channel, by number, `(n, width)`; every process that holds a slice asks."""
        matrix = self.channels[channel].matrix
        return matrix.index_select(0, rows) if self.part is None else self.part.taken(matrix, rows)


_UNIT_ROWS = 4096


def unit_rows(features: Tensor) -> Tensor:
    """Rows of length 1, normalised in float64 and rounded to fp16; a row of zeros stays one."""
    unit = torch.empty(features.shape, dtype=torch.float16, device=features.device)
    for start in range(0, len(features), _UNIT_ROWS):  # what is in float64 is four times as large
        exact = features[start : start + _UNIT_ROWS].double()
        norms = exact.norm(dim=1, keepdim=True)
        unit[start : start + _UNIT_ROWS] = exact.div_(norms.where(norms > 0, norms.new_ones(())))
    return unit


def _is_kept_rounded(matrix: Tensor | HostRows) -> bool:
    """Whether rows in bf16 are of use here, lie in memory, and take a small part of it."""
    if not isinstance(matrix, torch.Tensor) or matrix.device.type != "cpu":
        return False
    return rounds_to_bf16() and is_small_copy(matrix.nbytes)


def _as_tensor(name: str, matrix: NDArray[np.float16] | Tensor | HostRows) -> Tensor | HostRows:
    if matrix.ndim == 2 and matrix.shape[1] > LARGEST_WIDTH:
        raise DataError(
            f"channel '{name}' is wider than can be searched exactly",
            found=f"width {matrix.shape[1]:,}",
            fix=f"project the features to {LARGEST_WIDTH:,} dimensions or fewer",
        )
    if isinstance(matrix, HostRows):
        return matrix
    matrix = as_tensor(matrix)
    if matrix.dtype != torch.float16 or matrix.ndim != 2 or not matrix.is_contiguous() or not matrix.shape[1]:
        raise DataError(
            f"channel '{name}' is a contiguous fp16 matrix (rows, width)",
            found=f"shape {tuple(matrix.shape)}, {matrix.dtype}, strides {matrix.stride()}",
            fix="normalise in float64, round to float16, store in C order",
        )
    return matrix.detach()
