"""Row `rerank/batch`: the reranker in the sizes of `full` on 64 queries of 12 candidates at once.

    python tests/benchmarks/bench_rerank.py [--queries N] [--pairs P]

Against as many calls of one query; against `torch.nn.TransformerEncoder` with the same weights over
the same tokens; and against its matrix products alone, in the very shapes that the forward pass was
seen to multiply. Before a time is taken all three ways of scoring must agree. One thread, processor
time, which other programs disturb less than the clock.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_end_to_end import MINI, random_reranker, world
from ratios import state
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pinpoint_harness.search import Exclusion, unit_rows
from pinpoint_methods.common.candidates import CandidateBatch
from pinpoint_methods.pinpoint.config import CONFIGS
from pinpoint_methods.pinpoint.reranker import Reranker
from pinpoint_methods.pinpoint.retriever import SourceRetriever
from pinpoint_methods.pinpoint.selection import quotas

FULL = CONFIGS["full"]
CONFIG = replace(MINI, layers=FULL.layers, width=FULL.width, heads=FULL.heads, embedding=FULL.embedding)
GATE_CALLS, AIM_CALLS = 1.5, 1.5
GATE_FLOOR, AIM_FLOOR = 1.5, 1.2
AIM_MIB = 50


def make_lists(folder: Path, queries: int) -> tuple[SourceRetriever, CandidateBatch]:
    """Real lists of a small synthetic world, most candidates with support."""
    method, _, _, given = world(folder, 4000, queries, config=CONFIG)
    raw, image = unit_rows(given.input), method._image("photos", given.input)
    unseen = Exclusion(own_key=given.key)
    found = method.retriever.find(image, raw, [unseen], quotas(CONFIG))
    return method.retriever, method.retriever.lists(found, image, raw, [unseen])


class Reference(nn.Module):
    """The same network around PyTorch's own encoder."""

    def __init__(self, model: Reranker) -> None:
        super().__init__()
        width = CONFIG.width
        layer = nn.TransformerEncoderLayer(
            width, CONFIG.heads, 4 * width, 0.0, nn.functional.gelu, batch_first=True, norm_first=True
        )
        self.model, self.encoder = (
            model,
            nn.TransformerEncoder(layer, CONFIG.layers, enable_nested_tensor=False),
        )
        for ours, theirs in zip(model.layers, self.encoder.layers, strict=True):
            load(ours, theirs)
        self.eval().requires_grad_(False)

    def forward(self, lists: CandidateBatch, retriever: SourceRetriever) -> Tensor:
        n, c = lists.valid.shape
        x = self.encoder(self.model.read(lists, retriever))[:, 0].view(n, c, -1)
        standard = self.model.standard
        similar = (lists.scores - standard.mean[:3]) / standard.deviation[:3]
        score: Tensor = self.model.score(self.model.norm(x)).squeeze(2)
        score = score + self.model.retrieval(similar).squeeze(2)  # type: ignore[misc]
        return score.masked_fill(~lists.valid, -torch.inf)


def load(ours: Any, theirs: Any) -> None:
    """Our layer's weights under the names of PyTorch's."""
    joined = {
        of: torch.cat([getattr(ours.query, of), getattr(ours.key_value, of)]) for of in ("weight", "bias")
    }
    named = {f"self_attn.in_proj_{of}": tensor for of, tensor in joined.items()}
    parts = {"norm1": ours.norm, "self_attn.out_proj": ours.out}
    parts |= {"norm2": ours.mlp[0], "linear1": ours.mlp[1], "linear2": ours.mlp[3]}
    for name, module in parts.items():
        named |= {f"{name}.{of}": getattr(module, of) for of in ("weight", "bias")}
    theirs.load_state_dict(named)


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no type for it
    """Every matrix product of a forward pass, to be done again by itself."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work: list[Callable[[], Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm"):
            self._keep(*args[-2:])
        elif name.startswith("_scaled_dot_product"):
            q, k, v = args[:3]
            self._keep(q, k.transpose(-1, -2))
            self._keep(q @ k.transpose(-1, -2), v)
        return func(*args, **(kwargs or {}))

    def _keep(self, a: Tensor, b: Tensor) -> None:
        a, b = (given.detach().flatten(0, -3) if given.dim() > 3 else given.detach() for given in (a, b))
        out = torch.empty(*a.shape[:-1], b.shape[-1])
        self.work.append(partial(torch.mm if a.dim() == 2 else torch.bmm, a, b, out=out))

    def run(self) -> None:
        for work in self.work:
            work()


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_mib(work: Callable[[], object]) -> float:
    """Peak memory above what was held before (Linux only)."""

    def status(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    ctypes.CDLL(None).malloc_trim(0)  # else what earlier work left to the allocator counts as held
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def bench(queries: int, pairs: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        retriever, lists = make_lists(Path(folder) / "world", queries)
        model = random_reranker(CONFIG)
        reference, single = Reference(model), [lists.take(slice(at, at + 1)) for at in range(queries)]
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: model(lists, retriever),
            "calls": lambda: [model(one, retriever) for one in single],
            "reference": lambda: reference(lists, retriever),
        }
        expected = ways["ours"]()
        assert expected.isfinite().sum(dim=1).min() >= 2
        assert np.ptp(expected[expected.isfinite()].numpy()) > 1
        torch.testing.assert_close(torch.cat(ways["calls"]()), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ways["reference"](), expected, rtol=1e-4, atol=1e-4)
        with Products() as products:
            ways["ours"]()
        ways["products"] = products.run
        memory = peak_mib(ways["ours"])
        with FlopCounterMode(display=False) as counter:
            ways["ours"]()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(pairs + 1):
            for name, way in ways.items():
                spent = seconds(way)
                if round_:
                    times[name].append(spent)
    mine = statistics.median(times["ours"])
    rate = counter.get_total_flops() / 1e9
    print(
        f"rerank/batch {queries} x {lists.valid.shape[1]}: {1e3 * mine:.1f} ms, {rate:.2f} GFLOP, "
        f"{rate / mine:.0f} GFLOP/s; about {memory:.0f} MiB, aim {AIM_MIB}"
    )
    calls = compare("calls of one query", times["calls"], times["ours"], f"gate and aim {GATE_CALLS}x")
    compare("nn.TransformerEncoder", times["reference"], times["ours"], "aim 1x")
    floor = compare(
        "its own time by that of its products",
        times["ours"],
        times["products"],
        f"gate {GATE_FLOOR}x, aim {AIM_FLOOR}x",
    )
    return calls >= GATE_CALLS and floor <= GATE_FLOOR


def compare(title: str, theirs: list[float], ours: list[float], aim: str) -> float:
    ratios = [peer / mine for peer, mine in zip(theirs, ours, strict=True)]
    middle = statistics.median(ratios)
    state(f"rerank/batch {title}", 1 / middle if "its own time" in title else middle)
    print(f"  {title:38} {middle:5.2f}x ({min(ratios):.2f} to {max(ratios):.2f})  {aim}", flush=True)
    return middle


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        within = bench(options.queries, options.pairs)
    if not within:
        print("beyond the gate: rerank/batch")
    return not within


if __name__ == "__main__":
    sys.exit(main())
