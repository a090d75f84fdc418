"""`pinpoint clean`, and how `runs rm` and `stores rm` remove things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ArtifactError
from .options import Command, aligned, home_options

if TYPE_CHECKING:
    from ..artifacts.removal import Removable
    from ..home import Home

FOLDERS = ("runs", "stores", "models", "audits", "reports")


def removal_options(function: Command) -> Command:
    """`--yes` and `--dry-run`."""
    dry_run = click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
    return dry_run(click.option("--yes", is_flag=True, help="Do not ask.")(function))


@click.command()
@click.argument("what", nargs=-1, type=click.Choice([*FOLDERS, "caches"]))
@removal_options
@home_options()
def clean(what: Sequence[str], home: Home, yes: bool, dry_run: bool) -> None:
    """Remove what pinpoint has made below --home: WHAT of it, or all but the caches.

    The caches are the worlds of mini-Earth and the checksums of weights. What and how much is shown first,
    and you are asked. Only what is recognised as pinpoint's own is removed, finished or not: any other file
    below these folders stays. Weights that the Hugging Face client has cached belong to other programs, too,
    and stay.

    \b
    Examples:
      pinpoint clean --dry-run
      pinpoint clean runs audits --yes
    """
    wanted = [name for name in FOLDERS if name in what or not what]
    caches = "caches" in what
    found = [(item, getattr(home, name)) for name in wanted for item in _below(home, name)]
    if caches:
        found += _caches()
    remove_shown(found, yes=yes, dry_run=dry_run, empty=f"nothing of ours under '{home.folder}'")


def _below(home: Home, name: str) -> Iterable[Removable]:
    from ..artifacts.removal import Removable, find_artifacts, size_of

    folder = getattr(home, name)
    if name not in ("audits", "reports"):
        return find_artifacts(folder)
    from ..audit.result import iter_audits
    from ..reports.pages import iter_reports, iter_site

    if name == "audits":
        files = [("audit", path) for path in iter_audits(folder)]
    else:
        files = [("report", path) for path in iter_reports(folder)]
        files += [("site", path) for path in iter_site(folder / "site")]
    return (Removable(path, kind, "finished", size_of(path)[0]) for kind, path in files)


def _caches() -> list[tuple[Removable, Path]]:
    from ..artifacts.removal import Removable, find_artifacts, size_of
    from ..home import cache_root, checksums_file, worlds_root

    found = [(item, worlds_root()) for item in find_artifacts(worlds_root(), depth=1)]
    if (file := checksums_file()).is_file():
        found.append((Removable(file, "checksums", "finished", size_of(file)[0]), cache_root()))
    return found


def remove_named(
    names: Sequence[str], root: Path, find: Callable[[str], Path], *, kind: str, yes: bool, dry_run: bool
) -> None:
    """Remove the artifacts of one kind that are named, finished or not.

    A name is a folder, the beginning of a key, or what else `find` knows for finished ones.
    """
    from ..artifacts.removal import find_artifacts, recognise

    known = [item for item in find_artifacts(root) if item.kind in (kind, "unknown")]
    chosen: dict[Path, Removable] = {}
    for name in names:
        begun = [item for item in known if name and item.path.name.startswith(name)]
        folder = Path(name) if Path(name).is_dir() else begun[0].path if len(begun) == 1 else find(name)
        item = recognise(folder)
        if item is None or item.kind not in (kind, "unknown"):
            found = "no artifact of ours" if item is None else f"a '{item.kind}'"
            raise ArtifactError(f"'{folder}' is not removed", found=found, fix="remove it yourself")
        if item.state == "in use":
            raise ArtifactError(
                f"'{folder}' is in use by a running process", fix="wait until it has ended, or stop it"
            )
        chosen[folder.resolve()] = item
    remove_shown([(item, root) for item in chosen.values()], yes=yes, dry_run=dry_run, empty="")


def remove_shown(found: Sequence[tuple[Removable, Path]], *, yes: bool, dry_run: bool, empty: str) -> None:
    """Show what there is, ask, and remove all that is not in use; exit code 1 if something was."""
    from ..artifacts.removal import readable, remove

    if not found:
        click.echo(empty)
        return
    rows = [[item.kind, item.state, readable(item.bytes), item.path] for item, _ in found]
    click.echo(aligned(rows, style="plain"))
    free = [(item, root) for item, root in found if item.state != "in use"]
    total = f"{len(free):,} of {len(found):,}, {readable(sum(item.bytes for item, _ in free))}"
    if dry_run:
        click.echo(f"would remove {total}")
        return
    if free and not yes:
        click.confirm(f"remove {total}?", abort=True)
    for item, root in free:
        remove(item, root)
    click.echo(f"removed {total}")
    if len(free) < len(found):
        click.echo("what is in use by a running process stays", err=True)
        click.get_current_context().exit(1)
