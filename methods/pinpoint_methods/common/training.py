"""The trainer of every trained method: AdamW under one schedule, its checkpoints, its curve and its log.

What a method adds is a subclass that gives the loss of a step and the figures of a stop. Which rows
stand in a batch, and all else that is drawn, must follow from the seed and the number of the step
alone: then a training that was killed and is resumed ends with the same bytes.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.progress import Phase, phase
from pinpoint_harness.training import Checkpoints, Processes

from .weight_average import WeightAverage

CHECK_STEPS = 50
"""Steps after which losses are read, checked and reported; reading each would stall a GPU."""

CurveRow = dict[str, float]
Curve = list[CurveRow]


@dataclass(frozen=True)
class Optimization:
    """AdamW's settings and the schedule of its learning rate over `steps`."""

    steps: int
    learning_rate: float  # the highest
    weight_decay: float  # of matrices; none on biases, norms and scalars
    beta2: float = 0.999
    warmup_share: float = 0.05  # of the steps
    clip_norm: float = 1.0  # of the gradient
    own_rates: Mapping[str, float] = field(default_factory=dict)
    """The highest rate of parameters that have one of their own, by a part of their names between dots."""
    average: float = 0.0
    """Decay of the moving average of the weights, which is measured and kept in their place; 0: none."""

    def learning_rate_at(self, step: int, highest: float | None = None) -> float:
        """Linear warm-up to `highest` or the common rate, half a cosine to zero; steps count from 0."""
        highest = self.learning_rate if highest is None else highest
        warmup = max(1, round(self.warmup_share * self.steps))
        if step < warmup:
            return highest * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return highest * 0.5 * (1 + math.cos(math.pi * progress))


class Shuffle:
    """Row numbers of each batch: every epoch has its own permutation, drawn on `device`.

    Rows that fill no batch at the end of an epoch are left out of it, or with `keep_rest` make a
    smaller one.
    """

    def __init__(self, rows: int, batch: int, seed: int, device: str, *, keep_rest: bool = False) -> None:
        self.batches = -(-rows // batch) if keep_rest else rows // batch
        if not self.batches:
            raise UsageError(
                f"a batch of {batch:,} is more than the {rows:,} rows to train on",
                fix=f"--set batch={max(1, rows // 2)}",
            )
        self._rows, self._batch, self._seed, self._device = rows, batch, seed, device
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, number: int) -> Tensor:
        """Rows `(batch,)` of the batch of this number, counted through all epochs."""
        epoch, place = divmod(number, self.batches)
        if epoch != self._epoch:
            generator = torch.Generator(self._device).manual_seed(self._seed * 1_000_003 + epoch)
            self._order = torch.randperm(self._rows, generator=generator, device=self._device)
            self._epoch = epoch
        return self._order[place * self._batch : (place + 1) * self._batch]


class Trainer(ABC):
    """A model, its optimizer, and the curve so far.

    `stops` are the steps after which the model is measured and a checkpoint is saved, the last step
    among them, and 0 where the start is measured as well; `batch` is the number of samples in a step.
    With `worth`, the weights of the stop with the highest worth are kept in `best`, the earliest of
    equal ones. Where the optimization averages weights, the averages are what is measured and kept.
    """

    rate_parameter = "learning_rate"
    """What a user sets to change the learning rate."""

    curve_name = "curve.csv"
    """The file of the curve, which is there from the first stop on."""

    def __init__(
        self,
        title: str,
        model: nn.Module,
        optimization: Optimization,
        batch: int,
        stops: Collection[int],
        *,
        worth: Callable[[CurveRow], float] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.optimization, self.steps, self.curve = optimization, optimization.steps, Curve()
        self.best: dict[str, Tensor] = {}
        self.processes = processes or Processes()
        self._title, self._model, self._batch, self._stops, self._worth = title, model, batch, stops, worth
        self.named = dict(model.named_parameters())
        self._average = WeightAverage(self.named, optimization.average) if optimization.average else None
        groups, self._rates = self._groups()
        # With a base of 1 the schedule's factor is the learning rate, unrounded by a product.
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=1.0,
            betas=(0.9, optimization.beta2),
            weight_decay=optimization.weight_decay,
            fused=True,
        )
        self._schedule = LambdaLR(self.optimizer, self._rates)
        self._device = next(iter(self.named.values())).device
        self._loss_sum: dict[str, Tensor] = {}
        self._loss_count: dict[str, int] = {}
        self._reported: dict[str, tuple[float, int]] = {}  # sum and count of the losses that were reported
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=self._device)

    def _groups(self) -> tuple[list[dict[str, Any]], list[Callable[[int], float]]]:
        """Groups of parameters and their schedules: what decays, what does not, what has its own rate."""
        rate, own = self.optimization.learning_rate_at, self.optimization.own_rates
        of = {name: next((part for part in own if part in name.split(".")), None) for name in self.named}
        common = {name: p for name, p in self.named.items() if of[name] is None}
        groups: list[dict[str, Any]] = [
            {"params": [p for name, p in common.items() if _decays(name, p)]},
            {"params": [p for name, p in common.items() if not _decays(name, p)], "weight_decay": 0.0},
        ]
        schedules: list[Callable[[int], float]] = [rate, rate]
        for part, highest in own.items():
            mine = [p for name, p in self.named.items() if of[name] == part]
            groups.append({"params": mine, "weight_decay": 0.0})
            schedules.append(partial(rate, highest=highest))
        return groups, schedules

    @abstractmethod
    def batch_loss(self, step: int) -> tuple[str, Tensor]:
        """The mean loss of a step's batch, or this process's share of it, and its name in the curve."""

    @abstractmethod
    def measure(self, step: int) -> CurveRow:
        """The row of the curve after `step` steps; called in evaluation mode and without gradients."""

    def run(self, checkpoints: Checkpoints | None = None) -> Curve:
        """Train from the start or the last checkpoint to the end; DataError for a loss that is not finite.

        A KeyboardInterrupt carries a note of the step that the same training would go on from.
        """
        begun = self._resume(checkpoints)
        if begun == 0 and 0 in self._stops:
            self._stop(0)
        total, batch = self.steps * self._batch, self._batch
        ahead = sum(stop > begun for stop in self._stops)
        with phase(self._title, total, done=begun * batch, unit="samples", pauses=ahead) as progress:
            progress.facts_follow()
            try:
                for step in range(begun, self.steps):
                    self.step(step)
                    progress(batch)
                    self._after(step + 1, progress, checkpoints)
            except KeyboardInterrupt as interrupt:
                interrupt.add_note(f"{self._title}: {self._kept(checkpoints)}")
                raise
        return self.curve

    def _after(self, step: int, progress: Phase, checkpoints: Checkpoints | None) -> None:
        """What is due after `step` steps: a check of the losses, a row of the curve, a checkpoint, a line."""
        stops = step in self._stops
        # Several processes must read losses at the same step, so the clock alone does not decide.
        if not (stops or step % CHECK_STEPS == 0 or (self.processes.count == 1 and progress.due())):
            return
        self._check_finite(checkpoints)
        figures = self._recent_losses()
        if stops:
            with progress.pace.pause():
                self._stop(step)
                if checkpoints is not None:
                    checkpoints.show(self.curve_name, curve_csv(self.curve))
                    if step < self.steps:
                        notes = {"training": self._title, "curve": json.dumps(self.curve)}
                        checkpoints.save(step, self.state(), notes)
            figures = self.curve[-1]
        if not self.processes.first:
            return
        if checkpoints is not None:
            checkpoints.metrics.add(self._title, step, step * self._batch, figures)
        if stops or progress.due():
            shown = [f"{name} {value:.4g}" for name, value in figures.items() if _is_headline(name)]
            progress.say(f"step {step:,} of {self.steps:,}", ", ".join(shown), lasting=stops)

    def step(self, step: int) -> None:
        """One batch: its loss, its gradient, one move of the weights."""
        name, loss = self.batch_loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch has no type for it
        self._sum_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.named.values(), self.optimization.clip_norm)
        self.optimizer.step()
        self._schedule.step()
        if self._average is not None:
            self._average.follow(step)
        loss = loss.detach()
        before = self._loss_sum.get(name)
        self._loss_sum[name] = loss.double() if before is None else before + loss
        self._loss_count[name] = self._loss_count.get(name, 0) + 1
        fine = torch.isfinite(loss + norm) | (self._bad_step >= 0)
        self._bad_step = torch.where(fine, self._bad_step, step)

    def mean_loss(self, name: str) -> float:
        """Mean of the losses of this name since it was last called; 0 where there was none."""
        nothing = torch.zeros((), dtype=torch.float64, device=self._device)
        total, count = self._loss_sum.pop(name, nothing), self._loss_count.pop(name, 0)
        self._reported.pop(name, None)
        return self._over_all(total, dist.ReduceOp.SUM) / max(1, count)

    def _recent_losses(self) -> CurveRow:
        """Mean loss of each name since this was last asked; what `mean_loss` gives is untouched."""
        recent: CurveRow = {}
        for name, total in self._loss_sum.items():
            value, count = self._over_all(total, dist.ReduceOp.SUM), self._loss_count[name]
            before, reported = self._reported.get(name, (0.0, 0))
            if count > reported:
                recent[name] = (value - before) / (count - reported)
            self._reported[name] = (value, count)
        return recent

    def state(self) -> dict[str, Tensor]:
        """Weights, moments and best weights by name, on the CPU, as a checkpoint holds them."""
        tensors = {f"model/{name}": p.detach() for name, p in self.named.items()}
        for name, p in self.named.items():  # a parameter that had no gradient yet has no moments
            for kind, value in self.optimizer.state.get(p, {}).items():
                tensors[f"{kind}/{name}"] = value
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        if self._average is not None:
            tensors |= {f"average/{name}": value for name, value in self._average.values.items()}
        return {name: value.contiguous().cpu() for name, value in tensors.items()}

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Take up the state that `state` gave after `step` steps, to the last bit."""
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "best":
                self.best[name] = value
            elif kind == "average":
                assert self._average is not None
                self._average.restore(name, value)
            elif kind == "model":
                self.named[name].data.copy_(value)
            else:
                p = self.named[name]
                self.optimizer.state[p][kind] = value.clone().to(p.device)
        self._schedule = LambdaLR(self.optimizer, self._rates, last_epoch=step - 1)

    def _resume(self, checkpoints: Checkpoints | None) -> int:
        """The steps done before; a checkpoint of another training in the same stage does not count."""
        last = None if checkpoints is None else checkpoints.last()
        if last is None or last[2].get("training") != self._title:
            return 0
        step, tensors, notes = last
        self.restore(step, tensors)
        self.curve = json.loads(notes["curve"])
        return step

    def _stop(self, step: int) -> None:
        self._model.eval()
        with torch.no_grad(), self.averaged():
            row = self.measure(step)
            self.keep_best(row)
        self._model.train()
        self.curve.append(row)

    def keep_best(self, row: CurveRow) -> None:
        """Keep the weights of a point that is worth more than all points of the curve before it."""
        if self._worth and (not self.best or self._worth(row) > max(map(self._worth, self.curve))):
            self.best = self.weights()

    def weights(self) -> dict[str, Tensor]:
        """The model as it is, on the CPU."""
        return {name: value.clone().cpu() for name, value in self._model.state_dict().items()}

    def averaged(self) -> AbstractContextManager[None]:
        """The model with its averaged weights meanwhile, where there are any."""
        return nullcontext() if self._average is None else self._average.in_place()

    def _check_finite(self, checkpoints: Checkpoints | None) -> None:
        bad = int(self._over_all(self._bad_step.double(), dist.ReduceOp.MAX))
        if bad < 0:
            return
        raise DataError(
            f"the loss is not finite at step {bad:,} of {self.steps:,}",
            found=f"the last good state is {self._last_state(checkpoints)}",
            fix=f"--set {self.rate_parameter}={self.optimization.learning_rate / 10:g}; the same command "
            "again would come to the same end",
        )

    def _kept(self, checkpoints: Checkpoints | None) -> str:
        return f"of {self.steps:,} steps it goes on from {self._last_state(checkpoints)}"

    @staticmethod
    def _last_state(checkpoints: Checkpoints | None) -> str:
        last = None if checkpoints is None else checkpoints.last()
        return f"'{checkpoints.path(last[0])}', of step {last[0]:,}" if checkpoints and last else "the start"

    def _sum_gradients(self) -> None:
        """Each process has the gradient of its share of the loss: the whole is their sum."""
        if self.processes.count == 1:
            return
        gradients = [p.grad for p in self.named.values() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def _over_all(self, value: Tensor, how: Any) -> float:
        """The sum or maximum over all processes."""
        if self.processes.count > 1:
            value = value.clone()
            dist.all_reduce(value, how)
        return value.item()


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1


def _is_headline(name: str) -> bool:
    """Whether a figure stands in a line of the log: losses, and accuracy at 25 km or as a mean."""
    return "loss" in name or name in ("mean", "25km") or name.endswith("_25km")


def curve_csv(curve: Curve) -> bytes:
    """The points of the curve as a table, a line each."""
    names = list(curve[-1])
    lines = [",".join(names), *(",".join(f"{row[name]:.10g}" for name in names) for row in curve)]
    return ("\n".join(lines) + "\n").encode()
