"""Row-aligned fp16 matrices as they lie in memory, on disk or on the device, surveyed once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import DataError
from .exact import LARGEST_WIDTH
from .rows import Rows
from .slices import Slice, own_slice

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_CHUNK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 26}
_MARGIN = 1.001
"""Norms are summed in float32; this covers its rounding for up to 8,000 dimensions."""


@dataclass(frozen=True)
class Channel:
    """One matrix and what the survey of its rows found.

    `largest_norm` and `largest_residual` bound, over all rows, the length of a row and of what
    rounding it to bf16 takes away. `ordinal` numbers byte-identical rows by rank (0, 1, 2, ...),
    and is None if no two rows are equal.
    """

    matrix: Tensor  # (rows, width), fp16
    largest_norm: float
    largest_residual: float
    ordinal: Tensor | None  # (rows,), int32

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
        matrices: Mapping[str, NDArray[np.float16] | Tensor],
        rows: Rows | None = None,
        *,
        whole: int | None = None,
    ) -> Gallery:
        """Survey the matrices, refusing what cannot be searched: NaN, infinity, other types, unequal rows.

        Reads every matrix once. Arrays and memory maps are used where they lie. `rows` are of all rows.
        Matrices are of all rows as well, of which a process that holds a slice keeps its own; or, of a
        gallery of `whole` rows, they hold `own_rows(whole)` alone.
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
                tensors = {name: tensor[part.rows] for name, tensor in tensors.items()}
            rows, count = rows.take(part.rows), part.stop - part.start
        rank = None if rows.rank is None else torch.from_numpy(rows.rank.astype(np.int64)).to(device)
        channels = {name: _survey(name, tensor, rank) for name, tensor in tensors.items()}
        return cls(channels, rows, count, device, rank, part)

    @property
    def whole(self) -> int:
        """Rows of all processes."""
        return self.count if self.part is None else self.part.whole

    def vectors(self, channel: str, rows: Tensor) -> Tensor:
        """Some of all rows of a channel, by number, `(n, width)`; every process that holds a slice asks."""
        matrix = self.channels[channel].matrix
        return matrix[rows] if self.part is None else self.part.taken(matrix, rows)


def unit_rows(features: Tensor) -> Tensor:
    """Rows of length 1, normalised in float64 and rounded to fp16; a row of zeros stays one."""
    exact = features.double()
    norms = exact.norm(dim=1, keepdim=True)
    unit: Tensor = (exact / norms.where(norms > 0, norms.new_ones(()))).half()
    return unit


def _as_tensor(name: str, matrix: NDArray[np.float16] | Tensor) -> Tensor:
    if isinstance(matrix, np.ndarray):
        with warnings.catch_warnings():
            # Read-only maps are wanted, and nothing here writes to a gallery.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            matrix = torch.from_numpy(matrix)
    if matrix.dtype != torch.float16 or matrix.ndim != 2 or not matrix.is_contiguous() or not matrix.shape[1]:
        raise DataError(
            f"channel '{name}' is a contiguous fp16 matrix (rows, width)",
            found=f"shape {tuple(matrix.shape)}, {matrix.dtype}, strides {matrix.stride()}",
            fix="normalise in float64, round to float16, store in C order",
        )
    if matrix.shape[1] > LARGEST_WIDTH:
        raise DataError(
            f"channel '{name}' is wider than can be searched exactly",
            found=f"width {matrix.shape[1]:,}",
            fix=f"project the features to {LARGEST_WIDTH:,} dimensions or fewer",
        )
    return matrix.detach()


def _survey(name: str, matrix: Tensor, rank: Tensor | None) -> Channel:
    norm, residual = 0.0, 0.0
    fingerprints = torch.empty(len(matrix), dtype=torch.int64, device=matrix.device)
    words = _odd_words((matrix.shape[1] + 3) // 4, matrix.device)
    step = max(1, _CHUNK_ELEMENTS[matrix.device.type] // matrix.shape[1])
    for start in range(0, len(matrix), step):
        part = matrix[start : start + step]
        exact = part.float()
        squares = torch.linalg.vector_norm(exact, dim=1)  # (step,)
        if not bool(torch.isfinite(squares).all()):
            row = start + int(torch.isfinite(squares).int().argmin())
            raise DataError(
                f"channel '{name}' holds numbers",
                found=f"NaN or infinity in row {row}",
                fix="leave rows out whose features failed; nothing can be compared with them",
            )
        norm = max(norm, float(squares.max()))
        lost = exact - exact.bfloat16().float()
        residual = max(residual, float(torch.linalg.vector_norm(lost, dim=1).max()))
        fingerprints[start : start + step] = _fingerprint(part, words)
    ordinal = _ordinals(matrix, fingerprints, rank)
    return Channel(matrix, norm * _MARGIN, residual * _MARGIN, ordinal)


def _odd_words(count: int, device: torch.device) -> Tensor:
    drawn = np.random.default_rng(20_260_604).integers(-(2**63), 2**63, size=count, dtype=np.int64) | 1
    return torch.from_numpy(drawn).to(device)


def _fingerprint(part: Tensor, words: Tensor) -> Tensor:
    """A multilinear hash of each row's bytes, modulo 2^64; equal rows have equal hashes."""
    spare = -part.shape[1] % 4
    if spare:
        part = torch.nn.functional.pad(part, (0, spare))
    if part.storage_offset() % 4 or part.data_ptr() % 8:
        part = part.clone()
    return (part.view(torch.int64) * words).sum(dim=1)


def _ordinals(matrix: Tensor, fingerprints: Tensor, rank: Tensor | None) -> Tensor | None:
    """Number the members of every group of byte-identical rows by rank.

    A group is a run of equal hashes whose rows equal its first one; a row that collides without
    being equal keeps ordinal 0, as if it were unique.
    """
    ordered, order = torch.sort(fingerprints)
    same = ordered[1:] == ordered[:-1]
    if not bool(same.any()):
        return None
    padded = torch.nn.functional.pad(same, (1, 1))
    members = order[padded[1:] | padded[:-1]]
    ranks = members if rank is None else rank[members]
    members = members[torch.argsort(ranks)]
    members = members[torch.argsort(fingerprints[members], stable=True)]  # by hash, then by rank
    _, run = torch.unique_consecutive(fingerprints[members], return_inverse=True)
    starts = torch.searchsorted(run, torch.arange(int(run[-1]) + 1, device=run.device))
    equal = torch.empty(len(members), dtype=torch.bool, device=matrix.device)
    step = max(1, _CHUNK_ELEMENTS[matrix.device.type] // matrix.shape[1])
    for at in range(0, len(members), step):
        piece = slice(at, at + step)
        leaders = members[starts[run[piece]]]
        equal[piece] = (matrix[members[piece]] == matrix[leaders]).all(dim=1)
    seen = equal.cumsum(0)
    ordinal = torch.zeros(len(matrix), dtype=torch.int32, device=matrix.device)
    ordinal[members] = torch.where(equal, seen - seen[starts[run]], 0).int()
    return ordinal
