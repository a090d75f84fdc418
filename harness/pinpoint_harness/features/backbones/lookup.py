"""From a backbone's name, hub id or folder to a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...artifacts import canonical_json
from ...errors import UsageError, unknown_name
from ...plugins import NAME_PATTERN, Entry, Origin, Registry, plugin_code
from ...types import Backbone, BackboneInfo, Context
from .weights import HUB_ID, fetch_weights, local_weights, missing_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

HUGGING_FACE = "pinpoint_harness.features.backbones.tower:HuggingFaceTower"


@dataclass(frozen=True)
class BackboneSource:
    """A backbone that has a name and is not loaded; `weights` is a hub id, a folder, or empty.

    One that is only a name, of features that were made elsewhere, is `elsewhere` and cannot be opened.
    """

    name: str
    entry: Entry[BackboneInfo]
    weights: str
    elsewhere: bool = False

    def is_here(self) -> bool:
        """Whether it can be opened without a download."""
        return not self.weights or local_weights(self.weights) is not None

    def open(self, context: Context, *, fetch: bool = False) -> Backbone:
        """The backbone, ready to be asked; WeightsError where its weights are not to be had."""
        if self.elsewhere:
            raise UsageError(
                f"features by '{self.name}' are made elsewhere: there is no such backbone to compute them",
                fix=f"pinpoint stores import DATASET FILE --backbone {self.name} --normalisation none",
            )
        folder = None
        if self.weights:
            folder = fetch_weights(self.weights) if fetch else local_weights(self.weights)
            if folder is None:
                raise missing_weights(self.weights, f"needed by the backbone '{self.name}'")
        loaded = self.entry.load()
        with plugin_code(f"{self.entry.named} cannot be set up"):
            backbone: Backbone = loaded(folder, context)
        return backbone

    def content(self, backbone: Backbone) -> Mapping[str, Any]:
        """What its features depend on, by content and never by name or place."""
        with plugin_code(f"{self.entry.named} does not say what its features depend on: content()"):
            own = dict(backbone.content())
            canonical_json(own)  # raises where it could not be part of a key
        return {"target": self.entry.target, "plugin_sha256": self.entry.origin.file_sha256, **own}


def find_backbone(
    registry: Registry, name: str, weights: str | None = None, *, imported: bool = False
) -> BackboneSource:
    """The backbone of a registered name, a Hugging Face id or a local folder; nothing is loaded.

    `weights` replaces the weights a registered backbone names. An id that registered backbones name as
    their weights stands for the first of them, so that both find the same stores. `imported` says that
    there are, or will be, features under this name that were made elsewhere: then any name will do.
    """
    by_weights: dict[str, Entry[BackboneInfo]] = {}
    for known in registry.backbones.values():
        by_weights.setdefault(known.info.weights, known)
    by_weights.pop("", None)
    entry = registry.backbones.get(name) or by_weights.get(name)
    if entry is not None:
        if weights and not entry.info.weights:
            raise UsageError(f"backbone '{entry.name}' carries its own weights", fix="leave --weights out")
        return BackboneSource(entry.name, entry, weights or entry.info.weights)
    if Path(name).expanduser().is_dir():
        return _unregistered(Path(name).expanduser().resolve().name, weights or name)
    if HUB_ID.fullmatch(name):
        return _unregistered(name, weights or name)
    if imported and NAME_PATTERN.fullmatch(name):
        if weights:
            raise UsageError(f"'{name}' is a name of your own, without weights", fix="leave --weights out")
        return BackboneSource(name, _entry(name, ""), "", elsewhere=True)
    fix = "give one of these, a Hugging Face id, a folder, or a name that was given to `stores import`"
    raise unknown_name(f"there is no backbone '{name}'", name, registry.backbones, fix)


def _unregistered(name: str, weights: str) -> BackboneSource:
    return BackboneSource(name, _entry(name, weights), weights)


def _entry(name: str, weights: str) -> Entry[BackboneInfo]:
    info = BackboneInfo(title=name, width=0, weights=weights)
    return Entry("backbone", name, HUGGING_FACE, info, Origin("Hugging Face", "built-in"))
