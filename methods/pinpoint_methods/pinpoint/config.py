"""Every choice of the method with its reason, in one place.

Paper: "Pinpoint: Grounded Worldwide Image Geolocation via Cross-Source Retrieval and Reranking",
arXiv:2606.04133. Its code and weights are not public. Each reason begins with how sure it is:
`K` known from the paper or its authors' later notes, `I` inferred from them, `D` a default chosen
here where they are silent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from pinpoint_harness.errors import UsageError
from pinpoint_harness.params import param

SOURCES = ("photos", "streetview")
"""The two image sources, each with an adapter, a loss and a gallery of its own."""

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
    help = f"{mark}: {reason}"
    return field(
        default=default,
        metadata={"help": help, "minimum": minimum, "maximum": maximum, "choices": choices},
    )


@dataclass(frozen=True)
class PinpointConfig:
    """All that changes the trained model; the defaults are the configuration `full`."""

    # What it is made from.
    backbone: str = choice("siglip2-giant-opt-patch16-384", "K", "frozen, features not normalised")
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
    streetview_b_percent: int = choice(
        1, "D", "md5(id) % 100 below this is B, as many as of the photos", minimum=0, maximum=50
    )
    streetview_c_one_in: int = choice(
        100, "D", "creators with md5 % this == 0 are C, wholly held out", minimum=2
    )
    leave_out: str = choice(
        "im2gps3k,yfcc4k,osv5m", "K", "benchmarks whose photographers and look-alikes leave B and C"
    )
    leave_out_cosine: float = choice(
        0.95, "K", "a raw feature this close to a benchmark's leaves B and C", minimum=0, maximum=1.01
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

    # Loss.
    temperature: float = choice(10.0, "D", "SigLIP's start; learned, one per source", minimum=0.01)
    bias: float = choice(-10.0, "D", "SigLIP's start; learned, one per source")
    mask_km: float = choice(1.0, "D", "closer pairs of a batch are no negatives", minimum=0)

    # Training.
    samples: int = choice(200_000_000, "K", "about as many seen", minimum=1)
    batch: int = choice(32_768, "D", "16k to 32k fit; negatives are the batch's own", minimum=2)
    learning_rate: float = choice(1e-3, "D", "peak; AdamW on residual MLPs", minimum=0)
    warmup_share: float = choice(0.05, "D", "of the steps, before the cosine to zero", minimum=0, maximum=1)
    weight_decay: float = choice(
        0.05, "D", "of matrices; none on norms, biases, t, b, frequencies", minimum=0
    )
    beta2: float = choice(0.98, "D", "large batches, few steps", minimum=0, maximum=0.9999)
    clip_norm: float = choice(1.0, "D", "longest gradient", minimum=0.001)
    input_noise: float = choice(
        0.0, "D", "Gaussian noise on training features, in their standard deviations", minimum=0
    )

    # Watching it on C.
    validations: int = choice(10, "D", "points of the curve, and checkpoints, evenly spaced", minimum=1)
    validation_queries: int = choice(10_000, "D", "of C per source, the first by md5", minimum=1)
    validation_gallery: int = choice(200_000, "D", "rows of A per source, every n-th", minimum=1)

    # Support and retrieval.
    support_neighbours: int = choice(
        64, "K", "stored per row, so that each query can mask its own", minimum=1
    )
    support_km: float = choice(25.0, "D", "support lies this close to the candidate", minimum=0)
    exclude_km: float = choice(1.0, "K", "around street view of B and C, as its test set is cut", minimum=0)

    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return max(1, round(self.samples / self.batch))

    def dataset_of(self, source: str) -> str:
        """The dataset that source's gallery and training rows come from."""
        name: str = getattr(self, source)
        return name

    def benchmarks(self) -> list[str]:
        """The datasets named by `leave_out`."""
        return [name.strip() for name in self.leave_out.split(",") if name.strip()]


MINI: Mapping[str, tuple[Any, str]] = {
    "backbone": ("mini", "what mini-Earth carries"),
    "photos": ("mini-earth/photos", "its photos"),
    "streetview": ("mini-earth/streetview", "its street view"),
    "photos_a_percent": (75, "as the world was divided when it was drawn"),
    "photos_c_one_in": (4, "likewise"),
    "streetview_b_percent": (18, "likewise"),
    "streetview_c_one_in": (12, "likewise"),
    "leave_out": ("", "query-noisy shares its photographers with the gallery on purpose"),
    "hidden": (256, "48,000 rows to learn from, two cores to learn on"),
    "adapter_depth": (1, "likewise"),
    "trunk_depth": (1, "likewise"),
    "frequencies": (256, "likewise"),
    "location_hidden": (256, "likewise"),
    "location_depth": (1, "likewise"),
    "samples": (1_000_000, "likewise: two minutes"),
    "batch": (1024, "a twenty-fourth of a source"),
    "learning_rate": (2e-3, "of a small model, chosen on C of world seed 1"),
    "validation_queries": (2000, "about all there are"),
    "validation_gallery": (100_000, "all of it"),
}
"""Where `mini` differs from `full`, and why."""

CONFIGS = {
    "full": PinpointConfig(),
    "mini": replace(PinpointConfig(), **{name: value for name, (value, _) in MINI.items()}),
}


def settings_class(name: str, own: Sequence[tuple[str, Any, Any]] = ()) -> type[Any]:
    """Parameters of a method: a configuration, any of its fields to change, and the method's own."""
    changes = [
        (
            item.name,
            type(item.default) | None,
            param(
                None,
                item.metadata["help"],
                **{key: item.metadata[key] for key in ("minimum", "maximum", "choices")},
            ),
        )
        for item in fields(PinpointConfig)
    ]
    shared = [
        ("config", str, param("mini", "where all else comes from", choices=tuple(sorted(CONFIGS)))),
        ("seed", int, param(0, "of the training", minimum=0)),
        (
            "models",
            Path | None,
            param(None, "folder of trained stages [default: $PINPOINT_MODELS]", in_title=False),
        ),
    ]
    return dataclasses.make_dataclass(name, [*shared, *own, *changes], frozen=True)


def config_of(params: Any) -> PinpointConfig:
    """The configuration that parameters name, with their changes to it."""
    changed = {item.name: getattr(params, item.name) for item in fields(PinpointConfig)}
    config = replace(
        CONFIGS[params.config], **{name: value for name, value in changed.items() if value is not None}
    )
    if config.lowest_frequency > config.highest_frequency:
        raise UsageError(
            "the lowest frequency is not above the highest",
            found=f"{config.lowest_frequency:g} and {config.highest_frequency:g}",
        )
    return config


def part(config: PinpointConfig, *names: str) -> dict[str, Any]:
    """Some choices by name, as they stand in the recipe of the stage that depends on them."""
    return {name: getattr(config, name) for name in names}
