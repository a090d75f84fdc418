"""Row `embed/overhead`: from a folder of JPEGs to a store, against the bare forward pass of the same network.

    python tests/benchmarks/bench_embed.py [FOLDER]

A random-initialised CLIP ViT-B/32 in the real format. The bare pass gets its pictures decoded,
prepared and stacked; `embed` does all of that as well, finds and reads the files, and writes the
store. Alternating rounds, median of the pairwise ratios, by the clock and by processor time. On a
CPU decoding takes cores from the network, so what cannot be hidden there is its share of the work;
on a GPU it is hidden whole.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

# Idle OpenMP threads spin unless there are more of them than cores, as in `embed`: without this the
# bare pass loses up to 40 % on a busy machine and comes out slower than the whole.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tests.support.processors import CLIPImageProcessorPil
from transformers import CLIPConfig, CLIPModel
from transformers.utils import logging

from pinpoint_harness.devices import default_device, embedding_context
from pinpoint_harness.features import EmbedRequest, complete
from pinpoint_harness.features.backbones import BackboneSource, find_backbone
from pinpoint_harness.images import ImageStore
from pinpoint_harness.images.decode import decode
from pinpoint_harness.plugins import Registry
from pinpoint_harness.types import Backbone, Context, DatasetInfo

PHOTOS = {"cpu": 64, "cuda": 8192}
ROUNDS = 3
AIM = 1.05
SHAPE = (375, 500)


class Photos:
    info = DatasetInfo(title="Photos", source="", licence="")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def truth(self) -> pd.DataFrame:
        names = sorted(path.name for path in self.folder.glob("*.jpg"))
        return pd.DataFrame(
            {
                "id": names,
                "image": names,
                "latitude": 0.0,
                "longitude": 0.0,
                "author": None,
                "source": "photos",
            }
        )

    def images(self) -> ImageStore:
        return ImageStore.open([self.folder])


class Opened:
    """A source whose network is loaded already: loading it is no part of the race."""

    def __init__(self, source: BackboneSource, backbone: Backbone) -> None:
        self.name = source.name
        self.content = source.content
        self._backbone = backbone

    def open(self, context: Context, *, fetch: bool = False) -> Backbone:
        return self._backbone


def synthetic_photos(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (SHAPE[0] // 5, SHAPE[1] // 5, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(coarse).resize(SHAPE[::-1], Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        (folder / f"{number:06}.jpg").write_bytes(stream.getvalue())


def seconds_of(work: Any) -> tuple[float, float]:
    """On the clock and, over all threads, on the processor, which other programs disturb less."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="JPEGs to embed instead of synthetic ones")
    given = parser.parse_args().folder
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    device = default_device()
    with tempfile.TemporaryDirectory() as base:
        root = Path(base)
        CLIPModel(CLIPConfig()).save_pretrained(root / "clip")
        CLIPImageProcessorPil().save_pretrained(root / "clip")
        photos = given or root / "photos"
        if not given:
            photos.mkdir()
            synthetic_photos(photos, PHOTOS[device.partition(":")[0]])
        race(root, photos, device)


def race(root: Path, photos: Path, device: str) -> None:
    dataset: Any = Photos(photos)
    source = find_backbone(Registry(), str(root / "clip"))
    context = embedding_context(device)
    backbone = source.open(context)
    opened: Any = Opened(source, backbone)
    names = dataset.truth()["id"].tolist()
    prepared = [backbone.prepare(decode((photos / name).read_bytes())) for name in names]  # type: ignore[arg-type]
    prepared += [prepared[-1]] * (-len(prepared) % backbone.tile)

    def bare() -> None:
        for start in range(0, len(prepared), backbone.tile):
            backbone.features(prepared[start : start + backbone.tile]).half().cpu()

    def embed() -> None:
        with tempfile.TemporaryDirectory() as out:
            complete(EmbedRequest("photos", dataset, opened, Path(out), context))

    bare()  # loads the network, compiles it on a GPU
    embed()
    rounds = []
    for number in range(ROUNDS):
        order = (bare, embed) if number % 2 == 0 else (embed, bare)
        times = {work: seconds_of(work) for work in order}
        rounds.append((times[bare], times[embed]))
    walls = [(one[0], other[0]) for one, other in rounds]
    forward, whole = (statistics.median(side) for side in zip(*walls, strict=True))
    print(
        f"embed/overhead: {len(names)} photos on {device} ({context.dtype}): bare {len(names) / forward:.1f} "
        f"images/s, embed {len(names) / whole:.1f}; aim {AIM} x"
    )
    for title, index in (("clock", 0), ("processor", 1)):
        ratios = sorted(other[index] / one[index] for one, other in rounds)
        print(f"  by the {title}: {statistics.median(ratios):.3f} x ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
