"""Scores as the Hugging Face hub reads them: `.eval_results/*.yaml` of a model, `eval.yaml` of a dataset.

huggingface.co/docs/hub/eval-results, which calls itself work in progress. JSON's strings and numbers are
YAML's, so that the little YAML there is needs no library.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...artifacts import safe_name

if TYPE_CHECKING:
    from ...evaluation import Estimate, Scores
    from ...running import Run


def hub_results(run: Run, scores: Scores, dataset_id: str, source_url: str | None = None) -> dict[str, bytes]:
    """Files by name: the run's results, one task per radius, and the dataset's declaration of these tasks.

    `dataset_id` is the benchmark's `owner/name` on the hub, `source_url` where the results can be seen.
    """
    accuracies = {name: one for name, one in scores.estimates.items() if name.startswith("acc_")}
    results = [
        {
            "dataset": {"id": dataset_id, "task_id": name},
            "value": one.value,
            **({"date": date} if (date := run.finished_at()[:10]) else {}),
            **({"source": {"url": source_url, "name": "pinpoint"}} if source_url else {}),
            "notes": _notes(run, scores, one),
        }
        for name, one in accuracies.items()
    ]
    tasks = [{"id": name, "config": "default", "split": "test"} for name in accuracies]
    declaration = {
        "name": run.dataset,
        "description": f"Photos within a radius of where they were taken, in percent ({scores.protocol})",
        "evaluation_framework": "pinpoint",
        "tasks": tasks,
    }
    name = f"{safe_name(run.dataset)}-{safe_name(run.label)}-{run.key[:8]}"
    return {
        f".eval_results/{name}.yaml": _listed(results).encode(),
        "eval.yaml": _mapped(declaration).encode(),
    }


def _notes(run: Run, scores: Scores, one: Estimate) -> str:
    interval = (
        "" if one.low is None or one.high is None else f"; 95 % interval {one.low:.2f} to {one.high:.2f}"
    )
    part = f"; {run.partial}" if run.partial else ""
    return f"{run.title}; protocol {scores.protocol}; n {one.n}{interval}; {scores.clusters}{part}"


def _mapped(values: dict[str, Any], indent: str = "") -> str:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:\n{_mapped(value, indent + '  ')}")
        elif isinstance(value, list):
            lines.append(f"{indent}{key}:\n{_listed(value, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)


def _listed(items: list[dict[str, Any]], indent: str = "") -> str:
    """Mappings, each begun by a dash."""
    blocks = (_mapped(item, indent + "  ") for item in items)
    return "".join(f"{indent}- {block[len(indent) + 2 :]}" for block in blocks)
