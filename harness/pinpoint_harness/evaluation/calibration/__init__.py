"""Is a method as sure as it is right, and does it know which of its answers are wrong?

Two questions. *Calibration*: among the answers called 80 % sure to lie within 25 km, do 80 % lie
there? It needs probabilities: stated for the radii, or of candidates. *Ranking*: are the surest
answers the best? It needs a confidence, whatever its unit.
"""

from .calibration import Calibration, calibrate, calibrate_answers
from .confidence import confidence_within, stated_within
from .reliability import Bin, Reliability
from .risk_coverage import RiskCoverage

__all__ = [
    "Bin",
    "Calibration",
    "Reliability",
    "RiskCoverage",
    "calibrate",
    "calibrate_answers",
    "confidence_within",
    "stated_within",
]
