"""Figures G8 and G15: the encoders, and a photo's way from its pixels to a place."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from bench import Bench
from figures_model import graphed
from worlds import (
    FULL_ENCODERS,
    TINY_ENCODERS,
    Assembled,
    Encoder,
    config_of,
    features,
    network_of,
    pictures,
    queries_of,
    shared_gallery,
    tower_of,
    widths,
)

from pinpoint_harness.types import Context, Queries

NEEDS_SECONDS = {"giant-384": 75, "so400m-384": 50, "L/14-224": 35, "B/16-224": 25}
AIMS = {"giant-384": "340-400, gate 280"}
ONE_PHOTO = "12 ms, gate 20"
PHOTOS = 4096


def _tile(bench: Bench) -> int:
    return bench.size(256, 16)


def encoders(bench: Bench) -> dict[str, Any]:
    """G8: each network eager, with SDPA, and as the product runs it, in bf16."""
    bench.kept.clear()
    facts: dict[str, Any] = {}
    for encoder in TINY_ENCODERS if bench.tiny else FULL_ENCODERS:
        need = NEEDS_SECONDS.get(encoder.title, 0)
        if bench.left() < need:
            bench.notes.append(f"{encoder.title}: needs about {need} s, {bench.left():.0f} s are left")
            continue
        facts[encoder.title] = _one_encoder(bench, encoder)
    return facts


def _one_encoder(bench: Bench, encoder: Encoder) -> dict[str, Any]:
    tower = _tower(bench, encoder)
    facts = _alone(bench, encoder, tower)
    tile = pictures(bench, encoder, _tile(bench))
    begun = time.monotonic()
    tower.features(tile)
    facts["seconds until the first tile"] = round(time.monotonic() - begun, 1)
    pixels = tower._preprocess.normalised(torch.stack(tile).to(bench.device)).to(torch.bfloat16)
    ours = _compiled(bench, tower)
    ways: dict[str, Callable[[], object]] = {"ours": partial(_forward, ours, pixels)}
    for attention in ("eager", "sdpa"):
        ways[attention] = partial(
            _forward, network_of(encoder, bench.device, torch.bfloat16, attention), pixels
        )
    times = bench.race(ways, rounds=4, most_seconds=10.0)
    floor = bench.floor(flops={"bf16": encoder.gflop * 1e9 * len(tile)})
    rate = {"per_second": float(len(tile)), "unit": "img/s", "floor": floor}
    aim = AIMS.get(encoder.title, "")
    bench.report(f"{encoder.title}, {len(tile)} at once", times.pop("ours"), **rate, peers=times, aim=aim)  # type: ignore[arg-type]
    hosts = bench.race({"host": partial(tower.features, tile)}, rounds=3, most_seconds=4.0)["host"]
    bench.report(f"{encoder.title}, from uint8 in the host's memory", hosts, **rate)  # type: ignore[arg-type]
    if encoder.title == "giant-384":
        bench.kept["tower"] = tower
    return facts


def _alone(bench: Bench, encoder: Encoder, tower: Any) -> dict[str, Any]:
    """One picture and 32, by the network as it is: what `locate` runs."""
    for count in (1, 32) if not bench.tiny else (1, 4):
        given = torch.stack(pictures(bench, encoder, count)).to(bench.device)
        pixels = tower._preprocess.normalised(given).to(torch.bfloat16)
        ways: dict[str, Callable[[], object]] = {"sdpa": partial(_forward, tower._network, pixels)}
        if count == 1 and (replay := graphed(bench, ways["sdpa"])):
            ways["graph"] = replay
        floor = bench.floor(
            bytes_read=2.0 * sum(p.numel() for p in tower._network.parameters()),
            flops={"bf16": encoder.gflop * 1e9 * count},
        )
        aim = "4 ms, gate 6" if count == 1 and encoder.title == "giant-384" else ""
        for name, times in bench.race(ways, rounds=10, most_seconds=2.0).items():
            bench.report(f"{encoder.title}, {count} at once, {name}", times, floor=floor, aim=aim)
    return {"million weights": round(sum(p.numel() for p in tower._network.parameters()) / 1e6)}


def _forward(network: Any, pixels: Any) -> object:
    with torch.inference_mode():
        return network(pixel_values=pixels)


def _tower(bench: Bench, encoder: Encoder) -> Any:
    network = network_of(encoder, bench.device, torch.bfloat16, "sdpa")
    return tower_of(encoder, network, Context(device=str(bench.device), dtype="bfloat16"))


def _compiled(bench: Bench, tower: Any) -> Any:
    """The network that full tiles meet in the product."""
    return tower._compiled_network if bench.cuda else tower._network


def end_to_end(bench: Bench) -> dict[str, Any]:
    """G15: one photo from pixels in memory to an answer; then thousands in tiles."""
    encoder = TINY_ENCODERS[0] if bench.tiny else FULL_ENCODERS[0]
    tower = bench.kept.get("tower") or _tower(bench, encoder)
    method = Assembled(bench, shared_gallery(bench), config_of(bench))
    wide = widths(bench)["raw"]
    queries = queries_of(bench, features(bench, _tile(bench), wide, 12))
    (pixels,) = pictures(bench, encoder, 1)

    def encode() -> Any:
        return tower.features([pixels]).half()

    def locate() -> Any:
        # Made-up features stand in where the encoder of a rehearsal is too narrow.
        feature = encode()
        given = feature if feature.shape[1] == wide else queries.input[:1]
        return method.predict(_some(queries, slice(1), given))

    times = bench.race({"all": locate, "encoder": encode}, rounds=60, most_seconds=12.0)
    aim = f"{ONE_PHOTO} (median)"
    bench.report("one photo, pixels to place", times["all"], aim=aim)
    bench.report("one photo, encoder alone", times["encoder"])
    middle = {name: float(np.median(seconds)) for name, seconds in times.items()}
    return {
        "95th percentile, ms": round(1e3 * float(np.quantile(times["all"], 0.95)), 2),
        "share of the encoder": round(middle["encoder"] / middle["all"], 3),
        **_many(bench, encoder, tower, method, queries),
    }


def _some(queries: Queries, which: slice, given: Any) -> Queries:
    return Queries(queries.key[which], queries.author_token[which], queries.source[which], given)


def _many(bench: Bench, encoder: Encoder, tower: Any, method: Any, queries: Queries) -> dict[str, Any]:
    """Photos a second through encoder and method in tiles; fewer photos where time is short."""
    size = _tile(bench)
    tile = pictures(bench, encoder, size)
    warm, wide = bench.seconds(partial(tower.features, tile)), queries.input.shape[1]
    if bench.left() < 5 and not bench.tiny:
        bench.notes.append("many photos: left out, time was short")
        return {"first tile, s": round(warm, 1)}

    def answer() -> None:
        found = tower.features(tile).half()
        method.predict(_some(queries, slice(size), found if found.shape[1] == wide else queries.input))

    one = bench.seconds(answer)
    count = bench.size(max(1, min(PHOTOS // size, int(0.3 * bench.left() / one))), 2)
    ways: dict[str, Callable[[], object]] = {
        "all": lambda: [answer() for _ in range(count)],
        "encoder": lambda: [tower.features(tile) for _ in range(count)],
    }
    times = {name: [bench.seconds(work)] for name, work in ways.items()}
    bench.report(
        f"{count * size} photos in tiles of {size}",
        times["all"],
        per_second=float(count * size),
        unit="photos/s",
        floor=times["encoder"][0],
        aim="95 % of the encoder",
    )
    return {}
