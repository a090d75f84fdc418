"""`pinpoint demo` and `pinpoint reproduce`: command lines run one after another, results checked."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import json_option, out_option, print_json, print_listing, registry_of

_READ_OR_WRITE_RUNS = {"run", "score", "ceiling", "compare", "results", "table"}
"""The commands whose `--out` is the folder of runs."""

if TYPE_CHECKING:
    from ..recipes import Cell, Recipe


@click.command()
@out_option
@click.pass_context
def demo(ctx: click.Context, out: Path | None) -> None:
    """Draw mini-Earth, embed its pictures, train Pinpoint, run it and baselines, and print the tables.

    Needs nothing but what is installed; takes a few minutes. Pictures and features are kept, so a
    second time takes seconds. Mini-Earth is procedural: it shows that the software works, not that
    an idea does.

    \b
    Example:
      pinpoint demo
    """
    from ..recipes import load_recipe

    run_steps(ctx, load_recipe("demo"), out)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--dry-run", is_flag=True, help="Say what is here, what is missing, how big and how long; run nothing."
)
@click.option("--all", "everything", is_flag=True, help="Run the recipe's further steps as well.")
@out_option
@json_option
@click.pass_context
def reproduce(
    ctx: click.Context, name: str | None, dry_run: bool, everything: bool, out: Path | None, as_json: bool
) -> None:
    """Run a recipe and compare its scores with the expected ones; exit code 1 if one fails.

    NAME is a recipe of the package or a TOML file; without it all recipes are listed. OK is within
    the tolerance, near within three times it.

    \b
    Examples:
      pinpoint reproduce
      pinpoint reproduce demo
      pinpoint reproduce demo --dry-run
    """
    from ..recipes import check, load_recipe, recipe_names
    from ..runs import results_root

    if name is None:
        _list([load_recipe(known) for known in recipe_names()], as_json)
        return
    recipe = load_recipe(name)
    if everything:
        recipe = replace(recipe, steps=recipe.steps + recipe.more)
    if dry_run:
        _dry_run(ctx, recipe, as_json)
        return
    # What the steps print is not the answer of this command where the answer is JSON.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        run_steps(ctx, recipe, out)
    cells = check(recipe, results_root(out))
    _print_cells(recipe, cells, as_json)
    if any(cell.verdict == "FAIL" for cell in cells):
        ctx.exit(1)


def run_steps(ctx: click.Context, recipe: Recipe, out: Path | None) -> None:
    """Every step of a recipe through the command line itself; finished runs are not run again."""
    root = ctx.find_root()
    plugins = [word for plugin in root.obj or () for word in ("--plugin", plugin)]
    for number, step in enumerate(recipe.steps, 1):
        where = ["--out", str(out)] if out is not None and step[0] in _READ_OR_WRITE_RUNS else []
        command = [*step, *where]
        click.echo(f"[{number}/{len(recipe.steps)}] pinpoint {shlex.join(command)}", err=True)
        root.command.main(args=[*plugins, *command], prog_name="pinpoint", standalone_mode=False)


def _list(recipes: Sequence[Recipe], as_json: bool) -> None:
    rows = [
        {
            "name": recipe.name,
            "status": recipe.status,
            "hours": f"{recipe.hours:g}",
            "GB": f"{recipe.gigabytes:g}",
            "title": recipe.title,
        }
        for recipe in recipes
    ]
    print_listing(rows, as_json, "no recipes")


def _dry_run(ctx: click.Context, recipe: Recipe, as_json: bool) -> None:
    from ..recipes import look_for

    findings = look_for(recipe, registry_of(ctx))
    missing = [item for item in findings if not item.found]
    if as_json:
        print_json(
            {
                "name": recipe.name,
                "status": recipe.status,
                "hours": recipe.hours,
                "gigabytes": recipe.gigabytes,
                "needs": [
                    {
                        "kind": item.need.kind,
                        "name": item.need.name,
                        "found": item.found,
                        "detail": item.detail,
                    }
                    for item in findings
                ],
                "steps": [list(step) for step in recipe.steps],
            }
        )
        return
    click.echo(f"{recipe.title} ({recipe.status})")
    for item in findings:
        size = f", {item.need.gigabytes:g} GB" if item.need.gigabytes else ""
        word = "found  " if item.found else "missing"
        click.echo(f"  {word}  {item.need.kind} {item.need.name}{size}: {item.detail}")
    click.echo(f"about {recipe.gigabytes:g} GB to have, roughly {recipe.hours:g} hours to run; the steps:")
    for step in recipe.steps:
        click.echo(f"  pinpoint {shlex.join(step)}")
    click.echo(f"next: {missing[0].detail}" if missing else f"next: pinpoint reproduce {recipe.name}")


def _print_cells(recipe: Recipe, cells: Sequence[Cell], as_json: bool) -> None:
    rows = [
        {
            "run": cell.run,
            "protocol": cell.protocol,
            "metric": cell.metric,
            "expected": cell.expected if as_json else f"{cell.expected:g}",
            "found": cell.found if as_json or cell.found is None else f"{cell.found:.2f}",
            "difference": cell.difference
            if as_json or cell.difference is None
            else f"{cell.difference:+.2f}",
            "verdict": cell.verdict,
        }
        for cell in cells
    ]
    print_listing(rows, as_json, f"recipe '{recipe.name}' expects no scores")
    if not as_json:
        verdicts = [cell.verdict for cell in cells]
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("OK", "near", "FAIL"))
        click.echo(f"{counts}; status of the expectations: {recipe.status}")
