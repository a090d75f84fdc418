"""The moving average of a model's weights along its training: what is measured and kept in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_SLOW_START = 10
"""Steps, of which the average covers a ninth at first: the weights of the start are soon forgotten."""


class WeightAverage:
    """After each step `average = d * average + (1 - d) * weights`; d rises to the decay.

    A step's weights follow the last batches as much as all batches. Their average, over about
    `1 / (1 - decay)` steps, does what a lower learning rate would do, without losing its pace.
    """

    def __init__(self, named: Mapping[str, nn.Parameter], decay: float) -> None:
        self._named, self._decay = named, decay
        self.values = {name: p.detach().clone() for name, p in named.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        decay = min(self._decay, (1 + step) / (_SLOW_START + step))
        for name, p in self._named.items():
            self.values[name].lerp_(p.detach(), 1 - decay)

    def restore(self, name: str, value: Tensor) -> None:
        """A weight's average as a checkpoint holds it."""
        self.values[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with averages in place of its weights, which come back after."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, p in self._named.items():
            kept = p.detach().clone()
            p.copy_(self.values[name])
            self.values[name] = kept
