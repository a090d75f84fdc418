"""A run's answers on disk.

A run is one Parquet file of one fixed schema, a row per row of the truth and in its order. The
same table gives the same bytes, however many pieces it was put together from.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import ArtifactError
from ..geo import geodesic_km, on_globe
from ..readers.cells import AUTHOR_NAMES, NULL_WORDS
from ..reading import reading
from ..types import RADII_KM, Candidates, Predictions

if TYPE_CHECKING:
    import pandas as pd

    from ..types import Floats

_CANDIDATE = pa.struct(
    [
        pa.field("latitude", pa.float64(), nullable=False),
        pa.field("longitude", pa.float64(), nullable=False),
        pa.field("probability", pa.float64()),
        pa.field("source", pa.string()),
        pa.field("photo_id", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("found_by", pa.string()),
    ]
)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("latitude", pa.float64(), nullable=False),
        pa.field("longitude", pa.float64(), nullable=False),
        pa.field("predicted_latitude", pa.float64()),
        pa.field("predicted_longitude", pa.float64()),
        pa.field("error_km", pa.float64()),
        pa.field("confidence", pa.float64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("author", pa.string()),
        pa.field("candidates", pa.list_(pa.field("element", _CANDIDATE, nullable=False))),
        # Five each, yet no list of fixed size: Arrow 21 cannot write one that is null to Parquet.
        pa.field("within", pa.list_(pa.field("element", pa.float64(), nullable=False))),
        # What stands or falls together, where the dataset says that this is not the photographer.
        pa.field("cluster", pa.string()),
    ]
)
"""Degrees and WGS84 kilometres; null stands for "none", NaN is never stored."""

LOG_DENSITY = pa.field("log_density", pa.float64())
"""The logarithm of a method's density at the truth, per steradian: the last column, where there is one."""

_APART = ("candidates", "within")
_ROW_GROUP_ROWS = 1 << 16


def build(
    truth: pd.DataFrame,
    predictions: Predictions,
    status: Sequence[str],
    cluster_column: str = "",
    log_density: Floats | None = None,
) -> pa.Table:
    """The run's table: truth, answers and the WGS84 distance between them, in kilometres.

    `cluster_column` is what the dataset declares, see `cluster_keys`.

    Where `status` is not `ok` the answer, its error, its probabilities `within` and its density at the truth
    are null, whatever the method said: a photo that could not be read has no answer.
    """
    if not len(truth) == len(predictions) == len(status):
        raise ArtifactError(
            "answers do not belong to this truth",
            found=f"{len(truth)} truth rows, {len(predictions)} answers, {len(status)} statuses",
        )
    answered = np.array([word == "ok" for word in status], dtype=bool)
    predicted = np.where(answered[:, None], predictions.coordinates, np.nan)  # (n, 2)
    actual = truth[["latitude", "longitude"]].to_numpy(dtype=np.float64)  # (n, 2)
    confidence = predictions.confidence
    columns = {
        "id": _strings(truth["id"].to_numpy(dtype=object)),
        "latitude": pa.array(actual[:, 0]),
        "longitude": pa.array(actual[:, 1]),
        "predicted_latitude": _doubles(predicted[:, 0]),
        "predicted_longitude": _doubles(predicted[:, 1]),
        "error_km": _doubles(geodesic_km(actual, predicted)),
        "confidence": pa.nulls(len(truth), pa.float64()) if confidence is None else _doubles(confidence),
        "status": pa.array(list(status), pa.string()),
        "author": _strings(truth["author"].to_numpy(dtype=object)),
        "candidates": _encode_candidates(predictions.candidates, len(truth)),
        "within": _encode_within(predictions.within, answered),
        "cluster": _strings(cluster_keys(truth, cluster_column)),
    }
    table = pa.table(columns, schema=SCHEMA)
    if log_density is None:
        return table
    return table.append_column(LOG_DENSITY, _doubles(np.where(answered, log_density, np.nan)))


def cluster_keys(truth: pd.DataFrame, cluster_column: str) -> NDArray[np.object_]:
    """What each row stands or falls with, `(n,)`, None where that is its author, or unknown.

    A declared column that is a photographer's by its name, or that the truth has not, means the author.
    """
    if cluster_column.lower() in ("", *AUTHOR_NAMES) or cluster_column not in truth:
        return np.full(len(truth), None, dtype=object)
    keys = truth[cluster_column]
    known = keys.notna() & ~keys.astype(str).str.strip().str.lower().isin(NULL_WORDS)
    return keys.astype(str).where(known, None).to_numpy(dtype=object)


def concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """One table from those of consecutive tiles."""
    schema = _schema(any(LOG_DENSITY.name in table.column_names for table in tables))
    whole = [
        table
        if len(table.column_names) == len(schema)
        else table.append_column(LOG_DENSITY, pa.nulls(len(table), LOG_DENSITY.type))
        for table in tables
    ]
    return pa.concat_tables([schema.empty_table(), *whole]).combine_chunks()


def _schema(with_density: bool) -> pa.Schema:
    return SCHEMA.append(LOG_DENSITY) if with_density else SCHEMA


def encode(table: pa.Table) -> bytes:
    """The file's bytes: equal for equal tables, however they are cut into chunks."""
    stream = io.BytesIO()
    pq.write_table(
        table.cast(_schema(LOG_DENSITY.name in table.column_names)).combine_chunks(),
        stream,
        row_group_size=_ROW_GROUP_ROWS,
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=[
            "status",
            "author",
            "candidates.list.element.source",
            "candidates.list.element.found_by",
        ],
    )
    return stream.getvalue()


def read(path: Path) -> pa.Table:
    """A run's table; ArtifactError unless the file has exactly the schema, with a density or without."""
    # Not `read_table`, which would take `name=value` in a folder's name for a column.
    with (
        reading(path, ArtifactError, what="predictions from", fix="run the command again with --fresh"),
        pq.ParquetFile(path) as file,
    ):
        found = file.schema_arrow
        if not found.equals(_schema(LOG_DENSITY.name in found.names)):
            raise ArtifactError(
                f"'{path}' is not a run's predictions",
                found=_schema_difference(found),
                fix="give the predictions.parquet of a run; answers made elsewhere are evaluated "
                "with the method stored-predictions",
            )
        return file.read()


def to_frame(table: pa.Table) -> pd.DataFrame:
    """All but candidates, `within` and densities, one row per query; NaN where there is no answer."""
    frame: pd.DataFrame = table.select([name for name in SCHEMA.names if name not in _APART]).to_pandas()
    return frame


def log_density_of(table: pa.Table) -> Floats | None:
    """Log density at the truth, `(n,)` nats per steradian, NaN for none; None where a run has none."""
    if LOG_DENSITY.name not in table.column_names:
        return None
    found: Floats = table.column(LOG_DENSITY.name).to_numpy()
    return found


def candidates_of(table: pa.Table, *, photos: bool = True) -> Candidates | None:
    """The candidates as padded arrays, as the method gave them; None if it gave none.

    Without `photos` all but places and probabilities is left on disk: strings take most of the memory.
    """
    column = table.column("candidates").combine_chunks()
    if column.null_count == len(column):
        return None
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    items = column.flatten()
    shape = (len(counts), int(counts.max(initial=0)))
    rows = np.repeat(np.arange(len(counts)), counts)
    slots = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts)

    def spread(name: str, padding: Any) -> Any:
        values = items.field(name)
        if values.null_count == len(values):
            return None
        given = pc.fill_null(values, padding).to_numpy(zero_copy_only=False)
        given = given.astype(np.str_) if isinstance(padding, str) else given
        filled = np.full(shape, padding, dtype=given.dtype)
        filled[rows, slots] = given
        return filled

    coordinates = np.full((*shape, 2), np.nan)
    coordinates[rows, slots, 0] = items.field("latitude").to_numpy()
    coordinates[rows, slots, 1] = items.field("longitude").to_numpy()
    return Candidates(
        coordinates=coordinates,
        probability=spread("probability", np.nan),
        source=spread("source", "") if photos else None,
        photo_id=spread("photo_id", "") if photos else None,
        score=spread("score", np.nan) if photos else None,
        found_by=spread("found_by", "") if photos else None,
    )


def most_probable_first(given: Candidates) -> tuple[Candidates, NDArray[np.int64]]:
    """The candidates by probability, and the place that each had, `(n, k)`; equal ones stay in their order.

    What has no probability follows in the method's order, which all have where there are none.
    """
    missing = np.isnan(given.coordinates).any(axis=-1)
    share = np.full(missing.shape, np.nan) if given.probability is None else given.probability
    order = np.lexsort((np.where(np.isnan(share), 0.0, -share), np.isnan(share), missing), axis=1)

    def taken(values: Any) -> Any:
        return None if values is None else np.take_along_axis(values, order, axis=1)

    places = np.take_along_axis(given.coordinates, order[..., None], axis=1)
    found = Candidates(
        places,
        taken(given.probability),
        taken(given.source),
        taken(given.photo_id),
        score=taken(given.score),
        found_by=taken(given.found_by),
    )
    return found, order


def within_of(table: pa.Table) -> Floats | None:
    """Stated probabilities within each of `RADII_KM`, `(n, 5)`, NaN for none; None if no row has any."""
    column = table.column("within").combine_chunks()
    if column.null_count == len(column):
        return None
    lengths = pc.unique(pc.drop_null(pc.list_value_length(column))).to_pylist()
    if lengths != [len(RADII_KM)]:
        raise ArtifactError(
            f"a run states {len(RADII_KM)} probabilities per answer or none",
            found=f"lists of {', '.join(map(str, sorted(lengths)))}",
            fix="make the run again with --fresh",
        )
    within = np.full((len(column), len(RADII_KM)), np.nan)
    stated = column.is_valid().to_numpy(zero_copy_only=False)
    within[stated] = column.flatten().to_numpy().reshape(-1, len(RADII_KM))
    return within


def statuses(predictions: Predictions) -> list[str]:
    """One word of `STATUS` per answer: what the method said, else what its coordinate says.

    No coordinate is `no prediction`; half a coordinate, an infinite one or one off the globe is
    `invalid coordinate`. A method's own `ok` is not taken on trust.
    """
    coordinates = predictions.coordinates
    absent = np.isnan(coordinates).all(axis=1)
    judged = np.where(absent, "no prediction", np.where(on_globe(coordinates), "ok", "invalid coordinate"))
    words: list[str] = judged.tolist()
    if predictions.status is None:
        return words
    return [word if said == "ok" else said for said, word in zip(predictions.status, words, strict=True)]


def _encode_candidates(candidates: Candidates | None, n: int) -> pa.Array:
    kind = SCHEMA.field("candidates").type
    if candidates is None:
        return pa.nulls(n, kind)
    kept = ~np.isnan(candidates.coordinates).any(axis=2)  # (n, k)
    places = candidates.coordinates[kept]  # (m, 2)

    def optional(values: NDArray[Any] | None, of: pa.DataType, none: Any) -> pa.Array:
        if values is None:
            return pa.nulls(len(places), of)
        flat = values[kept]
        return pa.array(flat, of, mask=np.isnan(flat) if of == pa.float64() else flat == none)

    items = pa.StructArray.from_arrays(
        [
            pa.array(places[:, 0]),
            pa.array(places[:, 1]),
            optional(candidates.probability, pa.float64(), np.nan),
            optional(candidates.source, pa.string(), ""),
            optional(candidates.photo_id, pa.string(), ""),
            optional(candidates.score, pa.float64(), np.nan),
            optional(candidates.found_by, pa.string(), ""),
        ],
        fields=list(_CANDIDATE),
    )
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=kind)


def _encode_within(within: Floats | None, answered: NDArray[np.bool_]) -> pa.Array:
    kind = SCHEMA.field("within").type
    if within is None:
        return pa.nulls(len(answered), kind)
    stated = answered & ~np.isnan(within).any(axis=1)  # (n,)
    offsets = len(RADII_KM) * np.concatenate([[0], np.cumsum(stated)])
    values = pa.array(within[stated].ravel())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind, mask=pa.array(~stated))


def _doubles(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _strings(values: NDArray[np.object_]) -> pa.Array:
    return pa.array(values, pa.string(), from_pandas=True)


def _schema_difference(found: pa.Schema) -> str:
    lacking = [name for name in SCHEMA.names if name not in found.names]
    surplus = [name for name in found.names if name not in SCHEMA.names]
    differing = [
        f"{field.name} is {found.field(field.name).type}"
        for field in SCHEMA
        if field.name in found.names and not found.field(field.name).equals(field)
    ]
    parts = [("without", lacking), ("with", surplus), ("where", differing)]
    words = "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)
    return f"a table {words or 'with its columns in another order'}"
