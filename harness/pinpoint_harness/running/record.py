"""`run.json`: what a run says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..params import changed
from ..plugins import Entry
from ..types import STATUS, DatasetInfo, MethodInfo


def run_record(
    *,
    label: str,
    shown_parameters: Mapping[str, Any],
    oracle: bool,
    method: Mapping[str, Any],
    dataset_name: str,
    dataset: DatasetInfo,
    spec: Mapping[str, Any],
    status: Iterable[str],
    notes: Iterable[str],
) -> dict[str, Any]:
    """`run.json`: what was asked, what came out. Holds nothing that differs from one start to the next.

    `oracle` marks answers that are the best a gallery allows and not a method's: never ranked.
    """
    counts = Counter(word.partition(":")[0] for word in status)
    return {
        "label": label,
        "shown_parameters": dict(shown_parameters),
        "oracle": oracle,
        "method": dict(method),
        "dataset": {
            "name": dataset_name,
            "title": dataset.title,
            "rows": spec["dataset_rows"],
            "expected_rows": dataset.expected_rows,
            "default_protocol": dataset.default_protocol,
            "cluster_column": dataset.cluster_column,
            "notes": list(dataset.notes),
        },
        "subset": spec["subset"],
        "counts": {"total": counts.total()} | {word: counts[word] for word in STATUS},
        "notes": list(dict.fromkeys(notes)),
        "recipe": dict(spec),
    }


def describe_method(entry: Entry[MethodInfo], params: Any = None) -> dict[str, Any]:
    """What the method declares, with the gallery, the views and the author filter its parameters chose."""
    described = {"name": entry.name, "origin": entry.origin.name, **asdict(entry.info)}
    if isinstance(getattr(params, "gallery", None), str):
        described["gallery"] = params.gallery
    if isinstance(views := getattr(params, "views", None), int):
        described["views"] = views
    if isinstance(getattr(params, "author_filter", None), bool):
        described["author_filter"] = "yes" if params.author_filter else "no"
    return described


def changed_parameters(params: Any, preset: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters in a row's title: those that differ from the preset, files by their base name."""
    titled = {item.name for item in fields(params) if item.metadata.get("in_title", True)}
    return {
        name: value.name if isinstance(value, Path) else value
        for name, value in changed(params, preset).items()
        if name in titled
    }
