"""Runs in the formats of others: answers as tables, scores for the Hugging Face hub and Every Eval Ever."""

from __future__ import annotations

from .every_eval_ever import every_eval_ever
from .hub_results import hub_results
from .rows import rows_as

ROW_FORMATS = ("csv", "parquet", "jsonl")
"""One file of answers, candidates and probabilities."""

__all__ = ["ROW_FORMATS", "every_eval_ever", "hub_results", "rows_as"]
