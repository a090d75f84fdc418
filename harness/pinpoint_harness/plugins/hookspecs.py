"""The one hook a plugin implements.

    from pinpoint_harness import MethodInfo, hookimpl

    @hookimpl
    def pinpoint_register(register):
        register.method("my-method", "my_package.module:MyMethod", MethodInfo(title="..."))

Targets are strings, so registering imports nothing; the class is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from ..types import BackboneInfo, DatasetInfo, MethodInfo

hookspec = pluggy.HookspecMarker("pinpoint")
hookimpl = pluggy.HookimplMarker("pinpoint")


class Register(Protocol):
    """What a plugin may add; `target` is `module:attribute`."""

    def method(self, name: str, target: str, info: MethodInfo) -> None: ...

    def dataset(self, name: str, target: str, info: DatasetInfo) -> None: ...

    def backbone(self, name: str, target: str, info: BackboneInfo) -> None: ...


@hookspec
def pinpoint_register(register: Register) -> None:
    """Add methods, datasets and backbones: `register.method`, `register.dataset`, `register.backbone`."""
