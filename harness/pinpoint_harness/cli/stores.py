"""`pinpoint embed`, `store` and `backbones`: features of datasets, made here or elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..errors import UsageError, did_you_mean
from ..types import DataLocation
from .clean import removal_options, remove_named
from .embed import damaged_store_facts, store_facts
from .options import (
    backbone_option,
    device_option,
    dtype_option,
    fresh_store_option,
    home_options,
    json_option,
    location_options,
    print_facts,
    print_listing,
    registry_of,
    weights_option,
)
from .verify import one_or_all, print_damage

if TYPE_CHECKING:
    from ..features import Normalisation
    from ..home import Home


log = logging.getLogger(__name__)


@click.group()
def stores() -> None:
    """List, check and remove feature stores, and exchange them with other programs."""


@stores.command("list")
@home_options(stores="--out")
@json_option
def list_stores(home: Home, as_json: bool) -> None:
    """List every feature store; damaged ones are listed as such.

    \b
    Example:
      pinpoint stores list
    """
    from ..features import survey_stores

    stores, damaged = survey_stores(home.stores)
    rows = [store_facts(store) for store in stores]
    for folder, found in damaged.items():
        rows.append(damaged_store_facts(folder))
        click.echo(f"damaged: {found}", err=True)
    print_listing(rows, as_json, f"no stores under '{home.stores}'")


@stores.command("import")
@click.argument("dataset")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@backbone_option
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
@click.option("--check", is_flag=True, help="Embed a sample again and print the cosine to the file's rows.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=256, show_default=True, help="Size of the sample."
)
@weights_option
@device_option
@dtype_option
@home_options(stores="--out")
@fresh_store_option
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
    check: bool,
    sample: int,
    weights: str | None,
    device: str,
    dtype: str | None,
    home: Home,
    fresh: bool,
    as_json: bool,
) -> None:
    """Make a store of DATASET from FILE, features made elsewhere: .npy, .npz, Parquet or raw fp16.

    Rows are joined to the dataset by id. You declare which backbone made them, by its name or by any name
    of your own, under which methods then find them; --check puts a registered backbone to the test
    where the pictures and the weights are at hand.

    \b
    Example:
      pinpoint stores import mp16 features.npy --id-table ids.csv --backbone dinov2-large --normalisation none
    """
    from ..api.make import embed_request
    from ..features import ImportRequest, import_store
    from ..features.backbones import find_backbone
    from ..features.exchange import compare as compare_stores

    registry = registry_of(ctx)
    source = find_backbone(registry, backbone, weights, imported=True)
    if source.elsewhere and check:
        raise UsageError(
            f"--check embeds photos again, and '{backbone}' is a name of your own", fix="leave it out"
        )
    if source.elsewhere and (near := did_you_mean(backbone, registry.backbones)):
        log.warning("no backbone '%s' is registered, so this is a name of your own. %s", backbone, near)
    imported = import_store(
        ImportRequest(
            dataset_name=dataset,
            dataset=registry.open_dataset(dataset, location),
            backbone=source.name,
            width=width or source.entry.info.width or None,
            root=home.stores,
            file=file,
            ids=id_table,
            normalisation=cast("Normalisation", normalisation),
            fresh=fresh,
        )
    )
    facts = store_facts(imported)
    if check:
        request = embed_request(
            dataset,
            backbone,
            location,
            weights=weights,
            device=device,
            dtype=dtype,
            home=home,
            registry=registry,
        )
        agreement = compare_stores(imported, request, sample)
        facts |= {
            "compared": agreement.photos,
            "median cosine": round(agreement.median, 6),
            "minimum cosine": round(agreement.minimum, 6),
        }
    print_facts(facts, as_json)


@stores.command("export")
@click.argument("store")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@home_options(stores="--out")
def export(store: str, file: Path, home: Home) -> None:
    """Write STORE, a folder or the beginning of a key, to FILE: .npy, .npz, .parquet or .f16.

    \b
    Example:
      pinpoint stores export 1d9fb86c features.npz
    """
    from ..features import export_store, find_store

    for written in export_store(find_store(store, home.stores), file):
        click.echo(written)


@stores.command("rm")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@removal_options
@home_options()
def remove_stores(stores: Sequence[str], home: Home, yes: bool, dry_run: bool) -> None:
    """Remove STOREs, each a folder or the beginning of a key, after showing how big they are and asking.

    \b
    Example:
      pinpoint stores rm 1d9fb86c --dry-run
    """
    from ..features import find_store

    remove_named(
        stores,
        home.stores,
        lambda name: find_store(name, home.stores).folder,
        kind="features",
        yes=yes,
        dry_run=dry_run,
    )


@stores.command("verify")
@click.argument("store", required=False)
@click.option("--all", "every", is_flag=True, help="Check every store.")
@home_options()
@json_option
def verify_stores(store: str | None, every: bool, home: Home, as_json: bool) -> None:
    """Check that the files of STORE are those that were written, by their sha256; exit code 1 if not.

    STORE is a folder or the beginning of a key.

    \b
    Example:
      pinpoint stores verify --all
    """
    from ..artifacts import finished_folders
    from ..features import find_store

    one_or_all("store", store, every)
    folders = finished_folders(home.stores) if store is None else [find_store(store, home.stores).folder]
    print_damage(folders, as_json)
