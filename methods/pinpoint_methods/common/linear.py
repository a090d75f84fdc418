"""A linear layer whose outputs do not depend on where in memory a row begins."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

ALIGNED = 4
"""Floats to which the beginning of a row is aligned."""


class AlignedLinear(nn.Linear):
    """`nn.Linear` with the same bits for equal rows at every place of a tile.

    With fewer than 12 outputs some processors take one dot product per output, which sums the first
    terms apart where a row does not begin at a multiple of 16 bytes (measured: 2 to 11 outputs of 5
    and more inputs, at any number of rows). Where a query's rows are no multiple of 4 numbers, the
    inputs are filled up with zeros.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`(n, ..., in)` to `(n, ..., out)`; the first axis counts the queries."""
        spare = -self.in_features % ALIGNED
        if not spare or x.shape[1:].numel() % ALIGNED == 0:
            return super().forward(x)
        return functional.linear(
            functional.pad(x, (0, spare)), functional.pad(self.weight, (0, spare)), self.bias
        )
