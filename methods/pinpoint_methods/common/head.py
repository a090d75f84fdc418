"""A small network on frozen features: its parameters, who trains it, and who is held out.

`cells` and `regression` differ in what the network puts out and in the loss on it. Which rows stand
in which batch, and what dropout takes away, follow from the seed and the number of the step, so a
training that was killed goes on as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pinpoint_harness.artifacts import Content, read_json
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.params import param
from pinpoint_harness.training import describe
from pinpoint_harness.types import RADII_KM, Context

from .linear import AlignedLinear
from .splits import held_out_rows
from .training import Curve, CurveRow, Optimization, Shuffle, Trainer, curve_csv

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

LOOK_ROWS = 10_000
"""Held-out photos of each dataset to look at, evenly spaced among all: half a point of noise at most."""

LOOK_TILE = 1024
"""Of them in one pass."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs `(b, out)` and the numbers `(b,)` of their training rows to the mean loss."""

_CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class HeadParams:
    train: str = param(
        "mini-earth/gallery-photos,mini-earth/gallery-streetview",
        "datasets to learn from, or folders of stores, separated by commas",
    )
    backbone: str = param("mini", "registered name, Hugging Face id or folder")
    held_out_one_in: int = param(10, "one author in this many only watches the training", minimum=2)
    depth: int = param(2, "hidden layers; 0 is a linear head", minimum=0, maximum=8)
    hidden: int = param(512, "width of a hidden layer", minimum=1)
    dropout: float = param(
        0.0, "share of what each hidden layer gets that is taken away", minimum=0, maximum=0.9
    )
    epochs: int = param(6, "times each photo is seen", minimum=1)
    batch: int = param(256, "photos a step", minimum=1)
    learning_rate: float = param(2e-3, "peak, after a warm-up and before a cosine to zero", minimum=0)
    weight_decay: float = param(0.01, "AdamW's, of matrices", minimum=0)
    seed: int = param(0, "of the training", minimum=0)
    models: Path | None = param(None, "folder of trained stages [default: models in --home]", in_title=False)


CHECK_WITH: Mapping[str, Any] = {"hidden": 16, "epochs": 1}
"""A head that is trained in no time, for `pinpoint methods check`."""

HEAD_CHOICES = ("depth", "hidden", "dropout", "epochs", "batch", "learning_rate", "weight_decay")
"""What changes a head beside its data, its outputs, its loss and its seed."""


def chosen(params: Any, *names: str) -> dict[str, Any]:
    """Some parameters by name, as they stand in a stage's recipe."""
    return {name: getattr(params, name) for name in names}


def training_stores(params: HeadParams, context: Context) -> list[FeatureStore]:
    """The stores that `train` names."""
    if context.stores is None:
        raise UsageError("a trained method can be used in a run only", fix="use `pinpoint run` or `evaluate`")
    names = [name.strip() for name in params.train.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"train='{params.train}' does not name datasets, each once", fix="train=mp16-pro,osv5m-train"
        )
    stores = [context.stores.gallery(name, params.backbone) for name in names]
    if len({store.width for store in stores}) > 1:
        found = ", ".join(f"{store.dataset} {store.width}" for store in stores)
        raise DataError("datasets to learn from must hold features of one width", found=found)
    return stores


class Photos:
    """The rows of several stores as one table: where they lie, and who of them only watches."""

    def __init__(self, stores: Sequence[FeatureStore], held_out_one_in: int) -> None:
        self.stores = stores
        self.width = stores[0].width
        self.coordinates = np.concatenate([store.coordinates() for store in stores])  # (n, 2)
        self._starts = np.cumsum([0, *map(len, stores)])
        self._store = np.repeat(np.arange(len(stores)), [len(store) for store in stores])
        held_out = np.concatenate([held_out_rows(store, held_out_one_in) for store in stores])
        self.training, self.watching = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        if not len(self.training) or not len(self.watching):
            raise DataError(
                "some photos must be trained on, and some held out",
                found=f"{len(self.training)} and {len(self.watching)}, by authors where those are known",
                fix="more photos, or another --set held_out_one_in=N",
            )

    def features(self, rows: NDArray[np.int64], device: str = "cpu") -> Tensor:
        """`(n, width)` fp16 on the device, taken there piece by piece."""
        taken = torch.empty(len(rows), self.width, dtype=torch.float16, device=device)
        for start in range(0, len(rows), _CHUNK_ROWS):
            piece = rows[start : start + _CHUNK_ROWS]
            for number, store in enumerate(self.stores):
                mine = np.flatnonzero(self._store[piece] == number)
                values = torch.from_numpy(store.matrix[piece[mine] - self._starts[number]])
                taken[torch.from_numpy(start + mine).to(device)] = values.to(device)
        return taken

    def watched(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """The held-out rows to look at, dataset by dataset."""
        names = np.array([store.dataset for store in self.stores])
        for name in dict.fromkeys(names.tolist()):
            mine = self.watching[names[self._store[self.watching]] == name]
            if len(mine):
                yield name, mine[:: -(-len(mine) // LOOK_ROWS)]


class HeldOut:
    """Accuracy at the five radii on photos that train nothing: sets of features and places by name."""

    def __init__(self, sets: Mapping[str, tuple[Tensor, Floats]]) -> None:
        self._sets = sets

    @classmethod
    def of(cls, photos: Photos, device: str) -> HeldOut:
        """Those of some stores, by dataset."""
        watched = photos.watched()
        return cls(
            {name: (photos.features(rows, device), photos.coordinates[rows]) for name, rows in watched}
        )

    def look(self, answer: Callable[[Tensor], Floats]) -> dict[str, float]:
        """`answer` places features `(b, width)` in degrees `(b, 2)`; shares by `<set>_<radius>km`."""
        shares: dict[str, float] = {}
        for name, (features, truth) in self._sets.items():
            places = np.concatenate([answer(piece) for piece in torch.split(features, LOOK_TILE)])
            error_km = haversine_km(truth, places)
            shares |= {f"{name}_{radius:g}km": float((error_km < radius).mean()) for radius in RADII_KM}
        return shares


class Head(nn.Module):
    """LayerNorm, hidden layers with GELU, and a linear layer."""

    def __init__(self, width: int, depth: int, hidden: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        widths = [width, *[hidden] * depth]
        self.hidden = nn.ModuleList(AlignedLinear(*pair) for pair in pairwise(widths))
        self.out = AlignedLinear(widths[-1], out)

    def initialise(self, seed: int) -> Head:
        """Weights drawn from the seed alone, the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (*self.hidden, self.out):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
        return self

    def forward(self, features: Tensor, drop: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        x = self.norm(features)  # (b, width)
        for layer in self.hidden:
            x = functional.gelu(layer(x if drop is None else drop(x)))  # (b, hidden)
        out: Tensor = self.out(x if drop is None else drop(x))  # (b, out)
        return out


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


class FeatureRows(Protocol):
    """Features that a head learns from, of which some rows are taken: a tensor, or what reads like one."""

    def __len__(self) -> int: ...

    def index_select(self, dimension: int, rows: Tensor, /) -> Tensor: ...


class HeadTrainer(Trainer):
    """Trains a head on features of training rows, `(n, ...)` on the device; measured after every epoch."""

    def __init__(
        self,
        params: HeadParams,
        head: Head,
        features: FeatureRows,
        loss: Loss,
        context: Context,
        *,
        figures: Callable[[], CurveRow],
        worth: Callable[[CurveRow], float] | None = None,
    ) -> None:
        self._shuffle = Shuffle(len(features), params.batch, params.seed, context.device)
        self._epoch = self._shuffle.batches  # steps
        steps = self._epoch * params.epochs
        super().__init__(
            "head",
            head.to(context.device),
            Optimization(steps, params.learning_rate, params.weight_decay),
            params.batch,
            range(self._epoch, steps + 1, self._epoch),
            worth=worth,
        )
        self._head, self._features, self._loss, self._figures = head, features, loss, figures
        self._dropout, self._seed = Dropout(params.dropout, context.device), params.seed * 1_000_003
        self._device_type = torch.device(context.device).type
        self._dtype = getattr(torch, context.dtype)

    def batch_loss(self, step: int) -> tuple[str, Tensor]:
        rows = self._shuffle.batch(step)
        low = self._dtype != torch.float32
        with torch.autocast(self._device_type, dtype=self._dtype, enabled=low):
            features = self._features.index_select(0, rows).float()
            outputs = self._head(features, self._dropout.seeded(self._seed + step))
        return "loss", self._loss(outputs.float(), rows)

    def measure(self, step: int) -> CurveRow:
        return {"epoch": step // self._epoch, "loss": self.mean_loss("loss"), **self._figures()}


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


def load_head(folder: Path, device: str) -> Head:
    """The head of a finished stage, in float32, ready to answer."""
    from safetensors.torch import load_file

    record = read_json(folder / "config.json")
    config = record["config"]
    head = Head(record["width"], config["depth"], config["hidden"], record["out"])
    head.load_state_dict(load_file(folder / "model.safetensors"))
    return head.to(device).eval().requires_grad_(False)


def made_by(params: Any, answer: Sequence[str]) -> dict[str, None]:
    """Every parameter but those of the answer, which stand in the keys of the stages already."""
    return {item.name: None for item in fields(params) if item.name not in answer}
