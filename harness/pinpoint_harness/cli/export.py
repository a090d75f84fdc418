"""`pinpoint runs export`: a run in the formats of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .options import home_options, overwrite_option, protocol_option

if TYPE_CHECKING:
    from ..home import Home
    from ..running import Run


@click.command()
@click.argument("run")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["hf-eval", "every-eval-ever", "csv", "parquet", "jsonl"]),
    required=True,
    help="Scores for the Hugging Face hub or for Every Eval Ever, or the answers as a table.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file of a table; the folder that scores are written below.",
)
@click.option("--dataset-id", metavar="OWNER/NAME", help="For hf-eval: the benchmark's id on the hub.")
@click.option("--source-url", metavar="URL", help="For hf-eval: where the results can be seen.")
@click.option("--model-id", metavar="OWNER/NAME", help="For every-eval-ever: the model's id.")
@click.option("--organization", metavar="NAME", help="For every-eval-ever: who measured.")
@protocol_option
@overwrite_option
@home_options()
def export(
    run: str,
    kind: str,
    out: Path,
    dataset_id: str | None,
    source_url: str | None,
    model_id: str | None,
    organization: str | None,
    protocol: str | None,
    overwrite: bool,
    home: Home,
) -> None:
    """Write RUN for other programs: its answers as a table, or its scores with their intervals.

    \b
    Examples:
      pinpoint runs export constant@yfcc4k --to csv -o constant.csv
      pinpoint runs export constant@yfcc4k --to hf-eval -o upload --dataset-id me/yfcc4k
      pinpoint runs export constant@yfcc4k --to every-eval-ever -o upload --model-id me/x --organization me
    """
    from ..api import read_run
    from ..artifacts import write_new
    from ..reports.exports import ROW_FORMATS, rows_as

    found = read_run(run, home=home)
    if kind in ROW_FORMATS:
        files = {out: rows_as(found, kind)}
    else:
        given = (dataset_id, source_url, model_id, organization)
        files = {out / name: data for name, data in _scores(found, kind, protocol, *given).items()}
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, data, overwrite)
        click.echo(str(path))


def _scores(
    run: Run,
    kind: str,
    protocol: str | None,
    dataset_id: str | None,
    source_url: str | None,
    model_id: str | None,
    organization: str | None,
) -> dict[str, bytes]:
    from ..evaluation import score_run
    from ..reports.exports import every_eval_ever, hub_results

    scores = score_run(run, protocol or run.record["dataset"]["default_protocol"])
    if kind == "hf-eval":
        return hub_results(run, scores, _needed(kind, "--dataset-id", dataset_id), source_url)
    organization = _needed(kind, "--organization", organization)
    return every_eval_ever(run, scores, organization, _needed(kind, "--model-id", model_id))


def _needed(kind: str, option: str, value: str | None) -> str:
    if not value:
        raise UsageError(f"--to {kind} needs {option}", fix=f"add {option}; nobody can guess it")
    return value
