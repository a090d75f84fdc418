"""The processes that torchrun started, and how they wait for one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_PATIENCE = timedelta(days=1)
"""How long processes wait for one another: one may be at work alone, on features or a gallery."""


@dataclass(frozen=True)
class Processes:
    """This process among those that torchrun started, one alone without it.

    `waiting` is the group in which they wait: on the host, since on a GPU waiting is a kernel that
    keeps the device busy, and NCCL takes one that lasts for a failure.
    """

    rank: int = 0
    count: int = 1
    waiting: Any = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier(group=self.waiting)

    def agree(self, done: bool) -> bool:
        """Whether all processes are done; waits until each of them has said so or not."""
        if self.count == 1:
            return done
        import torch.distributed as dist

        said: list[bool] = [False] * self.count
        dist.all_gather_object(said, done, group=self.waiting)
        return all(said)


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """All processes of a torchrun joined: by NCCL on GPUs, by gloo elsewhere."""
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count == 1:
        yield Processes()
        return
    with process_group(device) as processes:
        yield processes


@contextmanager
def process_group(device: str) -> Iterator[Processes]:
    """The group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe, of any size."""
    import torch
    import torch.distributed as dist

    if device.startswith("cuda"):
        # Told its device, NCCL need not guess it from the rank, and every call without a device means it.
        torch.cuda.set_device(device)
        own = torch.device("cuda", torch.cuda.current_device())
        dist.init_process_group("nccl", timeout=_PATIENCE, device_id=own)
    else:
        dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        waiting = dist.new_group(backend="gloo", timeout=_PATIENCE)
        yield Processes(dist.get_rank(), dist.get_world_size(), waiting)
    finally:
        dist.destroy_process_group()
