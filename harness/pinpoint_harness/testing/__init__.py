"""The contract of a method, as checks: for `pinpoint methods check` and for a plugin's own tests.

    from pinpoint_harness.testing import assert_contract, registered_by

    def test_the_method_keeps_the_contract():
        assert_contract(registered_by(my_plugin).method("my-method"))

The queries are made up, the pictures are drawn, and a method that opens a gallery or is trained gets
made-up photos for that, so nothing has to be downloaded. What is compared is what a run would store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..errors import HarnessError, UsageError
from ..plugins import Entry, Origin, Registry, load_registry
from ..types import Context, MethodInfo
from .rules import RULES, Rule
from .trial import Trial

__all__ = ["RULES", "TILE", "Check", "assert_contract", "check_method", "registered_by"]

TILE = 16
"""Queries in one call; a run asks more at once, which would only make the checks slower."""


@dataclass(frozen=True)
class Check:
    """One promise of the contract: whether it is kept, else what was found and what to do."""

    name: str
    passed: bool
    found: str = ""
    fix: str = ""
    promise: str = ""


def check_method(
    method: Entry[MethodInfo] | type[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    context: Context | None = None,
    tile: int = TILE,
    widths: Mapping[str, int] | None = None,
) -> list[Check]:
    """Every check that can be made, in the order of `RULES`.

    `widths` are those of the backbones whose features a method may ask for, default all that are
    registered; it then gets random ones. Every gallery that it opens is made up, and what it is trained on
    as well; `context.stores` only says where weights are. Where `parameters` gives no value, that in the
    class's `check_with` counts.

    A check that could say nothing because an earlier one failed is left out, and so are those of pictures
    for a method that sees none, and of galleries for one that opens none. A bare class declares no
    licence, so that is not looked at. Raises UsageError for parameters that the method does not take.
    """
    if tile < 2:
        raise UsageError(f"a tile of {tile} has no neighbours to check", fix="give 2 or more")
    checks: list[Check] = []
    broken: set[str] = set()  # and what says nothing after them
    if widths is None:
        widths = {known.name: known.info.width for known in load_registry().backbones.values()}
    with Trial(method, parameters or {}, context or Context(), tile, widths) as trial:
        for rule in RULES:
            if broken & set(rule.needs):
                broken.add(rule.name)
            elif rule.applies(trial):
                checks.append(_apply(rule, trial))
                broken |= set() if checks[-1].passed else {rule.name}
    return checks


def assert_contract(
    method: Entry[MethodInfo] | type[Any],
    parameters: Mapping[str, Any] | None = None,
    *,
    context: Context | None = None,
    tile: int = TILE,
    widths: Mapping[str, int] | None = None,
) -> None:
    """AssertionError that lists every failed check of `check_method`."""
    __tracebackhide__ = True
    failed = [
        check
        for check in check_method(method, parameters, context=context, tile=tile, widths=widths)
        if not check.passed
    ]
    if failed:
        raise AssertionError(
            "\n".join(
                f"{check.name}: {check.promise}\n  found: {check.found}\n  fix:   {check.fix}"
                for check in failed
            )
        )


def registered_by(plugin: ModuleType) -> Registry:
    """What one plugin registers, alone, whether it is installed or not."""
    registry = Registry()
    registry.add_plugin(plugin, Origin(plugin.__name__, "explicit"))
    return registry


def _apply(rule: Rule, trial: Trial) -> Check:
    fix = rule.fix
    try:
        found = rule.test(trial)
    except HarnessError as error:
        found = "; ".join(part for part in (error.problem, error.found) if part)
        fix = error.fix or fix
    except Exception as error:  # noqa: BLE001 - whatever the method raises is what was found
        found = f"{type(error).__name__}: {error}"
    return Check(rule.name, not found, found, fix if found else "", rule.promise)
