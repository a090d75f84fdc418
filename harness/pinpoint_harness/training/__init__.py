"""Stages of a method, each made once and found by its key, and the checkpoints of one being made."""

from __future__ import annotations

from ..processes import Processes
from .checkpoints import Checkpoints
from .metric_log import LogRequest, MetricLog
from .stages import (
    Stage,
    StageContext,
    StageMissingError,
    StageOutput,
    TrainRequest,
    describe,
    open_stages,
    train,
    with_needs,
)

__all__ = [
    "Checkpoints",
    "LogRequest",
    "MetricLog",
    "Processes",
    "Stage",
    "StageContext",
    "StageMissingError",
    "StageOutput",
    "TrainRequest",
    "describe",
    "open_stages",
    "train",
    "with_needs",
]
