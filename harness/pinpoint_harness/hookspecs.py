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
    from .types import DatasetInfo, MethodInfo

hookspec = pluggy.HookspecMarker("pinpoint")
hookimpl = pluggy.HookimplMarker("pinpoint")


class Register(Protocol):
    """What a plugin may add; `target` is `module:attribute`."""

    def method(self, name: str, target: str, info: MethodInfo) -> None: ...

    def dataset(self, name: str, target: str, info: DatasetInfo) -> None: ...


@hookspec
def pinpoint_register(register: Register) -> None:
    """Add methods and datasets by calling `register.method` and `register.dataset`."""
