"""`pinpoint audit`: what a query set and a gallery share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import visible
from ..types import DataLocation
from .options import (
    aligned,
    device_option,
    home_options,
    json_option,
    location_options,
    print_json,
    registry_of,
    weights_option,
)

if TYPE_CHECKING:
    from ..audit.effect import Effect
    from ..audit.result import Audit
    from ..evaluation import Scores
    from ..home import Home


@click.command()
@click.argument("gallery", metavar="METHOD|GALLERY")
@click.argument("dataset")
@click.option(
    "--backbone", metavar="NAME|ID|FOLDER", help="Whose features are compared [default: those of the METHOD]."
)
@location_options(images=True)
@click.option(
    "--gallery-data",
    type=click.Path(path_type=Path),
    help="Where the gallery's truth and pictures lie [default: $PINPOINT_DATA].",
)
@click.option(
    "--gallery-images",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Folder or archive of the gallery's pictures, if not in the usual places; may be given again.",
)
@click.option(
    "--training", metavar="NAME,NAME", default="", help="Datasets whose ids must not be among the queries."
)
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    help="Say what the leaks are worth to this run; may be given again.",
)
@click.option(
    "--cosine",
    type=click.FloatRange(-1, 1.001),
    help="Near-duplicates from this cosine of features on [default: what 1 query in 1,000 reaches with a "
    "photo at least 25 km away].",
)
@click.option(
    "--hamming",
    type=click.IntRange(0, 256),
    default=31,
    show_default=True,
    help="Near-duplicates up to so many differing bits of 256 of the perceptual hash.",
)
@click.option(
    "--spot",
    "spot_m",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Near-duplicates up to so many metres apart by one photographer; 0 judges by pictures alone.",
)
@click.option(
    "--pixels",
    is_flag=True,
    help="Hash every picture of the gallery, and not only those whose features are most alike.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to put the row per query [default: audits/DATASET--GALLERY.parquet in --home].",
)
@device_option
@weights_option
@home_options(runs="--out", stores="--stores")
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    gallery: str,
    dataset: str,
    backbone: str | None,
    location: DataLocation,
    gallery_data: Path | None,
    gallery_images: Sequence[Path],
    training: str,
    runs: Sequence[str],
    cosine: float | None,
    hamming: int,
    spot_m: float,
    pixels: bool,
    file: Path | None,
    device: str,
    weights: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Say what the queries of DATASET and a GALLERY share: photographers, photos, near-duplicates.

    GALLERY is a dataset, the folder of a feature store, or several separated by commas. A METHOD that
    has been run on DATASET stands for the galleries it opens, and the run is looked at too. The row
    per query goes into a file that `pinpoint score`, `table` and `compare` take as --exclude.

    \b
    Examples:
      pinpoint audit nearest-photo yfcc4k
      pinpoint audit mp16 yfcc4k --backbone siglip2-giant-opt-patch16-384 --run nearest-photo@yfcc4k
    """
    from ..api import audit as make_audit
    from ..progress import speaks

    made = make_audit(
        gallery,
        dataset,
        backbone=backbone,
        data=location.path,
        columns=location.columns,
        images=location.images,
        follow_links=location.follow_links,
        gallery_data=gallery_data,
        gallery_images=gallery_images,
        training=_names(training),
        runs=runs,
        cosine=cosine,
        hamming=hamming,
        spot_m=spot_m,
        pixels=pixels,
        file=file,
        device=device,
        weights=weights,
        home=home,
        registry=registry_of(ctx),
    )
    if speaks():
        _report(made.audit, made.effects, made.file, as_json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _report(found: Audit, effects: Sequence[Effect], path: Path, as_json: bool) -> None:
    if as_json:
        facts = {"file": str(path), "asked": dict(found.asked), "rows": len(found.table)}
        runs = [effect.to_dict() for effect in effects]
        print_json({**facts, "counts": found.counts(), "runs": runs})
        return
    for line in found.in_words():
        click.echo(visible(line))
    for effect in effects:
        _print(effect)
    click.echo(f"\na row per query: {path}")
    click.echo(f"to score without them: pinpoint score RUN --exclude {path}")


def _print(effect: Effect) -> None:
    from ..audit.result import VIEWS

    click.echo(
        f"\n{effect.title}, {effect.protocol}: accuracy over the queries that are left, 95 % interval, change"
    )
    full = effect.views["all"]
    assert full is not None
    metrics = [name for name in full.estimates if name.startswith("acc_")]
    rows = [
        [name, *(["0"] if scores is None else _view(scores, full, metrics))]
        for name, scores in effect.views.items()
    ]
    headers = ["", "n", *(name.removeprefix("acc_") for name in metrics)]
    click.echo(aligned(rows, headers))
    if effect.views[VIEWS["other_authors_only"]] is None:
        click.echo("no query is left without same authors: look at the hits, or run with the author filter")
    click.echo("\nhits by whose gallery photo stands at the answer's place")
    lines = [
        [
            f"{item.radius_km:g} km",
            item.hits,
            _share(item.same_author, item.hits),
            item.other_author,
            item.elsewhere,
        ]
        for item in effect.hits
    ]
    click.echo(aligned(lines, ["", "hits", "the query's author", "others", "no photo's place"]))


def _view(scores: Scores, full: Scores, metrics: Sequence[str]) -> list[str]:
    cells = [f"{scores.counts['total']:,}"]
    for metric in metrics:
        item, before = scores.estimates[metric], full.estimates[metric]
        assert item.value is not None
        assert before.value is not None
        interval = "" if item.low is None or item.high is None else f" [{item.low:.1f}, {item.high:.1f}]"
        change = "" if scores is full else f" {item.value - before.value:+.1f}"
        cells.append(f"{item.value:.1f}{interval}{change}")
    return cells


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else "0"
