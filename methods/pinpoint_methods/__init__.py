"""The methods that come with the project, by name.

Importing this imports none of them: a class is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinpoint_harness.hookspecs import hookimpl
from pinpoint_harness.types import MethodInfo

if TYPE_CHECKING:
    from pinpoint_harness.hookspecs import Register

METHODS = {
    "constant": (
        "pinpoint_methods.simple:Constant",
        MethodInfo(title="The same coordinate for every photo", licence="Apache-2.0"),
    ),
    "random-prior": (
        "pinpoint_methods.simple:RandomPrior",
        MethodInfo(
            title="A random place, on the sphere or from a table of coordinates",
            licence="Apache-2.0",
            training_data="the coordinates of `table`, if one is given",
        ),
    ),
    "stored-predictions": (
        "pinpoint_methods.stored:StoredPredictions",
        MethodInfo(
            title="Answers read from a file made elsewhere",
            # Only whoever made the file knows.
            training_data="?",
            gallery="?",
            author_filter="?",
            mllm="?",
            web="?",
        ),
    ),
}


@hookimpl
def pinpoint_register(register: Register) -> None:
    for name, (target, info) in METHODS.items():
        register.method(name, target, info)
