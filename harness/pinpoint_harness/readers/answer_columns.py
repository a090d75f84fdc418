"""Which columns of a file are the answer.

Recognising them is a matter of the tables below. The truth often stands in the same file, so columns
that may be the truth are never taken for the answer.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from ..errors import UsageError, did_you_mean, name_list, unknown_name
from .place_columns import AXES, holds_places, nested_pairs

ANSWER_COLUMNS = (
    # Names of the latitude, names of the longitude, in lower case; in one file they may not mix.
    # Our own runs; GeoEstimation (TensorFlow).
    (("predicted_latitude", "predicted_lat"), ("predicted_longitude", "predicted_long", "predicted_lon")),
    # GeoEstimation (PyTorch); GLOBE.
    (("pred_latitude", "pred_lat"), ("pred_longitude", "pred_lng", "pred_lon", "pred_long")),
    # G3, GeoRanker.
    (("latitude_pred", "lat_pred"), ("longitude_pred", "lon_pred", "lng_pred", "long_pred")),
)
"""Pairs of columns that can only be an answer."""

OPTIONAL_COLUMNS = {"confidence": ("confidence",), "select": ("p_key", "select")}
"""`select` tells several answers to one photo apart: GeoEstimation (PyTorch) has one per partitioning."""

ROLES = ("id", "latitude", "longitude", "answer", "confidence", "select")
"""What a column can be named for; `answer` holds latitude and longitude in one cell."""

_RESEMBLES_ANSWER = re.compile(
    r"(?!gt_).*(pred|geodesic|distance|(\b|_)(lat|latitude|lon|lng|long|longitude)(\b|_))"
)
"""Matches a lower-case name from its start; `gt_` is how the field marks the truth itself."""
_ANSWER_WORD = re.compile(r"pred|answer|response|output|guess|estimat|result", re.IGNORECASE)
_TRUTH = re.compile(r"(gt|ground_?truth|truth|true|target|label|actual)(\b|_|$)", re.IGNORECASE)


MOST_CHOICES = 5
"""Columns a fix offers: who has more of them knows their names from the list beside it."""


@dataclass(frozen=True)
class Source:
    """Where answers come from, in the words of a message, and how its reader takes an option."""

    name: str
    in_python: bool = False

    def option(self, name: str, value: str | Literal[True]) -> str:
        if self.in_python:
            return f"{name}=True" if value is True else f'{name}="{value}"'
        return f"--set {shlex.quote(f'{name}={str(value).lower() if value is True else value}')}"

    def columns(self, **named: str) -> str:
        """The option that names the columns of roles."""
        if self.in_python:
            return "columns={" + ", ".join(f'"{role}": "{name}"' for role, name in named.items()) + "}"
        if "answer" in named:
            return "--column " + shlex.quote(f"answer={named['answer']}")
        return " ".join(self.option(f"{role}_column", name) for role, name in named.items())


@dataclass(frozen=True)
class Header:
    """The columns of a file, found whatever their case; what fits two columns is refused.

    `sample` holds some cells of each column; `known_names` say of a column that it is no answer.
    """

    source: Source
    names: tuple[str, ...]
    id_names: Sequence[str]
    known_names: Sequence[str] = ()
    sample: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def roles(self, given: Mapping[str, str]) -> dict[str, str]:
        """The column of each role; what the user names comes before what is recognised.

        The answer has the roles `latitude` and `longitude`, or `answer`.
        """
        column_of = {role: self._named(role, name) for role, name in given.items()}
        if ("latitude" in column_of) != ("longitude" in column_of):
            raise UsageError(
                f"{self.source.name}: half of a coordinate is named",
                fix=f"name both: {self.source.columns(latitude='NAME', longitude='NAME')}",
            )
        if "latitude" not in column_of and "answer" not in column_of:
            column_of |= self._answer()
        if "id" not in column_of:
            found = self._like(self.id_names)
            if not found:
                raise self._unclear("has no column of ids", self.source.columns(id="NAME"))
            column_of["id"] = found[0]
        for role, aliases in OPTIONAL_COLUMNS.items():
            if role not in column_of and (found := self._like(aliases)):
                column_of[role] = found[0]
        return column_of

    def unexplained(self, column_of: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Columns of which nothing is known, and those among them whose cells are places.

        None where the answer's columns have names that only answers have.
        """
        if column_of.get("latitude", "").lower() in {name for pair in ANSWER_COLUMNS for name in pair[0]}:
            return [], []
        known = {*column_of.values(), *self._like(self.known_names)}
        others = [name for name in self.names if name not in known]
        return others, [name for name in others if self._holds_places(name)]

    def _answer(self) -> dict[str, str]:
        """The one pair of columns, or the one column, that holds the answer; else UsageError."""
        pairs = [pair for columns in ANSWER_COLUMNS for pair in self._pairs(*columns)]
        nested = [pair for pair in nested_pairs(self.names) if not looks_like_truth(pair[0])]
        pairs += [pair for pair in nested if _ANSWER_WORD.search(pair[0])]
        if not pairs:
            pairs = self._pairs(*AXES) + nested
            others = [name for name in self.names if all(name not in pair for pair in pairs)]
            places = [name for name in others if not looks_like_truth(name) and self._holds_places(name)]
            if (
                not pairs
                and len(cells := [one for one in places if self._holds_places(one, prose=False)]) == 1
            ):
                return {"answer": cells[0]}
            if not pairs and places:
                columns = "several columns" if len(places) > 1 else "a column"
                raise self._unclear(f"has {columns} that may be the answer", self._choices((), places))
            if places or (pairs and any(_RESEMBLES_ANSWER.match(name.lower()) for name in others)):
                problem = f"has columns '{pairs[0][0]}' and '{pairs[0][1]}' that may be the truth"
                raise self._unclear(problem, self._choices(pairs, places))
        if len(pairs) != 1:
            problem = "several pairs of columns that may be answers" if pairs else "no columns of answers"
            raise self._unclear(f"has {problem}", self._choices(pairs, ()))
        return dict(zip(("latitude", "longitude"), pairs[0], strict=True))

    def _pairs(self, latitudes: Sequence[str], longitudes: Sequence[str]) -> list[tuple[str, str]]:
        return list(product(self._like(latitudes), self._like(longitudes)))

    def _like(self, aliases: Sequence[str]) -> list[str]:
        return [name for alias in aliases for name in self.names if name.lower() == alias.lower()]

    def _holds_places(self, name: str, *, prose: bool = True) -> bool:
        return holds_places(self.sample.get(name, ()), prose=prose)

    def _named(self, role: str, name: str) -> str:
        if role not in ROLES:
            raise unknown_name(f"there is no column role '{role}'", role, ROLES)
        found = [name] if name in self.names else self._like([name])
        if len(found) != 1:
            problem = f"has {len(found) or 'no'} column '{name}' for the {role}"
            near = did_you_mean(name, self.names)
            raise self._unclear(problem, f"{self.source.columns(**{role: 'NAME'})} {near}".rstrip())
        return found[0]

    def _choices(self, pairs: Sequence[tuple[str, str]], cells: Sequence[str]) -> str:
        named = [self.source.columns(answer=name) for name in cells]
        named += [self.source.columns(latitude=pair[0], longitude=pair[1]) for pair in pairs]
        anything = [
            self.source.columns(latitude="NAME", longitude="NAME"),
            self.source.columns(answer="NAME"),
        ]
        return " or ".join(named[:MOST_CHOICES] or anything)

    def _unclear(self, problem: str, fix: str) -> UsageError:
        found = f"columns {name_list(self.names)}"
        return UsageError(f"{self.source.name} {problem}", found=found, fix=f"say which one: {fix}")


def looks_like_answer(name: str) -> bool:
    """Whether a column's name says that it holds an answer, as `pred` does."""
    return bool(_ANSWER_WORD.search(name))


def looks_like_truth(name: str) -> bool:
    """Whether a column's name says that it holds the truth, as `gt` does."""
    return bool(_TRUTH.match(name))
