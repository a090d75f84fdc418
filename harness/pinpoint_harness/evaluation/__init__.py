"""What a run is worth: protocols, metrics, intervals, scores, comparisons."""

from __future__ import annotations

from .admin import ADMIN_METRICS, ADMIN_PRESETS
from .bootstrap import Estimate
from .comparison import Comparison, Difference, compare
from .metrics import GEOSCORE_MAXIMUM, hits, metric_names
from .protocols import PROTOCOLS, get_protocol
from .scoring import Part, Scores, errors_km, score_frame, score_run
from .slices import BINS

__all__ = [
    "ADMIN_METRICS",
    "ADMIN_PRESETS",
    "BINS",
    "GEOSCORE_MAXIMUM",
    "PROTOCOLS",
    "Comparison",
    "Difference",
    "Estimate",
    "Part",
    "Scores",
    "compare",
    "errors_km",
    "get_protocol",
    "hits",
    "metric_names",
    "score_frame",
    "score_run",
]
