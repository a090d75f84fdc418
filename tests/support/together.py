"""Processes that work together as those of `torchrun` do, forked, so that nothing is imported again."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable

import torch

LONGEST_SECONDS = 600
"""After which a process that waits for another in vain is ended, so that a test fails and does not hang."""


def together(count: int, work: Callable[[], object]) -> list[int]:
    """How `count` processes ended that did the same work: 0, an exit code, or minus a signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            _end_with(work)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _end_with(work: Callable[[], object]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a handler in Python waits for what never returns
        signal.alarm(LONGEST_SECONDS)
        torch.set_num_threads(1)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must not go on as the test
        traceback.print_exc()
    finally:
        os._exit(code)
