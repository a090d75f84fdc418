"""The processes that torchrun started, and how they wait for one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Processes:
    """This process among those that torchrun started, one alone without it."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """All processes of a torchrun joined: by NCCL on GPUs, by gloo elsewhere."""
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count == 1:
        yield Processes()
        return
    import torch.distributed as dist

    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
