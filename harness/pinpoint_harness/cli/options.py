"""Options and output that several commands share."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import visible
from ..errors import UsageError, unknown_name
from ..home import asked_home, find_home
from ..reading import reading, refuse_odd_file
from ..types import FARTHEST_KM, DataLocation
from .everywhere import json_before

if TYPE_CHECKING:
    from ..home import Home
    from ..plugins import Registry
    from ..running import Run

Command = Callable[..., Any]

_LEAST_COLUMN = 12
"""Signs of a column that may be folded no further."""

ROLES = ("id", "latitude", "longitude", "author", "source", "image")

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=lambda ctx, parameter, value: json_before(value),
    help="Print JSON.",
)
settings_option = click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be given again."
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, or auto: a GPU where there is one."
)
weights_option = click.option(
    "--weights",
    metavar="FOLDER|ID",
    help="Weights in place of those the backbone names: a local folder or a Hugging Face id.",
)
source_option = click.option(
    "--source",
    default="photos",
    show_default=True,
    help="Image source of the photos, by which a method may choose its gallery: photos, streetview, ...",
)
candidates_option = click.option(
    "--candidates", type=click.IntRange(min=0), default=5, show_default=True, help="Most candidates to show."
)
gallery_data_option = click.option(
    "--gallery-data",
    type=click.Path(path_type=Path),
    help="Where the gallery's truth lies, if it is a dataset.",
)
follow_links_option = click.option(
    "--follow-links",
    is_flag=True,
    help="Also open pictures that symbolic links outside of their folder lead to.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace files of these names that hold something else."
)
protocol_option = click.option(
    "--protocol", metavar="NAME", help="How to measure [default: the dataset's own]."
)


def home_options(**old: str) -> Callable[[Command], Command]:
    """The `--home` that stands before or after every command, as one `home`.

    `old` are the hidden options of before that still move one folder each: `runs="--out"`.
    """
    folder = click.Path(path_type=Path, file_okay=False)
    options = [click.option(flag, f"old_{name}", type=folder, hidden=True) for name, flag in old.items()]

    def gather(
        old_runs: Path | None = None,
        old_stores: Path | None = None,
        old_models: Path | None = None,
    ) -> dict[str, Any]:
        above = click.get_current_context().find_root().params
        found = find_home(above.get("home"), runs=old_runs, stores=old_stores, models=old_models)
        home = replace(found, made=above.get("made"))
        asked_home.set(home)
        return {"home": home}

    return gathered(options, gather)


def note_made(home: Home, run: Run) -> None:
    """Keep the name of a run that a step of a recipe has made, for the steps after it."""
    from ..artifacts import append_line

    if home.made is not None:
        append_line(home.made, str(run.folder.absolute()))


def location_words(location: DataLocation) -> list[str]:
    """The options that give a location again."""
    words = [] if location.path is None else ["--data", str(location.path)]
    words += [word for role, name in location.columns.items() for word in ("--column", f"{role}={name}")]
    words += [word for place in location.images for word in ("--images", str(place))]
    return words + ["--follow-links"] * location.follow_links


def location_options(images: bool = False, answers: bool = False) -> Callable[[Command], Command]:
    """`--data`, `--column` and, for pictures, `--images` and `--follow-links`, as one `location`.

    With `answers`, `--column answer=NAME` names a column of the file of answers.
    """
    roles = (*ROLES, "answer") if answers else ROLES
    options = [
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="Truth file or its folder [default: $PINPOINT_DATA/DATASET, then $PINPOINT_DATA].",
        ),
        click.option(
            "--column",
            "columns",
            multiple=True,
            metavar="ROLE=NAME",
            help=f"Use this column of the truth file as {', '.join(ROLES[:-1])} or {ROLES[-1]}"
            + ("; of the file of answers as answer." if answers else "."),
        ),
        click.option(
            "--images",
            multiple=True,
            type=click.Path(path_type=Path, exists=True),
            help="Folder or archive of the pictures, if not in the usual places; may be given again.",
        ),
        follow_links_option,
    ]

    def gather(
        data: Path | None, columns: Sequence[str], images: Sequence[Path] = (), follow_links: bool = False
    ) -> dict[str, Any]:
        for place in (*images, *filter(None, (data,))):
            refuse_odd_file(place)
        return {"location": DataLocation(data, parse_columns(columns, roles), tuple(images), follow_links)}

    return gathered(options if images else options[:-2], gather)


def subset_options() -> Callable[[Command], Command]:
    """`--limit` and `--ids` as one `subset`."""
    options = [
        click.option(
            "--limit", type=click.IntRange(min=1), help="Only the first photos; the row is marked partial."
        ),
        click.option(
            "--ids",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Only the photos of this list, an id a line; the row is marked partial.",
        ),
    ]

    def gather(limit: int | None, ids: Path | None) -> dict[str, Any]:
        from ..artifacts import Subset

        return {"subset": Subset(limit, None if ids is None else read_id_list(ids))}

    return gathered(options, gather)


def radii_option(function: Command) -> Command:
    """`--radii` as `radii_km`, None without it, which means those of the dataset."""

    def gather(radii: str | None) -> dict[str, Any]:
        return {"radii_km": None if radii is None else parse_radii(radii)}

    option = click.option(
        "--radii", metavar="KM,KM,...", help="Other radii than the dataset's, mostly 1,25,200,750,2500 km."
    )
    return gathered([option], gather)(function)


def gathered(
    options: Sequence[Callable[[Command], Command]], gather: Callable[..., dict[str, Any]]
) -> Callable[[Command], Command]:
    """Options that a command takes as the one argument `gather` makes of them."""
    names = gather.__code__.co_varnames[: gather.__code__.co_argcount]

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(*arguments: Any, **values: Any) -> Any:
            mine = {name: values.pop(name) for name in names if name in values}
            return function(*arguments, **gather(**mine), **values)

        decorated: Command = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def in_turn(grid: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each combination of a grid with its title, "" for one alone; they are announced in the log."""
    from ..progress import log

    varied = [name for name in grid[0] if len({settings[name] for settings in grid}) > 1]
    for number, settings in enumerate(grid, 1):
        title = ", ".join(f"{name}={settings[name]}" for name in varied)
        if title:
            log.info("%d of %d: %s", number, len(grid), title)
        yield title, settings


def read_id_list(path: Path) -> list[str]:
    """One id a line; empty lines are passed over, and byte order marks where lists were joined."""
    from ..readers import encoding_of

    with reading(path, what="the id list"):
        raw = path.read_bytes()
        lines = raw.decode(encoding_of(raw)).replace("\ufeff", "\n").splitlines()
    return [line.strip() for line in lines if line.strip()]


def parse_columns(pairs: Iterable[str], roles: Sequence[str] = ROLES) -> dict[str, str]:
    """`ROLE=NAME` pairs as a dictionary."""
    columns: dict[str, str] = {}
    for pair in pairs:
        role, equals, name = pair.partition("=")
        if not equals or not name:
            raise UsageError(
                f"--column {pair!r} is not of the form ROLE=NAME", fix=f"roles: {', '.join(roles)}"
            )
        if role not in roles:
            raise unknown_name(f"--column {pair}: there is no role '{role}'", role, roles)
        columns[role] = name
    return columns


def parse_radii(text: str) -> tuple[float, ...]:
    """`"1,25,200"` or `"1km,25km"` as ascending radii in km."""
    fix = "give ascending radii in km, such as 1,25,200"
    radii = []
    for part in text.split(","):
        try:
            radii.append(float(part.strip().removesuffix("km")))
        except ValueError as error:
            raise UsageError(f"--radii {text!r} does not fit: '{part}' is no number", fix=fix) from error
    if odd := [radius for radius in radii if not 0 < radius < FARTHEST_KM]:
        found = f"{odd[0]:g}, where a radius is above 0 and below {FARTHEST_KM:,.0f} km"
        raise UsageError(f"--radii {text!r} does not fit", found=found, fix=fix)
    if radii != sorted(set(radii)):
        raise UsageError(f"--radii {text!r} does not fit: the radii do not ascend", fix=fix)
    return tuple(radii)


def registry_of(ctx: click.Context) -> Registry:
    """All plugins, with those named by `--plugin`."""
    from ..plugins import load_registry

    return load_registry(ctx.find_root().obj or ())


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_listing(rows: Sequence[Mapping[str, Any]], as_json: bool, empty: str) -> None:
    """Rows of one shape as an aligned table, or as JSON."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        click.echo(empty)
    else:
        click.echo(aligned([list(row.values()) for row in rows], list(rows[0]), "plain"))


def aligned(
    rows: Iterable[Sequence[object]], headers: Sequence[str] = (), style: str = "simple", **options: Any
) -> str:
    """A table of text, each row a line whatever its cells hold; on a terminal folded to its width."""
    from tabulate import tabulate

    cells = [[visible(str(cell)) for cell in row] for row in rows]
    titles = [visible(name) for name in headers]
    widths = [max(map(len, column)) for column in zip_longest(titles, *cells, fillvalue="")]
    if sys.stdout.isatty():
        options["maxcolwidths"] = folded_widths(widths, terminal_width())
    return tabulate(cells, titles, style, disable_numparse=True, **options)


def folded_widths(widths: Sequence[int], room: int) -> list[int]:
    """Widths of columns, two apart, that fit into `room`: the widest lowered first, none illegibly."""
    fitted = list(widths)
    while sum(fitted) + 2 * (len(fitted) - 1) > room and max(fitted) > _LEAST_COLUMN:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def terminal_width() -> int:
    """Columns of the terminal (or of $COLUMNS); 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Names and values, one a line; empty ones are left out of the text."""
    if as_json:
        print_json(facts)
        return
    shown = {name: value for name, value in facts.items() if value not in ("", None, [], (), {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        items = value if isinstance(value, list | tuple) else [value]
        lines = [visible(str(item)) for item in items]
        for index, line in enumerate(lines):
            click.echo(f"{name if index == 0 else '':<{width}}  {line}")


def listed_name(registry: Registry, dataset: str, name: str | None) -> str | None:
    """`--as`, checked: a new name, and only for a dataset whose files are the user's own."""
    from ..plugins import NAME_PATTERN

    if name is None:
        return None
    if registry.dataset(dataset).info.expected_rows is not None:
        raise UsageError(
            f"--as {name}: '{dataset}' has its name", fix="leave it out; it is for files of your own"
        )
    if name in registry.datasets or not NAME_PATTERN.fullmatch(name):
        found = "a dataset of that name is registered" if name in registry.datasets else None
        fix = "choose another, of lower-case letters, digits, '.', '_' and '-'"
        raise UsageError(f"--as {name} cannot be the name of a table", found=found, fix=fix)
    return name


listed_option = click.option(
    "--as", "listed_as", metavar="NAME", help="List the dataset under this name, for a table of your own."
)
name_option = click.option("--name", help="Name of the row [default: the method's, or the file's].")
fresh_option = click.option(
    "--fresh",
    is_flag=True,
    help="Make the run again beside what is stored, and replace that when done.",
)
backbone_option = click.option(
    "--backbone", required=True, metavar="NAME|ID|FOLDER", help="Registered name, Hugging Face id or folder."
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Precision of the network [default: bfloat16 on a GPU, float32 elsewhere].",
)
fresh_store_option = click.option(
    "--fresh",
    is_flag=True,
    help="Make the store again beside what is there, and replace that when done.",
)
