"""Runs in the formats of others: read back by their own readers, and valid by their schemas."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.evaluation import score_run


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Any:
    parameters = {"latitude": 48.0, "longitude": 2.0}
    return evaluate("constant", "capitals", parameters=parameters, home=tmp_path)


def exported(tmp_path: Path, *words: str, code: int = 0) -> str:
    given = ["runs", "export", "constant@capitals", *words, "--home", str(tmp_path)]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == code, result.output
    return result.output


def test_answers_are_one_table_in_every_format(run: Any, tmp_path: Path) -> None:
    for kind in ("csv", "parquet", "jsonl"):
        exported(tmp_path, "--to", kind, "-o", str(tmp_path / f"rows.{kind}"))
    table = run.table()
    assert pq.read_table(tmp_path / "rows.parquet").equals(table)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines == table.to_pylist()
    frame = pd.read_csv(tmp_path / "rows.csv", dtype={"id": str}, keep_default_na=False)
    assert frame["id"].tolist() == table["id"].to_pylist()
    assert frame["error_km"].to_numpy(float) == pytest.approx(table["error_km"].to_numpy())


def test_a_file_that_is_there_is_not_replaced(run: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("mine")
    assert "--overwrite" in exported(tmp_path, "--to", "csv", "-o", str(tmp_path / "rows.csv"), code=2)
    exported(tmp_path, "--to", "csv", "-o", str(tmp_path / "rows.csv"), "--overwrite")
    assert (tmp_path / "rows.csv").read_text() != "mine"


def test_results_for_the_hub_have_a_task_for_every_radius(run: Any, tmp_path: Path) -> None:
    given = ("--to", "hf-eval", "-o", str(tmp_path / "up"))
    assert "--dataset-id" in exported(tmp_path, *given, code=2)
    exported(tmp_path, *given, "--dataset-id", "me/capitals", "--source-url", "https://example.org/a: b")
    (file,) = (tmp_path / "up" / ".eval_results").glob("*.yaml")
    results = yaml.safe_load(file.read_text())
    estimates = score_run(run, "wgs84-lt").estimates
    tasks = [name for name in estimates if name.startswith("acc_")]
    assert [one["dataset"] for one in results] == [{"id": "me/capitals", "task_id": name} for name in tasks]
    assert [one["value"] for one in results] == [estimates[name].value for name in tasks]
    for one in results:
        assert set(one) == {"dataset", "value", "date", "source", "notes"}
        assert one["source"] == {"url": "https://example.org/a: b", "name": "pinpoint"}
        assert isinstance(one["date"], str)
        assert "wgs84-lt" in one["notes"]
    declared = yaml.safe_load((tmp_path / "up" / "eval.yaml").read_text())
    assert declared["tasks"] == [{"id": name, "config": "default", "split": "test"} for name in tasks]
    assert {"name", "description", "evaluation_framework"} < set(declared)


def in_their_format(tmp_path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], Path]:
    given = ("--to", "every-eval-ever", "-o", str(tmp_path / "up"), "--organization", "Us")
    assert "--model-id" in exported(tmp_path, *given, code=2)
    exported(tmp_path, *given, "--model-id", "me/constant")
    (samples,) = (tmp_path / "up").rglob("*_samples.jsonl")
    record = json.loads(samples.with_name(samples.name.replace("_samples.jsonl", ".json")).read_text())
    return record, [json.loads(line) for line in samples.read_text().splitlines()], samples


def test_scores_for_every_eval_ever_carry_errors_and_intervals_and_every_answer(
    run: Any, tmp_path: Path
) -> None:
    record, lines, samples = in_their_format(tmp_path)
    estimates = score_run(run, "wgs84-lt").estimates
    results = {one["evaluation_result_id"]: one for one in record["evaluation_results"]}
    assert set(results) == {name for name, one in estimates.items() if one.value is not None}
    details = results["acc_2500km"]["score_details"]
    assert details["score"] == estimates["acc_2500km"].value
    assert details["uncertainty"]["standard_error"]["value"] == estimates["acc_2500km"].standard_error
    assert details["uncertainty"]["confidence_interval"]["lower"] == estimates["acc_2500km"].low
    assert results["mean_km"]["metric_config"]["lower_is_better"]
    assert str(samples.relative_to(tmp_path / "up")) == record["detailed_evaluation_results"]["file_path"]
    assert len(lines) == record["detailed_evaluation_results"]["total_rows"] == 5 * 193
    for name in ("acc_25km", "acc_2500km"):
        mine = [one["evaluation"]["score"] for one in lines if one["evaluation_result_id"] == name]
        assert 100 * sum(mine) / len(mine) == pytest.approx(estimates[name].value)


@pytest.mark.skipif(
    importlib.util.find_spec("every_eval_ever") is None or importlib.util.find_spec("jsonschema") is None,
    reason="not installed: pip install --no-deps --ignore-requires-python every-eval-ever==0.3.0; jsonschema",
)
def test_both_files_are_valid_by_the_schemas_of_their_package(run: Any, tmp_path: Path) -> None:
    jsonschema = importlib.import_module("jsonschema")
    spec = importlib.util.find_spec("every_eval_ever")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "schemas"  # read as data: it asks for Python 3.12
    record, lines, _ = in_their_format(tmp_path)
    whole = json.loads((folder / "eval.schema.json").read_text())
    each = jsonschema.Draft7Validator(json.loads((folder / "instance_level_eval.schema.json").read_text()))
    jsonschema.Draft7Validator(whole).validate(record)
    for line in lines[:50]:
        each.validate(line)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(whole).validate({**record, "model_info": {}})
