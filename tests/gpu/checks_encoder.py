"""Vision towers on the device: in bf16, compiled, and in whatever place of a tile."""

from __future__ import annotations

from typing import Any

import torch
from bench import Bench
from torch import Tensor
from worlds import TINY_ENCODERS, Encoder, network_of, pictures, tower_of

from pinpoint_harness.types import Context

_VIT = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 6}
SMALL_ENCODERS = (
    Encoder("siglip", "siglip", {**_VIT, "image_size": 224, "patch_size": 16}, 1.0),
    Encoder("clip", "clip", {**_VIT, "image_size": 224, "patch_size": 14, "projection_dim": 256}, 1.0),
)


def _encoders(bench: Bench) -> tuple[Encoder, ...]:
    return TINY_ENCODERS if bench.tiny else SMALL_ENCODERS


def _cosine(a: Tensor, b: Tensor) -> float:
    """The lowest of all rows."""
    return float(torch.nn.functional.cosine_similarity(a.float().cpu(), b.float().cpu()).min())


def bf16_close_to_float32(bench: Bench) -> dict[str, Any]:
    """The product's backbone in bf16 on the device against float32 on the CPU, from uint8 pictures."""
    facts = {}
    for encoder in _encoders(bench):
        given = pictures(bench, encoder, 16)
        exact = _features(encoder, "cpu", "float32", given)
        for dtype, least in (("float32", 0.9999), ("bfloat16", 0.995)):
            mine = _features(encoder, str(bench.device), dtype, given)
            assert bool(torch.isfinite(mine).all()), f"{encoder.title} in {dtype} is not finite"
            cosine = _cosine(mine, exact)
            assert cosine >= least, f"{encoder.title} in {dtype}: cosine {cosine:.5f}, allowed is {least}"
            facts[f"{encoder.title}, {dtype}"] = cosine
    return facts


def _features(encoder: Encoder, device: str, dtype: str, given: list[Tensor]) -> Tensor:
    network = network_of(encoder, "cpu", torch.float32, "sdpa").to(device, getattr(torch, dtype))
    tower = tower_of(encoder, network, Context(device=device, dtype=dtype))
    tower.__dict__["_compiled_network"] = network  # compiling is another check
    found: Tensor = tower.features(given)
    return found


def compiled_tile_close_to_eager(bench: Bench) -> dict[str, Any]:
    """Compiled for one shape: as eager, the same for a row in any place, and not compiled twice."""
    import torch._dynamo

    encoder = _encoders(bench)[0]
    dtype, rows = torch.bfloat16, bench.size(256, 16)
    network = network_of(encoder, bench.device, dtype, "sdpa")
    tower = tower_of(encoder, network, Context(device=str(bench.device), dtype="bfloat16"))
    given = pictures(bench, encoder, rows)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    tower.__dict__["_compiled_network"] = network
    eager = tower.features(given)
    compiled = torch.compile(network, backend="inductor" if bench.cuda else "eager")
    # The product compiles where there is a GPU; the rehearsal does as if, without a compiler.
    tower.__dict__["_compiled_network" if bench.cuda else "_network"] = compiled
    first = tower.features(given)
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    turned = tower.features(given[1:] + given[:1])
    again = tower.features(given)
    cosine = _cosine(first, eager)
    assert cosine >= 0.999, f"compiled and eager features have cosine {cosine:.5f}"
    assert torch.equal(first, again), "the same tile twice gives other features"
    assert torch.equal(torch.roll(turned, 1, 0), first), "a feature depends on its place in the tile"
    assert torch._dynamo.utils.counters["frames"]["ok"] == frames, "the same shape is compiled again"
    return {"cosine": cosine, "bits equal to eager": bool(torch.equal(first, eager))}
