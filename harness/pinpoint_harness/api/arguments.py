"""Arguments of the package's functions, held to their annotations: another type is refused by name.

On the command line click does this. Arguments of no plain type are left to the function.
"""

from __future__ import annotations

import inspect
import numbers
import os
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import numpy as np

from ..errors import UsageError

_PLAIN: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a text"),
    "Units": (str, "a text"),
    "Order": (str, "a text"),
    "PlotKind": (str, "a text"),
    "Path": (os.PathLike, "a path"),
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
    "bool": ((bool, np.bool_), "True or False"),
    "None": (type(None), "None"),
}
_MANY = ("Sequence", "Collection")
_LEAST: Mapping[str, int] = {"seed": 0}
_NEVER_EMPTY = {"radii_km"}
_GENERIC = re.compile(r"(\w+)\[(.*)\]")


def check_arguments(function: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """UsageError that names the first argument whose value its annotation does not allow."""
    signature = _signature(function)
    try:
        values = signature.bind(*given, **named).arguments
    except TypeError:
        return  # Python says it where the function is called
    for name, value in values.items():
        annotation = signature.parameters[name].annotation
        if not _is_known(annotation):
            continue
        if not _fits(value, annotation):
            wanted = dict.fromkeys(_words(kind) for kind in _kinds(annotation) if kind != "None")
            problem = f"{name} of {function.__name__}() must be {' or '.join(wanted)}"
            in_a_list = isinstance(value, str) and _fits([value], annotation)
            fix = f"{name}=[{value!r}]" if in_a_list else f"help({function.__name__}) tells what it takes"
            raise UsageError(problem, found=_shown(value), fix=fix)
        if name in _LEAST and value is not None and value < _LEAST[name]:
            raise UsageError(f"{name} must be {_LEAST[name]} or more", found=_shown(value))
        if name in _NEVER_EMPTY and value is not None and not len(value):
            raise UsageError(f"{name} is empty", fix=f"name one or more, or leave {name} out")


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@cache  # it is asked for each of millions of ids
def _kinds(annotation: str) -> list[str]:
    """The alternatives of `A | B[C | D]`: `A` and `B[C | D]`."""
    return re.split(r" \| (?![^\[]*\])", annotation)


def _is_known(annotation: object) -> bool:
    if not isinstance(annotation, str):  # `self` has none
        return False
    kinds = [kind for kind in _kinds(annotation) if kind != "None"]
    return any(kind in _PLAIN or _GENERIC.fullmatch(kind) for kind in kinds)


def _fits(value: Any, annotation: str) -> bool:
    return any(_is(value, kind) for kind in _kinds(annotation))


def _is(value: Any, kind: str) -> bool:
    if kind in _PLAIN:
        return isinstance(value, _PLAIN[kind][0])
    generic = _GENERIC.fullmatch(kind)
    if generic is None:  # a class, known by its name alone: importing it would cost every start
        return kind == "Any" or any(base.__name__ == kind for base in type(value).__mro__)
    outer, inner = generic.groups()
    if outer == "Mapping":
        key, _, item = inner.partition(", ")
        return isinstance(value, Mapping) and all(
            _fits(name, key) and _fits(one, item) for name, one in value.items()
        )
    many = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
    return outer in _MANY and many and all(_fits(one, inner) for one in value)


def _words(kind: str) -> str:
    generic = _GENERIC.fullmatch(kind)
    if generic is None:
        return _PLAIN[kind][1] if kind in _PLAIN else f"a {kind}"
    outer, inner = generic.groups()
    if outer == "Mapping":
        return "a dict of texts" if inner == "str, str" else "a dict by name"
    plural = {"str": "texts", "float": "numbers", "str | Path": "paths"}
    return f"a list of {plural.get(inner, inner)}"


def _shown(value: Any) -> str:
    words = repr(value)
    return f"{type(value).__name__}: {words if len(words) <= 60 else words[:57] + '...'}"
