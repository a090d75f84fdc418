"""`pinpoint train`: the stages of a method that has to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import (
    device_option,
    home_options,
    json_option,
    print_listing,
    registry_of,
    settings_option,
    weights_option,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..home import Home


@click.command()
@click.argument("method")
@click.option("--stage", help="Stop after this stage [default: the last].")
@settings_option
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Precision of the towers in training [default: bfloat16 on a GPU, float32 elsewhere].",
)
@weights_option
@home_options(models="--out", stores="--stores")
@click.option("--fresh", is_flag=True, help="Make the stage, or all of them, again.")
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    method: str,
    stage: str | None,
    settings: Sequence[str],
    device: str,
    dtype: str | None,
    weights: str | None,
    home: Home,
    fresh: bool,
    as_json: bool,
) -> None:
    """Make the stages of METHOD that are missing: what it learns, and what it searches.

    Give the same command again to resume. Stages are shared: another method, or another seed, makes
    only what it does not have in common. Under torchrun all processes train one model.

    \b
    Example:
      pinpoint train pinpoint-top1-image --stage embedder --set seed=1
    """
    from ..batching import WorkerShare
    from ..devices import default_device, embedding_context
    from ..features import StoreLookup
    from ..params import parse_settings
    from ..running import build_params
    from ..training import TrainRequest
    from ..training import train as train_stages
    from ..types import Context

    registry = registry_of(ctx)
    entry = registry.method(method)
    params = build_params(entry, parse_settings(settings))
    chosen = embedding_context(default_device(device), dtype)
    store_lookup = StoreLookup(registry, home.stores, chosen.device, weights, WorkerShare.of_environment())

    def truth(name: str) -> pd.DataFrame:
        return registry.open_dataset(name).truth()

    request = TrainRequest(
        method=entry,
        params=params,
        context=Context(chosen.device, chosen.dtype, stores=store_lookup, models=home.models),
        root=getattr(params, "models", None) or home.models,
        truth=truth,
        stage=stage,
        fresh=fresh,
    )
    rows: list[dict[str, Any]] = [
        {
            "stage": done.stage,
            "made": "now" if done.made else "before",
            "key": done.key[:16],
            "folder": str(done.folder),
        }
        for done in train_stages(request)
    ]
    print_listing(rows, as_json, "no stages")
