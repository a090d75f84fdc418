"""`pinpoint methods new` and `pinpoint datasets new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import registry_of

if TYPE_CHECKING:
    from ..scaffold import Kind, MethodKind

KINDS = ("none", "image", "features", "retrieval", "trained")


kind_option = click.option(
    "--kind",
    "method_kind",
    type=click.Choice(KINDS),
    default="none",
    show_default=True,
    help="What it looks at: nothing, pictures, or a backbone's features; with a gallery that it searches, or "
    "a training.",
)


def new_command(kind: Kind, what_it_writes: str, example: str) -> click.Command:
    """The command that begins a plugin of one kind."""

    @click.command("new", help=f"{what_it_writes}\n\n\b\nExample:\n  {example}")
    @click.argument("name")
    @click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(),
        help="Folder to put the plugin's own folder in [default: here].",
    )
    @click.pass_context
    def new(ctx: click.Context, name: str, out: Path, method_kind: MethodKind = "none") -> None:
        from ..scaffold import new_plugin

        folder = new_plugin(kind, name, out, registry_of(ctx), method_kind)
        click.echo(f"{folder}\nnext: pip install -e {shlex.quote(str(folder))}")

    return kind_option(new) if kind == "method" else new
