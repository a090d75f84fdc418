"""Where numbers are computed: the device that `auto` means, the precision on it, the cores at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from .errors import UsageError
from .types import Context

OLDEST_TORCH_ON_CUDA = "2.8"
"""The first with `torch.mm(..., out_dtype=)`: fp16 products whose float32 sums are not rounded to fp16."""


def sleep_while_waiting() -> None:
    """Let threads that compute together sleep until the last is ready, unless the user says otherwise.

    They spin by default, and take the core that the one they wait for needs, where another program has the
    other: products of a small network took 5 times as long on two cores beside one busy program, and 3 times
    the processor time. On idle cores sleeping costs 10 % of them. The library reads this when torch loads it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def embedding_context(device: str, dtype: str | None = None) -> Context:
    """Where and in what precision features are computed: bf16 on a GPU, fp32 elsewhere."""
    return Context(device, dtype or ("bfloat16" if device.startswith("cuda") else "float32"))


def training_context(device: str, dtype: str | None = None) -> Context:
    """Where and in what precision towers are trained: bf16 where matrix units take it, fp32 elsewhere."""
    fast = device.startswith("cuda") or (device == "cpu" and "amx_bf16" in cpu_features())
    return Context(device, dtype or ("bfloat16" if fast else "float32"))


@cache
def cpu_features() -> frozenset[str]:
    """What this processor multiplies fast, as torch names it; empty if torch cannot tell."""
    import torch

    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return frozenset(name for name, present in capabilities.items() if present is True)


def default_device(device: str = "auto") -> str:
    """`auto` is the GPU where there is one; of several processes on a machine, each has its own.

    UsageError where torch has no such GPU, or is too old to search on one.
    """
    if device == "cpu" or not device.startswith(("auto", "cuda")):
        return device
    import torch

    if not torch.cuda.is_available():
        if device == "auto":
            return "cpu"
        fix = "--device cpu, or auto; `pinpoint doctor` says which torch is installed"
        raise UsageError(f"--device {device}: torch finds no CUDA device here", fix=fix)
    check_products()
    return f"cuda{own_gpu(torch.cuda.device_count())}" if device in ("auto", "cuda") else device


def check_products(overloads: Sequence[str] | None = None, version: str = "") -> None:
    """UsageError for a torch, by default this one, whose `mm` cannot give float32 for fp16 on CUDA."""
    if overloads is None:
        import torch

        products: Any = torch.ops.aten.mm
        overloads, version = products.overloads(), torch.__version__
    if "dtype_out" not in overloads:
        raise UsageError(
            f"on CUDA torch {OLDEST_TORCH_ON_CUDA} or newer is needed",
            found=f"torch {version}",
            fix=f"pip install 'torch>={OLDEST_TORCH_ON_CUDA}', or --device cpu",
        )


def own_gpu(count: int) -> str:
    """`:i` for the GPU of this process among those that torchrun or Slurm started here; "" for one alone.

    Where a process sees a single GPU, its launcher has chosen it.
    """
    # srun sets SLURM_LOCALID, torchrun LOCAL_RANK, and within srun torchrun knows better.
    local = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID")
    if not local:
        return ""
    if count == 1:
        return ":0"
    if int(local) >= count:
        raise UsageError(
            f"process {local} of this machine has no GPU of its own",
            found=f"{count} GPUs",
            fix=f"start at most {count} processes on a machine",
        )
    return f":{local}"


def usable_cores() -> int:
    """The cores this process may use, shared with the others that torchrun started on this machine."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, mine // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


@contextmanager
def whole_float32() -> Iterator[None]:
    """Products in float32 are computed in float32, whatever the program allows: TF32 keeps 10 bits.

    Where phases of thousands of waves are computed, that is the difference between a place and noise.
    """
    import torch

    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set in the way of torch 2.9 and newer, and cannot be read in the old one
        with _whole_by_backend():
            yield
        return
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _whole_by_backend() -> Iterator[None]:
    import torch

    known: Any = torch.backends
    backends = [known.cuda.matmul, known.mkldnn.matmul]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, setting in zip(backends, before, strict=True):
            backend.fp32_precision = setting
