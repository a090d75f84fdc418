"""`pinpoint embed`: the features of a dataset's photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..types import DataLocation
from .options import (
    backbone_option,
    device_option,
    dtype_option,
    fresh_store_option,
    home_options,
    json_option,
    location_options,
    print_facts,
    registry_of,
    subset_options,
    weights_option,
)

if TYPE_CHECKING:
    from ..artifacts import Subset
    from ..features import FeatureStore
    from ..home import Home


@click.command()
@click.argument("dataset")
@backbone_option
@location_options(images=True)
@subset_options()
@weights_option
@device_option
@dtype_option
@click.option(
    "--shard",
    "share",
    metavar="I/N",
    help="Embed only every N-th shard, from I on: for processes that know nothing of one another.",
)
@home_options(stores="--out")
@fresh_store_option
@json_option
@click.pass_context
def embed(
    ctx: click.Context,
    dataset: str,
    backbone: str,
    location: DataLocation,
    subset: Subset,
    weights: str | None,
    device: str,
    dtype: str | None,
    share: str | None,
    home: Home,
    fresh: bool,
    as_json: bool,
) -> None:
    """Compute a backbone's features of every photo of DATASET, once, for all methods.

    Give the same command again to resume. The processes of a torchrun share the work, and the first
    prints. With --shard several commands share it; the last one puts the store together.

    \b
    Example:
      pinpoint embed im2gps3k --backbone siglip2-giant-opt-patch16-384
    """
    from ..api import embed as complete
    from ..batching import WorkerShare
    from ..errors import UnfinishedError
    from ..progress import speaks

    try:
        store = complete(
            dataset,
            backbone,
            data=location.path,
            columns=location.columns,
            images=location.images,
            follow_links=location.follow_links,
            limit=subset.limit,
            ids=subset.ids,
            weights=weights,
            device=device,
            dtype=dtype,
            home=home,
            fresh=fresh,
            registry=registry_of(ctx),
            share=None if share is None else WorkerShare.parse(share),
        )
    except UnfinishedError as unfinished:
        click.echo(unfinished)
        return
    if share is not None or speaks():
        print_facts(store_facts(store), as_json)


def store_facts(store: FeatureStore) -> dict[str, Any]:
    made = "imported" if store.imported else f"{store.spec['device']} {store.spec['dtype']}"
    return {
        "dataset": store.dataset,
        "backbone": store.backbone,
        "rows": len(store),
        "failed": store.record["failed"],
        "width": store.width,
        "part": "all" if store.record["subset"] is None else f"{store.record['subset']['rows']} photos",
        "made": made,
        "key": store.key[:16],
        "folder": str(store.folder),
    }


def damaged_store_facts(folder: Path) -> dict[str, Any]:
    """The same of a store that cannot be used, by where it lies."""
    backbone, dataset = (parent.name for parent in folder.parents[:2])
    facts: dict[str, Any] = dict.fromkeys(("rows", "failed", "width", "part"), "")
    return {
        "dataset": dataset,
        "backbone": backbone,
        **facts,
        "made": "damaged",
        "key": folder.name,
        "folder": str(folder),
    }
