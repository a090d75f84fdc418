"""From a request to a run on disk: inputs, answers, predictions, the record of what came out."""

from __future__ import annotations

from .contract import check_predictions
from .inputs import QuerySet, SingleInput, TileInput, backbones_of
from .predictions import candidates_of, most_probable_first, statuses
from .record import remake_command, run_record
from .repeats import nothing_to_average, repeats, value_of
from .request import (
    TILE,
    NoParams,
    build_params,
    build_request,
    choose_device,
    method_spec,
    param_specs,
    parameter_grid,
    preset_of,
)
from .run import Run, find_run, iter_runs, radii_of, run_parent, survey_runs
from .runner import build_method, predict_tiles

__all__ = [
    "TILE",
    "NoParams",
    "QuerySet",
    "Run",
    "SingleInput",
    "TileInput",
    "backbones_of",
    "build_method",
    "build_params",
    "build_request",
    "candidates_of",
    "check_predictions",
    "choose_device",
    "find_run",
    "iter_runs",
    "method_spec",
    "most_probable_first",
    "nothing_to_average",
    "param_specs",
    "parameter_grid",
    "predict_tiles",
    "preset_of",
    "radii_of",
    "remake_command",
    "repeats",
    "run_parent",
    "run_record",
    "statuses",
    "survey_runs",
    "value_of",
]
