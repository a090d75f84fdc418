"""Is a method as sure as it is right, and does it know which of its answers are wrong?

Two questions. *Calibration*: among the answers called 80 % sure to lie within 25 km, do 80 % lie
there? It needs probabilities: stated for the radii, or of candidates. *Ranking*: are the surest
answers the best? It needs a confidence, whatever its unit.
"""

from .confidence import confidence_within, stated_within
from .measure import Calibration, calibrate, calibrate_answers
from .reliability import Bin, Reliability
from .risk import RiskCoverage

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
