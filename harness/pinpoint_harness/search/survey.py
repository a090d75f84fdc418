"""What a search must know of a matrix beforehand, found in one reading and kept beside it if one likes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import ArtifactError, DataError
from ..reading import reading

if TYPE_CHECKING:
    from torch import Tensor

    from .placement import HostRows

_CHUNK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 26}
_CENTRE_ROWS = 256
"""The mean of the first so many is taken off all: any vector would do, one near them does best."""

_MARGIN = 1.001
"""Norms are summed in float32; this covers its rounding for up to 8,000 dimensions."""


@dataclass(frozen=True)
class Survey:
    """Bounds of a matrix and its equal rows, as `Channel` has them."""

    largest_norm: float
    largest_spread: float
    largest_residual: float
    centre: Tensor | None  # (width,), float32
    ordinal: Tensor | None  # (rows,), int32

    def to_bytes(self) -> bytes:
        """As a file that `read` reads."""
        stream = io.BytesIO()
        ordinal = np.empty(0, np.int32) if self.ordinal is None else self.ordinal.cpu().numpy()
        centre = np.empty(0, np.float32) if self.centre is None else self.centre.cpu().numpy()
        bounds = np.array([self.largest_norm, self.largest_residual, self.largest_spread])
        np.savez(stream, bounds=bounds, ordinal=ordinal, centre=centre)
        return stream.getvalue()

    @classmethod
    def read(cls, path: Path) -> Survey:
        with reading(path, ArtifactError), np.load(path, allow_pickle=False) as found:
            norm, residual, *spread = found["bounds"].tolist()
            ordinal = found["ordinal"]
            # Surveys of before took nothing off their rows.
            centre = found["centre"] if spread else np.empty(0, np.float32)
        known = [torch.from_numpy(array) if len(array) else None for array in (centre, ordinal)]
        return cls(norm, spread[0] if spread else norm, residual, *known)


class Surveyor:
    """Takes the rows of a matrix in order, a part at a time, and tells their survey in the end."""

    def __init__(self, name: str, rows: int, width: int, device: torch.device | str = "cpu") -> None:
        self._name, self._next = name, 0
        self._norm = self._spread = self._residual = 0.0
        self._centre: Tensor | None = None
        self._fingerprints = torch.empty(rows, dtype=torch.int64, device=device)
        self._words = _odd_words((width + 3) // 4, self._fingerprints.device)
        self.step = max(1, _CHUNK_ELEMENTS[self._fingerprints.device.type] // width)

    def add(self, rows: Tensor) -> None:
        """The next rows, `(n, width)` fp16; DataError for what cannot be searched."""
        for start in range(0, len(rows), self.step):
            self._add(rows[start : start + self.step])

    def _add(self, part: Tensor) -> None:
        exact = part.float()
        squares = torch.linalg.vector_norm(exact, dim=1)  # (step,)
        if not bool(torch.isfinite(squares).all()):
            row = self._next + int(torch.isfinite(squares).int().argmin())
            raise DataError(
                f"channel '{self._name}' holds numbers",
                found=f"NaN or infinity in row {row}",
                fix="leave rows out whose features failed; nothing can be compared with them",
            )
        self._norm = max(self._norm, float(squares.max()))
        if self._centre is None:
            self._centre = exact[:_CENTRE_ROWS].mean(dim=0)
        exact -= self._centre
        self._spread = max(self._spread, float(torch.linalg.vector_norm(exact, dim=1).max()))
        lost = exact - exact.bfloat16().float()
        self._residual = max(self._residual, float(torch.linalg.vector_norm(lost, dim=1).max()))
        self._fingerprints[self._next : self._next + len(part)] = _fingerprint(part, self._words)
        self._next += len(part)

    def survey(self, fetch: Callable[[Tensor], Tensor], rank: Tensor | None = None) -> Survey:
        """What was found; `fetch` gives rows by their numbers, to tell equal ones from others."""
        ordinal = _ordinals(fetch, self._fingerprints, rank, self.step)
        norm, spread, residual = (bound * _MARGIN for bound in (self._norm, self._spread, self._residual))
        return Survey(norm, spread, residual, self._centre, ordinal)


def survey(name: str, matrix: Tensor | HostRows, rank: Tensor | None = None) -> Survey:
    """Read a whole matrix once."""
    surveyor = Surveyor(name, len(matrix), matrix.shape[1], matrix.device)
    for start in range(0, len(matrix), surveyor.step):
        surveyor.add(matrix[start : start + surveyor.step])
    return surveyor.survey(lambda rows: matrix.index_select(0, rows), rank)


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


def _ordinals(
    fetch: Callable[[Tensor], Tensor], fingerprints: Tensor, rank: Tensor | None, step: int
) -> Tensor | None:
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
    equal = torch.empty(len(members), dtype=torch.bool, device=fingerprints.device)
    for at in range(0, len(members), step):
        piece = slice(at, at + step)
        leaders = members[starts[run[piece]]]
        equal[piece] = (fetch(members[piece]) == fetch(leaders)).all(dim=1)
    seen = equal.cumsum(0)
    ordinal = torch.zeros(len(fingerprints), dtype=torch.int32, device=fingerprints.device)
    ordinal[members] = torch.where(equal, seen - seen[starts[run]], 0).int()
    return ordinal
