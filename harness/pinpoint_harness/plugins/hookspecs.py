"""The one hook a plugin implements.

    from pinpoint_harness import MethodInfo, hookimpl

    @hookimpl
    def pinpoint_register(register):
        register.method("my-method", "my_package.module:MyMethod", MethodInfo(title="..."))

Targets are strings, so registering imports nothing; the class is loaded when it is used. A class may
be registered under several names, each with a `preset`: values of its parameters that differ from
the class's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from ..types import BackboneInfo, DatasetInfo, MethodInfo

hookspec = pluggy.HookspecMarker("pinpoint")
hookimpl = pluggy.HookimplMarker("pinpoint")
"""Marks the function of a plugin that registers what it adds."""


class Register(Protocol):
    """What a plugin may add; `target` is `module:attribute`."""

    def method(
        self, name: str, target: str, info: MethodInfo, *, preset: Mapping[str, Any] | None = None
    ) -> None: ...

    def dataset(self, name: str, target: str, info: DatasetInfo) -> None: ...

    def backbone(self, name: str, target: str, info: BackboneInfo) -> None: ...


@hookspec
def pinpoint_register(register: Register) -> None:
    """Add methods, datasets and backbones: `register.method`, `register.dataset`, `register.backbone`."""
