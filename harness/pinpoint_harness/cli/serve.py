"""`pinpoint serve`: a page where photos are dropped."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .options import (
    candidates_option,
    device_option,
    home_options,
    registry_of,
    settings_option,
    source_option,
    weights_option,
)

if TYPE_CHECKING:
    from ..home import Home

TOKEN_VARIABLE = "PINPOINT_SERVE_TOKEN"


@click.command()
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=("pinpoint-plus",),
    show_default=True,
    help="Offer this method, the first one loaded at once; may be given again. All trained ones are offered.",
)
@settings_option
@source_option
@candidates_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8017, show_default=True, help="Port, 0 for any free one."
)
@click.option(
    "--token",
    envvar=TOKEN_VARIABLE,
    help=f"Who asks must know it; needed beyond this machine. `ps` does not show ${TOKEN_VARIABLE}.",
)
@device_option
@weights_option
@home_options()
@click.pass_context
def serve(
    ctx: click.Context,
    methods: Sequence[str],
    settings: Sequence[str],
    source: str,
    candidates: int,
    host: str,
    port: int,
    token: str | None,
    device: str,
    weights: str | None,
    home: Home,
) -> None:
    """Serve a page on this machine where photos are dropped and their places shown, until Ctrl-C.

    The page shows the answer of a method on a map, how probable each distance is, the candidates with
    their pictures, and, after the answer, the position in a photo's EXIF. Nothing is stored.

    \b
    Examples:
      pinpoint serve
      pinpoint serve --method nearest-photo --set gallery=osv5m-train --port 0
    """
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise UsageError(
            "a page cannot be served",
            found=f"{' and '.join(missing)} not installed",
            fix="pip install 'pinpoint-geo[serve]'",
        )
    from .. import serving
    from ..params import parse_settings

    access = serving.Access(host, token)
    served = serving.ServedMethods(
        registry_of(ctx), home, methods, parse_settings(settings), source, device, weights
    )
    with serving.listen(access, port) as listener:
        worker = serving.Worker(served)
        worker.load(methods[0])
        click.echo(f"{listener.address}\nCtrl-C ends it")
        try:
            serving.serve(serving.Service(worker, candidates), listener)
        except KeyboardInterrupt:
            click.echo("ended: nothing was kept", err=True)
