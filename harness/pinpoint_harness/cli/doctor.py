"""`pinpoint doctor`: what works on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import home_options, json_option, print_facts, registry_of

if TYPE_CHECKING:
    from ..home import Home


@click.command()
@home_options()
@json_option
@click.pass_context
def doctor(ctx: click.Context, home: Home, as_json: bool) -> None:
    """Say what works on this machine (libraries, devices, data, plugins), where things lie, and how big.

    \b
    Example:
      pinpoint doctor
    """
    from ..doctor import examine

    report = examine(registry_of(ctx), home)
    print_facts(report.facts, as_json)
    if report.problems and not as_json:
        click.echo()
        for problem in report.problems:
            click.echo(f"problem: {problem}")
    if report.problems:
        ctx.exit(1)
