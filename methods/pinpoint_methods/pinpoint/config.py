"""Every choice of the method with its reason, in one place.

Paper: "Pinpoint: Grounded Worldwide Image Geolocation via Cross-Source Retrieval and Reranking",
arXiv:2606.04133. Its code and weights are not public. Each reason begins with how sure it is:
`K` known from the paper or its authors' later notes, `I` inferred from them, `D` a default chosen
here where they are silent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pinpoint_harness.params import param

from .config_checks import refuse_lists_nobody_can_learn_from, refuse_towers_that_do_not_fit
from .small import MINI

SOURCES = ("photos", "streetview")
"""The two image sources, each with an adapter, a loss and a gallery of its own."""

_SOURCES = (",".join(SOURCES), *SOURCES)

Mark = Literal["K", "I", "D"]


def choice(
    default: Any,
    mark: Mark,
    reason: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """One field: its value in the configuration `full`, how sure it is, and why it is so."""
    return param(default, f"{mark}: {reason}", minimum=minimum, maximum=maximum, choices=choices)


@dataclass(frozen=True)
class RetrievalConfig:
    """All that changes the towers and the galleries they make; the defaults are the configuration `full`."""

    # What it is made from.
    sources: str = choice(
        "photos,streetview", "K", "image sources that train, are searched and give support", choices=_SOURCES
    )
    backbone: str = choice(
        "siglip2-giant-opt-patch16-384",
        "K",
        "frozen, features not normalised; or one for each embedder, separated by commas",
    )
    photos: str = choice("mp16-pro", "K", "dataset of photos: gallery and training")
    streetview: str = choice("osv5m-train", "K", "dataset of street view: gallery and training")

    # Who trains, who selects.
    photos_spelling: str = choice(
        "aa_bb_id.jpg",
        "I",
        "how MP16_Pro_filtered.csv spells the names that are hashed: with '_', as its tar does",
        choices=("aa_bb_id.jpg", "verbatim"),
    )
    photos_a_percent: int = choice(
        99, "K", "md5(name) % 100 below this is A: embedder and gallery", minimum=1, maximum=99
    )
    photos_c_one_in: int = choice(
        10, "D", "of the other photos, authors with md5 % this == 0 are C, the rest B", minimum=2
    )
    streetview_cell_km: float = choice(
        2.0,
        "D",
        "B and C are whole cells of about this edge, as the test set is cut by place; 0: B is pictures, C "
        "whole creators",
        minimum=0,
    )
    streetview_b_percent: int = choice(
        1, "D", "md5(cell or id) % 100 below this is B, as many as of the photos", minimum=0, maximum=50
    )
    streetview_c_one_in: int = choice(
        100, "D", "other cells by md5 // 100, or creators by md5, where % this == 0 are C", minimum=2
    )
    leave_out: str = choice(
        "im2gps3k,yfcc4k,osv5m",
        "K",
        "benchmarks whose photographers leave B and C, as do photos like theirs and street view near theirs",
    )
    leave_out_cosine: float = choice(
        0.95, "K", "a photo's raw feature this close to a benchmark's leaves B and C", minimum=0, maximum=1.01
    )

    # Towers.
    embedding: int = choice(256, "I", "width of the shared space", minimum=2)
    hidden: int = choice(2048, "D", "width of adapters and trunk: 104 M weights for one source", minimum=2)
    adapter_depth: int = choice(2, "D", "residual blocks of each source's own adapter", minimum=0)
    trunk_depth: int = choice(4, "D", "residual blocks all sources share", minimum=0)
    expansion: int = choice(2, "D", "a block's inner width over its outer", minimum=1)
    frequencies: int = choice(
        512, "D", "directions of the Fourier features, a sine and cosine each", minimum=1
    )
    lowest_frequency: float = choice(
        1.0, "D", "one wave over the radius of the Earth, at the start", minimum=0
    )
    highest_frequency: float = choice(
        8192.0, "D", "2^13: a wave of 0.8 km, as 1 km is 1.6e-4 of the unit sphere", minimum=0
    )
    location_hidden: int = choice(1024, "D", "width of the location tower: 14 M weights", minimum=2)
    location_depth: int = choice(3, "D", "its residual blocks", minimum=0)

    embedders: int = choice(
        1,
        "D",
        "pairs of towers that differ in their seeds, and in `temperatures`; a similarity is the mean of "
        "theirs",
        minimum=1,
        maximum=16,
    )

    # Loss.
    temperature: float = choice(10.0, "D", "SigLIP's start; learned, one per source", minimum=0.01)
    temperatures: str = choice(
        "", "D", "in its place that of each embedder, separated by commas: seeds alone differ little"
    )
    highest_temperature: float = choice(
        100.0, "D", "CLIP's bound: beyond it a batch is its hardest pair alone", minimum=0.01
    )
    bias: float = choice(-10.0, "D", "SigLIP's start; learned, one per source")
    mask_km: float = choice(1.0, "D", "closer pairs of a batch are no negatives", minimum=0)

    # Training.
    passes: float = choice(
        22.5, "K", "over the rows of the sources in use: about 200 M samples of 8.87 M rows", minimum=0.001
    )
    batch: int = choice(32_768, "D", "16k to 32k fit; negatives are the batch's own", minimum=2)
    learning_rate: float = choice(1e-3, "D", "peak; AdamW on residual MLPs", minimum=0)
    scale_learning_rate: float = choice(
        1e-2, "D", "peak for t (its logarithm) and b, which have far to go and are two numbers", minimum=0
    )
    frequency_learning_rate: float = choice(
        1e-4, "D", "peak for the logarithms of the frequencies: a ten-thousandth of 2^13 is a wave", minimum=0
    )
    warmup_share: float = choice(0.05, "D", "of the steps, before the cosine to zero", minimum=0, maximum=1)
    weight_decay: float = choice(
        0.05, "D", "of matrices; none on norms, biases, t, b, frequencies", minimum=0
    )
    beta2: float = choice(0.98, "D", "large batches, few steps", minimum=0, maximum=0.9999)
    clip_norm: float = choice(1.0, "D", "longest gradient", minimum=0.001)
    input_noise: float = choice(
        0.0,
        "D",
        "Gaussian noise on training features, anew each step, in standard deviations of each number",
        minimum=0,
    )
    dropout: float = choice(
        0.0,
        "D",
        "share of the inner numbers of the image tower's blocks that training takes away, anew each step",
        minimum=0,
        maximum=0.9,
    )
    weight_average: float = choice(
        0.0,
        "D",
        "decay of the moving average of the weights, which is measured and kept in their place; 0: none",
        minimum=0,
        maximum=0.99999,
    )
    keep: str = choice(
        "last",
        "D",
        "weights of which point of the curve: last; best: where the channels place most of C, sources alike; "
        "best-of-source: of each source those that place most of its C",
        choices=("last", "best", "best-of-source"),
    )

    # Watching it on C.
    validations: int = choice(10, "D", "points of the curve, and checkpoints, evenly spaced", minimum=1)
    validation_queries: int = choice(10_000, "D", "of C per source, the first by md5", minimum=1)
    validation_gallery: int = choice(200_000, "D", "rows of A per source, every n-th", minimum=1)
    exclude_km: float = choice(
        1.0,
        "K",
        "as the test set of street view is cut: what has a row of A or a benchmark so close leaves B and C, "
        "and they see nothing so close",
        minimum=0,
    )

    def __post_init__(self) -> None:
        refuse_towers_that_do_not_fit(self)

    def starts(self) -> list[float]:
        """The numbers of `temperatures`; none where one is no such number."""
        words = self.temperatures.split(",")
        try:
            starts = [float(word) for word in words]
        except ValueError:
            return []
        return starts if all(0.01 <= start < math.inf for start in starts) else []

    def steps(self, rows: int) -> int:
        """Optimizer steps of the whole training: one source alone is seen as often as among both."""
        return max(1, round(self.passes * rows / self.batch))

    @property
    def backbones(self) -> list[str]:
        """The names in `backbone`."""
        return [name.strip() for name in self.backbone.split(",")]

    @property
    def embedder_stages(self) -> list[str]:
        """What the stages of the embedders are called."""
        return ["embedder", *(f"embedder-{number}" for number in range(2, self.embedders + 1))]

    def embedder_seeds(self, seed: int) -> dict[str, int]:
        """The seed of each by the name of its stage: another seed of the training shares none."""
        return {name: seed * self.embedders + number for number, name in enumerate(self.embedder_stages)}

    def of_embedders(self) -> dict[str, RetrievalConfig]:
        """The configuration of each by the name of its stage."""
        starts = self.starts() if self.temperatures else [self.temperature] * self.embedders
        pairs = zip(self.embedder_stages, starts, strict=True)
        return {name: replace(self, temperatures="", temperature=start) for name, start in pairs}

    def dataset_of(self, source: str) -> str:
        """The dataset that source's gallery and training rows come from."""
        name: str = getattr(self, source)
        return name

    def benchmarks(self) -> list[str]:
        """The datasets named by `leave_out`."""
        return [name.strip() for name in self.leave_out.split(",") if name.strip()]


@dataclass(frozen=True)
class PinpointConfig(RetrievalConfig):
    """All that changes the trained model: what is retrieved, and what is made of it."""

    # Support and candidates.
    support_neighbours: int = choice(
        64, "K", "stored per row, so that each query can mask its own", minimum=1
    )
    support_km: float = choice(25.0, "D", "support lies this close to the candidate", minimum=0)
    support: str = choice(
        "near",
        "K",
        "photos of the other source near the candidate; shuffled: near another, random one",
        choices=("near", "shuffled", "none"),
    )
    support_used: int = choice(16, "D", "the nearest of them left after masking are pooled", minimum=1)
    galleries: str = choice(
        "own",
        "K",
        "each instance searches its source's gallery; both: quotas halved",
        choices=("own", "both"),
    )
    candidates_image: int = choice(8, "K", "from image to image", minimum=0)
    candidates_raw: int = choice(2, "K", "from raw feature to raw feature", minimum=0)
    candidates_location: int = choice(2, "K", "from image to GPS", minimum=0)
    candidate_pool: int = choice(
        0,
        "K",
        "rows of each channel and gallery of which those with the highest fused score, as many as the quotas "
        "together, become candidates; 0: quotas",
        minimum=0,
        maximum=1024,
    )
    csls: int = choice(
        0,
        "D",
        "from a similarity a pool takes half of what a row has to so many of B's queries, its nearest",
        minimum=0,
        maximum=1024,
    )
    candidates_kept: int = choice(
        32,
        "D",
        "rows stored per channel and gallery: all ablations share one search",
        minimum=1,
        maximum=1024,
    )

    # Reranker.
    reranker: str = choice(
        "attention",
        "K",
        "a Transformer over each candidate's tokens; features: an MLP over hand-made features; none: the "
        "scores of the retrieval",
        choices=("attention", "features", "none"),
    )
    reranker_queries: str = choice(
        "B", "K", "split whose photos train it; A: gallery photos, each left out", choices=("B", "A")
    )
    streetview_lists: str = choice(
        "hidden",
        "I",
        "what B's street view may not see beside what lies within exclude_km: hidden: all else of its "
        "creator; seen: nothing, as its test set; both: each once",
        choices=("hidden", "seen", "both"),
    )
    photos_lists: str = choice(
        "hidden",
        "K",
        "what B's photos may not see: hidden: all else of their photographer; seen: nothing but themselves; "
        "both: each once",
        choices=("hidden", "seen", "both"),
    )
    query_embedding: bool = choice(True, "K", "the query token carries the query's image embedding")
    visual_token: bool = choice(
        True, "K", "the candidate's image embedding is a token; without it, image and raw similarity go too"
    )
    gps_token: bool = choice(
        True, "K", "its location embedding is a token; without it, its similarity goes too"
    )
    support_token: bool = choice(True, "K", "its support, pooled, is a token")
    token_scores: bool = choice(
        True, "D", "tokens carry the similarities they stand for: few lists, too few to learn products from"
    )
    list_features: bool = choice(
        False, "D", "the query token carries the hand-made features of `reranker=features`"
    )
    density: int = choice(
        0, "D", "a further one: the log distance to a row's n-th nearest of its gallery; 0: none", minimum=0
    )
    cells: int = choice(
        0,
        "D",
        "further ones: the log probability of a candidate's cell at three sizes, by a classifier trained on "
        "A; most photos in a cell of the smallest; 0: none",
        minimum=0,
    )
    layers: int = choice(3, "D", "of the Transformer over one candidate's tokens", minimum=1)
    width: int = choice(384, "D", "of its tokens", minimum=2)
    heads: int = choice(6, "D", "of its attention", minimum=1)
    context_layers: int = choice(
        0, "K", "layers in which candidates see one another; 0: each is scored alone", minimum=0
    )
    ranking_loss: str = choice(
        "margin",
        "K",
        "margin: the candidate nearest the truth above all others; listwise: cross-entropy against a soft "
        "target; radii: a score for each radius, made likely that the truth lies within it of a candidate",
        choices=("margin", "listwise", "radii"),
    )
    margin: float = choice(0.5, "D", "between the best candidate's score and any other's", minimum=0)
    target_temperature: float = choice(
        0.1, "D", "of the soft target, a softmax of each candidate's share of the radii", minimum=0.001
    )
    reranker_epochs: int = choice(
        10, "D", "passes over its queries; the best by C, its start among them, is kept", minimum=1
    )
    reranker_batch: int = choice(256, "D", "queries of a step", minimum=1)
    reranker_learning_rate: float = choice(3e-4, "D", "peak; AdamW, warm-up, cosine", minimum=0)
    reranker_weight_decay: float = choice(0.05, "D", "of its matrices", minimum=0)

    # Answer.
    retrieval_location: float = choice(
        0.7, "D", "weight of image to GPS beside image to image where the retrieval ranks", minimum=0
    )
    retrieval_raw: float = choice(0.0, "D", "weight of the raw similarity there", minimum=0)
    retrieval_weights: str = choice(
        "given",
        "D",
        "both weights as given, or fitted: of each source those that make B's lists likeliest at one of the "
        "radii, or as given, whichever place most of C",
        choices=("given", "fitted"),
    )
    decoding: str = choice(
        "argmax",
        "K",
        "the best candidate; expected: the one with the highest expected share of the five radii",
        choices=("argmax", "expected"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_lists_nobody_can_learn_from(self)

    def quota(self, channel: str) -> int:
        """Candidates of a channel in each gallery; what one gallery would give is shared by two."""
        given: int = getattr(self, f"candidates_{channel}")
        return given // (2 if self.galleries == "both" else 1)


EMBEDDER = (
    *("embedding", "hidden", "adapter_depth", "trunk_depth", "expansion"),
    *("frequencies", "lowest_frequency", "highest_frequency", "location_hidden", "location_depth"),
    *("temperature", "highest_temperature", "bias", "mask_km", "passes", "batch", "learning_rate"),
    *("scale_learning_rate", "frequency_learning_rate", "warmup_share"),
    *("weight_decay", "beta2", "clip_norm", "input_noise", "dropout", "weight_average", "keep"),
    *("validations", "validation_queries", "validation_gallery", "exclude_km"),
)
"""The choices that change the embedder, beside the rows it learns from."""

SETS: Mapping[str, Mapping[str, Any]] = {
    "full": {},
    "mini": {name: value for name, (value, _) in MINI.items()},
}
"""The defaults that each choice of `config` changes."""

CONFIGS = {name: PinpointConfig(**values) for name, values in SETS.items()}


def part(config: RetrievalConfig, *names: str) -> dict[str, Any]:
    """Some choices by name, as they stand in the recipe of the stage that depends on them."""
    return {name: getattr(config, name) for name in names}
