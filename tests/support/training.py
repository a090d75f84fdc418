"""Trainings that are killed, and what they do when they are run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from pinpoint_harness.errors import TerminatedError
from pinpoint_harness.training import Checkpoints
from pinpoint_methods.common.training import Trainer


class KilledError(TerminatedError):
    """What a signal does: no boundary takes it for the fault of a plugin."""


@contextmanager
def watched_steps() -> Iterator[list[int]]:
    """The numbers of the steps that any trainer takes meanwhile."""
    steps: list[int] = []
    step = Trainer.step

    def watched(self: Trainer, number: int) -> None:
        step(self, number)
        steps.append(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", watched)
        yield steps


@contextmanager
def killed_after(checkpoints: int) -> Iterator[list[int]]:
    """Expect a training that is killed once it has saved so many checkpoints; the steps it took."""
    save, saved = Checkpoints.save, 0

    def fatal(self: Checkpoints, step: int, tensors: Mapping[str, Any], notes: Mapping[str, str]) -> None:
        nonlocal saved
        save(self, step, tensors, notes)
        saved += 1
        if saved == checkpoints:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch, watched_steps() as steps:
        patch.setattr(Checkpoints, "save", fatal)
        with pytest.raises(KilledError):
            yield steps
