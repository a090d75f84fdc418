"""Runs of one configuration that differ in one parameter alone, such as the seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..artifacts import canonical_json
from ..errors import UsageError

if TYPE_CHECKING:
    from .run import Run


def repeats(runs: Sequence[Run], name: str) -> list[list[Run]]:
    """The runs in groups that are equal but for the parameter `name`, in order of first appearance.

    Within a group they stand in the order of their values. `seed` is the seed of the run, and that of the
    method where it has a parameter of that name.
    UsageError where a group has one value of it twice, or no run has such a parameter.
    """
    groups: dict[bytes, list[Run]] = {}
    for run in runs:
        groups.setdefault(canonical_json(_rest(run, name)), []).append(run)
    if runs and name != "seed" and not any(name in run.record["parameters"] for run in runs):
        known = dict.fromkeys(key for run in runs for key in run.record["parameters"])
        raise UsageError(f"no run has a parameter '{name}' to average over", found=", ".join(known) or None)
    for group in groups.values():
        group.sort(key=lambda run: (len(value_of(run, name)), value_of(run, name)))  # 2 before 10
        values = [value_of(run, name) for run in group]
        if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
            keys = ", ".join(
                run.key[:8] for run, value in zip(group, values, strict=True) if value == twice[0]
            )
            raise UsageError(
                f"'{group[0].label}' has several runs with {name} {twice[0]}",
                found=keys,
                fix="name those to average with --runs",
            )
    return list(groups.values())


def nothing_to_average(names: Iterable[str], name: str) -> UsageError:
    """What is said where no two of these runs are repeats of one another."""
    return UsageError(
        f"there is nothing to average: no two of these runs differ in '{name}' alone",
        found=", ".join(dict.fromkeys(names)),
        fix=f"run a method again with another {name}, or leave out --mean-over",
    )


def value_of(run: Run, name: str) -> str:
    """What tells a run from its repeats: `0`, or `0/3` where the run and its method have a seed each."""
    values = [run.record["parameters"][name]] if name in run.record["parameters"] else []
    if name == "seed" and (not values or run.record["recipe"].get("seed")):
        values.insert(0, run.record["recipe"].get("seed"))
    return "/".join(map(str, values))


def _rest(run: Run, name: str) -> dict[str, Any]:
    record = run.record
    return {
        "label": run.label,
        "method": record["method"]["name"],
        "parameters": {key: value for key, value in record["parameters"].items() if key != name},
        "seed": None if name == "seed" else record["recipe"].get("seed"),
        "truth": record["recipe"]["dataset_hash"],
        "subset": record["subset"],
    }
