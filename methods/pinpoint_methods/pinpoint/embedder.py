"""Training the towers on features that stay on the device, or come to it a batch ahead.

A batch is one source's; sources take turns in proportion to their sizes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.errors import UsageError
from pinpoint_harness.search import HostRows
from pinpoint_harness.training import Checkpoints, Processes, StageContext, describe

from ..common.training import Curve, CurveRow, Optimization, Shuffle, Trainer, curve_csv
from .config import EMBEDDER, RetrievalConfig, part
from .sigmoid_loss import gather_with_gradient, near_pairs, sigmoid_loss
from .towers import Block, Embedders, Towers

if TYPE_CHECKING:
    from .embedder_validation import Validation


@dataclass(frozen=True)
class TrainingRows:
    """One source's rows of A; features lie where there is room for them, see `place`."""

    features: Tensor | HostRows  # (n, width), fp16
    xyz: Tensor  # (n, 3), float32

    def __len__(self) -> int:
        return len(self.features)


class InputNoise:
    """Gaussian noise on features before the tower, as follows from the seed and the number of the step.

    `scale` is in standard deviations of each of the features' numbers over the rows that train: 0.15 moves
    a number by about a sixth of what tells one photo from another in it.
    """

    def __init__(self, features: Tensor | HostRows, scale: float, seed: int) -> None:
        self._size = scale * deviations(features)  # (width,)
        self._seed = seed * 1_000_003
        self._generator = torch.Generator(features.device)

    def of(self, step: int, rows: int) -> Tensor:
        """What is added to a step's whole batch, `(rows, width)` float32."""
        self._generator.manual_seed(self._seed + step)
        shape, device = (rows, len(self._size)), self._size.device
        noise: Tensor = torch.randn(shape, generator=self._generator, device=device) * self._size
        return noise


class BatchDropout:
    """Dropout on a process's rows of a batch, as follows from the seed and the number of the step.

    It is drawn for the whole batch, so that processes that share one take away what one alone would.
    """

    def __init__(self, share: float, seed: int, device: str) -> None:
        self._share, self._seed = share, seed * 1_000_003
        self._generator = torch.Generator(device)
        self._rows, self._first = 0, 0

    def begin(self, step: int, rows: int, first: int) -> None:
        """A step's batch has so many `rows`; those from `first` on are seen here."""
        self._generator.manual_seed(self._seed + step)
        self._rows, self._first = rows, first

    def __call__(self, x: Tensor) -> Tensor:  # (b, width) -> (b, width)
        drawn = torch.rand((self._rows, x.shape[1]), generator=self._generator, device=x.device)
        kept = drawn[self._first : self._first + len(x)] >= self._share
        return x * kept / (1 - self._share)


def deviations(features: Tensor | HostRows, chunk: int = 65_536) -> Tensor:
    """Standard deviation of each column of fp16 features, `(width,)` float32, summed in float64."""
    sums = torch.zeros(2, features.shape[1], dtype=torch.float64, device=features.device)
    for start in range(0, len(features), chunk):
        exact = features[start : start + chunk].double()
        sums += torch.stack([exact.sum(dim=0), exact.square().sum(dim=0)])
    sums /= len(features)
    variance: Tensor = (sums[1] - sums[0].square()).clamp(min=0)
    return variance.sqrt().float()


def turns(sizes: Mapping[str, int], steps: int) -> Iterator[tuple[str, int]]:
    """The source of each step and the number of its batch: who is furthest behind its share is next."""
    total = sum(sizes.values())
    taken = dict.fromkeys(sizes, 0)
    for step in range(1, steps + 1):
        source = max(sizes, key=lambda name: sizes[name] * step - taken[name] * total)
        yield source, taken[source]
        taken[source] += 1


class EmbedderTrainer(Trainer):
    """Trains the towers on one source's batch a step, shared by all processes."""

    def __init__(
        self,
        config: RetrievalConfig,
        data: Mapping[str, TrainingRows],
        seed: int,
        device: str = "cpu",
        dtype: str = "float32",
        *,
        processes: Processes | None = None,
        validation: Validation | None = None,
    ) -> None:
        processes = processes or Processes()
        if config.batch % processes.count:
            raise UsageError(f"a batch of {config.batch:,} cannot be shared by {processes.count} processes")
        self.config, self.data, self._validation = config, data, validation
        self.device, self.dtype = device, getattr(torch, dtype)
        self._coming: tuple[int, Callable[[], Tensor]] | None = None
        sizes = {name: len(rows) for name, rows in data.items()}
        steps = config.steps(sum(sizes.values()))
        self.order = list(turns(sizes, steps))
        self.shuffles = {
            name: Shuffle(len(rows), config.batch, seed * 2 + number, device)
            for number, (name, rows) in enumerate(data.items())
        }
        # Without noise nothing is drawn, and the features are what they were.
        self.noise = {
            name: InputNoise(rows.features, config.input_noise, seed * 2 + number)
            for number, (name, rows) in enumerate(data.items())
            if config.input_noise
        }
        width = next(iter(data.values())).features.shape[1]
        self.model = Towers(config, width, data).initialise(config, seed).to(device)
        self.dropout = BatchDropout(config.dropout, seed, device) if config.dropout else None
        for block in self.model.image.modules():
            if isinstance(block, Block):
                block.drop = self.dropout
        looks = max(1, min(config.validations, steps))
        optimization = Optimization(
            steps,
            config.learning_rate,
            config.weight_decay,
            config.beta2,
            config.warmup_share,
            config.clip_norm,
            {
                "log_temperature": config.scale_learning_rate,
                "bias_of": config.scale_learning_rate,
                "log_frequency": config.frequency_learning_rate,
            },
            config.weight_average,
        )
        stops = {round(steps * (look + 1) / looks) for look in range(looks)}
        worth = worth_on_c if config.keep != "last" and validation else None
        super().__init__(
            "embedder", self.model, optimization, config.batch, stops, worth=worth, processes=processes
        )

    def step(self, step: int) -> None:
        super().step(step)
        with torch.no_grad():  # in place, so that a temperature at its bound can come back
            for log_temperature in self.model.log_temperature.values():
                log_temperature.clamp_(max=math.log(self.config.highest_temperature))

    def batch_loss(self, step: int) -> tuple[str, Tensor]:
        source, number = self.order[step]
        rows = self.shuffles[source].batch(number)
        noise = self.noise[source].of(step, len(rows)) if self.noise else None
        if self.dropout is not None:
            self.dropout.begin(step, len(rows), self._first(len(rows)))
        return f"loss_{source}", self._loss(source, rows, noise, self._features(step, source, rows))

    def _first(self, rows: int) -> int:
        """The first of a batch's rows that this process sees."""
        return self.processes.rank * (rows // self.processes.count)

    def _features(self, step: int, source: str, rows: Tensor) -> Tensor:
        """This process's share of a batch; of features on the host the next batch is fetched ahead."""
        features = self.data[source].features
        if not isinstance(features, HostRows) or not features.ahead:
            return features.index_select(0, self._mine(rows))
        coming, self._coming = self._coming, None
        ready = coming[1] if coming and coming[0] == step else features.begin(self._mine(rows))
        taken = ready()
        if step + 1 < len(self.order):
            source, number = self.order[step + 1]
            following = self.data[source].features
            if isinstance(following, HostRows):
                self._coming = step + 1, following.begin(self._mine(self.shuffles[source].batch(number)))
        return taken

    def _mine(self, rows: Tensor) -> Tensor:
        first = self._first(len(rows))
        return rows[first : first + len(rows) // self.processes.count]

    def _loss(
        self, source: str, rows: Tensor, noise: Tensor | None = None, taken: Tensor | None = None
    ) -> Tensor:
        """This process's share of a batch's loss; `rows` and `noise` are the whole batch's."""
        count, first = len(rows) // self.processes.count, self._first(len(rows))
        data = self.data[source]
        xyz = data.xyz.index_select(0, rows)  # (B, 3), of all: the places of a batch tell its near pairs
        if taken is None:
            taken = data.features.index_select(0, self._mine(rows))
        features = taken.float()
        if noise is not None:
            features += noise[first : first + count]
        low = self.dtype != torch.float32
        with torch.autocast(torch.device(self.device).type, dtype=self.dtype, enabled=low):
            images = self.model.image(features, source)  # (b, e)
            places = self.model.location(xyz[first : first + count])  # (b, e)
        if self.processes.count > 1:
            places = gather_with_gradient(places)  # (B, e)
        masked = near_pairs(xyz, self.config.mask_km, first, count)
        temperature = self.model.log_temperature[source].exp()
        images, places = images.to(self.dtype), places.to(self.dtype)
        return sigmoid_loss(images, places, temperature, self.model.bias_of[source], masked, first)

    def measure(self, step: int) -> CurveRow:
        """Of each source the mean loss since the last row, t and b; then the accuracy on C."""
        row: CurveRow = {"step": step, "samples": step * self.config.batch}
        row["learning_rate"] = self.optimization.learning_rate_at(step - 1)
        for name in self.data:
            row[f"loss_{name}"] = self.mean_loss(f"loss_{name}")
            row[f"temperature_{name}"] = self.model.log_temperature[name].exp().item()
            row[f"bias_{name}"] = self.model.bias_of[name].item()
        return {**row, **(self._validation.look(self.model) if self._validation else {})}

    def keep_best(self, row: CurveRow) -> None:
        """With `best-of-source` as `<source>/<name>`, each source's as soon as its own C is placed better."""
        if self.config.keep != "best-of-source" or self._validation is None:
            super().keep_best(row)
            return
        for source in self.data:
            worth = partial(worth_on_c, source=source)
            if not self.curve or worth(row) > max(map(worth, self.curve)):
                self.best |= {f"{source}/{name}": value for name, value in self.weights().items()}

    def steps_kept(self) -> int | dict[str, int]:
        """The step whose weights are kept, of each source its own with `best-of-source`."""
        if not self.best:
            return int(self.curve[-1]["step"])
        if self.config.keep == "best":
            return int(max(self.curve, key=worth_on_c)["step"])
        return {s: int(max(self.curve, key=partial(worth_on_c, source=s))["step"]) for s in self.data}

    def kept(self) -> dict[str, Tensor]:
        """The weights to keep, by name: the last or the best, averaged or not."""
        if self.best:
            return self.best
        with self.averaged():
            return {name: p.detach().clone() for name, p in self.named.items()}


def worth_on_c(row: CurveRow, source: str = "") -> float:
    """What a point of the curve is worth: the mean share of C placed, over sources, channels and radii.

    Of one `source` its own share.
    """
    shares = [
        value
        for name, value in row.items()
        if name.startswith(source) and name.endswith("km") and ("_image_" in name or "_gps_" in name)
    ]
    return sum(shares) / len(shares)


def make_embedder(
    stage_context: StageContext,
    config: RetrievalConfig,
    seed: int,
    data: Mapping[str, TrainingRows],
    validation: Validation | None,
) -> dict[str, Content]:
    """The stage's files: the towers, how they were made, and the curve of the training."""
    context = stage_context.context
    processes = stage_context.processes
    trainer = EmbedderTrainer(
        config, data, seed, context.device, context.dtype, processes=processes, validation=validation
    )
    curve = trainer.run(Checkpoints(stage_context))
    if not processes.first:
        return {}
    weights = {name: p.float().cpu().contiguous() for name, p in trainer.kept().items()}
    width = next(iter(data.values())).features.shape[1]
    outcome = {
        "width": width,
        "sources": list(data),
        "seed": seed,
        "rows": {s: len(r) for s, r in data.items()},
        "kept": trainer.steps_kept(),
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


def load_towers(folder: Any, device: str) -> dict[str, Towers]:
    """The trained towers of a finished stage by source, in float32, ready to answer.

    They are the same towers for all sources, unless each source has the weights that place most of its C.
    """
    from safetensors.torch import load_file

    from pinpoint_harness.artifacts import read_json

    record = read_json(folder / "config.json")
    config = RetrievalConfig(**record["config"])
    weights = load_file(folder / "model.safetensors")

    def towers(prefix: str) -> Towers:
        model = Towers(config, record["width"], record["sources"])
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        model.load_state_dict(own)
        return model.to(device).eval().requires_grad_(False)

    if config.keep == "best-of-source":
        return {source: towers(f"{source}/") for source in record["sources"]}
    return dict.fromkeys(record["sources"], towers(""))


def load_embedders(folders: Iterable[Any], device: str) -> Embedders:
    """The towers of all embedders, in their order, as one."""
    return Embedders([load_towers(folder, device) for folder in folders])
