"""What a run depends on (its recipe, hashed into its key) and what it says of itself (`run.json`)."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .artifacts import file_sha256
from .errors import DataError, UsageError
from .ids import match, truth_hash
from .plugins import Entry
from .predictions import cluster_keys
from .types import STATUS, Context, Dataset, DatasetInfo, MethodInfo

if TYPE_CHECKING:
    from .shelf import Shelf

TILE = 256
"""Queries in one call. Part of the key: another tile means other kernels, other last digits."""


@dataclass(frozen=True)
class Subset:
    """The part of a dataset to run: its first rows, the photos of a list, or (neither) all of it."""

    limit: int | None = None
    ids: Sequence[str] | None = None

    def of(self, truth: pd.DataFrame) -> pd.DataFrame:
        """The chosen rows, in the order of the truth."""
        rows = np.arange(len(truth))
        if self.ids is not None:
            named = pd.Series(list(self.ids), dtype=str)
            rows = match(named, truth["image"])
            rows = np.where(rows < 0, match(named, truth["id"]), rows)
            if (rows < 0).any():
                unknown = named[rows < 0]
                raise DataError(
                    f"{len(unknown)} of {len(named)} listed ids are not in the dataset",
                    found=f"the first is '{unknown.iloc[0]}'",
                    fix=f"give one id a line, spelled like '{truth['image'].iloc[0]}'",
                )
            rows = np.sort(rows)
        chosen = truth.iloc[rows[: self.limit]].reset_index(drop=True)
        if chosen.empty:
            raise UsageError(
                "no photo is left to run", fix="give --limit 1 or more, or a list with ids in it"
            )
        return chosen

    def record(self, chosen: pd.DataFrame) -> dict[str, Any] | None:
        """How the choice stands in the record; None where everything is run."""
        if self.ids is None and self.limit is None:
            return None
        # The ids and not only their number: the first photos of another copy may be others.
        limit = {} if self.limit is None else {"limit": len(chosen)}
        return {"rows": len(chosen), "ids_sha256": id_list_sha256(chosen["id"]), **limit}


@dataclass(frozen=True)
class Share:
    """One process's part of a run that several work at: every `count`-th tile from `index` on."""

    index: int = 0
    count: int = 1

    def has(self, tile: int) -> bool:
        return tile % self.count == self.index

    @classmethod
    def parse(cls, text: str) -> Share:
        """`i/n` with i from 0 to n - 1."""
        index, slash, count = text.partition("/")
        if not slash or not index.isdecimal() or not count.isdecimal() or not int(index) < int(count):
            raise UsageError(
                f"the share '{text}' does not fit", fix="give i/n with i from 0 to n - 1, such as 0/4"
            )
        return cls(int(index), int(count))

    @classmethod
    def of_environment(cls) -> Share:
        """The share that torchrun gives this process; all of it where there is none."""
        rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
        return cls.parse(f"{rank}/{size}") if rank and size else cls()


@dataclass(frozen=True)
class Request:
    """Everything a run depends on, and where to put it."""

    method: Entry[MethodInfo]
    params: Any
    dataset_name: str
    dataset: Dataset
    label: str
    out: Path
    context: Context = field(default_factory=Context)
    subset: Subset = field(default_factory=Subset)
    tile: int = TILE
    fresh: bool = False
    share: Share = field(default_factory=Share)
    shelf: Shelf | None = None
    """Where features of the dataset are found or put; needed by methods that ask for some."""


def truth_recipe(full_truth: pd.DataFrame, truth: pd.DataFrame, subset: Subset) -> dict[str, Any]:
    """The part of a recipe that says which photos are asked about."""
    return {
        "dataset_hash": truth_hash(full_truth),
        "dataset_rows": len(full_truth),
        "authors_sha256": _authors_sha256(truth),
        "subset": subset.record(truth),
    }


def clusters_recipe(truth: pd.DataFrame, info: DatasetInfo) -> dict[str, Any]:
    """What stands or falls together, where the dataset declares that it is not the photographer."""
    keys = cluster_keys(truth, info.cluster_column)
    pairs = [f"{name}\t{key}" for name, key in zip(truth["id"], keys, strict=True) if key is not None]
    return {"clusters_sha256": id_list_sha256(pairs)} if pairs else {}


def run_recipe(
    request: Request,
    full_truth: pd.DataFrame,
    truth: pd.DataFrame,
    tile: int,
    content: Mapping[str, Any] | None,
    method_content: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that changes an answer, by content and never by name or place."""
    context = request.context
    return {
        **method_recipe(request.method, request.params, method_content),
        **truth_recipe(full_truth, truth, request.subset),
        **clusters_recipe(truth, request.dataset.info),
        "inputs": None if content is None else dict(content),
        "seed": context.seed,
        "device": context.device.partition(":")[0],
        "dtype": context.dtype,
        "tile": tile,
    }


def method_recipe(
    entry: Entry[MethodInfo], params: Any, method_content: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The part of a recipe that says who answers.

    `method_content` is what the method says of itself: it stands in place of the parameters of
    the same names.
    """
    own = dict(method_content or {})
    names = [item.name for item in fields(params) if item.name not in own]
    parameters = {name: _by_content(getattr(params, name)) for name in names}
    return {
        "method": entry.target,
        "plugin_sha256": entry.origin.file_sha256,
        "answer_version": entry.load().answer_version,
        "parameters": parameters | own,
    }


def run_record(
    *,
    label: str,
    shown_parameters: Mapping[str, Any],
    oracle: bool,
    method: Mapping[str, Any],
    dataset_name: str,
    dataset: DatasetInfo,
    recipe: Mapping[str, Any],
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
            "rows": recipe["dataset_rows"],
            "expected_rows": dataset.expected_rows,
            "default_protocol": dataset.default_protocol,
            "cluster_column": dataset.cluster_column,
            "notes": list(dataset.notes),
        },
        "subset": recipe["subset"],
        "counts": {"total": counts.total()} | {word: counts[word] for word in STATUS},
        "notes": list(dict.fromkeys(notes)),
        "recipe": dict(recipe),
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


def changed_parameters(params: Any) -> dict[str, Any]:
    """The parameters in a row's title: those that are not the default, files by their base name."""
    titled = [item for item in fields(params) if item.metadata.get("in_title", True)]
    chosen = {item.name: (getattr(params, item.name), item.default) for item in titled}
    return {
        name: value.name if isinstance(value, Path) else value
        for name, (value, default) in chosen.items()
        if value != default
    }


def id_list_sha256(ids: Iterable[str]) -> str:
    """What identifies a set of photos, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def _authors_sha256(truth: pd.DataFrame) -> str | None:
    """Who took what; None where no author is known.

    Two truth files may agree on every coordinate while only one names the photographers, on whom
    intervals and author filters rest.
    """
    if truth["author"].isna().all():
        return None
    pairs = zip(truth["id"], truth["author"], strict=True)
    return id_list_sha256(f"{name}\t{author}" for name, author in pairs if isinstance(author, str))


def _by_content(value: Any) -> Any:
    return {"sha256": file_sha256(value)} if isinstance(value, Path) else value
