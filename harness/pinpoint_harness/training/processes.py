"""The processes that torchrun started, and how they wait for one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

_PATIENCE = timedelta(days=1)
"""How long processes wait for one another: one may be at work alone, on features or a gallery."""


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

    def agree(self, done: bool) -> bool:
        """Whether all processes are done; waits until each of them has said so or not."""
        if self.count == 1:
            return done
        import torch.distributed as dist

        said: list[bool] = [False] * self.count
        dist.all_gather_object(said, done)
        return all(said)


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """All processes of a torchrun joined: by NCCL on GPUs, by gloo elsewhere."""
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count == 1:
        yield Processes()
        return
    import torch.distributed as dist

    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
