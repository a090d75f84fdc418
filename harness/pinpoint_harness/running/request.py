"""What a run depends on: the request, and its spec, which is hashed into the key."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import params as parameters
from ..artifacts import Selection, Subset, canonical_json, file_sha256
from ..batching import ROW_BLOCK, WorkerShare, whole_blocks
from ..console import visible
from ..devices import default_device
from ..errors import PluginError, UsageError
from ..features import StoreLookup
from ..home import Home, find_home
from ..photo_ids import rows_sha256
from ..plugins import Entry, Registry, plugin_code
from ..types import Context, Dataset, DatasetInfo, Method, MethodInfo
from .predictions import cluster_keys
from .record import VERSION
from .run import find_run

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

TILE = 256
"""Queries in one call, in whole row blocks. Part of the key: another tile means other last digits."""


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
    share: WorkerShare | None = None
    """Without one, all of it, by the processes of a torchrun where there are some."""
    listed_as: str | None = None
    """The name of the dataset in listings, where it is not its own: of a table of one's own."""
    store_lookup: StoreLookup | None = None
    """Where features of the dataset are found or put; needed by methods that ask for some."""

    @property
    def listed_name(self) -> str:
        return self.listed_as or self.dataset_name

    def selection(self) -> Selection:
        return Selection.of(self.dataset.truth(), self.subset)


def run_spec(
    request: Request, method: Method, selection: Selection, tile: int, content: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything that changes an answer, by content and never by name or place."""
    context = request.context
    return {
        "version": VERSION,
        **method_spec(request.method, request.params, method),
        **selection.spec(),
        **clusters_spec(selection.truth, request.dataset.info),
        "inputs": None if content is None else dict(content),
        "seed": context.seed,
        "device": context.device.partition(":")[0],
        "dtype": context.dtype,
        "tile": tile,
    }


def clusters_spec(truth: pd.DataFrame, info: DatasetInfo) -> dict[str, Any]:
    """What stands or falls together, where the dataset declares that it is not the photographer."""
    keys = cluster_keys(truth, info.cluster_column)
    declared = np.array([key is not None for key in keys], dtype=bool)
    return {"clusters_sha256": rows_sha256(truth["id"][declared], keys[declared])} if declared.any() else {}


def method_spec(entry: Entry[MethodInfo], params: Any, method: Method) -> dict[str, Any]:
    """The part of a spec that says who answers.

    What the `method` itself says in `content()` stands in place of the parameters of the same names.
    """
    with plugin_code(f"{entry.named} does not say what its answers depend on: content()"):
        own = dict(method.content()) if hasattr(method, "content") else {}
        canonical_json(own)  # raises where it could not be part of a key
    names = [item.name for item in fields(params) if item.name not in own]
    parameters = {name: _by_content(getattr(params, name)) for name in names}
    return {
        "method": entry.target,
        "plugin_sha256": entry.origin.file_sha256,
        "answer_version": _answer_version(entry),
        "parameters": parameters | own,
    }


def _answer_version(entry: Entry[MethodInfo]) -> int:
    version = getattr(entry.load(), "answer_version", None)
    if isinstance(version, bool) or not isinstance(version, int):
        raise PluginError(
            f"method '{entry.name}' does not say its answer_version",
            found=repr(version)[:100],
            fix="give the class a whole number: answer_version = 1",
        )
    return version


def _by_content(value: Any) -> Any:
    return {"sha256": file_sha256(value)} if isinstance(value, Path) else value


@dataclass(frozen=True)
class NoParams:
    """For methods that have none."""


def build_request(
    entry: Entry[MethodInfo],
    dataset_name: str,
    dataset: Dataset,
    *,
    parameters: Mapping[str, Any],
    subset: Subset,
    seed: int | None = None,
    device: str = "auto",
    label: str | None = None,
    home: Home | None = None,
    tile: int = TILE,
    fresh: bool = False,
    share: WorkerShare | None = None,
    weights: str | None = None,
    registry: Registry | None = None,
    listed_as: str | None = None,
    gallery_images: Sequence[Path] = (),
) -> Request:
    """A checked request to run a method over a dataset that is open.

    Without a registry there is nowhere to look for backbones and galleries: only methods that look
    at nothing or at pictures can be run.
    """
    if subset.limit is not None and subset.limit < 1:
        raise UsageError(f"limit {subset.limit} leaves nothing to run", fix="give 1 or more")
    if label is not None and label != visible(label):
        raise UsageError(
            f"{visible(label)!r} cannot be a name", fix="give one line of signs that can be seen"
        )
    if tile < 1:
        raise UsageError(f"a tile of {tile} holds no query", fix="give 1 or more")
    if tile != whole_blocks(tile):
        log.warning(
            "a tile of %d is rounded up to %d: rows are computed in blocks of %d",
            *(tile, whole_blocks(tile), ROW_BLOCK),
        )
    check_seed(entry, seed)
    device = choose_device(entry, device)
    home = home or find_home()
    store_lookup = None
    if registry is not None:
        images = tuple(gallery_images)
        store_lookup = StoreLookup(registry, home.stores, device, weights, share, images)
    return Request(
        method=entry,
        params=build_params(entry, _with_run_folders(entry, parameters, home)),
        dataset_name=dataset_name,
        dataset=dataset,
        label=label or entry.name,
        out=home.runs,
        context=Context(device=device, seed=seed or 0, stores=store_lookup, models=home.models),
        subset=subset,
        tile=tile,
        fresh=fresh,
        share=share,
        listed_as=listed_as,
        store_lookup=store_lookup,
    )


def params_class(entry: Entry[MethodInfo]) -> type[Any]:
    """The parameter dataclass of a method."""
    declared: type[Any] = getattr(entry.load(), "Params", NoParams)
    return declared


def preset_of(entry: Entry[MethodInfo]) -> dict[str, Any]:
    """The values a method is registered with; PluginError for one that its parameters do not take."""
    return parameters.checked_preset(params_class(entry), entry.preset, entry.name, entry.origin.name)


def _with_run_folders(entry: Entry[MethodInfo], given: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """The parameters, a run that is named as everywhere replaced by its folder."""
    known = {item.name for item in fields(params_class(entry)) if item.metadata.get("names_run")}
    return {
        name: str(find_run(value, home.runs, home.runs_made()).folder)
        if name in known and isinstance(value, str) and "@" in value and not Path(value).exists()
        else value
        for name, value in given.items()
    }


def param_specs(entry: Entry[MethodInfo], settings: Mapping[str, Any]) -> list[parameters.ParamSpec]:
    """A method's parameters, their defaults as they are under its preset and these settings."""
    listed = parameters.specs(params_class(entry), preset_of(entry), settings)
    parameters.convert({spec.name: spec for spec in listed}, settings, f"method '{entry.name}'")
    return listed


def build_params(entry: Entry[MethodInfo], settings: Mapping[str, Any]) -> Any:
    """The parameters of a method: the user's settings, over its preset, over the class's defaults."""
    return parameters.build(params_class(entry), settings, f"method '{entry.name}'", preset_of(entry))


def parameter_grid(entry: Entry[MethodInfo], pairs: Sequence[str]) -> list[dict[str, str]]:
    """The settings of every run that `--set` asks for; UsageError if one of them does not fit the method."""
    grid = parameters.parse_grid(pairs, params_class(entry))
    for settings in grid:
        build_params(entry, settings)
    return grid


def check_seed(entry: Entry[MethodInfo], seed: int | None) -> None:
    """UsageError for a seed given to a method whose answers do not depend on it."""
    if seed is None or entry.info.draws:
        return
    if any(item.name == "seed" for item in fields(params_class(entry))):
        fix = f"--set seed={seed} is the seed of its training"
    else:
        fix = "leave --seed out; a method that draws is registered with MethodInfo(draws=True)"
    raise UsageError(f"method '{entry.name}' draws nothing when it answers: --seed does nothing", fix=fix)


def choose_device(entry: Entry[MethodInfo], device: str) -> str:
    """`auto` is the GPU where there is one, and the CPU for methods that compute nothing on it."""
    if device != "auto":
        return default_device(device)
    if getattr(entry.load(), "input", None) in ("none", "id"):  # a parameter may name a backbone
        return "cpu"
    return default_device()
