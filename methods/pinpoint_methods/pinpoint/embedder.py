"""Training the towers: features that stay where the device is, and a loop one can stop and go on with.

A batch is one source's; sources take turns in proportion to their sizes. Which rows stand in which
batch follows from the seed and the number of the step, so a killed training goes on with the very
batches it would have had.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.progress import phase
from pinpoint_harness.training import Checkpoints, Processes, StageContext, describe

from ..common.training import Curve, curve_csv
from .config import EMBEDDER, PinpointConfig, part
from .sigmoid_loss import gather_with_gradient, near_pairs, sigmoid_loss
from .towers import Towers

if TYPE_CHECKING:
    from .embedder_validation import Validation

CHECK_STEPS = 50
"""A loss that is no number is noticed after so many steps; looking at each would stall a GPU."""


@dataclass(frozen=True)
class TrainingRows:
    """One source's rows of A, resident on the device."""

    features: Tensor  # (n, width), fp16
    xyz: Tensor  # (n, 3), float32

    def __len__(self) -> int:
        return len(self.features)


def turns(sizes: Mapping[str, int], steps: int) -> Iterator[tuple[str, int]]:
    """The source of each step and the number of its batch: who is furthest behind its share is next."""
    total = sum(sizes.values())
    taken = dict.fromkeys(sizes, 0)
    for step in range(1, steps + 1):
        source = max(sizes, key=lambda name: sizes[name] * step - taken[name] * total)
        yield source, taken[source]
        taken[source] += 1


class Shuffle:
    """Row numbers of each batch of a source: every epoch its own permutation, made on the device."""

    def __init__(self, rows: int, batch: int, seed: int, device: str) -> None:
        if rows < batch:
            raise UsageError(
                f"a batch of {batch:,} is more than a source's {rows:,} rows", fix=f"--set batch={rows // 2}"
            )
        self._rows, self._batch, self._seed, self._device = rows, batch, seed, device
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, number: int) -> Tensor:
        """`(batch,)` rows; those that fill no batch at an epoch's end come earlier in another one."""
        epoch, place = divmod(number, self._rows // self._batch)
        if epoch != self._epoch:
            generator = torch.Generator(self._device).manual_seed(self._seed * 1_000_003 + epoch)
            self._order = torch.randperm(self._rows, generator=generator, device=self._device)
            self._epoch = epoch
        return self._order[place * self._batch : (place + 1) * self._batch]


def learning_rate(config: PinpointConfig, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = max(1, round(config.warmup_share * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Trainer:
    """The towers, their optimizer, and the order of the batches."""

    def __init__(
        self,
        config: PinpointConfig,
        data: Mapping[str, TrainingRows],
        seed: int,
        device: str = "cpu",
        dtype: str = "float32",
        processes: Processes | None = None,
    ) -> None:
        self.config, self.data, self.processes = config, data, processes or Processes()
        self.device, self.dtype = device, getattr(torch, dtype)
        self.steps = config.steps()
        self.order = list(turns({name: len(rows) for name, rows in data.items()}, self.steps))
        if config.batch % self.processes.count:
            raise UsageError(
                f"a batch of {config.batch:,} cannot be shared by {self.processes.count} processes"
            )
        self.shuffles = {
            name: Shuffle(len(rows), config.batch, seed * 2 + number, device)
            for number, (name, rows) in enumerate(data.items())
        }
        width = next(iter(data.values())).features.shape[1]
        self.model = Towers(config, width, data).initialise(config, seed).to(device)
        self.named = dict(self.model.named_parameters())
        decayed = [p for name, p in self.named.items() if _decays(name, p)]
        others = [p for name, p in self.named.items() if not _decays(name, p)]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.forget()
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)

    def forget(self) -> None:
        """Begin the mean losses anew."""
        self.loss = {name: torch.zeros((), dtype=torch.float64, device=self.device) for name in self.data}
        self.seen = dict.fromkeys(self.data, 0)

    def step(self, step: int) -> None:
        """One batch: its loss, its gradient, one move of the weights."""
        source, number = self.order[step]
        loss = self.batch_loss(source, self.shuffles[source].batch(number))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch has no type for it
        parameters = [p for p in self.named.values() if p.grad is not None]
        self._sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps)
        self.optimizer.step()
        self.loss[source] += loss.detach()
        self.seen[source] += 1
        fine = torch.isfinite(loss.detach() + norm) | (self.bad_step >= 0)
        self.bad_step = torch.where(fine, self.bad_step, step)

    def batch_loss(self, source: str, rows: Tensor) -> Tensor:
        """This process's share of a batch's loss; `rows` are the whole batch's."""
        count = len(rows) // self.processes.count
        first = self.processes.rank * count
        data, mine = self.data[source], rows[first : first + count]
        xyz = data.xyz.index_select(0, rows)  # (B, 3), of all: the places of a batch tell its near pairs
        low = self.dtype != torch.float32
        with torch.autocast(torch.device(self.device).type, dtype=self.dtype, enabled=low):
            images = self.model.image(data.features.index_select(0, mine).float(), source)  # (b, e)
            places = self.model.location(xyz[first : first + count])  # (b, e)
        if self.processes.count > 1:
            places = gather_with_gradient(places)  # (B, e)
        masked = near_pairs(xyz, self.config.mask_km, first, count)
        temperature = self.model.log_temperature[source].exp()
        images, places = images.to(self.dtype), places.to(self.dtype)
        return sigmoid_loss(images, places, temperature, self.model.bias[source], masked, first)

    def _sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Each process has the gradient of its share of the loss: the whole is their sum."""
        if self.processes.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def check(self, keep: Checkpoints | None = None) -> None:
        """Stop where a loss or gradient is no number any more."""
        bad = self._over_all(self.bad_step.double(), "max")
        if bad < 0:
            return
        last = None if keep is None else keep.last()
        raise DataError(
            f"the loss is not finite at step {int(bad):,} of {self.steps:,}",
            found="the last good state is "
            + (f"'{keep.path(last[0])}', of step {last[0]:,}" if keep and last else "the start"),
            fix="a lower learning rate (--set learning_rate=...) or temperature; the same command again "
            "would come to the same end",
        )

    def look(self, step: int) -> dict[str, float]:
        """A point of the curve: what was learned since the last one."""
        row: dict[str, float] = {"step": step, "samples": step * self.config.batch}
        row["learning_rate"] = learning_rate(self.config, step - 1, self.steps)
        for name in self.data:
            row[f"loss_{name}"] = self._over_all(self.loss[name], "sum") / max(1, self.seen[name])
            row[f"temperature_{name}"] = self.model.log_temperature[name].exp().item()
            row[f"bias_{name}"] = self.model.bias[name].item()
        self.forget()
        return row

    def _over_all(self, value: Tensor, how: str) -> float:
        if self.processes.count > 1:
            value = value.clone()
            dist.all_reduce(value, dist.ReduceOp.MAX if how == "max" else dist.ReduceOp.SUM)
        return value.item()

    def state(self) -> dict[str, Tensor]:
        """Weights and moments by name, as a checkpoint holds them."""
        tensors = {f"model/{name}": p.detach() for name, p in self.named.items()}
        for name, p in self.named.items():  # an adapter that had no turn yet has no moments
            for kind, value in self.optimizer.state.get(p, {}).items():
                tensors[f"{kind}/{name}"] = value
        return {name: value.contiguous().cpu() for name, value in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's state, to the last bit."""
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            p = self.named[name]
            if kind == "model":
                p.data.copy_(value)
            else:
                self.optimizer.state[p][kind] = value.clone().to(p.device)


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not name.endswith("frequencies")


def run(trainer: Trainer, validation: Validation | None, keep: Checkpoints | None) -> Curve:
    """From the start or the last checkpoint to the end; a look on C and a checkpoint at every interval."""
    looks = max(1, min(trainer.config.validations, trainer.steps))
    stops = {round(trainer.steps * (look + 1) / looks) for look in range(looks)}
    begun, curve = 0, Curve()
    if keep is not None and (last := keep.last()):
        begun, tensors, notes = last
        trainer.restore(tensors)
        curve = json.loads(notes["curve"])
    batch = trainer.config.batch
    with phase("embedder", trainer.steps * batch, done=begun * batch, unit="samples") as advance:
        for step in range(begun, trainer.steps):
            trainer.step(step)
            advance(batch)
            if (step + 1) % CHECK_STEPS == 0 or step + 1 in stops:
                trainer.check(keep)
            if step + 1 in stops:
                curve.append(
                    {**trainer.look(step + 1), **(validation.look(trainer.model) if validation else {})}
                )
                if keep is not None and step + 1 < trainer.steps:
                    keep.save(step + 1, trainer.state(), {"curve": json.dumps(curve)})
    return curve


def make_embedder(
    stage_context: StageContext,
    config: PinpointConfig,
    seed: int,
    data: Mapping[str, TrainingRows],
    validation: Validation | None,
) -> dict[str, Content]:
    """The stage's files: the towers, how they were made, and the curve of the training."""
    context = stage_context.context
    trainer = Trainer(config, data, seed, context.device, context.dtype, stage_context.processes)
    curve = run(trainer, validation, Checkpoints(stage_context))
    if not stage_context.processes.first:
        return {}
    weights = {name: p.detach().float().cpu().contiguous() for name, p in trainer.named.items()}
    width = next(iter(data.values())).features.shape[1]
    outcome = {
        "width": width,
        "sources": list(data),
        "seed": seed,
        "rows": {s: len(r) for s, r in data.items()},
    }
    return {
        "config.json": describe(part(config, *EMBEDDER), **outcome, last=curve[-1]),
        "model.safetensors": _safetensors(weights),
        "curve.csv": curve_csv(curve),
        "curve.png": partial(_draw, curve, list(data)),
    }


def _safetensors(weights: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(dict(weights))


def _draw(curve: Curve, sources: list[str], stream: Any) -> None:
    """Loss on the left, accuracy on C at each radius on the right, a row of panels per source."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2 * len(sources)), layout="constrained")
    panels = figure.subplots(len(sources), 2, squeeze=False)
    samples = [row["samples"] for row in curve]
    for (left, right), source in zip(panels, sources, strict=True):
        left.plot(samples, [row[f"loss_{source}"] for row in curve])
        left.set(title=f"{source}: loss", xlabel="samples seen", yscale="log")
        radii = [name.rsplit("_", 1)[1] for name in curve[-1] if name.startswith(f"{source}_image_")]
        for number, radius in enumerate(radii):
            for channel, style in (("image", "-"), ("gps", "--"), ("raw", ":")):
                values = [100 * row[f"{source}_{channel}_{radius}"] for row in curve]
                label = f"{radius} {channel}" if channel == "image" else None
                right.plot(samples, values, style, color=f"C{number}", label=label)
        right.set(title=f"{source}: % of C (image -, GPS --, raw ..)", xlabel="samples seen")
        if radii:
            right.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    stream.write(image.getvalue())


def load_towers(folder: Any, device: str) -> Towers:
    """The trained towers of a finished stage, in float32, ready to answer."""
    from safetensors.torch import load_file

    from pinpoint_harness.artifacts import read_json

    record = read_json(folder / "config.json")
    config = PinpointConfig(**record["config"])
    model = Towers(config, record["width"], record["sources"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.to(device).eval().requires_grad_(False)
