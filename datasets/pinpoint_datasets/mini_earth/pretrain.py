"""How `mini.safetensors` was made: minutes on two cores, from nothing but the renderer.

    python -m pinpoint_datasets.mini_earth.pretrain mini.safetensors

Pictures are drawn from random attributes and random views; the network names the attributes. Noise is
added to what it sees, or it would read colours to a precision no photo offers.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional

from .backbone import MiniBackbone
from .drawing.attributes import LANDMARK, PLACE, VIEW, Floats, random_pictures
from .drawing.scene import render

log = logging.getLogger(__name__)

PICTURES = 96_000
EPOCHS = 6
BATCH = 160
LEARNING_RATE = 2e-3
NOISE = 0.10
"""Standard deviation of the strongest noise, of a range of 1."""
SHARD = 2000


def draw_shard(number: int) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Pictures, their attributes, and which of the attributes they show."""
    place, view = random_pictures(np.random.default_rng([2026, number]), SHARD)
    shown = np.repeat(view[:, [VIEW.index("indoors")]] < 0.5, len(PLACE), axis=1).astype(np.float32)
    sights = [PLACE.index(name) for name in LANDMARK]
    shown[:, sights] *= view[:, [VIEW.index("landmark_shown")]] > 0.5
    return render(place, view), place, shown


def pretrain(network: MiniBackbone, pictures: torch.Tensor, place: torch.Tensor, shown: torch.Tensor) -> None:
    """Regress attributes, each error counted where the attribute can be seen."""
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload] # its own stub forgets it
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    steps = EPOCHS * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    for epoch in range(EPOCHS):
        total = 0.0
        order = torch.randperm(len(pictures), generator=generator)
        for rows in order[: len(order) // BATCH * BATCH].view(-1, BATCH):
            clean = pictures[rows].permute(0, 3, 1, 2).float() / 255
            strength = NOISE * torch.rand(BATCH, 1, 1, 1, generator=generator)
            noisy = clean + strength * torch.randn(clean.shape, generator=generator)
            with torch.autocast("cpu", torch.bfloat16):
                named = network.attributes(noisy).float()
            error = functional.mse_loss(named, place[rows], reduction="none") * shown[rows]
            loss = error.sum() / shown[rows].sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        log.info(
            "epoch %d: mean squared error %.4f (1/12 knows nothing)", epoch, total / (len(order) // BATCH)
        )


def main(out: Path) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ProcessPoolExecutor(2) as pool:
        shards = list(pool.map(draw_shard, range(PICTURES // SHARD)))
    pictures, place, shown = (torch.from_numpy(np.concatenate(part)) for part in zip(*shards, strict=True))
    torch.manual_seed(0)
    network = MiniBackbone()
    pretrain(network, pictures, place, shown)
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
