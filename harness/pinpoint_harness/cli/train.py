"""`pinpoint train`: the stages of a method that has to be trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import (
    device_option,
    home_options,
    in_turn,
    json_option,
    print_listing,
    registry_of,
    settings_option,
    weights_option,
)

if TYPE_CHECKING:
    from ..home import Home
    from ..training import StageOutput


@click.command()
@click.argument("method")
@click.option("--stage", help="Stop after this stage [default: the last].")
@settings_option
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET=PATH",
    help="Where a dataset's files lie, if not in the usual places; may be given again.",
)
@click.option(
    "--images",
    multiple=True,
    metavar="DATASET=PATH",
    help="Folder or archive of a dataset's pictures, likewise; may be given again.",
)
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Precision of the towers in training [default: bfloat16 on a GPU or a CPU with AMX, float32 "
    "elsewhere].",
)
@weights_option
@click.option(
    "--log",
    multiple=True,
    metavar="csv|tensorboard|DIR",
    help="Write the figures of the training as they come, beside the stage or in DIR; may be given again.",
)
@home_options(models="--out", stores="--stores")
@click.option(
    "--fresh", is_flag=True, help="Make the stage, or all of them, again; a sweep makes what it shares once."
)
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    method: str,
    stage: str | None,
    settings: Sequence[str],
    data: Sequence[str],
    images: Sequence[str],
    device: str,
    dtype: str | None,
    weights: str | None,
    log: Sequence[str],
    home: Home,
    fresh: bool,
    as_json: bool,
) -> None:
    """Make the stages of METHOD that are missing: what it learns, and what it searches.

    Give the same command again to resume. Stages are shared: another method, or another seed, makes
    only what it does not have in common. Several values of a parameter (--set seed=0,1,2) train every
    combination. Under torchrun all processes train one model, and the first prints.

    \b
    Examples:
      pinpoint train pinpoint-top1-image --stage embedder --set seed=1
      pinpoint train regression --set hidden=128,256 --set seed=0,1,2
    """
    from ..api import train as train_stages
    from ..devices import default_device
    from ..processes import joined_processes
    from ..progress import speaks
    from ..running import parameter_grid

    registry = registry_of(ctx)
    grid = parameter_grid(registry.method(method), settings)
    rows: list[dict[str, Any]] = []
    made: set[str] = set()
    with joined_processes(default_device(device)):
        for title, chosen in in_turn(grid):
            finished = train_stages(
                method,
                parameters=chosen,
                stage=stage,
                data={name: places[-1] for name, places in _by_dataset("--data", data).items()},
                images=_by_dataset("--images", images),
                device=device,
                dtype=dtype,
                weights=weights,
                log=log,
                home=home,
                fresh=fresh,
                keep=made,
                registry=registry,
            )
            made |= {done.key for done in finished}
            rows += [{**({"settings": title} if title else {}), **_row(done)} for done in finished]
    if speaks():
        print_listing(rows, as_json, "no stages")


def _by_dataset(option: str, pairs: Sequence[str]) -> dict[str, list[str]]:
    """`DATASET=PATH` pairs as the places of each dataset."""
    from ..errors import UsageError

    places: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, place = pair.partition("=")
        if not name or not equals or not place:
            raise UsageError(
                f"{option} {pair!r} does not say of which dataset",
                fix=f"{option} DATASET=PATH, such as {option} mp16-pro=/data/mp16-pro",
            )
        places.setdefault(name, []).append(place)
    return places


def _row(done: StageOutput) -> dict[str, str]:
    made = "now" if done.made else "before"
    return {"stage": done.stage, "made": made, "key": done.key[:16], "folder": str(done.folder)}
