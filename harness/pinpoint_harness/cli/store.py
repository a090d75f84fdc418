"""`pinpoint embed`, `store` and `backbones`: features of datasets, made here or elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ..types import DataLocation
from .options import (
    device_option,
    json_option,
    location_options,
    print_facts,
    print_listing,
    registry_of,
    subset_options,
    weights_option,
)

if TYPE_CHECKING:
    from ..embedding import EmbedRequest
    from ..features import FeatureStore
    from ..records import Share, Subset
    from ..store_exchange import Normalisation

_out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of feature stores [default: $PINPOINT_STORES, else results/stores].",
)
_backbone = click.option(
    "--backbone", required=True, metavar="NAME|ID|FOLDER", help="Registered name, Hugging Face id or folder."
)
_dtype = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Precision of the network [default: bfloat16 on a GPU, float32 elsewhere].",
)
_fresh = click.option("--fresh", is_flag=True, help="Throw away what is there of this store and start over.")


@click.command()
@click.argument("dataset")
@_backbone
@location_options(images=True)
@subset_options()
@weights_option
@device_option
@_dtype
@click.option(
    "--shard",
    "share",
    metavar="I/N",
    help="Embed only every N-th shard, from I on [default: $RANK/$WORLD_SIZE].",
)
@_out
@_fresh
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
    out: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Compute a backbone's features of every photo of DATASET, once, for all methods.

    Give the same command again to resume. Several processes share the work with --shard or under
    torchrun; the last one puts the store together.

    \b
    Example:
      pinpoint embed im2gps3k --backbone siglip2-giant-opt-patch16-384
    """
    from ..artifacts import UnfinishedError
    from ..embedding import complete
    from ..records import Share

    chosen = Share.of_environment() if share is None else Share.parse(share)
    request = _request(ctx, dataset, backbone, location, weights, device, dtype, out, subset, chosen, fresh)
    try:
        store = complete(request)
    except UnfinishedError as unfinished:
        click.echo(unfinished)
        return
    print_facts(_facts(store), as_json)


@click.group()
def store() -> None:
    """List feature stores, and exchange them with other programs."""


@store.command("list")
@_out
@json_option
def list_stores(out: Path | None, as_json: bool) -> None:
    """List every feature store.

    \b
    Example:
      pinpoint store list
    """
    from ..features import iter_stores, stores_root

    rows = [_facts(store) for store in iter_stores(stores_root(out))]
    print_listing(rows, as_json, f"no stores under '{stores_root(out)}'")


@store.command("import")
@click.argument("dataset")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_backbone
@click.option(
    "--normalisation",
    type=click.Choice(["none", "l2"]),
    required=True,
    help="What was done to the features after the network; checked.",
)
@click.option(
    "--id-table",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table of the rows' ids, where FILE does not hold them.",
)
@click.option("--width", type=click.IntRange(min=1), help="Numbers in a row, for a file of raw fp16.")
@location_options(images=True)
@click.option("--compare", is_flag=True, help="Embed a sample again and print the cosine to the file's rows.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=256, show_default=True, help="Size of the sample."
)
@weights_option
@device_option
@_dtype
@_out
@_fresh
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    dataset: str,
    file: Path,
    backbone: str,
    normalisation: str,
    id_table: Path | None,
    width: int | None,
    location: DataLocation,
    compare: bool,
    limit: int,
    weights: str | None,
    device: str,
    dtype: str | None,
    out: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Make a store of DATASET from FILE, features made elsewhere: .npy, .npz, Parquet or raw fp16.

    Rows are joined to the dataset by id. You declare which backbone made them; --compare puts that
    to the test where the pictures and the weights are at hand.

    \b
    Example:
      pinpoint store import mp16 features.npy --id-table ids.csv --backbone dinov2-large --normalisation none
    """
    from ..backbones import find_backbone
    from ..features import stores_root
    from ..store_exchange import ImportRequest, import_store
    from ..store_exchange import compare as compare_stores

    registry = registry_of(ctx)
    source = find_backbone(registry, backbone, weights)
    imported = import_store(
        ImportRequest(
            dataset_name=dataset,
            dataset=registry.open_dataset(dataset, location),
            backbone=source.name,
            width=width or source.entry.info.width or None,
            root=stores_root(out),
            file=file,
            ids=id_table,
            normalisation=cast("Normalisation", normalisation),
            fresh=fresh,
        )
    )
    facts = _facts(imported)
    if compare:
        request = _request(ctx, dataset, backbone, location, weights, device, dtype, out)
        agreement = compare_stores(imported, request, limit)
        facts |= {
            "compared": agreement.photos,
            "median cosine": round(agreement.median, 6),
            "minimum cosine": round(agreement.minimum, 6),
        }
    print_facts(facts, as_json)


@store.command("export")
@click.argument("store")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_out
def export(store: str, file: Path, out: Path | None) -> None:
    """Write STORE, a folder or the beginning of a key, to FILE: .npy, .npz, .parquet or .f16.

    \b
    Example:
      pinpoint store export 1d9fb86c features.npz
    """
    from ..features import find_store, stores_root
    from ..store_exchange import export_store

    for written in export_store(find_store(store, stores_root(out)), file):
        click.echo(written)


@click.group()
def backbones() -> None:
    """List the backbones that have a name; any Hugging Face id or folder will do as well."""


@backbones.command("list")
@json_option
@click.pass_context
def list_backbones(ctx: click.Context, as_json: bool) -> None:
    """List every backbone that has a name, and whether its weights are on this machine.

    \b
    Example:
      pinpoint backbones list
    """
    from ..backbones import find_backbone

    registry = registry_of(ctx)
    rows = [
        {
            "name": entry.name,
            "width": entry.info.width,
            "here": "yes" if find_backbone(registry, entry.name).is_here() else "no",
            "weights": entry.info.weights or "in the package",
            "licence": entry.info.licence,
            "from": entry.origin.name,
        }
        for entry in registry.backbones.values()
    ]
    print_listing(rows, as_json, "no backbones")


def _request(
    ctx: click.Context,
    dataset: str,
    backbone: str,
    location: DataLocation,
    weights: str | None,
    device: str,
    dtype: str | None,
    out: Path | None,
    subset: Subset | None = None,
    share: Share | None = None,
    fresh: bool = False,
) -> EmbedRequest:
    from ..backbones import find_backbone
    from ..embedding import EmbedRequest, default_device, embedding_context
    from ..features import stores_root
    from ..records import Share, Subset

    registry = registry_of(ctx)
    return EmbedRequest(
        dataset_name=dataset,
        dataset=registry.open_dataset(dataset, location),
        source=find_backbone(registry, backbone, weights),
        root=stores_root(out),
        context=embedding_context(default_device(device), dtype),
        subset=subset or Subset(),
        share=share or Share(),
        fresh=fresh,
    )


def _facts(store: FeatureStore) -> dict[str, Any]:
    made = "imported" if store.imported else f"{store.recipe['device']} {store.recipe['dtype']}"
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
