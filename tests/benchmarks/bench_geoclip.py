"""Row `peer/geoclip`: the authors' package against ours, on its own weights and gallery of 100,000 points.

    python tests/benchmarks/bench_geoclip.py [--images N] [--pairs P]

Location side: image features are given; the package encodes its gallery anew for every photo, as its
`predict` does, ours has done it once. Whole: from pictures to answers through a CLIP of the real shape
with random weights. Before a time is taken both must agree, each by its own code, on the same N
pictures: logits within 1e-4, every top-1 equal, top-5 probabilities within 1e-5, and from 200
pictures on at least 50 different top-1 points.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from PIL import Image
from tests.support.processors import CLIPImageProcessorPil
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPModel
from transformers.utils import logging

from pinpoint_harness import params
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.geoclip.files import INSTALL
from pinpoint_methods.geoclip.method import GeoCLIP

TILE = 256
GATE, AIM = 500, 1000
SPREAD = 8.0
"""Random weights this much wider than usual: else all pictures get nearly one feature, and few answers."""
TEXT = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "initializer_factor": SPREAD,
}


def real_shape(folder: Path) -> Path:
    """CLIP ViT-L/14 with random weights; its text tower, which nobody asks, is left small."""
    torch.manual_seed(0)
    text = {**TEXT, "vocab_size": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=768)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return folder


def pictures(count: int) -> list[Any]:
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        height, width = random.integers(150, 600, 2)
        noise = random.integers(0, 256, (height // random.integers(10, 90), width // 40, 3))
        # Colour and contrast of their own: what a tower of random weights tells pictures apart by.
        colour, contrast = random.integers(0, 256, 3), random.random()
        cells = (contrast * noise + (1 - contrast) * colour).astype(np.uint8)
        smooth = Image.fromarray(cells).resize((int(width), int(height)), Image.Resampling.BICUBIC)
        made.append(np.asarray(smooth).copy())
    return made


def ours_with(**settings: Any) -> GeoCLIP:
    return GeoCLIP(params.build(GeoCLIP.Params, settings, "geoclip"), Context())


def queries(given: Any) -> Queries:
    count = len(given)
    return Queries(np.arange(count, dtype=np.uint64), np.zeros(count, np.uint64), ["photos"] * count, given)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def agreement(ours: GeoCLIP, peer: Any, images: list[Any]) -> None:
    """Logits of both for the same pictures, each by its own code from the pixels on."""
    with torch.inference_mode():
        pixels = torch.cat([peer.image_encoder.preprocess_image(Image.fromarray(image)) for image in images])
        features = torch.cat([peer.image_encoder(batch) for batch in torch.split(pixels, 20)])
        places = torch.cat([peer.location_encoder(part) for part in torch.split(peer.gps_gallery, 10_000)])
        theirs = peer.logit_scale.exp() * (normalize(features, dim=1) @ normalize(places, dim=1).T)
        found = torch.cat([ours.logits(images[start : start + 20]) for start in range(0, len(images), 20)])
    apart = float((theirs - found).abs().max())
    points = peer.gps_gallery
    first = [points[logits.argmax(dim=1)] for logits in (theirs, found)]
    different = len(torch.unique(first[0], dim=0))
    equal = int((first[0] == first[1]).all(dim=1).sum())
    top5 = [logits.softmax(dim=1).topk(5, dim=1) for logits in (theirs, found)]
    off = float((top5[0].values - top5[1].values).abs().max())
    print(
        f"peer/geoclip agreement on {len(images)} images: logits within {apart:.1e}, {different} different "
        f"top-1 points, {equal} equal; top-5 probabilities within {off:.1e}"
    )
    assert apart <= 1e-4
    assert torch.equal(*first)
    assert off <= 1e-5
    assert len(images) < 200 or different >= 50


def location_side(ours: GeoCLIP, peer: Any, pairs: int) -> bool:
    """Features given; both answer with five points."""
    features = torch.randn(TILE, 768, generator=torch.Generator().manual_seed(1)).half()
    ask, ask_one = queries(features), queries(features[:1])
    clip, peer.image_encoder = peer.image_encoder, peer.image_encoder.mlp

    def theirs() -> Any:
        with torch.inference_mode():
            logits = peer(features[:1].float(), peer.gps_gallery)
            return torch.topk(logits.softmax(dim=-1), 5, dim=1)

    expected, answer = theirs(), ours.predict(ask)
    assert answer.candidates is not None
    points = peer.gps_gallery[expected.indices[0]].numpy()
    np.testing.assert_array_equal(np.float32(answer.candidates.coordinates[0]), points)
    np.testing.assert_allclose(answer.candidates.probability[0], expected.values[0], atol=1e-5)  # type: ignore[index]
    times = [
        (seconds(theirs), seconds(lambda: ours.predict(ask)) / TILE, seconds(lambda: ours.predict(ask_one)))
        for _ in range(pairs)
    ]
    peer.image_encoder = clip
    slow, tile, one = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(peer_s / tile_s for peer_s, tile_s, _ in times)
    single = statistics.median(peer_s / one_s for peer_s, _, one_s in times)
    print(
        f"peer/geoclip location side: {1 / tile:.0f} images/s in tiles of {TILE}, {1 / one:.0f} singly, "
        f"package {1 / slow:.3f}: {ratio:.0f}x, singly {single:.0f}x; gate {GATE}x, aim {AIM}x"
    )
    return ratio >= GATE


def whole(ours: GeoCLIP, peer: Any, images: list[Any]) -> None:
    """From pixels to the answer, as each is called."""

    def theirs() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "photo.png")
            Image.fromarray(images[0]).save(path)
            peer.predict(path, 5)

    mine = seconds(lambda: ours.predict(queries(images))) / len(images)
    slow = seconds(theirs)
    print(f"peer/geoclip whole: {1 / mine:.2f} images/s, package {1 / slow:.3f}: {slow / mine:.1f}x")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8, help="for the agreement and the whole")
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    if find_spec("geoclip") is None:
        print(f"peer/geoclip: the package is not installed: {INSTALL}")
        return 2
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore")  # the package's use of torch.jit.script
    geoclip = import_module("geoclip")

    with tempfile.TemporaryDirectory() as folder:
        clip, models = str(real_shape(Path(folder, "clip"))), str(Path(folder, "models"))
        peer = geoclip.GeoCLIP(clip_path=clip).eval()
        ours = ours_with(backbone=clip, models=models, candidates=5)
        images = pictures(given.images)
        agreement(ours, peer, images)
        whole(ours, peer, images[:8])
        passed = location_side(ours_with(preprocess="store", models=models, candidates=5), peer, given.pairs)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
