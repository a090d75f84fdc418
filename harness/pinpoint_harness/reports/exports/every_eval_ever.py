"""A run as Every Eval Ever stores evaluations: a JSON of scores, and a JSON line a photo and radius.

github.com/evaleval/every_eval_ever, schema 0.3.0 (arXiv:2606.14516).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ...artifacts import safe_name
from ...evaluation import errors_km, get_protocol, hits
from ...evaluation.scoring import RESAMPLES
from ...version import __version__

if TYPE_CHECKING:
    from ...evaluation import Estimate, Scores
    from ...running import Run

SCHEMA_VERSION = "0.3.0"


def every_eval_ever(run: Run, scores: Scores, organization: str, model_id: str) -> dict[str, bytes]:
    """Files by name, as its repository lays them out: the scores, and the answers one by one.

    `organization` is who measured; `model_id` is `owner/name`.
    """
    owner, _, model = model_id.partition("/")
    number = uuid.UUID(bytes=hashlib.sha256(f"{run.key} {scores.protocol}".encode()).digest()[:16], version=4)
    folder = f"data/{safe_name(run.dataset)}/{safe_name(owner)}/{safe_name(model or owner)}"
    samples = "".join(
        f"{json.dumps(line, ensure_ascii=False, allow_nan=False)}\n"
        for line in _samples(run, scores, model_id, _identity(run, model_id))
    ).encode()
    record = _record(run, scores, organization, model_id)
    record["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": f"{folder}/{number}_samples.jsonl",
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(samples).hexdigest(),
        "total_rows": samples.count(b"\n"),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    return {f"{folder}/{number}.json": f"{text}\n".encode(), f"{folder}/{number}_samples.jsonl": samples}


def _identity(run: Run, model_id: str) -> str:
    return f"{run.dataset}/{model_id}/{_seconds(run)}"


def _seconds(run: Run) -> str:
    """When the run was finished, seconds since 1970; 0 where its log is gone."""
    finished = run.finished_at()
    return str(int(datetime.fromisoformat(finished).timestamp())) if finished else "0"


def _record(run: Run, scores: Scores, organization: str, model_id: str) -> dict[str, Any]:
    method = run.record["method"]
    details = {name: str(method[name]) for name in ("licence", "paper", "training_data") if method.get(name)}
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": _identity(run, model_id),
        "evaluation_timestamp": _seconds(run),
        "retrieved_timestamp": _seconds(run),
        "source_metadata": {
            "source_name": "pinpoint",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "pinpoint", "version": __version__},
        "model_info": {
            "name": run.title,
            "id": model_id,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                **details,
            },
        },
        "evaluation_results": [
            _result(run, scores, name, one) for name, one in scores.estimates.items() if one.value is not None
        ],
    }


def _result(run: Run, scores: Scores, name: str, one: Estimate) -> dict[str, Any]:
    distance = name.endswith("_km") and not name.startswith("acc_")
    unit, most = (
        ("km", "Infinity") if distance else ("points", 5000) if name == "geoscore" else ("percent", 100)
    )
    uncertainty: dict[str, Any] = {"num_samples": one.n, "num_bootstrap_samples": RESAMPLES}
    how = f"bootstrap over {scores.clusters}"
    if one.standard_error is not None:
        uncertainty["standard_error"] = {"value": one.standard_error, "method": how}
    if one.low is not None and one.high is not None:
        bounds = {"lower": one.low, "upper": one.high, "confidence_level": 0.95, "method": how}
        uncertainty["confidence_interval"] = bounds
    return {
        "evaluation_result_id": name,
        "evaluation_name": f"{run.dataset} {name}",
        "source_data": {
            "dataset_name": run.dataset,
            "source_type": "other",
            "additional_details": {"truth_sha256": str(run.record["recipe"]["dataset_hash"])},
        },
        "metric_config": {
            "metric_id": f"pinpoint.{name}",
            "metric_unit": unit,
            "metric_parameters": {"protocol": scores.protocol},
            "lower_is_better": distance,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": most,
        },
        "score_details": {"score": one.value, "uncertainty": uncertainty},
    }


def _samples(run: Run, scores: Scores, model_id: str, identity: str) -> Iterator[dict[str, Any]]:
    """A line for every photo and radius, in the order of the dataset."""
    frame, protocol = run.predictions(), get_protocol(scores.protocol)
    names = [name for name in scores.estimates if name.startswith("acc_")]
    radii = [float(name.removeprefix("acc_").removesuffix("km")) for name in names]
    error_km = errors_km(frame, protocol)
    within = hits(error_km, radii, protocol.inclusive)
    for row, one in enumerate(frame.itertuples(index=False)):
        answer = [] if one.status != "ok" else [f"{one.predicted_latitude}, {one.predicted_longitude}"]
        error = {"error_km": f"{error_km[row]:.6f}"} if np.isfinite(error_km[row]) else {}
        for name, right in zip(names, within[row].tolist(), strict=True):
            yield {
                "schema_version": SCHEMA_VERSION,
                "evaluation_id": identity,
                "model_id": model_id,
                "evaluation_name": f"{run.dataset} {name}",
                "evaluation_result_id": name,
                "sample_id": one.id,
                "interaction_type": "single_turn",
                "input": {"raw": one.id, "reference": [f"{one.latitude}, {one.longitude}"]},
                "output": {"raw": answer},
                "answer_attribution": [
                    {
                        "turn_idx": 0,
                        "source": "output.raw",
                        "extracted_value": answer[0] if answer else "",
                        "extraction_method": "exact_match",
                        "is_terminal": True,
                    }
                ],
                "evaluation": {"score": float(right), "is_correct": bool(right)},
                "metadata": {"status": one.status, **error},
            }
