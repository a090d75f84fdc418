"""`pinpoint doctor`: what works on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option, out_option, print_facts, registry_of


@click.command()
@out_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, out: Path | None, as_json: bool) -> None:
    """Say what works on this machine: libraries, devices, search back ends, data, plugins.

    \b
    Example:
      pinpoint doctor
    """
    from ..doctor import examine
    from ..running import results_root

    report = examine(registry_of(ctx), results_root(out))
    print_facts(report.facts, as_json)
    if report.problems and not as_json:
        click.echo()
        for problem in report.problems:
            click.echo(f"problem: {problem}")
    if report.problems:
        ctx.exit(1)
