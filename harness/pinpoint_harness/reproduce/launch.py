"""The jobs of a recipe started by submitit: on this machine, or on a Slurm cluster."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HarnessError, UsageError
from ..progress import log
from .jobs import Job
from .parallel import environment_of

_PAUSE_SECONDS = {"local": 0.2, "slurm": 15.0}
_LAST_LINES = 12
_SUBMITIT = "submitit ERROR"


@dataclass(frozen=True)
class Commands:
    """What a job does, on the machine where it runs: command lines, until one fails.

    A job that Slurm ends, to make room or since its time is over, is put into the queue again: what its
    steps have finished is kept, and they go on.
    """

    lines: Sequence[Sequence[str]]

    def __call__(self) -> None:
        for words in self.lines:
            print("pinpoint:", shlex.join(words), file=sys.stderr, flush=True)  # noqa: T201 - a job's log
            subprocess.run(_here(words), check=True)

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _here(words: Sequence[str]) -> list[str]:
    """The command line with the programs of this very Python."""
    pinpoint = [sys.executable, "-P", "-c", "from pinpoint_harness.cli.main import main; main()"]
    known = {"pinpoint": pinpoint, "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
    end = words.index("pinpoint") + 1 if "pinpoint" in words else 0
    return [part for word in words[:end] for part in known.get(word, [word])] + list(words[end:])


def check_launcher(name: str) -> None:
    """UsageError, before any work is done, for a launcher that cannot start anything here."""
    try:
        import submitit  # noqa: F401 - is it there
    except ImportError as error:
        fix = "pip install 'pinpoint-geo[slurm]'"
        raise UsageError(f"--launcher {name} needs submitit, which is not installed", fix=fix) from error
    if name == "slurm" and shutil.which("sbatch") is None:
        raise UsageError(
            "--launcher slurm finds no Slurm here",
            found="no program 'sbatch' on the PATH",
            fix="give the command on a machine from which jobs are submitted, or --launcher local",
        )


def launch(jobs: Sequence[Job], launcher: str, folder: Path, before: Sequence[str], at_once: int) -> None:
    """Start every job when those it needs have succeeded, and wait for all; `folder` keeps what they said.

    Locally up to `at_once` run beside one another, of those that ask for GPUs one. If one fails, those that
    have not ended are cancelled.
    """
    check_launcher(launcher)
    queue = _Queue(launcher, folder, before, at_once, len(jobs))
    with _environment(at_once if launcher == "local" else None):
        try:
            while len(queue.succeeded) < len(jobs):
                for job in jobs:
                    if job.name not in queue.started and queue.may_start(job):
                        queue.start(job)
                queue.look()
                time.sleep(_PAUSE_SECONDS[launcher])
        except KeyboardInterrupt as interrupt:
            if launcher == "slurm":
                ids = " ".join(str(one.job_id) for one in queue.running.values())
                interrupt.add_note(f"jobs that were submitted go on; to end them: scancel {ids}")
            else:
                queue.cancel()
            raise
        except HarnessError:
            queue.cancel()
            raise


class _Queue:
    """Jobs that were started, and how far they have come."""

    def __init__(self, launcher: str, folder: Path, before: Sequence[str], at_once: int, jobs: int) -> None:
        import submitit

        self._launcher, self._before, self._at_once = launcher, before, at_once
        self._jobs = jobs
        self._executor = submitit.AutoExecutor(folder=folder, cluster=launcher)
        self.running: dict[str, Any] = {}
        self.started: dict[str, Job] = {}
        self.succeeded: set[str] = set()

    def may_start(self, job: Job) -> bool:
        if self._launcher == "slurm":  # which waits itself for what a job needs
            return all(need in self.started for need in job.needs)
        gpus_taken = any(self.started[name].resources.gpus for name in self.running)
        room = len(self.running) < self._at_once and not (gpus_taken and job.resources.gpus)
        return room and all(need in self.succeeded for need in job.needs)

    def start(self, job: Job) -> None:
        self._executor.update_parameters(**self._parameters(job))
        self.running[job.name] = self._executor.submit(Commands(job.commands(self._before)))
        self.started[job.name] = job
        log.info("%s: started as %s", job.name, self.running[job.name].job_id)

    def _parameters(self, job: Job) -> dict[str, Any]:
        asked = job.resources
        parameters: dict[str, Any] = {
            "name": job.name,
            "timeout_min": max(1, round(60 * asked.hours)),
            "gpus_per_node": asked.gpus,
            "cpus_per_task": asked.cores,
            "mem_gb": asked.gigabytes,
        }
        ids = [str(self.running[need].job_id) for need in job.needs if need in self.running]
        if self._launcher == "slurm":
            after = {"dependency": f"afterok:{':'.join(ids)}", "kill_on_invalid_dep": "yes"} if ids else {}
            parameters["slurm_additional_parameters"] = after
        return parameters

    def look(self) -> None:
        """Note which jobs have ended; HarnessError for the first that failed, with the end of its log."""
        for name, job in list(self.running.items()):
            if not job.done():
                continue
            if job.exception() is not None:
                raise HarnessError(
                    f"job {name} failed: {_last_begun(self.started[name], job.paths.stderr)}",
                    found="\n".join([str(job.paths.stderr), *_last_lines(job.paths.stderr)]),
                    fix="when that is put right, give the same command again: what is finished is kept",
                )
            del self.running[name]
            self.succeeded.add(name)
            log.info("%s: done, %d of %d", name, len(self.succeeded), self._jobs)

    def cancel(self) -> None:
        for job in self.running.values():
            job.cancel()


def _last_begun(job: Job, log: Path) -> str:
    """The step that a job had come to, by what `Commands` has said of each that it began."""
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    # What was begun stands there with the options that all commands have.
    steps = [shlex.join(words[words.index("pinpoint") + 1 :]) for words in job.commands([])]
    place = {step: said.rfind(f"{step}\n") for step in steps}
    return f"pinpoint {max(place, key=place.__getitem__)}"


def _last_lines(path: Path) -> list[str]:
    """The end of what the job's commands have said, before submitit tells how they were called."""
    if not path.exists():
        return ["it has said nothing"]
    said = path.read_text(encoding="utf-8", errors="replace").rpartition(_SUBMITIT)
    return (said[0] or said[2]).splitlines()[-_LAST_LINES:]


@contextmanager
def _environment(at_once: int | None) -> Iterator[None]:
    """What jobs find in their environment: this Python's path and, on one machine, a share of the cores."""
    before = dict(os.environ)
    try:
        os.environ.update(environment_of(at_once) if at_once else _paths())
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _paths() -> Mapping[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
