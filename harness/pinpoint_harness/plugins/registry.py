"""Finding plugins and what they register.

Every implementation of the hook is called by itself, so the origin of a name is known and one
raising plugin stops no other. A third-party plugin that fails in any way is skipped whole with
one warning; a built-in or one the user named explicitly is an error.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, cast

import pluggy

from ..errors import HarnessError, PluginError, unknown_name
from ..reading import reading
from ..types import BackboneInfo, DataLocation, Dataset, DatasetInfo, MethodInfo
from . import hookspecs
from .boundary import BUILT_IN, plugin_code, what_was_raised
from .guarded import GuardedDataset

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "pinpoint"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Origin:
    """Where a registration comes from.

    `trust` says what a failure means: a `third-party` plugin is skipped with a warning, a
    `built-in` or `explicit` one stops the command. `file_sha256` is set for `--plugin FILE`: there
    is no version to record, so the file's content stands in the key of every run.
    """

    name: str
    trust: Literal["built-in", "explicit", "third-party"]
    file_sha256: str | None = None


Info = TypeVar("Info", MethodInfo, DatasetInfo, BackboneInfo)

RESERVED_INPUTS = ("none", "image", "id")
"""What a method's `input` may say beside a backbone's name."""


@dataclass(frozen=True)
class Entry(Generic[Info]):
    """One registered method, dataset or backbone.

    `preset` holds values of a method's parameters that differ from its class's defaults; their names
    and types are checked when the method is used.
    """

    kind: Literal["method", "dataset", "backbone"]
    name: str
    target: str
    info: Info
    origin: Origin
    preset: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def named(self) -> str:
        """What it is, its name and whose it is, as errors name it."""
        return f"{self.kind} '{self.name}' of {self.origin.name}"

    def load(self) -> Any:
        """The class or factory behind the target string."""
        module_name, _, attribute = self.target.partition(":")
        problem = f"{self.named} cannot be loaded"
        with plugin_code(f"{problem} from '{self.target}'"):
            try:
                value: Any = importlib.import_module(module_name)
            except ImportError as error:
                needs = ", ".join(getattr(self.info, "needs", ())) or "the packages it imports"
                found = what_was_raised(error)
                raise PluginError(problem, found=found, fix=f"install {needs}") from error
            for part in attribute.split("."):
                value = getattr(value, part)
        return value


_HARNESS = Origin("the harness itself", "built-in")


@dataclass(frozen=True)
class Skipped:
    """A third-party plugin that was left out, and why."""

    origin: Origin
    reason: str


class Registry:
    """All methods, datasets and backbones by name."""

    def __init__(self) -> None:
        self.methods: dict[str, Entry[MethodInfo]] = {}
        self.datasets: dict[str, Entry[DatasetInfo]] = {}
        self.backbones: dict[str, Entry[BackboneInfo]] = {}
        self.origins: list[Origin] = []
        self.skipped: list[Skipped] = []

    def method(self, name: str) -> Entry[MethodInfo]:
        return _find(self.methods, "method", name)

    def dataset(self, name: str) -> Entry[DatasetInfo]:
        return _find(self.datasets, "dataset", name)

    def open_dataset(self, name: str, location: DataLocation | None = None) -> Dataset:
        """The dataset behind a name, not yet read; by default in its usual places."""
        entry = self.dataset(name)
        opened = entry.load()
        with plugin_code(f"{entry.named} cannot be opened"):
            dataset: Dataset = opened(location or DataLocation())
        return cast("Dataset", GuardedDataset(entry.named, dataset))

    def add_plugin(self, module: object, origin: Origin) -> None:
        """Register all of one plugin or, if anything about it is wrong, nothing of it."""
        collected = _Collector(origin, self)
        _call_hook(module, origin, collected)
        if not collected.methods and not collected.datasets and not collected.backbones:
            raise PluginError(f"plugin {origin.name} registers nothing")
        self.methods.update(collected.methods)
        self.datasets.update(collected.datasets)
        self.backbones.update(collected.backbones)
        self.origins.append(origin)


def _find(entries: Mapping[str, Entry[Info]], kind: str, name: str) -> Entry[Info]:
    if name not in entries:
        fix = f"pinpoint {kind}s list shows them; --plugin FILE adds more"
        raise unknown_name(f"there is no {kind} '{name}'", name, entries, fix)
    return entries[name]


class _Collector:
    """The `register` object one plugin sees; its entries count only once the plugin is through."""

    def __init__(self, origin: Origin, registry: Registry) -> None:
        self._origin = origin
        self._registry = registry
        self.methods: dict[str, Entry[MethodInfo]] = {}
        self.datasets: dict[str, Entry[DatasetInfo]] = {}
        self.backbones: dict[str, Entry[BackboneInfo]] = {}

    def method(
        self, name: str, target: str, info: MethodInfo, *, preset: Mapping[str, Any] | None = None
    ) -> None:
        self._check("method", name, target, info, MethodInfo, {**self._registry.methods, **self.methods})
        values = {} if preset is None else preset
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise PluginError(
                f"plugin {self._origin.name} registers method '{name}' with preset {preset!r}",
                fix="give a mapping of parameter names to values",
            )
        self.methods[name] = Entry("method", name, target, info, self._origin, dict(values))

    def dataset(self, name: str, target: str, info: DatasetInfo) -> None:
        self._check("dataset", name, target, info, DatasetInfo, {**self._registry.datasets, **self.datasets})
        self.datasets[name] = Entry("dataset", name, target, info, self._origin)

    def backbone(self, name: str, target: str, info: BackboneInfo) -> None:
        reserved = dict.fromkeys(RESERVED_INPUTS, Entry("backbone", "", "", info, _HARNESS))
        taken = {**reserved, **self._registry.backbones, **self.backbones}
        self._check("backbone", name, target, info, BackboneInfo, taken)
        self.backbones[name] = Entry("backbone", name, target, info, self._origin)

    def _check(
        self,
        kind: str,
        name: object,
        target: object,
        info: object,
        expected: type,
        taken: Mapping[str, Entry[Any]],
    ) -> None:
        plugin = self._origin.name
        if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
            raise PluginError(
                f"plugin {plugin} registers the {kind} name {name!r}",
                fix="use lower-case letters, digits, '.', '_' and '-', with at most one '/' inside",
            )
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            raise PluginError(
                f"plugin {plugin} registers {kind} '{name}' with target {target!r}",
                fix="give a string 'module:attribute', so that registering imports nothing",
            )
        if not isinstance(info, expected):
            raise PluginError(
                f"plugin {plugin} registers {kind} '{name}' with {type(info).__name__} as its info",
                fix=f"give a pinpoint_harness.{expected.__name__}",
            )
        if name in taken:
            raise PluginError(
                f"plugin {plugin} registers {kind} '{name}'",
                found=f"the name is taken by {taken[name].origin.name}",
                fix="choose another name",
            )


def load_registry(explicit: Iterable[str] = ()) -> Registry:
    """Built-ins, then installed plugins, then those the user named.

    `explicit` holds files and module names from `--plugin`; `PINPOINT_PLUGINS` adds more,
    separated by commas. `PINPOINT_DISABLE_PLUGIN_AUTOLOAD` leaves installed plugins out.
    """
    registry = Registry()
    for name in BUILT_IN:
        registry.add_plugin(importlib.import_module(name), Origin(name, "built-in"))
    if not os.environ.get("PINPOINT_DISABLE_PLUGIN_AUTOLOAD"):
        for entry_point in _entry_points():
            _add_third_party(registry, entry_point)
    named = [*explicit, *filter(None, os.environ.get("PINPOINT_PLUGINS", "").split(","))]
    for spec in dict.fromkeys(item.strip() for item in named):
        module, origin = _import_explicit(spec)
        registry.add_plugin(module, origin)
    return registry


def _entry_points() -> Iterator[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    return iter(sorted(found, key=lambda point: (point.name, point.value)))


def _add_third_party(registry: Registry, entry_point: importlib.metadata.EntryPoint) -> None:
    distribution = entry_point.dist
    owner = f"{distribution.name} {distribution.version}" if distribution else "an unknown distribution"
    origin = Origin(f"'{entry_point.name}' ({owner})", "third-party")
    try:
        with plugin_code("it cannot be imported"):
            module = entry_point.load()
        registry.add_plugin(module, origin)
    except HarnessError as error:
        reason = "; ".join(filter(None, (error.problem, error.found)))
        registry.skipped.append(Skipped(origin, reason))
        log.warning("plugin %s is skipped: %s", origin.name, reason)


def _import_explicit(spec: str) -> tuple[ModuleType, Origin]:
    if spec.endswith(".py"):
        return _import_file(Path(spec))
    fix = "give a file ending in .py, or a module that Python can import"
    with plugin_code(f"plugin '{spec}' cannot be imported", fix):
        module = importlib.import_module(spec)
    return module, Origin(spec, "explicit")


def _import_file(path: Path) -> tuple[ModuleType, Origin]:
    with reading(path, PluginError, what="the plugin"):
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    # A name of its own keeps the file from shadowing an installed module.
    stem = re.sub(r"\W", "_", path.stem)
    name = f"pinpoint_plugin_{stem}_{digest[:8]}"
    origin = Origin(path.name, "explicit", file_sha256=digest)
    if name in sys.modules:
        return sys.modules[name], origin
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin file '{path}' is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with plugin_code(f"plugin file '{path}' cannot be imported"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module, origin


def _call_hook(module: object, origin: Origin, collector: _Collector) -> None:
    """Let pluggy check one plugin's hooks and call them, alone in a manager of its own."""
    manager = pluggy.PluginManager("pinpoint")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=origin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            f"plugin {origin.name} does not fit the hook", found=" ".join(str(error).split())
        ) from error
    if not manager.get_hookcallers(module):
        raise PluginError(
            f"plugin {origin.name} implements no hook",
            fix="decorate `def pinpoint_register(register)` with `@pinpoint_harness.hookimpl`",
        )
    with plugin_code(f"plugin {origin.name} fails to register"):
        manager.hook.pinpoint_register(register=collector)
