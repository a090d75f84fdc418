"""Every word of the public API's signatures stands in the glossary, as a word of its own."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pinpoint_harness

GLOSSARY = Path(__file__).parents[1] / "docs" / "glossary.md"

PLUGGYS_OWN = {"hookimpl"}
"""Documented by pluggy."""


def vocabulary() -> set[str]:
    """Names of parameters and fields of everything that `pinpoint_harness` exports."""
    names: set[str] = set()
    for exported in set(pinpoint_harness.__all__) - PLUGGYS_OWN:
        thing = getattr(pinpoint_harness, exported)
        if dataclasses.is_dataclass(thing):
            names |= {item.name for item in dataclasses.fields(thing)}
        functions = [thing] if inspect.isfunction(thing) else []
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            functions += [
                function
                for name, function in inspect.getmembers(thing, inspect.isfunction)
                if not name.startswith("_")
            ]
        names |= {name for function in functions for name in inspect.signature(function).parameters}
    return names - {"self"}


def test_every_word_of_the_public_signatures_is_explained() -> None:
    words = set(re.findall(r"[a-z][a-z_]*", GLOSSARY.read_text().lower()))
    explained = words | {f"{word}s" for word in words}
    missing = sorted(name for name in vocabulary() if name not in explained)
    assert not missing, f"not in docs/glossary.md: {', '.join(missing)}"


def test_no_term_is_explained_twice() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", GLOSSARY.read_text(), re.MULTILINE)
    assert len(terms) > 40
    assert len(terms) == len(set(terms))
