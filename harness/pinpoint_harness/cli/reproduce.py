"""`pinpoint demo` and `pinpoint reproduce`: command lines run one after another, results checked."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..devices import usable_cores
from ..errors import UsageError, unknown_name
from ..home import command
from ..reproduce.parallel import Task, run_lanes, work
from .options import home_options, json_option, print_json, print_listing, registry_of

_MODULE = f"{__package__}.reproduce"
"""What the process of a lane runs: this module, which then works through the tasks it reads."""

_MOST_LANES = 4
"""Of the demo at once, of two gigabytes each: it has no more that could run beside one another."""

if TYPE_CHECKING:
    from ..home import Home
    from ..reproduce import Cell, Recipe


def _refuse_out(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError("a recipe has no --out: it keeps all below one folder", fix=f"--home {value}")


old_out_option = click.option("--out", hidden=True, expose_value=False, callback=_refuse_out)


@click.command()
@home_options()
@old_out_option
@click.pass_context
def demo(ctx: click.Context, home: Home) -> None:
    """Draw mini-Earth, embed its pictures, train Pinpoint, run it and baselines, and print the tables.

    Needs nothing but what is installed; takes some minutes, on up to four cores. Pictures and features
    are kept, so a second time takes seconds. Mini-Earth is procedural: it shows that the software works,
    not that an idea does.

    \b
    Example:
      pinpoint demo
    """
    from ..reproduce import load_recipe

    recipe = load_recipe("demo")
    with _knowing_its_runs(home) as home:
        run_steps(ctx, recipe, home, min(usable_cores(), _MOST_LANES))
    _say_next(recipe, home)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what the recipe needs and whether it is here, how big and how long it is, and its steps.",
)
@click.option("--all", "everything", is_flag=True, help="Run the recipe's further steps as well.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Run so many of the recipe's lanes at once, each in a process of its own.",
)
@click.option(
    "--launcher",
    type=click.Choice(["local", "slurm"]),
    help="Run each step or lane as a job, by submitit: here, --jobs at once, or on a Slurm cluster.",
)
@click.option(
    "--only", metavar="NAME=VALUE", help="Run the steps of this lane alone, such as world=5; compare nothing."
)
@click.option(
    "--log",
    "log_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add a row to a Markdown table: recipe, who, date, commit, machine, verdict.",
)
@click.option("--as-name", "who", metavar="NAME", default="-", help="With --log: who may be named.")
@home_options()
@old_out_option
@json_option
@click.pass_context
def reproduce(
    ctx: click.Context,
    name: str | None,
    dry_run: bool,
    everything: bool,
    jobs: int,
    launcher: str | None,
    only: str | None,
    log_file: Path | None,
    who: str,
    home: Home,
    as_json: bool,
) -> None:
    """Run a recipe and compare its scores with the expected ones; exit code 1 if one fails.

    NAME is a recipe of the package or a TOML file; without it all recipes are listed. OK is within
    the tolerance, near within three times it.

    \b
    Examples:
      pinpoint reproduce
      pinpoint reproduce demo
      pinpoint reproduce demo --dry-run
      pinpoint reproduce mini-earth --jobs 2
      pinpoint reproduce mini-earth --launcher slurm
      pinpoint reproduce mini-earth --only world=5
      pinpoint reproduce mini-earth --log reproductions.md --as-name "A. Reader"
    """
    from ..reproduce import append_log, check, check_log, load_recipe, recipe_names
    from ..reproduce.launch import check_launcher

    if name is None:
        _list([load_recipe(known) for known in recipe_names()], as_json)
        return
    recipe = load_recipe(name)
    if everything:
        recipe = replace(recipe, steps=recipe.steps + recipe.more)
    if launcher is not None:
        check_launcher(launcher)
    recipe = _chosen(recipe, 1 if launcher else jobs, only)
    if dry_run:
        again = ["reproduce", name, *([] if only is None else ["--only", only])]
        _dry_run(ctx, recipe, command(again, home.runs), home, as_json, only)
        return
    if log_file is not None:
        check_log(log_file)  # before hours are spent
    with _knowing_its_runs(home, launcher) as home:
        # What the steps print is not the answer of this command where the answer is JSON.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            if launcher is None:
                run_steps(ctx, recipe, home, jobs)
            else:
                _run_jobs(ctx, recipe, home, launcher, jobs)
        if only is not None:
            if as_json:
                print_json([])
            whole = command(["reproduce", name], home.runs)
            click.echo(f"{only} is done; when all lanes are, `{whole}` compares", err=True)
            return
        cells = check(recipe, home)
    if log_file is not None:
        append_log(log_file, name, who, cells)
    _print_cells(recipe, cells, as_json)
    if not as_json:
        _say_next(recipe, home)
    if any(cell.verdict == "FAIL" for cell in cells):
        ctx.exit(1)


@contextlib.contextmanager
def _knowing_its_runs(home: Home, launcher: str | None = None) -> Iterator[Home]:
    """The home for the steps of one recipe, which choose among the runs that its own steps have made.

    What jobs write of that, and what they say, lies where the other machines see it, and stays.
    """
    if launcher is not None:
        home.jobs.mkdir(parents=True, exist_ok=True)
        yield replace(home, made=Path(tempfile.mkdtemp(prefix=f"{launcher}-", dir=home.jobs)) / "runs.txt")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield replace(home, made=Path(folder) / "runs.txt")


def _run_jobs(ctx: click.Context, recipe: Recipe, home: Home, launcher: str, at_once: int) -> None:
    """Every step and lane as a job, in the order that the recipe asks for."""
    from ..reproduce import jobs_of
    from ..reproduce.launch import launch

    assert home.made is not None
    folder = home.made.parent.absolute()
    before = [*_plugins(ctx), "--made", str(folder / home.made.name), "--home", str(home.folder.absolute())]
    click.echo(f"what the jobs say: {folder}", err=True)
    launch(jobs_of(recipe), launcher, folder, before, at_once)


def _plugins(ctx: click.Context) -> list[str]:
    """The plugins of this command for another, wherever that is given."""
    named = [
        str(Path(name).absolute()) if Path(name).exists() else name for name in ctx.find_root().obj or ()
    ]
    return [word for plugin in named for word in ("--plugin", plugin)]


def run_steps(ctx: click.Context, recipe: Recipe, home: Home, jobs: int = 1) -> None:
    """Every step of a recipe through the command line itself; finished runs are not run again.

    With several `jobs` consecutive steps in lanes that do not need one another are run lane beside lane.
    What stands otherwise waits for all before it.
    """
    from .main import cli as pinpoint

    plugins = _plugins(ctx)
    made = [] if home.made is None else ["--made", str(home.made)]
    where = _where(home)
    tasks = []
    for number, step in enumerate(recipe.steps, 1):
        words = [*where, *step.words]
        # In one line: a lane is seen to begin a step by the line that says so.
        told = shlex.join(words).replace("\n", "\\n").replace("\r", "\\r")
        title = f"[{number}/{len(recipe.steps)}] pinpoint {told}"
        tasks.append((step, Task(title, [*plugins, *made, *words])))
    for in_lanes, stretch in groupby(tasks, lambda item: item[0].beside if jobs > 1 else ()):
        lanes: dict[str, list[Task]] = {}
        for step, task in stretch:
            if in_lanes:
                lanes.setdefault(str(step.lane), []).append(task)
            else:
                task.run(pinpoint)
        if lanes:
            run_lanes(lanes, jobs, _MODULE)


def _where(home: Home) -> list[str]:
    return ["--home", str(home.folder)] if home.set_by == "--home" else []


def _say_next(recipe: Recipe, home: Home) -> None:
    """What to do with the results: commands that run as they stand."""
    if recipe.next:
        click.echo("\nnext:")
    for step in recipe.next:
        click.echo(f"  pinpoint {shlex.join([*_where(home), *step.words])}")


def _chosen(recipe: Recipe, jobs: int, only: str | None) -> Recipe:
    """The recipe, or one lane of it; lanes that are asked for and not there are refused."""
    if jobs == 1 and only is None:
        return recipe
    if not recipe.lanes:
        raise UsageError(
            f"--{'only' if jobs == 1 else 'jobs'} needs a recipe with lanes",
            found=f"the steps of '{recipe.name}' may need one another",
            fix='run it without, or say in its TOML which do not: lanes = "NAME", a name of [each]',
        )
    if only is None:
        return recipe
    if jobs > 1:
        raise UsageError(
            "--jobs has nothing to run beside one lane", found=f"--only {only}", fix="give one of the two"
        )
    if only not in recipe.lanes:
        raise unknown_name(f"recipe '{recipe.name}' has no lane '{only}'", only, recipe.lanes)
    return replace(recipe, steps=tuple(step for step in recipe.steps if step.lane == only))


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


def _dry_run(
    ctx: click.Context, recipe: Recipe, again: str, home: Home, as_json: bool, only: str | None
) -> None:
    from ..reproduce import jobs_of, look_for

    findings = look_for(recipe, registry_of(ctx))
    missing = [item for item in findings if not item.found]
    if as_json:
        before = [*_plugins(ctx), "--home", str(home.folder.absolute())]
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
                "lanes": list(recipe.lanes),
                "steps": [list(step.words) for step in recipe.steps],
                "jobs": [job.to_dict(before) for job in jobs_of(recipe)],
            }
        )
        return
    click.echo(f"{recipe.title} ({recipe.status})")
    for item in findings:
        size = f", {item.need.gigabytes:g} GB" if item.need.gigabytes else ""
        word = "found  " if item.found else "missing"
        click.echo(f"  {word}  {item.need.kind} {item.need.name}{size}: {item.detail}")
    whole = "" if only is None else " for the whole recipe"
    click.echo(
        f"about {recipe.gigabytes:g} GB to have, roughly {recipe.hours:g} hours to run{whole}; the steps:"
    )
    for step in recipe.steps:
        click.echo(f"  pinpoint {shlex.join(step.words)}")
    if len(recipe.lanes) > 1:
        click.echo(f"lanes for --jobs and --only: {', '.join(recipe.lanes)}")
    click.echo(f"next: {missing[0].detail}" if missing else f"next: {again}")


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


if __name__ == "__main__":
    from .main import cli

    work(cli)
