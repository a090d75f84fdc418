"""Row `embed/decode`: from JPEG bytes to a normalised 384 x 384 tensor, ours against PIL + transformers.

    python tests/benchmarks/bench_decode.py [FOLDER]

Ours: `images.decode` (simplejpeg where installed), torch's antialiased resize in uint8, then
normalisation. Theirs: Pillow and `CLIPImageProcessorPil`. One thread each, on synthetic JPEGs of
0.1 to 4 MP or, if given, on the JPEGs of a folder; alternating rounds, median of the pairwise
ratios. Both must give the same tensor within `ALLOWED_DIFFERENCE` first.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from ratios import state
from tests.support.processors import CLIPImageProcessorPil

from pinpoint_harness.images import Failure, decoder_name, resize
from pinpoint_harness.images.decode import decode

SIDE = 384
ROUNDS = 15
GATE, AIM = 1.5, 2.2
MEGAPIXELS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
ALLOWED_DIFFERENCE = 0.04
"""In normalised units: two grey levels of 255 are 0.03."""

Prepare = Callable[[bytes], torch.Tensor]

processor = CLIPImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
MEAN = 255 * torch.tensor(processor.image_mean)[:, None, None]
SCALE = 1 / (255 * torch.tensor(processor.image_std)[:, None, None])


def ours(data: bytes) -> torch.Tensor:
    pixels = decode(data)
    assert not isinstance(pixels, Failure), pixels
    small = torch.from_numpy(resize(pixels, SIDE, SIDE))  # (384, 384, 3)
    return (small.permute(2, 0, 1) - MEAN) * SCALE


def theirs(data: bytes) -> torch.Tensor:
    with Image.open(io.BytesIO(data)) as image:
        tensor: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    return tensor


def synthetic_photo(megapixels: float, seed: int) -> bytes:
    """A JPEG with detail at every scale, about 2 bits per pixel as from a camera."""
    random = np.random.default_rng(seed)
    height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    total = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64, 256):
        noise = random.integers(0, 256, (min(cells * 3 // 4, height), min(cells, width), 3), np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) * 2 / cells**0.5
    total += random.normal(scale=3, size=total.shape).astype(np.float32)
    total = (total - total.min()) / (total.max() - total.min()) * 255
    stream = io.BytesIO()
    Image.fromarray(total.astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def milliseconds(prepare: Prepare, files: Sequence[bytes]) -> float:
    started = time.perf_counter()
    for data in files:
        prepare(data)
    return (time.perf_counter() - started) / len(files) * 1e3


def race(title: str, files: Sequence[bytes]) -> float:
    """Median ratio over alternating rounds, every second one in the other order."""
    difference = max(float((ours(data) - theirs(data)).abs().max()) for data in files)
    assert difference <= ALLOWED_DIFFERENCE, f"{title}: tensors differ by {difference:.3f}"
    rounds = []
    for number in range(ROUNDS):
        order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        times = {prepare: milliseconds(prepare, files) for prepare in order}
        rounds.append((times[ours], times[theirs]))
    ratios = sorted(slow / fast for fast, slow in rounds)
    fast, slow = (statistics.median(side) for side in zip(*rounds, strict=True))
    state(f"decode {title}", statistics.median(ratios))
    print(
        f"{title:12} {fast:7.2f} ms against {slow:7.2f} ms an image: {statistics.median(ratios):5.2f} x "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}); largest difference {difference:.3f}"
    )
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    print(f"{decoder_name()}; torch {torch.__version__}; {ROUNDS} rounds; gate {GATE} x, aim {AIM} x")
    if folder:
        race(folder.name, [path.read_bytes() for path in sorted(folder.glob("*.jpg"))])
        return
    ratios = [
        race(f"{size:g} MP", [synthetic_photo(size, seed) for seed in range(max(1, round(2 / size)))])
        for size in MEGAPIXELS
    ]
    print(f"embed/decode: median over sizes {statistics.median(ratios):.2f} x, smallest {min(ratios):.2f} x")
    assert statistics.median(ratios) >= GATE


if __name__ == "__main__":
    main()
