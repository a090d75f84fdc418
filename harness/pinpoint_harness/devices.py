"""Where numbers are computed: the device that `auto` means, and the precision used on it."""

from __future__ import annotations

import os

from .errors import UsageError
from .types import Context


def embedding_context(device: str, dtype: str | None = None) -> Context:
    """Where and in what precision features are computed: bf16 on a GPU, fp32 elsewhere."""
    return Context(device, dtype or ("bfloat16" if device.startswith("cuda") else "float32"))


def default_device(device: str = "auto") -> str:
    """`auto` is the GPU where there is one; under torchrun, the one of this process."""
    if device not in ("auto", "cpu"):
        _check_cuda(device)
    if device != "auto":
        return device
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"


def _check_cuda(device: str) -> None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        fix = "--device cpu, or auto; `pinpoint doctor` says which torch is installed"
        raise UsageError(f"--device {device}: torch finds no CUDA device here", fix=fix)
