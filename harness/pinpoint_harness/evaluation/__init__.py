"""What a run is worth: protocols, metrics, intervals, scores, comparisons.

Names are loaded when first used: measuring distances takes no pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .admin import ADMIN_METRICS as ADMIN_METRICS
    from .admin import ADMIN_PRESETS as ADMIN_PRESETS
    from .bootstrap import Estimate as Estimate
    from .comparison import Comparison as Comparison
    from .comparison import Difference as Difference
    from .comparison import compare as compare
    from .distributions import DISTRIBUTION_METRICS as DISTRIBUTION_METRICS
    from .distributions import DISTRIBUTIONS as DISTRIBUTIONS
    from .metrics import GEOSCORE_MAXIMUM as GEOSCORE_MAXIMUM
    from .metrics import hits as hits
    from .metrics import metric_names as metric_names
    from .metrics import radius_of as radius_of
    from .protocols import PROTOCOLS as PROTOCOLS
    from .protocols import get_protocol as get_protocol
    from .scoring import Part as Part
    from .scoring import Scores as Scores
    from .scoring import errors_km as errors_km
    from .scoring import score_frame as score_frame
    from .scoring import score_run as score_run
    from .slices import BINS as BINS

_HOMES = {
    "admin": ("ADMIN_METRICS", "ADMIN_PRESETS"),
    "bootstrap": ("Estimate",),
    "comparison": ("Comparison", "Difference", "compare"),
    "distributions": ("DISTRIBUTIONS", "DISTRIBUTION_METRICS"),
    "metrics": ("GEOSCORE_MAXIMUM", "hits", "metric_names", "radius_of"),
    "protocols": ("PROTOCOLS", "get_protocol"),
    "scoring": ("Part", "Scores", "errors_km", "score_frame", "score_run"),
    "slices": ("BINS",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
