"""Made-up galleries, features and networks, in the sizes of `full` or in none to speak of.

Everything is drawn on the device from a seed; nothing is read from a disk or a network.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from bench import Bench
from numpy.typing import NDArray
from torch import Tensor

from pinpoint_harness.search import Gallery, Rows, unit_rows, xyz_of
from pinpoint_harness.types import RADII_KM, Context, Queries
from pinpoint_methods.common.candidates import CHANNELS, feature_count
from pinpoint_methods.common.decoding import TemperatureScaling
from pinpoint_methods.pinpoint.config import CONFIGS, PinpointConfig
from pinpoint_methods.pinpoint.method import Pinpoint
from pinpoint_methods.pinpoint.parameters import PinpointParams
from pinpoint_methods.pinpoint.reranker import build_reranker
from pinpoint_methods.pinpoint.retriever import SourceRetriever
from pinpoint_methods.pinpoint.towers import Towers

_CHUNK_ELEMENTS = 1 << 26
CENTRES = 1000
BUSY_ROWS = 20_000
"""Rows of the busiest photographer of street view; the others have two dozen each."""

SMALL = replace(
    CONFIGS["mini"],
    hidden=32,
    embedding=32,
    frequencies=16,
    highest_frequency=64.0,
    location_hidden=32,
    layers=2,
    width=32,
    heads=4,
    reranker_batch=32,
    reranker_epochs=1,
)


def config_of(bench: Bench) -> PinpointConfig:
    """`full`, or one that is computed in no time."""
    return SMALL if bench.tiny else CONFIGS["full"]


def widths(bench: Bench) -> dict[str, int]:
    """Of the channels' matrices."""
    embedding = config_of(bench).embedding
    return {"image": embedding, "raw": bench.size(1536, 48), "location": embedding}


def features(bench: Bench, rows: int, width: int, seed: int) -> Tensor:
    """Features around a thousand centres, not normalised, `(rows, width)` fp16 on the device."""
    known, drawn = bench.generator(0), bench.generator(seed)
    device, step = bench.device, max(1, _CHUNK_ELEMENTS // width)
    centres = torch.randn(CENTRES, width, generator=known, device=device)
    made = torch.empty(rows, width, dtype=torch.float16, device=device)
    for start in range(0, rows, step):
        part = made[start : start + step]
        which = torch.randint(CENTRES, (len(part),), generator=drawn, device=device)
        noise = torch.randn(part.shape, generator=drawn, device=device)
        part.copy_(centres.index_select(0, which) + noise)
    return made


def clustered(bench: Bench, rows: int, width: int, seed: int) -> Tensor:
    """The same as unit vectors, each about 0.7 from its centre."""
    made, step = features(bench, rows, width, seed), max(1, _CHUNK_ELEMENTS // 4 // width)
    for start in range(0, rows, step):
        made[start : start + step] = unit_rows(made[start : start + step])
    return made


def places(rows: int, seed: int) -> NDArray[np.float64]:
    """Coordinates around towns of Zipf's sizes; a fifth shares its place with another."""
    known, random = np.random.default_rng(0), np.random.default_rng(seed)
    towns = np.column_stack(
        [np.degrees(np.arcsin(known.uniform(-0.9, 0.95, 5000))), known.uniform(-180, 180, 5000)]
    )
    near = towns[(random.zipf(1.3, rows) - 1) % len(towns)] + random.standard_t(2, (rows, 2)) * 0.05
    near[: rows // 5] = near[random.integers(0, rows, rows // 5)]
    return np.clip(near, [-90, -180], [90, 180])


def authors(rows: int, seed: int) -> NDArray[np.uint64]:
    """Two dozen rows for each of them, and one with many more."""
    random = np.random.default_rng(seed)
    who = random.permutation(rows).astype(np.uint64) // np.uint64(24) + np.uint64(2)
    who[random.permutation(rows)[: min(BUSY_ROWS, rows // 4)]] = 1
    return who


@dataclass(frozen=True)
class MemoryGallery:
    """What a finished gallery of one source gives, without files."""

    source: str
    device: torch.device
    coordinates: NDArray[np.float64]
    rows: Rows
    matrices: dict[str, Tensor]
    _opened: dict[tuple[str, ...], Gallery] = field(default_factory=dict)

    @cached_property
    def table(self) -> pa.Table:
        return pa.table({"id": [f"{row:08}" for row in range(len(self.coordinates))]}).combine_chunks()

    def vectors(self, what: str) -> Tensor:
        if what == "xyz":
            return self._xyz
        return self.matrices[what]

    def gathered(self, what: str) -> Tensor:
        return self.vectors(what)

    @cached_property
    def _xyz(self) -> Tensor:
        return torch.from_numpy(Rows.needed("xyz", self.rows.xyz)).to(self.device)

    def searchable(self, channels: Sequence[str]) -> Gallery:
        wanted = tuple(channels)
        if wanted not in self._opened:
            self._opened[wanted] = Gallery.of({c: self.matrices[c] for c in wanted}, self.rows)
        return self._opened[wanted]

    def to(self, device: str | torch.device) -> MemoryGallery:
        """The same rows elsewhere."""
        moved = {name: matrix.to(device) for name, matrix in self.matrices.items()}
        return MemoryGallery(self.source, torch.device(device), self.coordinates, self.rows, moved)


def make_gallery(bench: Bench, rows: int, wide: dict[str, int], seed: int = 1) -> MemoryGallery:
    """A gallery of so many rows with matrices of these widths."""
    coordinates = places(rows, seed)
    known = Rows(
        key=np.arange(1, rows + 1, dtype=np.uint64),
        author_token=authors(rows, seed),
        xyz=xyz_of(coordinates),
    )
    matrices = {
        name: clustered(bench, rows, width, seed + number)
        for number, (name, width) in enumerate(wide.items())
    }
    return MemoryGallery("photos", bench.device, coordinates, known, matrices)


def shared_gallery(bench: Bench) -> MemoryGallery:
    """One for all items of this process that ask for it."""
    if "gallery" not in bench.kept:
        bench.kept["gallery"] = make_gallery(bench, bench.gallery_rows, widths(bench))
    kept: MemoryGallery = bench.kept["gallery"]
    return kept


def support_table(rows: int, neighbours: int) -> NDArray[np.int32]:
    """For each row some others, as if near; every fifth has fewer."""
    table = (np.arange(rows, dtype=np.int32)[:, None] + np.arange(1, neighbours + 1, dtype=np.int32)) % rows
    table[::5, neighbours // 2 :] = -1
    return table


def make_retriever(gallery: MemoryGallery, config: PinpointConfig) -> SourceRetriever:
    """Candidates and their support from one and the same gallery."""
    table = support_table(len(gallery.coordinates), config.support_neighbours)
    own: Any = [gallery]
    return SourceRetriever(own, own, [table], config, str(gallery.device))


def make_towers(bench: Bench, config: PinpointConfig, device: str | torch.device | None = None) -> Towers:
    towers = Towers(config, widths(bench)["raw"], ("photos",)).initialise(config, 0)
    return towers.to(device or bench.device).eval().requires_grad_(False)


def make_reranker(config: PinpointConfig, device: str | torch.device) -> Any:
    """Random weights, the last layer's among them, which begins at zero otherwise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = build_reranker(config, config.embedding, feature_count(1))
        torch.nn.init.normal_(model.score.weight, std=0.05)
    return model.to(device).eval().requires_grad_(False)


class Assembled(Pinpoint):
    """Pinpoint over a gallery at hand; no stage has been trained."""

    def __init__(self, bench: Bench, gallery: MemoryGallery, config: PinpointConfig) -> None:
        asked: dict[str, Any] = {"author_filter": True, "candidates": 10, "instance": "photos"}
        self.params = PinpointParams(**{**vars(config), "sources": "photos"}, **asked)
        self._device, self._sources = str(bench.device), ("photos",)
        self._galleries: Any = {"photos": gallery}
        self.__dict__["_towers"] = make_towers(bench, config)
        level = (0.3,) * len(RADII_KM)
        calibration = TemperatureScaling(level, (1.0,) * len(RADII_KM))
        self.retriever = make_retriever(gallery, self.params)
        self._open["photos"] = (self.retriever, make_reranker(self.params, bench.device), calibration)
        gallery.searchable(CHANNELS)


def queries_of(bench: Bench, raw: Tensor) -> Queries:
    """Photos by people of the gallery, and in it under no name."""
    count, rows = len(raw), bench.gallery_rows
    key = np.arange(rows + 1, rows + 1 + count, dtype=np.uint64)
    token = authors(max(rows, count), 5)[:count]
    return Queries(key, token, ["photos"] * count, raw)


@dataclass(frozen=True)
class Encoder:
    """One vision tower by the sizes in its configuration."""

    title: str
    kind: str  # siglip, clip or dinov2
    sizes: dict[str, int]
    gflop: float  # of one picture, two for each multiplication with addition


_VIT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_ENCODERS = (
    Encoder("siglip", "siglip", {**_VIT, "image_size": 32, "patch_size": 16}, 1e-3),
    Encoder("clip", "clip", {**_VIT, "image_size": 32, "patch_size": 16, "projection_dim": 24}, 1e-3),
)


def _vit(
    hidden: int, inner: int, layers: int, heads: int, image: int, patch: int
) -> tuple[dict[str, int], float]:
    """A configuration, and the GFLOP of its products: projections, MLP, attention and patches."""
    tokens = (image // patch) ** 2
    layer = tokens * (4 * hidden * hidden + 2 * hidden * inner) + 2 * tokens * tokens * hidden
    flops = 2 * (layers * layer + tokens * 3 * patch * patch * hidden)
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = dict(zip(names, (hidden, inner, layers, heads), strict=True))
    return {**sizes, "image_size": image, "patch_size": patch}, flops / 1e9


FULL_ENCODERS = (
    Encoder("giant-384", "siglip", *_vit(1536, 6144, 40, 16, 384, 16)),
    Encoder("B/16-224", "siglip", *_vit(768, 3072, 12, 12, 224, 16)),
    Encoder("L/14-224", "clip", *_vit(1024, 4096, 24, 16, 224, 14)),
    Encoder("so400m-384", "siglip", *_vit(1152, 4304, 27, 16, 384, 14)),
)


def network_of(encoder: Encoder, device: str | torch.device, dtype: torch.dtype, attention: str) -> Any:
    """The network with random weights, drawn from one seed."""
    import transformers

    if encoder.kind == "clip":
        configuration: Any = transformers.CLIPVisionConfig(**encoder.sizes)
        model_class: Any = transformers.CLIPVisionModelWithProjection
    else:
        configuration = transformers.SiglipVisionConfig(**encoder.sizes)
        model_class = transformers.SiglipVisionModel
    configuration._attn_implementation = attention
    with torch.random.fork_rng(devices=[torch.device(device)] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(0)
        with torch.device(device):
            network = model_class(configuration)
    return network.to(dtype).eval().requires_grad_(False)


def tower_of(encoder: Encoder, network: Any, context: Context) -> Any:
    """The product's own backbone around a network at hand."""
    from pinpoint_harness.features.backbones.tower import HuggingFaceTower

    image = encoder.sizes["image_size"]
    prepared = {
        "do_resize": True,
        "size": {"height": image, "width": image},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network.config.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
        tower = HuggingFaceTower(folder, context)
        _ = tower.width  # reads the configuration while it is there
    tower.__dict__["_network"] = network
    return tower


def pictures(bench: Bench, encoder: Encoder, count: int, seed: int = 0) -> list[Tensor]:
    """Prepared pictures as `prepare` gives them, uint8 `(3, side, side)` in the host's memory."""
    side = encoder.sizes["image_size"]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    return list(drawn)
