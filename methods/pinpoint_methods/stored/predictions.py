"""Answers that were made elsewhere, joined to the truth by id and scored like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast, get_args

from pinpoint_harness.params import param
from pinpoint_harness.readers import content_sha256, read_answers
from pinpoint_harness.readers.answer_columns import ROLES
from pinpoint_harness.readers.answer_values import Order, Units
from pinpoint_harness.types import Context, Predictions, Queries


@dataclass(frozen=True)
class StoredPredictionsParams:
    file: Path = param(help="the answers: CSV, TSV, Parquet or JSON", in_title=False)
    select: str | None = param(None, "which one, where the file has several answers per photo")
    units: str = param("auto", "of the coordinates; auto: degrees, refusing radians", choices=get_args(Units))
    id_column: str | None = param(None, "column of ids, where its name does not say so")
    latitude_column: str | None = param(None, "column of the answer's latitude, likewise")
    longitude_column: str | None = param(None, "column of the answer's longitude, likewise")
    answer_column: str | None = param(None, "column that holds both, perhaps in a sentence")
    order: str = param("latlon", "of two numbers in one cell", choices=get_args(Order))
    allow_truth: bool = param(False, "score answers that are the truth itself")
    confidence_column: str | None = param(None, "column of confidences, likewise")
    select_column: str | None = param(None, "column that tells several answers per photo apart, likewise")


class StoredPredictions:
    """Joins by id, never by position: row order differs between files of one benchmark.

    The only method that sees ids, and the truth, to refuse a file of it; the harness hands it all of
    them at once, so that an answer that matches no photo can be told from one of another tile.
    """

    Params: ClassVar[type[StoredPredictionsParams]] = StoredPredictionsParams
    answer_version: ClassVar[int] = 3
    input = "id"

    def __init__(self, params: StoredPredictionsParams, context: Context) -> None:
        columns = {role: getattr(params, f"{role}_column") for role in ROLES}
        self._file = params.file
        self._answers = read_answers(
            params.file,
            select=params.select,
            columns={role: name for role, name in columns.items() if name is not None},
            units=cast(Units, params.units),
            order=cast(Order, params.order),
            allow_truth=params.allow_truth,
        )

    def content(self) -> Mapping[str, Any]:
        """The file by what is in it, also where it is a folder of Parquet."""
        return {"file": {"sha256": content_sha256(self._file)}}

    def predict(self, queries: Queries) -> Predictions:
        return self._answers.of_photos(queries.input)
