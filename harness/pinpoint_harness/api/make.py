"""What is made before a run: the features of photos, and the stages of methods that are trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts import Subset
from ..batching import WorkerShare
from ..devices import default_device, embedding_context, training_context
from ..errors import UsageError
from ..features import EmbedRequest, FeatureStore, StoreLookup, complete
from ..features.backbones import find_backbone
from ..home import Home, find_home
from ..plugins import Registry, load_registry
from ..running import build_params
from ..training import LogRequest, StageOutput, TrainRequest
from ..training import train as train_stages
from ..types import Context, DataLocation
from .measure import data_location
from .python_words import speaks_python

if TYPE_CHECKING:
    import pandas as pd


@speaks_python
def train(
    method: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    stage: str | None = None,
    data: Mapping[str, str | Path] | None = None,
    images: Mapping[str, Sequence[str | Path]] | None = None,
    device: str = "auto",
    dtype: str | None = None,
    weights: str | None = None,
    log: Sequence[str] = (),
    home: Home | str | Path | None = None,
    fresh: bool = False,
    keep: Collection[str] = (),
    registry: Registry | None = None,
) -> list[StageOutput]:
    """Make the stages of a method that are missing, and say where each lies.

    `stage` stops after that one, `fresh` makes it (or all of them) again, but for those whose keys are in
    `keep`, which another training has just made. `dtype` is `float32` or
    `bfloat16` (default: bfloat16 on a GPU and on a CPU with AMX). `log` holds `csv`, `tensorboard` or
    both, and a folder if the figures of the training shall not lie beside the stage. Features that it
    learns from are computed first where they are missing; `data` and `images` say by dataset where its
    files and its pictures lie, if not in the usual places. A training that was stopped goes on when it is
    called again.

    UsageError for a method that is not trained, and for a place of a dataset that it does not name.

    Examples:
        >>> train("constant")
        Traceback (most recent call last):
        pinpoint_harness.errors.UsageError: method 'constant' has nothing to train
          fix:   `pinpoint methods list` shows them all; those that are trained say so
    """
    registry, home = registry or load_registry(), find_home(home)
    entry = registry.method(method)
    params = build_params(entry, parameters or {})
    chosen = training_context(default_device(device), dtype)
    locations = _locations(data or {}, images or {}, method, params)
    stores = StoreLookup(registry, home.stores, chosen.device, weights, locations=locations)

    def truth(name: str) -> pd.DataFrame:
        return registry.open_dataset(name, locations.get(name, DataLocation())).truth()

    request = TrainRequest(
        method=entry,
        params=params,
        context=Context(chosen.device, chosen.dtype, stores=stores, models=home.models),
        root=getattr(params, "models", None) or home.models,
        truth=truth,
        stage=stage,
        fresh=fresh,
        keep=keep,
        log=LogRequest.parse(log),
    )
    return train_stages(request)


def _locations(
    data: Mapping[str, str | Path], images: Mapping[str, Sequence[str | Path]], method: str, params: Any
) -> dict[str, DataLocation]:
    """Where the files of each dataset lie, for those that some parameter names."""
    values = [getattr(params, item.name) for item in fields(params)]
    named = {part.strip() for value in values if isinstance(value, str) for part in value.split(",")}
    strange = [name for name in (*data, *images) if name not in named]
    if strange:
        raise UsageError(
            f"'{strange[0]}' is no dataset that '{method}' learns from",
            fix="name one that stands in its parameters: `pinpoint methods show` prints them",
        )
    return {
        name: DataLocation(
            Path(data[name]) if name in data else None, images=tuple(map(Path, images.get(name, ())))
        )
        for name in dict.fromkeys([*data, *images])
    }


@speaks_python
def embed(
    dataset: str,
    backbone: str,
    *,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    images: Sequence[str | Path] = (),
    follow_links: bool = False,
    limit: int | None = None,
    ids: Sequence[str] | None = None,
    weights: str | None = None,
    device: str = "auto",
    dtype: str | None = None,
    home: Home | str | Path | None = None,
    fresh: bool = False,
    registry: Registry | None = None,
    share: WorkerShare | None = None,
) -> FeatureStore:
    """Compute a backbone's features of every photo of a dataset, or open them if they are stored already.

    `backbone` is a registered name, a Hugging Face id or a folder. The store's `matrix` holds `(n, width)`
    float16, its `table` the id, place, author and source of each row; photos that could not be read are in
    its `failures`. `limit` and `ids` embed a part. The processes of a torchrun share the work. With a `share`
    of your own, UnfinishedError says that other processes have not finished theirs.
    """
    request = embed_request(
        dataset,
        backbone,
        data_location(data, columns, images, follow_links),
        weights=weights,
        device=device,
        dtype=dtype,
        home=find_home(home),
        registry=registry or load_registry(),
    )
    return complete(replace(request, subset=Subset(limit, ids), share=share, fresh=fresh))


def embed_request(
    dataset: str,
    backbone: str,
    location: DataLocation,
    *,
    weights: str | None,
    device: str,
    dtype: str | None,
    home: Home,
    registry: Registry,
) -> EmbedRequest:
    """A request for the features of all of a dataset, by this process alone."""
    return EmbedRequest(
        dataset_name=dataset,
        dataset=registry.open_dataset(dataset, location),
        source=find_backbone(registry, backbone, weights),
        root=home.stores,
        context=embedding_context(default_device(device), dtype),
    )
