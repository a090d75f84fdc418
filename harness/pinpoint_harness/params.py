"""Method parameters: a frozen dataclass on one side, `--set name=value` on the other.

A method declares

    @dataclass(frozen=True)
    class Params:
        neighbours: int = param(10, "gallery photos that vote", minimum=1)

and gets an instance whose values are of the right type and within range. A parameter's default is the value
in the preset the method is registered with, else the one that another parameter's choice gives it
(`sets`), else the declared one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from .errors import PluginError, UsageError, did_you_mean
from .home import command

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_NONE: Mapping[str, Any] = types.MappingProxyType({})


def param(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
    in_title: bool = True,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
    names_run: bool = False,
) -> Any:
    """Declare one field of a parameter dataclass; without a default the user must set it.

    A value other than the default stands in the title of a row, unless `in_title` says that it
    tells a reader nothing. `sets` holds the choices of a `str` parameter that give other parameters
    other defaults, as `{choice: {name: default}}`. A path with `names_run` may be given as a run is named
    everywhere, `METHOD@DATASET`: it becomes the run's folder.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(sets) if sets and choices is None else choices,
        "in_title": in_title,
        "sets": sets or {},
        "names_run": names_run,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class ParamSpec:
    """One parameter as a user sees it."""

    name: str
    type: type
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[Any, ...] | None
    optional: bool
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING

    @property
    def allowed(self) -> str:
        """The values that fit, in words: `int, 1 or more`."""
        name = "file" if self.type is Path else self.type.__name__
        if self.choices:
            return " | ".join(str(choice) for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{name}, {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{name}, {self.minimum:g} or more"
        if self.maximum is not None:
            return f"{name}, {self.maximum:g} or less"
        return name

    def has_type(self, value: Any) -> bool:
        """Whether a value is of the declared type; a whole number may stand for a float."""
        if value is None:
            return self.optional
        if self.type is not bool and isinstance(value, bool):
            return False
        return isinstance(value, (int, float) if self.type is float else self.type)

    def describe(self) -> str:
        if self.required:
            return f"{self.name} ({self.allowed}; required)"
        shown = "''" if self.default == "" else self.default
        default = "optional" if shown is None else f"default {shown}"
        return f"{self.name} ({self.allowed}; {default})"


def specs(
    cls: type[Any], preset: Mapping[str, Any] = _NONE, settings: Mapping[str, Any] = _NONE
) -> list[ParamSpec]:
    """The parameters of a dataclass in declaration order, with their defaults under a preset and settings."""
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__qualname__} must be a dataclass")
    hints = typing.get_type_hints(cls)
    declared = [_spec(item, hints[item.name]) for item in dataclasses.fields(cls)]
    defaults: dict[str, Any] = {}
    for spec in declared:
        _refuse_unknown_names(spec, hints)
        choice = settings.get(spec.name, preset.get(spec.name, spec.default))
        defaults |= spec.sets.get(str(choice), {})
    defaults |= preset
    return [replace(spec, default=defaults.get(spec.name, spec.default)) for spec in declared]


def _refuse_unknown_names(spec: ParamSpec, known: Mapping[str, Any]) -> None:
    for choice, defaults in spec.sets.items():
        if unknown := sorted(set(defaults) - set(known)):
            raise TypeError(f"{spec.name}={choice} sets '{unknown[0]}', which is no parameter")


def checked_preset(cls: type[Any], preset: Mapping[str, Any], method: str, plugin: str) -> dict[str, Any]:
    """A preset's values as the parameters of `cls` hold them.

    Raises PluginError for a name that is no parameter, and for a value of another type than declared
    or out of range: text is not converted, a whole number may stand for a float.
    """
    known = {spec.name: spec for spec in specs(cls)}
    checked = {}
    for name, value in preset.items():
        problem = f"plugin {plugin} presets {name}={value!r} for method '{method}'"
        if name not in known:
            listing = ", ".join(known) or "none"
            raise PluginError(problem, found=f"the method has no parameter '{name}'", fix=f"it has {listing}")
        if not known[name].has_type(value):
            raise PluginError(problem, found=type(value).__name__, fix=f"give {known[name].allowed}")
        try:
            checked[name] = _convert(known[name], value, f"method '{method}'")
        except UsageError as error:
            raise PluginError(problem, found="out of range", fix=error.fix) from error
    return checked


def build(cls: type[Any], settings: Mapping[str, Any], owner: str, preset: Mapping[str, Any] = _NONE) -> Any:
    """An instance of `cls` from named values, over its defaults under a preset.

    Strings are converted to the declared type. Raises UsageError that lists every parameter when a
    name is unknown, a required one is missing, or a value has the wrong type or lies out of range.
    """
    known = {spec.name: spec for spec in specs(cls, preset, settings)}
    values = convert(known, settings, owner)
    for spec in known.values():
        if spec.required and spec.name not in values:
            raise UsageError(
                f"{owner} needs a value for '{spec.name}'",
                fix=f"--set {spec.name}=...  ({spec.allowed}) {spec.help}",
            )
        values.setdefault(spec.name, spec.default)
    return cls(**values)


def convert(known: Mapping[str, ParamSpec], settings: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The values of some parameters, of their declared types; UsageError for one that does not fit."""
    values = {}
    for name, given in settings.items():
        if name not in known:
            raise UsageError(
                f"{owner} has no parameter '{name}'",
                found="\n".join(spec.describe() for spec in known.values()) or "it has none",
                fix=did_you_mean(name, known) or None,
            )
        values[name] = _convert(known[name], given, owner)
    return values


def changed(params: Any, preset: Mapping[str, Any] = _NONE) -> dict[str, Any]:
    """The parameters that differ from their defaults under a preset and each other's choices."""
    values = {item.name: getattr(params, item.name) for item in dataclasses.fields(params)}
    known = specs(type(params), preset, values)
    return {spec.name: values[spec.name] for spec in known if values[spec.name] != spec.default}


def parse_settings(pairs: Iterable[str]) -> dict[str, str]:
    """`["a=1", "b=x=y"]` as a dictionary; a name given twice is an error."""
    settings: dict[str, str] = {}
    for name, value in map(_parted, pairs):
        if name in settings:
            raise UsageError(f"--set names '{name}' twice")
        settings[name] = value
    return settings


def parse_grid(pairs: Iterable[str], cls: type[Any]) -> list[dict[str, str]]:
    """Every combination of the values given to the parameters of `cls`, the first name changing last.

    A name given several times has as many values. So has one with commas where no value can hold one: a
    number, a truth value, a choice. In a text or the name of a file a comma stands for itself.
    """
    listed = {spec.name for spec in specs(cls) if _has_no_comma(spec)}
    values: dict[str, list[str]] = {}
    for name, text in map(_parted, pairs):
        known = values.setdefault(name, [])
        for value in text.split(",") if name in listed else [text]:
            if value in known:
                raise UsageError(f"--set gives {name}={value} twice", fix="leave one out")
            known.append(value)
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def _has_no_comma(spec: ParamSpec) -> bool:
    """Whether no value of a parameter can hold a comma."""
    if spec.choices:
        return not any("," in str(choice) for choice in spec.choices)
    return spec.type in (int, float, bool)


def _parted(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {pair!r} is not of the form name=value")
    return name.strip(), value


def _spec(item: dataclasses.Field[Any], hint: Any) -> ParamSpec:
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        optional = len(inner) < len(typing.get_args(hint))
        if len(inner) != 1:
            raise TypeError(f"parameter '{item.name}' must have one type, optionally None")
        hint = inner[0]
    if hint not in (int, float, bool, str, Path):
        raise TypeError(f"parameter '{item.name}' must be int, float, bool, str or Path, not {hint}")
    meta = item.metadata
    return ParamSpec(
        name=item.name,
        type=hint,
        default=item.default,
        help=meta.get("help", ""),
        minimum=meta.get("minimum"),
        maximum=meta.get("maximum"),
        choices=meta.get("choices"),
        optional=optional,
        sets=meta.get("sets", {}),
    )


def _convert(spec: ParamSpec, given: Any, owner: str) -> Any:
    if given is None or _unsets(spec, given):
        if spec.optional:
            return None
        raise _misfit(spec, given, owner)
    try:
        value = _cast(spec.type, given)
    except (TypeError, ValueError) as error:
        raise _misfit(spec, given, owner) from error
    if spec.choices is not None and value not in spec.choices:
        raise _misfit(spec, given, owner)
    # Written so that NaN, which compares false with everything, is refused as well.
    below = spec.minimum is not None and not value >= spec.minimum
    above = spec.maximum is not None and not value <= spec.maximum
    if below or above:
        raise _misfit(spec, given, owner)
    return value


def _unsets(spec: ParamSpec, given: Any) -> bool:
    """Whether the word `none` takes a parameter's value away, rather than being one of its choices."""
    return (
        spec.optional
        and isinstance(given, str)
        and given.lower() == "none"
        and "none" not in (spec.choices or ())
    )


def _cast(kind: type, given: Any) -> Any:
    if kind is bool:
        if isinstance(given, bool):
            return given
        word = str(given).lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise ValueError(given)
    if kind is int and isinstance(given, float):
        raise TypeError("a float is not silently cut to an int")
    value = kind(given)
    if kind is float and not math.isfinite(value):
        raise ValueError("no key can hold it")
    return value


def _misfit(spec: ParamSpec, given: Any, owner: str) -> UsageError:
    shown = "" if spec.required else f"; default {spec.default}"
    return UsageError(
        f"{owner}: {spec.name}={given} does not fit", fix=f"{spec.name} takes {spec.allowed}{shown}"
    )


def train_command(
    method: str, params: Any, preset: Mapping[str, Any] = _NONE, place: Path | None = None
) -> str:
    """The command that trains a method, registered with a preset, with these parameters.

    `place` lies in the home it is for, as for `home.command`.
    """
    values = changed(params, preset).items()
    settings = [word for name, value in values for word in ("--set", f"{name}={value}")]
    return command(["train", method, *settings], place)
