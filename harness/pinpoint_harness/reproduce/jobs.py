"""A recipe as jobs of a cluster: which steps are one job, what it waits for, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..artifacts import safe_name

if TYPE_CHECKING:
    from .recipes import Recipe, Step

SHARED = ("audit", "embed", "run", "train")
"""Commands that the processes of a torchrun share."""


@dataclass(frozen=True)
class Resources:
    """What a job asks a cluster for: GPUs and cores of one machine, its memory, and time."""

    gpus: int = 0
    cores: int = 2
    gigabytes: float = 8.0
    hours: float = 4.0


@dataclass(frozen=True)
class Job:
    """Steps that run one after another on one machine, once the jobs named in `needs` have succeeded."""

    name: str
    steps: tuple[Step, ...]
    needs: tuple[str, ...]
    resources: Resources

    def commands(self, before: Sequence[str]) -> list[list[str]]:
        """Its command lines, with options of `pinpoint` before the words of each step."""
        return [_command([*before, *step.words], step.words[0], self.resources.gpus) for step in self.steps]

    def to_dict(self, before: Sequence[str]) -> dict[str, Any]:
        return {
            "name": self.name,
            "needs": list(self.needs),
            **asdict(self.resources),
            "commands": self.commands(before),
        }


def jobs_of(recipe: Recipe) -> list[Job]:
    """One job per step, and one per lane for steps in lanes beside one another that stand together.

    What stands otherwise waits for all jobs before it.
    """
    jobs: list[Job] = []
    last: tuple[str, ...] = ()
    for in_lanes, stretch in groupby(recipe.steps, lambda step: step.beside):
        lanes: dict[str, list[Step]] = {}
        for number, step in enumerate(stretch):
            lanes.setdefault(str(step.lane if in_lanes else number), []).append(step)
        begun: list[str] = []
        for lane, steps in lanes.items():
            name = f"{len(jobs) + 1:03}-{safe_name(lane if in_lanes else steps[0].words[0])}"
            jobs.append(Job(name, tuple(steps), last, _resources(steps, recipe.jobs)))
            begun.append(name)
            if not in_lanes:
                last = (name,)
        if in_lanes:
            last = tuple(begun)
    return jobs


def _resources(steps: Sequence[Step], declared: Mapping[str, Mapping[str, Any]]) -> Resources:
    """Those of the most demanding step, and time for all of them."""
    each = [Resources(**{**declared.get("default", {}), **declared.get(step.words[0], {})}) for step in steps]
    return Resources(
        gpus=max(one.gpus for one in each),
        cores=max(one.cores for one in each),
        gigabytes=max(one.gigabytes for one in each),
        hours=sum(one.hours for one in each),
    )


def _command(words: Sequence[str], name: str, gpus: int) -> list[str]:
    if gpus > 1 and name in SHARED:
        torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(gpus), "--no-python"]
        return [*torchrun, "pinpoint", *words]
    return ["pinpoint", *words]
