"""Answers that were made elsewhere, joined to the truth by id and scored like any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.params import param
from pinpoint_harness.photo_ids import match
from pinpoint_harness.readers import ROLES, Units, read_answers
from pinpoint_harness.types import Context, Predictions, Queries


@dataclass(frozen=True)
class StoredPredictionsParams:
    file: Path = param(help="the answers: CSV, TSV, Parquet or JSON", in_title=False)
    select: str | None = param(None, "which one, where the file has several answers per photo")
    units: str = param("auto", "of the coordinates; auto: degrees, refusing radians", choices=get_args(Units))
    id_column: str | None = param(None, "column of ids, where its name does not say so")
    latitude_column: str | None = param(None, "column of the answer's latitude, likewise")
    longitude_column: str | None = param(None, "column of the answer's longitude, likewise")
    confidence_column: str | None = param(None, "column of confidences, likewise")
    select_column: str | None = param(None, "column that tells several answers per photo apart, likewise")


class StoredPredictions:
    """Joins by id, never by position: row order differs between files of one benchmark.

    The only method that sees ids; the harness hands it all of them at once, so that an answer
    that matches no photo can be told from one that belongs to another tile.
    """

    Params: ClassVar[type[StoredPredictionsParams]] = StoredPredictionsParams
    answer_version: ClassVar[int] = 1
    input = "id"

    def __init__(self, params: StoredPredictionsParams, context: Context) -> None:
        columns = {role: getattr(params, f"{role}_column") for role in ROLES}
        self._file = params.file
        self._answers = read_answers(
            params.file,
            select=params.select,
            columns={role: name for role, name in columns.items() if name is not None},
            units=cast(Units, params.units),
        )

    def predict(self, queries: Queries) -> Predictions:
        answers, names = self._answers, queries.input
        rows = _join(names, answers.ids)
        known = rows >= 0
        if not known.any():
            raise DataError(
                f"no answer in '{self._file}' belongs to a photo of this dataset",
                found=f"ids like '{answers.ids.iloc[0]}', the dataset's like '{names['image'].iloc[0]}'",
                fix="check that the file is of this dataset, or name its column of ids: id_column=NAME",
            )
        unused = len(answers) - int(known.sum())
        notes = [f"{unused:,} of {len(answers):,} answers match no row of the truth"] if unused else []
        return Predictions(
            coordinates=np.where(known[:, None], answers.coordinates[rows], np.nan),
            confidence=None
            if answers.confidence is None
            else np.where(known, answers.confidence[rows], np.nan),
            status=[answers.status[row] if row >= 0 else "missing" for row in rows],
            notes=(*answers.notes, *notes),
        )


def _join(names: pd.DataFrame, ids: pd.Series[str]) -> NDArray[np.int64]:
    """Position in `ids` of each photo's answer, -1 for none: by its spelling, then by its key."""
    rows = match(names["image"], ids)
    rest = np.flatnonzero(rows < 0)
    rows[rest] = match(names["id"].iloc[rest], ids)
    used = np.bincount(rows[rows >= 0], minlength=len(ids))
    if used.max() > 1:
        row = int(used.argmax())
        photos = ", ".join(names["image"][rows == row])
        raise DataError(
            f"the answer '{ids.iloc[row]}' belongs to several photos",
            found=photos,
            fix="give each its own answer",
        )
    return rows
