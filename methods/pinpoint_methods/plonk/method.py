"""PLONK asked tile by tile: places drawn from what its flow thinks likely, and how likely they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones.weights import remembered_sha256
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.params import param
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..common.checkpoints import build_from, find_release
from ..common.consensus import RULES, decode, expected_share
from ..common.equal_lists import equally_long
from ..common.sphere import degrees_of
from .flow import draw_places, log_density, normal_draws, points_around
from .network import VelocityNetwork

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

    from .flow import Velocity

_WEIGHTS = "model.safetensors"
_FILES = ("config.json", _WEIGHTS)
_STREETCLIP, _DINOV2 = "streetclip-cls", "dinov2-large-reg-square"
_CHUNK_ROWS = 4096
"""Points whose density is followed at once; a multiple of the row block."""


@dataclass(frozen=True)
class PlonkParams:
    model: str = param(
        "yfcc",
        "which of the published ones: trained on YFCC100M, OSV-5M or iNaturalist",
        sets={
            "yfcc": {},
            "osv5m": {"weights": "nicolas-dufour/PLONK_OSV_5M", "backbone": _STREETCLIP},
            "inaturalist": {"weights": "nicolas-dufour/PLONK_iNaturalist"},
        },
    )
    weights: str = param(
        "nicolas-dufour/PLONK_YFCC", "Hugging Face id, or folder with config.json and model.safetensors"
    )
    backbone: str = param(_DINOV2, "whose features the flow is conditioned on")
    steps: int = param(250, "of the flow from noise to places", minimum=1, maximum=10_000)
    cfg: float = param(
        0.0, "guidance: how far to go beyond what the photo says, away from what any photo says", minimum=0
    )
    seed: int = param(0, "of the noise", minimum=0)
    samples: int = param(1, "places drawn for each photo; several become candidates", minimum=1, maximum=1000)
    decoding: str = param("expected", "which place is made of several", choices=tuple(RULES))
    density: bool = param(
        False,
        "compute how likely the answer is, also within each radius, and for NLL the truth: slow",
    )
    density_steps: int = param(32, "of the flow back to noise", minimum=1, maximum=10_000)


class Plonk:
    """A place drawn from the flow for each photo, or a consensus of several.

    Noise is drawn for each photo by itself, from the seed and its key, so that an answer depends on no
    other photo. Several places are candidates of equal probability, those first that most others lie near.
    """

    Params: ClassVar[type[PlonkParams]] = PlonkParams
    answer_version: ClassVar[int] = 1

    def __init__(self, params: PlonkParams, context: Context) -> None:
        self.input = params.backbone
        self.params, self._device = params, context.device
        self._file = find_release(params.weights, _FILES, "PLONK") / _WEIGHTS

    def content(self) -> Mapping[str, Any]:
        """The weights by what they hold; the backbone is in the features' key."""
        return {"weights": remembered_sha256(self._file), "model": None, "backbone": None}

    @property
    def has_density(self) -> bool:
        """Whether a run asks for the density at the truth, too."""
        return self.params.density

    @torch.no_grad()
    def predict(self, queries: Queries) -> Predictions:
        drawn = self.draw(queries)  # (n, samples, 3)
        places = degrees_of(drawn)
        answers, candidates = places[:, 0], None
        if self.params.samples > 1:
            answers, candidates = self._consensus(places)
        within = confidence = None
        if self.params.density:
            condition = self._condition(queries.input)
            confidence = self._log_density(condition, unit_xyz(answers)[:, None])[:, 0]
            within = self._within(condition, unit_xyz(answers))
        return Predictions(answers, confidence=confidence, candidates=candidates, within=within)

    @torch.no_grad()
    def log_density(self, queries: Queries, places: Floats) -> Floats:
        """Log probability per steradian of one place `(n, 2)` in degrees for each query, `(n,)` nats."""
        return self._log_density(self._condition(queries.input), unit_xyz(places)[:, None])[:, 0]

    def draw(self, queries: Queries) -> Floats:
        """Unit vectors of the places drawn for each query, `(n, samples, 3)`."""
        count, samples = len(queries), self.params.samples
        noise = normal_draws(queries.key, self.params.seed, samples).to(self._device)
        condition = self._condition(queries.input).repeat_interleave(samples, dim=0)
        velocity = self._velocity(condition)
        found = draw_places(velocity, noise.reshape(-1, 3), self.params.steps)
        return found.double().cpu().numpy().reshape(count, samples, 3)

    def _consensus(self, places: Floats) -> tuple[Floats, Candidates]:
        """The answers, `(n, 2)`, and all places of each query as candidates of equal probability."""
        share = np.full(places.shape[:2], 1 / places.shape[1])
        order = np.empty(share.shape, np.int64)
        for _, some in equally_long(np.full(len(places), places.shape[1])):
            order[some] = np.argsort(-expected_share(places[some], share[some]), axis=1, kind="stable")
        ranked = np.take_along_axis(places, order[..., None], axis=1)
        answers = decode(self.params.decoding, ranked, share)
        return answers, Candidates(ranked, share)

    def _within(self, condition: Tensor, answers: Floats) -> Floats:
        """Probability within each radius of the answers `(n, 3)`: the density, summed around them."""
        points, area = points_around(answers)  # (n, m, 3), (radii, m / radii)
        density = np.exp(self._log_density(condition, points)).reshape(len(answers), *area.shape)
        within: Floats = (density * area).sum(axis=2).cumsum(axis=1).clip(max=1.0)
        return within

    def _log_density(self, condition: Tensor, points: Floats) -> Floats:
        """Of unit vectors `(n, m, 3)`, `(n, m)`."""
        flat = torch.from_numpy(points).float().reshape(-1, 3).to(self._device)
        size = min(_CHUNK_ROWS, len(flat))
        parts = []
        for start in range(0, len(flat), size):
            # All of one size, the last one filled up: last digits hang on it.
            some = torch.arange(start, start + size, device=self._device).clamp(max=len(flat) - 1)
            velocity = self._velocity(condition[some // points.shape[1]])
            parts.append(log_density(velocity, flat[some], self.params.density_steps))
        found = torch.cat(parts)[: len(flat)].double().cpu().numpy()
        return found.reshape(points.shape[:2])

    def _condition(self, features: Tensor) -> Tensor:
        if features.shape[1] != self._network.width:
            raise DataError(
                f"PLONK's '{self.params.weights}' is conditioned on features of width {self._network.width}",
                found=f"'{self.params.backbone}' gives {features.shape[1]}",
                fix="leave --set backbone= out, or take the backbone the weights were trained with",
            )
        return features.float()

    def _velocity(self, features: Tensor) -> Velocity:
        """The network's under features `(n, width)`, guided away from what it says without any."""
        network, guidance = self._network, self.params.cfg
        condition = network.condition(features)
        if not guidance:
            return partial(_plain, network, condition)
        return partial(_guided, network, condition, network.condition(torch.zeros_like(features)), guidance)

    @cached_property
    def _network(self) -> VelocityNetwork:
        """Opened by the first tile: a run that is complete needs none."""
        fix = "give a release such as nicolas-dufour/PLONK_YFCC"
        return build_from(self._file, VelocityNetwork, "PLONK's network", fix).to(self._device)


def _plain(network: VelocityNetwork, condition: Tensor, points: Tensor, progress: Tensor) -> Tensor:
    velocity: Tensor = network(points, condition, progress)
    return velocity


def _guided(
    network: VelocityNetwork,
    condition: Tensor,
    nothing: Tensor,
    guidance: float,
    points: Tensor,
    progress: Tensor,
) -> Tensor:
    seen: Tensor = network(points, condition, progress)
    unseen: Tensor = network(points, nothing, progress)
    return seen * (1 + guidance) - unseen * guidance
