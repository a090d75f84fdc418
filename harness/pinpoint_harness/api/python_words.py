"""Errors in the words of who made them: arguments and calls instead of options and commands."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from ..errors import HarnessError, command_line
from .arguments import check_arguments

P = ParamSpec("P")
T = TypeVar("T")

ARGUMENTS: Mapping[str, tuple[str, str]] = {
    "admin": ("admin", "text"),
    "author": ("author", "text"),
    "backbone": ("backbone", "text"),
    "column": ("columns", "pair"),
    "columns": ("columns", "list"),
    "common": ("common", "flag"),
    "compare": ("compare", "flag"),
    "cosine": ("cosine", "text"),
    "data": ("data", "text"),
    "device": ("device", "text"),
    "dtype": ("dtype", "text"),
    "exclude": ("exclude", "text"),
    "follow-links": ("follow_links", "flag"),
    "fresh": ("fresh", "flag"),
    "gallery-data": ("gallery_data", "text"),
    "gallery-images": ("gallery_images", "list"),
    "hide": ("hide", "list"),
    "home": ("home", "text"),
    "ids": ("ids", "list"),
    "images": ("images", "list"),
    "limit": ("limit", "text"),
    "log": ("log", "list"),
    "mean-over": ("mean_over", "text"),
    "method": ("method", "text"),
    "methods": ("methods", "list"),
    "mix-protocols": ("mix_protocols", "flag"),
    "name": ("label", "text"),
    "overwrite": ("overwrite", "flag"),
    "pixels": ("pixels", "flag"),
    "protocol": ("protocol", "text"),
    "published": ("published", "flag"),
    "radii": ("radii_km", "text"),
    "rename": ("rename", "pair"),
    "run": ("runs", "list"),
    "runs": ("runs", "list"),
    "seed": ("seed", "text"),
    "set": ("parameters", "pair"),
    "sort": ("sort", "text"),
    "stage": ("stage", "text"),
    "tile": ("tile", "text"),
    "training": ("training", "list"),
    "weights": ("weights", "text"),
}
"""Options of the command line: the argument that stands for each, and how its value is written."""

CALLS = {
    "audit": ("audit", 2),
    "embed": ("embed", 1),
    "locate": ("locate", 1),
    "run": ("evaluate", 2),
    "table": ("table", 1),
    "train": ("train", 1),
}
"""Commands, the functions that stand for them, and how many words without an option each takes."""

_WORD = r"'[^']*'|\"[^\"]*\"|[^\s;`()'\"]*[^\s,;:`().'\"]"
_COMMAND = rf"pinpoint (?P<command>[a-z]+)(?= [\w'\"])(?P<words>(?: +(?:{_WORD}))+)"
_OPTION = (
    rf"--(?P<option>{'|'.join(sorted(ARGUMENTS, key=len, reverse=True))})(?![\w-])"
    # A value is told from the next word of a sentence by what no word has.
    r"(?:[ =](?P<value>(?=\S*[A-Z0-9=/'\"._-])(?!--)[^\s;`()]*(?:\.\.\.|[^\s,;:`().])))?"
)
_EITHER = re.compile(f"{_COMMAND}|{_OPTION}")


def speaks_python(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose arguments are checked, and whose errors, outside of the command line, speak Python."""

    @functools.wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            check_arguments(function, arguments, named)
            return function(*arguments, **named)
        except HarnessError as error:
            if not command_line.get():
                error.reword(in_python)
            raise

    return called


def in_python(text: str) -> str:
    """A message with each command and option that has an equal in Python put into it."""
    return _EITHER.sub(lambda match: (_call_of if match["command"] else _argument_of)(match), text)


def _call_of(match: re.Match[str]) -> str:
    """`pinpoint train NAME --set a=1` as `train("NAME", parameters={"a": 1})`; what follows is kept."""
    function, positions = CALLS.get(match["command"], ("", 0))
    words = shlex.split(match["words"])
    given, rest = words[:positions], words[positions:]
    if not function or len(given) < positions or any(word.startswith("--") for word in given):
        return match[0]
    named: dict[str, list[str]] = {}
    while rest and rest[0].startswith("--") and rest[0].removeprefix("--") in ARGUMENTS:
        option = rest.pop(0).removeprefix("--")
        values = named.setdefault(option, [])
        if ARGUMENTS[option][1] != "flag":
            if not rest:
                return match[0]
            values.append(rest.pop(0))
    arguments = [*map(_literal, given), *(_named(option, values) for option, values in named.items())]
    return f"{function}({', '.join(arguments)})" + "".join(f" {word}" for word in rest)


def _argument_of(match: re.Match[str]) -> str:
    option, value = match["option"], match["value"]
    if ARGUMENTS[option][1] == "flag":
        return _named(option, []) + (f" {value}" if value else "")
    return ARGUMENTS[option][0] if value is None else _named(option, [value])


def _named(option: str, values: list[str]) -> str:
    """An argument with its values: `parameters={"a": 1}`, `images=["PATH"]`, `fresh=True`."""
    argument, kind = ARGUMENTS[option]
    if kind == "flag":
        return f"{argument}=True"
    if kind == "list":
        return f"{argument}=[{', '.join(map(_literal, values))}]"
    if kind == "pair":
        pairs = (value.partition("=") for value in values)
        items = [f'"{name}": {_literal(value)}' for name, _, value in pairs]
        return argument + "={" + ", ".join(items) + "}"
    return f"{argument}={_literal(values[-1])}"


def _literal(word: str) -> str:
    word = word.strip("'\"")
    if word == "...":
        return word
    try:
        float(word)
    except ValueError:
        return f'"{word}"'
    return word
