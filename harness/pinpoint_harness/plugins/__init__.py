"""How plugins register what they bring, and the registry that finds it by name."""

from __future__ import annotations

from .boundary import plugin_code, what_was_raised
from .hookspecs import Register, hookimpl
from .registry import NAME_PATTERN, RESERVED_INPUTS, Entry, Origin, Registry, load_registry

__all__ = [
    "NAME_PATTERN",
    "RESERVED_INPUTS",
    "Entry",
    "Origin",
    "Register",
    "Registry",
    "hookimpl",
    "load_registry",
    "plugin_code",
    "what_was_raised",
]
