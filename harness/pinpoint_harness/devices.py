"""Where numbers are computed: the device that `auto` means, and the precision used on it."""

from __future__ import annotations

import os

from .types import Context


def embedding_context(device: str, dtype: str | None = None) -> Context:
    """Where and in what precision features are computed: bf16 on a GPU, fp32 elsewhere."""
    return Context(device, dtype or ("bfloat16" if device.startswith("cuda") else "float32"))


def default_device(device: str = "auto") -> str:
    """`auto` is the GPU where there is one; under torchrun, the one of this process."""
    if device != "auto":
        return device
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"
