"""First looks at a tile of the gallery: fast, approximate, each with a bound on how wrong it can be.

For every kernel and every pair,

    |approximate + offset[query] - exact| <= error[query] + relative * |approximate|

`error` covers the rounding of the inputs (by Cauchy-Schwarz from the true residuals) and of the
float32 accumulation in whatever order; `relative` covers the rounding of the output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import torch

from .rounded import rounds_to_bf16

if TYPE_CHECKING:
    from torch import Tensor

    from .gallery import Channel

_WIDENED_ELEMENTS = 1 << 17
"""fp16 rows are widened in pieces that stay in the second-level cache."""


class Kernel(ABC):
    """Scores of one batch of queries against consecutive rows of one channel."""

    dtype: ClassVar[torch.dtype] = torch.float32
    relative: ClassVar[float] = 0.0
    accumulation: ClassVar[float] = 2.0**-23
    """Twice the rounding of one float32 addition, for what processors do beside IEEE 754."""

    def __init__(self, channel: Channel, queries: Tensor) -> None:
        self.channel = channel
        self.queries = queries  # (n, width), float32 with fp16 values
        self.offset = torch.zeros(len(queries), dtype=torch.float64, device=queries.device)
        lengths = torch.linalg.vector_norm(queries.double(), dim=1)
        steps = (channel.width + 4) * self.accumulation
        self.error = self.input_error(lengths) + 1.1 * steps * lengths * channel.largest_norm

    def input_error(self, lengths: Tensor) -> Tensor:
        """What rounding queries and rows to the kernel's type can change in a score."""
        return torch.zeros_like(lengths)

    @abstractmethod
    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the scores of rows `start` to `stop` into `out`, `(stop - start, n)`."""


class Single(Kernel):
    """float32 throughout: for any processor, and for queries that a coarser look cannot settle."""

    def __init__(self, channel: Channel, queries: Tensor) -> None:
        super().__init__(channel, queries)
        rows = max(1, _WIDENED_ELEMENTS // channel.width)
        self._wide = torch.empty((rows, channel.width), dtype=torch.float32)

    def input_error(self, lengths: Tensor) -> Tensor:
        return 2.01 * _float32_rounding() * lengths * self.channel.largest_norm

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        step, queries = len(self._wide), self.queries.T
        for rows, piece in zip(
            torch.split(self.channel.matrix[start:stop], step), torch.split(out, step), strict=True
        ):
            wide = self._wide if len(rows) == step else self._wide[: len(rows)]
            torch.mm(wide.copy_(rows), queries, out=piece)


class BFloat(Kernel):
    """bf16 tiles: eight times the arithmetic of float32 where the processor has them.

    torch has no bf16 product with float32 output on a CPU, so the output is rounded as well. Features of
    a network have much in common, and rounding errs by a share of the whole: the centre is taken off the
    rows first, which changes all of a query's scores alike.
    """

    dtype = torch.bfloat16
    relative = 2.0**-8 * 1.01  # 8 significant bits: half a unit in the last place

    def __init__(self, channel: Channel, queries: Tensor) -> None:
        super().__init__(channel, queries)
        if channel.centre is not None:
            self.offset = queries.double() @ channel.centre.double()
        # A product with one column is another routine, which not every torch adds up in float32.
        self._queries = queries.bfloat16().expand(max(2, len(queries)), -1)
        self._space = channel.rounded.space()

    def input_error(self, lengths: Tensor) -> Tensor:
        rounded = self.queries.bfloat16().double()
        lost = torch.linalg.vector_norm(self.queries.double() - rounded, dim=1)
        longest = self.channel.largest_spread + self.channel.largest_residual
        total: Tensor = 1.001 * (lost * longest + lengths * self.channel.largest_residual)
        return total

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        for first, rows in self.channel.rounded.parts(start, stop, self._space):
            part = out[first - start : first - start + len(rows)]
            if len(self.queries) > 1:
                torch.mm(rows, self._queries.T, out=part)
            else:
                part.copy_((rows @ self._queries.T)[:, :1])


class Half(Kernel):
    """One query's products straight from fp16 rows: nothing is widened, so the rows are read once.

    torch gives fp16 for them, so the output is rounded as well, to 11 significant bits and to 2^-24.
    """

    dtype = torch.float16
    relative = 2.0**-11 * 1.01

    def __init__(self, channel: Channel, queries: Tensor) -> None:
        super().__init__(channel, queries)
        self._query = queries[0].half()

    def input_error(self, lengths: Tensor) -> Tensor:
        return torch.full_like(lengths, 2.0**-25)  # of outputs below 2^-14

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        torch.mv(self.channel.matrix[start:stop], self._query, out=out[:, 0])

    @staticmethod
    def serves(channel: Channel, queries: Tensor) -> bool:
        """For one query, on a CPU where torch adds in float32, unless a score could be beyond fp16."""
        if len(queries) != 1 or queries.device.type != "cpu" or not _adds_halves_in_float32():
            return False
        return channel.largest_norm * float(torch.linalg.vector_norm(queries)) < _LARGEST_HALF


class Cuda(Kernel):
    """fp16 tensor cores with float32 accumulation and output."""

    accumulation = 2.0**-21
    """Tensor cores truncate where IEEE 754 rounds, and align products in groups."""

    def __init__(self, channel: Channel, queries: Tensor) -> None:
        super().__init__(channel, queries)
        self._queries = queries.half()

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        settings = torch.backends.cuda.matmul
        before = settings.allow_fp16_reduced_precision_reduction
        settings.allow_fp16_reduced_precision_reduction = False
        try:
            torch.mm(self.channel.matrix[start:stop], self._queries.T, out_dtype=torch.float32, out=out)
        finally:
            settings.allow_fp16_reduced_precision_reduction = before


@cache
def _adds_halves_in_float32() -> bool:
    """Whether products of fp16 with a vector are added up in float32, which not every torch does everywhere.

    In fp16 4,096 summands of 2^-12 would come to less than 1, for want of digits.
    """
    ones = torch.full((3, 1 << 12), 2.0**-6, dtype=torch.float16)
    return torch.mv(ones, ones[0]).tolist() == [1.0] * 3


def _float32_rounding() -> float:
    """What a process that allows coarser float32 products lets oneDNN round their inputs to."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    setting = getattr(matmul, "fp32_precision", None) or torch.get_float32_matmul_precision()
    return {"bf16": 2.0**-8, "medium": 2.0**-8, "tf32": 2.0**-11, "high": 2.0**-11}.get(setting, 0.0)


_LARGEST_HALF = 60_000.0

_FEW_QUERIES = 16
"""Up to so many in all, rounding the gallery to bf16 costs more than bf16 saves."""


def choose(channel: Channel, queries: Tensor) -> Kernel:
    """The fastest kernel for so many queries here; the answer does not depend on which it is."""
    on_cpu = queries.device.type == "cpu"
    if on_cpu and rounds_to_bf16() and channel.rounded.queries(len(queries)) > _FEW_QUERIES:
        return BFloat(channel, queries)
    if Half.serves(channel, queries):
        return Half(channel, queries)
    return rescoring_kernel(channel, queries)


def rescoring_kernel(channel: Channel, queries: Tensor) -> Kernel:
    """The kernel of least error, for few queries and for those that a coarser look leaves open."""
    return Cuda(channel, queries) if queries.device.type == "cuda" else Single(channel, queries)
