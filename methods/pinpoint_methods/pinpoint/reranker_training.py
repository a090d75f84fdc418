"""The stage `reranker`: trained on the lists of B, the best pass chosen on C."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pinpoint_harness.artifacts import Content, read_json
from pinpoint_harness.search import xyz_of
from pinpoint_harness.training import Checkpoints, StageContext, describe
from pinpoint_harness.types import RADII_KM

from ..common.candidates import CandidateBatch, chord_km, join_batches
from ..common.decoding import TemperatureScaling, decide, fit
from ..common.reranking import LabelledCandidates, Row, accuracy, listwise_loss, margin_loss, radii_loss
from ..common.training import Optimization, Shuffle, Trainer, curve_csv
from .candidate_search import QueryBatch, read_queries, training_sets
from .config import PinpointConfig, part
from .gallery import SourceGallery
from .reranker import (
    FeatureReranker,
    Reranker,
    build_reranker,
    retrieval_scores,
    scores_of_candidate,
)
from .retriever import TOLD, SourceRetriever, galleries_of, open_retriever
from .selection import retrieval_sum

if TYPE_CHECKING:
    from pathlib import Path

    from pinpoint_harness.features import FeatureStore

OF_RERANKER = (
    *("support", "support_used", "galleries", "candidates_image", "candidates_raw", "candidates_location"),
    "candidate_pool",
    "csls",
    "density",
    *("reranker", "query_embedding", "visual_token", "gps_token", "support_token", "token_scores"),
    *("photos_lists", "streetview_lists", "list_features", "layers", "width", "heads", "context_layers"),
    *("ranking_loss", "margin", "target_temperature"),
    *("reranker_epochs", "reranker_batch", "reranker_learning_rate", "reranker_weight_decay"),
    *("retrieval_location", "retrieval_raw"),
)
"""The choices that change a reranker, beside the candidates it learns from."""

FILTERED, OPEN = "author filter", "no author filter"

SCORING_BATCH = 128

_LISTS_TO_START_FROM = 2000
_COLDEST = 0.05


def label_candidates(retriever: SourceRetriever, asked: QueryBatch) -> LabelledCandidates:
    """The candidate lists of a set under a configuration's quotas, support masked for each query."""
    found = [asked.found[gallery.source] for gallery in retriever.galleries]
    hidden = [asked.hidden[gallery.source] for gallery in retriever.support]
    lists = retriever.lists(found, asked.image, asked.raw, hidden)
    truth = torch.from_numpy(xyz_of(asked.coordinates)).to(retriever.device)
    return LabelledCandidates(lists, chord_km(lists.xyz, truth[:, None]))


def loss_of(config: PinpointConfig, scores: Tensor, batch: LabelledCandidates) -> Tensor:
    """The configuration's loss of a batch."""
    if config.ranking_loss == "radii":
        return radii_loss(scores, batch.lists, batch.km)
    if config.ranking_loss == "listwise":
        return listwise_loss(scores, batch.lists, batch.km, config.target_temperature)
    return margin_loss(scores, batch.lists, batch.km, config.margin)


def score_lists(
    model: Reranker | FeatureReranker, retriever: SourceRetriever, lists: CandidateBatch
) -> Tensor:
    """Scores of many lists, `(n, c)` or `(n, c, 5)`."""
    with torch.no_grad():
        parts = [
            model(lists.take(slice(start, start + SCORING_BATCH)), retriever)
            for start in range(0, len(lists), SCORING_BATCH)
        ]
    return torch.cat(parts)


class RerankerTrainer(Trainer):
    """Trains a reranker on the lists of B; measured on C at the start, which is pass 0, and after every pass.

    The best pass is the one that places most by argmax; with the loss `radii`, whose probabilities
    argmax does not see, the one with the lowest loss.
    """

    rate_parameter = "reranker_learning_rate"

    def __init__(
        self,
        config: PinpointConfig,
        retriever: SourceRetriever,
        train: LabelledCandidates,
        validation: LabelledCandidates,
        seed: int,
        title: str,
    ) -> None:
        self.config, self.retriever, self.train, self.validation = config, retriever, train, validation
        lists = train.lists
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = build_reranker(config, lists.query.shape[1], lists.features.shape[2])
        self.model.to(retriever.device)
        if isinstance(self.model, FeatureReranker):
            self.model.standard.measure(lists.features[lists.valid])
        else:
            self.model.standard.measure(torch.cat([lists.scores, lists.support_facts], dim=2)[lists.valid])
            self.model.feature_standard.measure(lists.features[lists.valid])
            if config.token_scores:
                count = scores_of_candidate(config)
                by_radius = config.ranking_loss == "radii"
                self.model.start_from_retrieval(
                    self._temperatures(self.model) if by_radius else [1.0] * count
                )
        self._shuffle = Shuffle(len(train), config.reranker_batch, seed, "cpu", keep_rest=True)
        batches = self._shuffle.batches
        steps = batches * config.reranker_epochs
        super().__init__(
            title,
            self.model,
            Optimization(steps, config.reranker_learning_rate, config.reranker_weight_decay),
            config.reranker_batch,
            range(0, steps + 1, batches),
            worth=partial(_worth, config),
        )
        self.curve_name = curve_name(title)

    def _temperatures(self, model: Reranker) -> list[float]:
        """Those that make the retrieval's scores most likely at each radius, from some of the lists of B."""
        some = self.train.take(slice(None, None, -(-len(self.train) // _LISTS_TO_START_FROM)))
        with torch.no_grad():
            similar = model.similar(some.lists)
            raw, location = model.retrieval_weights()
            weighed = replace(self.config, retrieval_raw=raw, retrieval_location=location)
            scores = retrieval_sum(similar, weighed).masked_fill(~some.lists.valid, -torch.inf)
        # Colder than this a retrieval is its first candidate, and nothing is left to learn.
        return [max(t, _COLDEST) for t in fit(some.lists, scores, some.km).temperature]

    def batch_loss(self, step: int) -> tuple[str, Tensor]:
        batch = self.train.take(self._shuffle.batch(step).to(self.retriever.device))
        return "loss", loss_of(self.config, self.model(batch.lists, self.retriever), batch)

    def measure(self, step: int) -> Row:
        scores = score_lists(self.model, self.retriever, self.validation.lists)
        loss = self.mean_loss("loss") if step else math.nan
        row = {"epoch": step / self._shuffle.batches, "loss": loss}
        return {**row, **_on_c(self.config, self.validation, scores)}


def curve_name(source: str) -> str:
    """The file of the curve of a source's reranker."""
    return f"{source}.curve.csv"


def _on_c(config: PinpointConfig, validation: LabelledCandidates, scores: Tensor) -> Row:
    return {"held_loss": float(loss_of(config, scores, validation)), **accuracy(validation, scores)}


def _worth(config: PinpointConfig, row: Row) -> float:
    return -row["held_loss"] if config.ranking_loss == "radii" else row["mean"]


def make_reranker(
    stage_context: StageContext, config: PinpointConfig, seed: int, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """A reranker for the instance of each source, and the curve of its training."""
    from safetensors.torch import save

    files: dict[str, Content] = {}
    outcome: dict[str, Any] = {}
    for number, source in enumerate(stores):
        retriever = _retriever(stage_context, config, source, stores)
        of = {
            name: label_candidates(retriever, _queries(stage_context, source, name, stores, config))
            for name in (*training_sets(source, config), "held")
        }
        validation = of.pop("held")
        train = LabelledCandidates(
            join_batches([one.lists for one in of.values()]), torch.cat([one.km for one in of.values()])
        )
        # What is finished of one instance outlives a kill while the next is trained.
        finished = stage_context.artifact.shard_path(number, ".best")
        if number not in stage_context.artifact.finished_shards(".best"):
            trainer = RerankerTrainer(retriever.config, retriever, train, validation, seed, source)
            curve = trainer.run(Checkpoints(stage_context))
            best = save(trainer.best, {"curve": json.dumps(curve)})
            stage_context.artifact.write_shard(number, ".best", best)
        weights = finished.read_bytes()
        curve = _curve_of(weights)
        files |= {f"{source}.safetensors": weights, curve_name(source): curve_csv(curve)}
        lists = train.lists
        outcome[source] = {
            "lists": len(lists),
            "features": lists.features.shape[2],
            "best": _known(max(curve, key=lambda row: _worth(config, row))),
            "support_cut_short": lists.short,
        }
    return {**files, "config.json": describe(part(config, *OF_RERANKER), seed=seed, outcome=outcome)}


def _curve_of(weights: bytes) -> list[Row]:
    """The notes beside the weights; the library reads them from files only."""
    length = int.from_bytes(weights[:8], "little")
    curve: list[Row] = json.loads(json.loads(weights[8 : 8 + length])["__metadata__"]["curve"])
    return curve


def _known(row: Row) -> Row:
    """A row as JSON can hold it: the start, should it be the best, has no loss of a pass."""
    return {name: value for name, value in row.items() if not math.isnan(value)}


def make_calibration(
    stage_context: StageContext, config: PinpointConfig, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """Temperature and "none" logit of each instance, with the author filter and without, fitted on C."""
    fitted: dict[str, dict[str, Any]] = {}
    validation: dict[str, dict[str, Any]] = {}
    for source in stores:
        retriever = _retriever(stage_context, config, source, stores)
        model = load_reranker(
            stage_context.inputs.get("reranker"), source, config, stage_context.context.device
        )
        fitted[source], validation[source] = {}, {}
        for name, state in (("held", FILTERED), ("held-open", OPEN)):
            ranking = label_candidates(retriever, _queries(stage_context, source, name, stores, config))
            scores = scores_of(model, retriever, ranking.lists)
            calibration = fit(ranking.lists, scores, ranking.km)
            fitted[source][state] = asdict(calibration)
            validation[source][state] = {
                decoding: on_validation(ranking, scores, calibration, decoding)
                for decoding in ("argmax", "expected")
            }
    return {"config.json": describe(part(config, *OF_RERANKER), fitted=fitted, held=validation)}


def on_validation(
    ranking: LabelledCandidates, scores: Tensor, calibration: TemperatureScaling, decoding: str
) -> Row:
    """Accuracy on C in percent: of each radius, what the probabilities lead to expect, and the mean of five.

    The same photos fitted two numbers a radius and chose a pass: what stands here serves to choose, no more.
    """
    answer = decide(ranking.lists, scores, calibration, decoding)
    slot = answer.slot[:, :1]
    km = ranking.km.gather(1, slot)[:, 0].masked_fill(~answer.valid[:, 0], torch.inf)
    said = (answer.within[:, 0] * answer.valid[:, :1]).mean(dim=0)
    row: Row = {}
    for radius, expected in zip(RADII_KM, said.tolist(), strict=True):
        row[f"{radius:g}km"] = round(100 * float((km < radius).double().mean()), 2)
        row[f"{radius:g}km_expected"] = round(100 * expected, 2)
    return {**row, "mean": round(sum(row[f"{radius:g}km"] for radius in RADII_KM) / len(RADII_KM), 2)}


def read_calibration(folder: Path, source: str, author_filter: bool) -> TemperatureScaling:
    """What was fitted for an instance and a state of the author filter."""
    found = read_json(folder / "config.json")["fitted"][source][FILTERED if author_filter else OPEN]
    return TemperatureScaling.of(found)


def load_reranker(
    folder: Path | None, source: str, config: PinpointConfig, device: str
) -> Reranker | FeatureReranker | None:
    """The trained reranker of a source, ready to answer; None where the retrieval ranks."""
    if folder is None:
        return None
    from safetensors.torch import load_file

    weights = load_file(folder / f"{source}.safetensors")
    features = read_json(folder / "config.json")["outcome"][source]["features"]
    model = build_reranker(config, config.embedding * config.embedders, features)
    model.load_state_dict(weights)
    return model.to(device).eval().requires_grad_(False)


def scores_of(
    model: Reranker | FeatureReranker | None, retriever: SourceRetriever, lists: CandidateBatch
) -> Tensor:
    """Scores of many lists by the reranker, or by the retrieval where there is none."""
    if model is None:
        return retrieval_scores(lists, retriever.config)
    return score_lists(model, retriever, lists)


def _galleries(stage_context: StageContext, stores: Mapping[str, FeatureStore]) -> dict[str, SourceGallery]:
    """Opened anew for each source: what the one before took is given back."""
    made = stage_context.inputs
    return galleries_of(made["gallery"], made["raw"], stores, stage_context.context.device)


def _retriever(
    stage_context: StageContext, config: PinpointConfig, source: str, stores: Mapping[str, FeatureStore]
) -> SourceRetriever:
    folders = stage_context.inputs
    told = {name: folders[name] for name in TOLD if name in folders}
    return open_retriever(config, source, _galleries(stage_context, stores), folders["support"], **told)


def _queries(
    stage_context: StageContext,
    source: str,
    name: str,
    stores: Mapping[str, FeatureStore],
    config: PinpointConfig,
) -> QueryBatch:
    return read_queries(
        stage_context.inputs["candidates"], source, name, stores[source], list(stores), config
    )
