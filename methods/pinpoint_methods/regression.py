"""A place straight from features: the plainest thing to learn, by which cells and galleries are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pinpoint_harness.params import param
from pinpoint_harness.search import xyz_of
from pinpoint_harness.training import Checkpoints, Stage, StageContext, open_stages
from pinpoint_harness.types import Context, Predictions, Queries

from .common.head import (
    CHECK_WITH,
    HEAD_CHOICES,
    Head,
    HeadParams,
    HeadTrainer,
    HeldOut,
    Photos,
    chosen,
    head_files,
    load_head,
    made_by,
    training_stores,
)
from .common.sphere import degrees_of

if TYPE_CHECKING:
    from pinpoint_harness.artifacts import Content
    from pinpoint_harness.features import FeatureStore
    from pinpoint_harness.types import Floats

VERSION = 1
"""Of the stage's code: raised whenever the same recipe would give another content."""

_CHOICES = (*HEAD_CHOICES, "loss", "seed", "held_out_one_in")


def square(outputs: Tensor, xyz: Tensor) -> Tensor:
    """Mean squared distance of vectors of any length: least for the mean of all places a photo may show."""
    return (outputs - xyz).square().sum(dim=1).mean()


def chord(outputs: Tensor, xyz: Tensor) -> Tensor:
    """Mean straight line through the Earth, in radii."""
    return _length(normalize(outputs, dim=1) - xyz).mean()


def cosine(outputs: Tensor, xyz: Tensor) -> Tensor:
    """Mean of 1 - cos of the angle: half the squared chord."""
    return (1 - (normalize(outputs, dim=1) * xyz).sum(dim=1)).mean()


def haversine(outputs: Tensor, xyz: Tensor) -> Tensor:
    """Mean great circle, in radii: the very error in kilometres."""
    unit = normalize(outputs, dim=1)
    # From both chords, to the place and to its antipode: an arcsine's slope is infinite at the latter.
    return (2 * torch.atan2(_length(unit - xyz), _length(unit + xyz))).mean()


def _length(vectors: Tensor) -> Tensor:
    # The slope of the square root is infinite at 0; 1e-6 radii are 6 metres.
    return (vectors.square().sum(dim=1) + 1e-12).sqrt()


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    loss.__name__: loss for loss in (square, chord, cosine, haversine)
}


@dataclass(frozen=True)
class RegressionParams(HeadParams):
    depth: int = param(3, "hidden layers; 0 is a linear head", minimum=0, maximum=8)
    epochs: int = param(18, "times each photo is seen", minimum=1)
    learning_rate: float = param(4e-3, "peak, after a warm-up and before a cosine to zero", minimum=0)
    loss: str = param("chord", "what the training makes small", choices=tuple(LOSSES))


class Regression:
    """The direction of a vector that a head on features puts out.

    With `loss=square` the vector's length is the confidence: it is near 1 where all places in
    question are near each other, and near 0 where they are all over the Earth. The other losses
    leave the length free, so there is none. There are no candidates: the method knows one place.
    """

    Params: ClassVar[type[RegressionParams]] = RegressionParams
    check_with: ClassVar[Mapping[str, Any]] = CHECK_WITH
    answer_version: ClassVar[int] = 1

    def __init__(self, params: RegressionParams, context: Context) -> None:
        self.input = params.backbone
        self.params = params
        self._stages = open_stages(self.stages(params, context), params.models or context.models, context)
        self._head = load_head(self._stages["head"].folder, context.device)

    @classmethod
    def stages(cls, params: RegressionParams, context: Context) -> list[Stage]:
        """One: the head."""
        stores = training_stores(params, context)
        spec = {
            "version": VERSION,
            "stores": [store.key for store in stores],
            "config": chosen(params, *_CHOICES),
        }
        return [Stage("head", "regression-head", spec, partial(_train, params=params, stores=stores))]

    def content(self) -> Mapping[str, Any]:
        """The stage by its key; what made it stands in that already."""
        return {**made_by(self.params, ()), "stages": {"head": self._stages["head"].key}}

    @torch.no_grad()
    def predict(self, queries: Queries) -> Predictions:
        vectors = self._head(queries.input.float()).double().cpu()  # (tile, 3)
        confidence = vectors.norm(dim=1).numpy() if self.params.loss == "square" else None
        return Predictions(degrees_of(vectors.numpy()), confidence=confidence)


def _train(
    stage_context: StageContext, params: RegressionParams, stores: Sequence[FeatureStore]
) -> Mapping[str, Content]:
    device, photos = stage_context.context.device, Photos(stores, params.held_out_one_in)
    xyz = torch.from_numpy(xyz_of(photos.coordinates[photos.training])).to(device)
    loss, held_out = LOSSES[params.loss], HeldOut.of(photos, device)
    head = Head(photos.width, params.depth, params.hidden, 3).initialise(params.seed)
    features = photos.features(photos.training, device)

    def answer(features: Tensor) -> Floats:
        return degrees_of(head(features.float()).double().cpu().numpy())

    trainer = HeadTrainer(
        params,
        head,
        features,
        lambda out, rows: loss(out, xyz[rows]),
        stage_context.context,
        figures=lambda: held_out.look(answer),
    )
    return head_files(head, chosen(params, *_CHOICES), trainer.run(Checkpoints(stage_context)))
