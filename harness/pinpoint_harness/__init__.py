"""The harness: datasets and methods as plugins, one evaluation, stored results.

Names are loaded when first used, so that `import pinpoint_harness` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .api import break_down as break_down
    from .api import calibrate as calibrate
    from .api import compare as compare
    from .api import embed as embed
    from .api import evaluate as evaluate
    from .api import load_dataset as load_dataset
    from .api import plot as plot
    from .api import read_run as read_run
    from .api import score as score
    from .api import table as table
    from .api import train as train
    from .errors import HarnessError as HarnessError
    from .features import FeatureStore as FeatureStore
    from .features import Neighbours as Neighbours
    from .features import PhotoGallery as PhotoGallery
    from .locate import locate_photos as locate_photos
    from .params import param as param
    from .plugins import Register as Register
    from .plugins import hookimpl as hookimpl
    from .types import BackboneInfo as BackboneInfo
    from .types import Candidates as Candidates
    from .types import Context as Context
    from .types import DataLocation as DataLocation
    from .types import DatasetInfo as DatasetInfo
    from .types import MethodInfo as MethodInfo
    from .types import Predictions as Predictions
    from .types import Queries as Queries

_HOMES = {
    # `api.audit` and `api.locate` stand there alone: here their names are those of modules.
    "api": (
        "break_down",
        "calibrate",
        "compare",
        "embed",
        "evaluate",
        "load_dataset",
        "plot",
        "read_run",
        "score",
        "table",
        "train",
    ),
    "errors": ("HarnessError",),
    "features": ("FeatureStore", "Neighbours", "PhotoGallery"),
    "locate": ("locate_photos",),
    "params": ("param",),
    "plugins": ("Register", "hookimpl"),
    "types": (
        "BackboneInfo",
        "Candidates",
        "Context",
        "DataLocation",
        "DatasetInfo",
        "MethodInfo",
        "Predictions",
        "Queries",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pinpoint_harness' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
