"""The processes that torchrun started: what each is, how they wait for one another and agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, TypeVar

from .errors import HarnessError, UsageError

_PATIENCE = timedelta(days=1)
"""How long processes wait for one another: one may be at work alone, on features or a gallery."""

T = TypeVar("T")


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

            with in_company():
                dist.barrier(group=self.waiting)

    def gather(self, said: T) -> list[T]:
        """What each process says, in their order."""
        if self.count == 1:
            return [said]
        import torch.distributed as dist

        heard: list[Any] = [None] * self.count
        with in_company():
            dist.all_gather_object(heard, said, group=self.waiting)
        return heard

    def by_first(self, work: Callable[[], T]) -> T:
        """What the first process makes, alone, for all; where that fails, all end."""
        if self.count == 1:
            return work()
        import torch.distributed as dist

        told: list[Any] = [None, False]
        try:
            if self.first:
                with working_alone():
                    told[0] = work()
                told[1] = True
        finally:
            with in_company():
                dist.broadcast_object_list(told, src=0, group=self.waiting)
        if not told[1]:
            raise HarnessError("the first process has failed", fix="what it said stands beside this")
        made: T = told[0]
        return made

    def in_turn(self, work: Callable[[bool], T]) -> T:
        """What each process makes for itself, the first (told True) before the others."""
        made = work(True) if self.first else None
        self.wait()
        return work(False) if made is None else made


_joined: Processes | None = None


def current_processes() -> Processes:
    """Those that work together at this moment; this one alone where none were joined."""
    return _joined or Processes()


@contextmanager
def working_alone() -> Iterator[None]:
    """For work that the others wait for: nothing in it is shared with them."""
    global _joined
    before, _joined = _joined, Processes()
    try:
        yield
    finally:
        _joined = before


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """All processes of a torchrun joined: by NCCL on GPUs, by gloo elsewhere; within, those of without."""
    global _joined
    if _joined is not None:
        yield _joined
        return
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        yield Processes()
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        raise UsageError(
            "WORLD_SIZE asks for several processes that work together",
            found=f"no {' and no '.join(missing)}",
            fix="start them by torchrun; or unset WORLD_SIZE, and give each a --shard of its own",
        )
    with process_group(device) as processes:
        _joined = processes
        try:
            yield processes
        finally:
            _joined = None


@dataclass
class Holders:
    """The processes that hold slices of galleries, and whether one was opened."""

    processes: Processes
    used: bool = False


_active: ContextVar[Holders | None] = ContextVar("who holds slices of galleries", default=None)


@contextmanager
def sliced_galleries(processes: Processes) -> Iterator[Holders]:
    """Within, each of several processes opens a slice of every gallery; all do the same in the same order."""
    holders = Holders(processes)
    token = _active.set(holders)
    try:
        yield holders
    finally:
        _active.reset(token)


def slice_holders() -> Holders | None:
    """Those of the innermost `sliced_galleries`."""
    return _active.get()


def _meet() -> dict[str, Any]:
    """Where the processes find one another, once more, as `init_process_group` takes it."""
    from torch.distributed.distributed_c10d import PrefixStore

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    place, meetings = _meeting_place(rank, size, os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"])
    own = PrefixStore(f"meeting {next(meetings)}", place)
    return {"store": own, "rank": rank, "world_size": size, "timeout": _PATIENCE}


@cache
def _meeting_place(rank: int, size: int, address: str, port: str) -> tuple[Any, Iterator[int]]:
    """The store by which the processes meet, and the numbers of their meetings.

    It lasts as long as the process: were it made anew for each meeting, one that comes back soon would
    enter the old one, which the first has not closed yet, and wait there for ever.
    """
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(iter(rendezvous("env://", rank=rank, world_size=size, timeout=_PATIENCE)))
    return store, count(1)


@contextmanager
def process_group(device: str) -> Iterator[Processes]:
    """The group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe, of any size."""
    import torch
    import torch.distributed as dist

    if device.startswith("cuda"):
        # Told its device, NCCL need not guess it from the rank, and every call without a device means it.
        torch.cuda.set_device(device)
        own = torch.device("cuda", torch.cuda.current_device())
        dist.init_process_group("nccl", device_id=own, **_meet())
    else:
        dist.init_process_group("gloo", **_meet())
    try:
        waiting = dist.new_group(backend="gloo", timeout=_PATIENCE)
        yield Processes(dist.get_rank(), dist.get_world_size(), waiting)
    finally:
        dist.destroy_process_group()


@contextmanager
def in_company() -> Iterator[None]:
    """What waits for the other processes: torch's error says so where one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        raise HarnessError(
            "another process has ended before its work was done",
            found=(str(error).splitlines() or [type(error).__name__])[0][:200],
            fix="see what it said; the same command goes on from what is finished",
        ) from error
