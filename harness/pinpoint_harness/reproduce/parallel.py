"""Lanes of a recipe beside one another, each in one process of its own.

The process of a lane runs a module that calls `work`: it reads its tasks from stdin, as one line of JSON,
and runs them as the command line would. Its stdin stays open as long as the parent lives, however that ends,
and the lane ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import IO, NamedTuple, cast

import click

from ..devices import usable_cores
from ..errors import HarnessError
from ..signals import leave_when_terminated

_GRACE_SECONDS = 30
"""How long a lane that is stopped may tidy up before it is killed."""


class Task(NamedTuple):
    """One step of a recipe: how it is announced, and the arguments of `pinpoint` it stands for."""

    title: str
    arguments: Sequence[str]

    def run(self, command: click.Command) -> None:
        """As the command line does; `command` is that of `pinpoint`."""
        click.echo(self.title, err=True)
        command.main(args=list(self.arguments), prog_name="pinpoint", standalone_mode=False)


class Line(NamedTuple):
    """What a worker has said, or None where one of its two streams has ended."""

    worker: Worker
    text: str | None
    is_error: bool


class Worker:
    """A process that works through a lane, and how far it has come."""

    def __init__(
        self,
        name: str,
        tasks: Sequence[Task],
        module: str,
        environment: Mapping[str, str],
        lines: SimpleQueue[Line],
    ) -> None:
        self.name = name
        self._tasks = tasks
        self._begun = 0
        self._open_streams = 2
        # -P: a folder called `datasets` where the command is given would shadow the library of that name.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
        for stream, is_error in ((self.process.stdout, False), (self.process.stderr, True)):
            Thread(target=self._listen, args=(stream, is_error, lines), daemon=True).start()
        stdin = cast(IO[str], self.process.stdin)
        with suppress(BrokenPipeError):  # it did not even begin; its exit code says so
            stdin.write(json.dumps(tasks) + "\n")
            stdin.flush()

    def _listen(self, stream: IO[str] | None, is_error: bool, lines: SimpleQueue[Line]) -> None:
        with cast(IO[str], stream) as texts:
            for text in texts:
                lines.put(Line(self, text.rstrip("\n"), is_error))
        lines.put(Line(self, None, is_error))

    def on_output(self, line: Line) -> bool:
        """Print a line behind the lane's name; False once there will be no more."""
        if line.text is None:
            self._open_streams -= 1
            return self._open_streams > 0
        if line.text == self._tasks[min(self._begun, len(self._tasks) - 1)].title:
            self._begun += 1
        click.echo(f"[{self.name}] {line.text}", err=line.is_error)
        return True

    def close(self) -> None:
        """Wait for the end; a worker that failed is an error that names the step."""
        self._release()
        code = self.process.wait()
        if code:
            end = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise HarnessError(
                f"a step of {self.name} failed: {self._tasks[max(self._begun, 1) - 1].title}",
                found=f"{end}; what it said stands above, behind [{self.name}]",
                fix="when that is put right, give the same command again: what is finished is kept"
                + (", and fewer --jobs need less memory" if code == -signal.SIGKILL else ""),
            )

    def wait_stopped(self) -> None:
        """Wait for the end after `process.terminate`, and not for ever."""
        try:
            self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._release()

    def _release(self) -> None:
        with suppress(BrokenPipeError):
            cast(IO[str], self.process.stdin).close()


def run_lanes(lanes: Mapping[str, Sequence[Task]], jobs: int, module: str) -> None:
    """Run all lanes, up to `jobs` at once; if one fails or the user interrupts, the others are stopped.

    The process of each runs `module`, which calls `work`.
    """
    environment = environment_of(min(jobs, len(lanes)))
    lines: SimpleQueue[Line] = SimpleQueue()
    waiting = deque(lanes.items())
    running: list[Worker] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Worker(*waiting.popleft(), module, environment, lines))
            line = lines.get()
            if not line.worker.on_output(line):
                running.remove(line.worker)
                line.worker.close()
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.wait_stopped()


def environment_of(at_once: int) -> dict[str, str]:
    """The user's own, with the cores shared out unless `OMP_NUM_THREADS` says otherwise."""
    needed = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
    return {"OMP_NUM_THREADS": str(max(1, usable_cores() // at_once)), **os.environ, **needed}


def work(command: click.Command) -> None:
    """What the process of a lane does, from its first task to its last or the first that fails."""
    leave_when_terminated()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which then stops lanes
    tasks = [Task(*task) for task in json.loads(sys.stdin.readline())]
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        for task in tasks:
            task.run(command)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # waits until the parent closes its end, or is no more
    os.kill(os.getpid(), signal.SIGTERM)
