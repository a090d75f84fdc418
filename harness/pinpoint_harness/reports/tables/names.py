"""Names that tell runs apart by what differs, as short as they can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...running import Run


def short_names(runs: Sequence[Run], without: str | None = None) -> list[str]:
    """The label of each run and, where several share it, the parameters in which these differ.

    `without` is a parameter that is never named, such as the one that rows are averaged over. Runs that
    no parameter of their titles tells apart get the beginning of their keys.
    """
    names = [_label_with_differences(run, runs, without) for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} [{run.key[:8]}]"
        for name, run in zip(names, runs, strict=True)
    ]


def _label_with_differences(run: Run, runs: Sequence[Run], without: str | None) -> str:
    namesakes = [_shown(other) for other in runs if other.label == run.label]
    mine = _shown(run)
    told = [
        f"{name}={mine.get(name, run.record['parameters'].get(name, 'default'))}"
        for name in dict.fromkeys(name for shown in namesakes for name in shown)
        if name != without and len({shown.get(name) for shown in namesakes}) > 1
    ]
    return f"{run.label} ({', '.join(told)})" if told else run.label


def _shown(run: Run) -> Mapping[str, str]:
    drawn = run.record["recipe"].get("seed")
    seed = {} if drawn is None else {"seed": drawn}
    return {name: str(value) for name, value in {**run.record["shown_parameters"], **seed}.items()}
