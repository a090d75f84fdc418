"""`run.json`: what a run says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..features import OpenedGallery
from ..home import command
from ..params import changed
from ..plugins import Entry
from ..types import STATUS, DatasetInfo, MethodInfo

VERSION = 4
"""Of what a run stores, a part of its spec: raised whenever older runs cannot be read any more."""


def run_record(
    *,
    label: str,
    parameters: Mapping[str, Any],
    shown_parameters: Mapping[str, Any],
    galleries: Iterable[OpenedGallery],
    oracle: bool,
    method: Mapping[str, Any],
    dataset_name: str,
    dataset: DatasetInfo,
    spec: Mapping[str, Any],
    status: Iterable[str],
    notes: Iterable[str],
    listed_as: str | None = None,
) -> dict[str, Any]:
    """`run.json`: what was asked, what came out. Holds nothing that differs from one start to the next.

    `parameters` are all of them with full values, from which things are found and opened again;
    `shown_parameters` are for the title only. `galleries` are those the method opened. `oracle` marks
    answers that are the best a gallery allows and not a method's: never ranked. `listed_as` is the name of
    the dataset in listings, where it is not `dataset_name`, under which it is registered.
    """
    counts = Counter(word.partition(":")[0] for word in status)
    return {
        "label": label,
        "parameters": dict(parameters),
        "shown_parameters": dict(shown_parameters),
        "galleries": [asdict(gallery) for gallery in galleries],
        "oracle": oracle,
        "method": dict(method),
        "dataset": {
            "name": listed_as or dataset_name,
            "registered": dataset_name,
            "title": dataset.title,
            "rows": spec["dataset_rows"],
            "expected_rows": dataset.expected_rows,
            "default_protocol": dataset.default_protocol,
            "radii_km": list(dataset.radii_km),
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


def given_parameters(params: Any) -> dict[str, Any]:
    """Every parameter as it was given, defaults included; a path as a string."""
    values = {item.name: getattr(params, item.name) for item in fields(params)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def remake_command(record: Mapping[str, Any], root: Path | None = None) -> str:
    """The command that makes a run again, as far as its record goes, which holds no `--data`.

    With `root`, the runs it lies among, it holds the `--home` that leads there, if one is needed.

    A record from before `parameters` was kept has only those of the title, paths without their folders.
    """
    name, listed = record["method"]["name"], record["dataset"]["name"]
    dataset = record["dataset"].get("registered", listed)
    values = record.get("parameters", record["shown_parameters"])
    given = {key: str(value) for key, value in values.items() if value is not None}
    if record["oracle"]:
        words = [name, dataset, *(f"--{key.replace('_', '-')}={value}" for key, value in given.items())]
    else:
        words = ["run", name, dataset]
        for key, value in given.items():
            words += ["--set", f"{key}={value}"]
        words += [] if record["label"] == name else ["--name", record["label"]]
        words += ["--seed", str(record["recipe"]["seed"])] if record["recipe"]["seed"] else []
    words += [] if dataset == listed else ["--as", listed]
    limit = (record["subset"] or {}).get("limit")
    return command([*words, *([] if limit is None else ["--limit", str(limit)])], root)


def changed_parameters(params: Any, preset: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters in a row's title: those that differ from the preset, files by their base name."""
    titled = {item.name for item in fields(params) if item.metadata.get("in_title", True)}
    return {
        name: value.name if isinstance(value, Path) else value
        for name, value in changed(params, preset).items()
        if name in titled
    }
