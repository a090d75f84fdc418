"""A training loop that can be killed and resumed, and its curve."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.progress import phase
from pinpoint_harness.training import Checkpoints, StageContext, describe
from pinpoint_harness.types import Context

from .head import Head, HeadParams

WARMUP_SHARE = 0.05
CLIP_NORM = 1.0
Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs `(b, out)` and the numbers `(b,)` of their training rows to the mean loss."""
Curve = list[dict[str, float]]


class Dropout:
    """Dropout whose choice follows from a seed alone."""

    def __init__(self, share: float, device: str) -> None:
        self._share, self._generator = share, torch.Generator(device)

    def seeded(self, seed: int) -> Dropout:
        self._generator.manual_seed(seed)
        return self

    def __call__(self, x: Tensor) -> Tensor:
        if not self._share:
            return x
        drawn = torch.rand(x.shape, generator=self._generator, device=x.device)
        return x * (drawn >= self._share) / (1 - self._share)


class Trainer:
    """A head, its optimizer, and the order in which it sees the rows."""

    def __init__(
        self, params: HeadParams, head: Head, features: Tensor, loss: Loss, context: Context
    ) -> None:
        self.head, self.params, self._loss, self._features = head.to(context.device), params, loss, features
        self._device, self._dtype = context.device, getattr(torch, context.dtype)
        self.steps_an_epoch = len(features) // params.batch
        if not self.steps_an_epoch:
            raise UsageError(
                f"a batch of {params.batch:,} is more than the {len(features):,} rows to train on",
                fix=f"--set batch={max(1, len(features) // 8)}",
            )
        self.steps = self.steps_an_epoch * params.epochs
        self._named = dict(head.named_parameters())
        matrices = [weight for weight in self._named.values() if weight.ndim > 1]
        others = [weight for weight in self._named.values() if weight.ndim == 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=params.weight_decay, fused=True)
        self._dropout = Dropout(params.dropout, context.device)
        self._order = Tensor()

    def epoch(self, epoch: int, advance: Callable[[int], object]) -> float:
        """All rows once, but for those that fill no batch; their mean loss."""
        batch, seed = self.params.batch, self.params.seed * 1_000_003
        generator = torch.Generator(self._device).manual_seed(seed + epoch)
        order = torch.randperm(len(self._features), generator=generator, device=self._device)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for place in range(self.steps_an_epoch):
            step = epoch * self.steps_an_epoch + place
            rows = order[place * batch : (place + 1) * batch]
            total += self._step(step, rows, self._dropout.seeded(seed + step))
            advance(batch)
        return total.item() / self.steps_an_epoch

    def _step(self, step: int, rows: Tensor, drop: Dropout) -> Tensor:
        with torch.autocast(
            torch.device(self._device).type, dtype=self._dtype, enabled=self._dtype != torch.float32
        ):
            outputs = self.head(self._features.index_select(0, rows).float(), drop)
        loss = self._loss(outputs.float(), rows)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch has no type for it
        torch.nn.utils.clip_grad_norm_(self._named.values(), CLIP_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self._optimizer.step()
        return loss.detach()

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine to zero."""
        warmup = max(1, round(WARMUP_SHARE * self.steps))
        if step < warmup:
            return self.params.learning_rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return self.params.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def state(self) -> dict[str, Tensor]:
        """Weights and moments by name, as a checkpoint holds them."""
        tensors = {f"model/{name}": weight.detach() for name, weight in self._named.items()}
        for name, weight in self._named.items():
            tensors |= {f"{kind}/{name}": value for kind, value in self._optimizer.state[weight].items()}
        return {name: value.contiguous().cpu() for name, value in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's state, to the last bit."""
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            weight = self._named[name]
            if kind == "model":
                weight.data.copy_(value)
            else:
                self._optimizer.state[weight][kind] = value.clone().to(weight.device)


def fit(stage_context: StageContext, trainer: Trainer, look: Callable[[Head], dict[str, float]]) -> Curve:
    """From the start or the last checkpoint to the end; a look and a checkpoint after every epoch."""
    keep, epochs, begun, curve = Checkpoints(stage_context), trainer.params.epochs, 0, Curve()
    if last := keep.last():
        begun, tensors, notes = last
        trainer.restore(tensors)
        curve = json.loads(notes["curve"])
    samples = trainer.steps_an_epoch * trainer.params.batch
    with phase("head", epochs * samples, done=begun * samples, unit="samples") as advance:
        for epoch in range(begun, epochs):
            loss = trainer.epoch(epoch, advance)
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss is not finite in epoch {epoch + 1} of {epochs}",
                    fix=f"--set learning_rate={trainer.params.learning_rate / 10:g}; the same command again "
                    "would come to the same end",
                )
            with torch.no_grad():
                curve.append({"epoch": epoch + 1, "loss": loss, **look(trainer.head)})
            if epoch + 1 < epochs:
                keep.save(epoch + 1, trainer.state(), {"curve": json.dumps(curve)})
    return curve


def head_files(head: Head, config: Mapping[str, Any], curve: Curve, **outcome: Any) -> dict[str, Content]:
    """The files of a head's stage: weights, the choices of its recipe, and the curve of the training."""
    from safetensors.torch import save

    weights = {name: value.float().cpu().contiguous() for name, value in head.state_dict().items()}
    shape = {"width": head.norm.normalized_shape[0], "out": head.out.out_features}
    return {
        "config.json": describe(config, **shape, **outcome, last=curve[-1]),
        "model.safetensors": save(weights),
        "curve.csv": curve_csv(curve),
    }


def curve_csv(curve: Curve) -> bytes:
    """The points of the curve as a table, a line each."""
    names = list(curve[-1])
    lines = [",".join(names), *(",".join(f"{row[name]:.10g}" for name in names) for row in curve)]
    return ("\n".join(lines) + "\n").encode()
