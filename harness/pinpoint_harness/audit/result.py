"""An audit on disk: one Parquet file, a row per query, with what was asked in its metadata."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..artifacts import write_atomic
from ..errors import ArtifactError, UsageError, unknown_name
from ..evaluation import Part
from ..reading import reading

VIEWS = {
    "all": "all",
    "other_authors_only": "other authors only",
    "no_near_duplicates": "no near-duplicates",
    "no_placeholders": "no placeholders",
}
"""Column of a view and its name for people: which queries stay in."""

KINDS = {
    "same-author": "other_authors_only",
    "near-duplicates": "no_near_duplicates",
    "placeholders": "no_placeholders",
}
"""What `--exclude FILE:KIND` leaves out, and the view that remains."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("same_author_rows", pa.int64()),
        pa.field("identical_id", pa.bool_(), nullable=False),
        pa.field("training_id", pa.bool_()),
        pa.field("identical_bytes", pa.bool_()),
        pa.field("placeholder", pa.bool_(), nullable=False),
        pa.field("near_duplicate", pa.bool_(), nullable=False),
        pa.field("by_features", pa.bool_(), nullable=False),
        pa.field("by_hash", pa.bool_(), nullable=False),
        pa.field("by_place", pa.bool_(), nullable=False),
        pa.field("nearest_gallery", pa.string()),
        pa.field("nearest_id", pa.string()),
        pa.field("cosine", pa.float64()),
        pa.field("hamming", pa.int64()),
        pa.field("distance_km", pa.float64()),
        *(pa.field(view, pa.bool_(), nullable=view == "other_authors_only") for view in VIEWS),
    ]
)
"""`nearest_*`, cosine, differing bits and kilometres are those of the pair with most grounds, or of the
most similar one where there are none; null stands for "not known", such as authors or pictures."""

_KEY = b"pinpoint_audit"
VERSION = 1


@dataclass(frozen=True)
class Audit:
    """What was found, and `asked`: dataset, galleries, limits, and what could not be looked at."""

    table: pa.Table
    asked: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        return str(self.asked["dataset"])

    def count(self, column: str) -> int | None:
        """How many queries a yes-or-no column says yes of; None where it knows nothing."""
        values = self.table[column]
        return None if values.null_count == len(values) else int(pc.sum(values).as_py() or 0)

    def counts(self) -> dict[str, int | None]:
        """How many queries each yes-or-no column says yes of."""
        named = [field.name for field in SCHEMA if field.type == pa.bool_() and field.name != "all"]
        has_rows = pc.greater(self.table["same_author_rows"], 0)
        known = has_rows.null_count < len(has_rows)
        same_author = int(pc.sum(has_rows).as_py() or 0) if known else None
        return {"same_author": same_author, **{name: self.count(name) for name in named}}

    def in_words(self) -> list[str]:
        """What a reader should know, in sentences."""
        return list(_sentences(self))

    def view(self, kinds: Sequence[str]) -> Part | None:
        """The queries left without these kinds of leak; None for all of them."""
        if not kinds:
            return None
        keep = np.ones(len(self.table), dtype=bool)
        for kind in kinds:
            column = self.table[KINDS[kind]]
            if column.null_count:
                raise UsageError(
                    f"this audit of '{self.dataset}' does not know what '{kind}' would leave out",
                    found="no photographers are known in the queries or in the gallery",
                    fix="name the column of authors (--column author=NAME) and audit again",
                )
            keep &= column.to_numpy()
        ids = np.asarray(self.table["id"].to_pylist(), dtype=object)[keep]
        galleries = ", ".join(self.asked["galleries"])
        return Part(
            title=f"without {' and '.join(kinds)} (audited against {galleries})",
            ids=frozenset(ids),
            dataset_hash=self.asked["dataset_hash"],
        )

    def write(self, path: Path) -> None:
        """The whole file or none."""
        stream = io.BytesIO()
        schema = SCHEMA.with_metadata({_KEY: json.dumps(self.asked, sort_keys=True)})
        pq.write_table(
            self.table.cast(SCHEMA).replace_schema_metadata(schema.metadata), stream, version="2.6"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, stream.getvalue())


def _sentences(audit: Audit) -> Iterator[str]:
    asked, counts, total = audit.asked, audit.counts(), len(audit.table)

    def share(name: str) -> str:
        return f"{counts[name] or 0:,} ({100 * (counts[name] or 0) / max(total, 1):.1f} %)"

    rows = ", ".join(f"{rows:,} of {name}" for name, rows in asked["gallery_rows"].items())
    yield f"{total:,} queries of {audit.dataset} against {rows}, features by {asked['backbone']}"
    if counts["same_author"] is None:
        yield "same author: not known, queries or gallery name no photographers"
    else:
        together = pc.sum(audit.table["same_author_rows"]).as_py()
        yield f"same author: {share('same_author')} queries, {together:,} pairs with gallery photos of theirs"
    yield f"same id: {share('identical_id')} queries stand in the gallery under their own id"
    if counts["training_id"] is not None:
        yield f"training: {share('training_id')} queries stand in {', '.join(asked['training'])}"
    by_files = asked["contents_by"] == "files"
    if by_files:
        yield f"same bytes: {share('identical_bytes')} queries are a gallery photo byte for byte"
    else:
        yield "same bytes: not looked at, not all pictures are here; equal features stand for equal pictures"
    yield f"placeholders: {share('placeholder')} queries, content that stands 3 times or more, here and there"
    limits = asked["limits"]
    measured = " (1 query in 1,000 reaches it with a photo 25 km away)" if asked["cosine_measured"] else ""
    yield f"near-duplicates: {share('near_duplicate')} queries, same ids and bytes among them"
    yield f"  by features: {share('by_features')}, cosine {limits['cosine']:.4f} or more{measured}"
    if asked["hashes_of"] == "nothing":
        yield "  by perceptual hash: not looked at, the pictures are not here"
    else:
        yield (
            f"  by perceptual hash: {share('by_hash')}, at most {limits['hamming_bits']} of 256 bits differ; "
            f"of {asked['hashes_of']}"
        )
    if limits["spot_m"] > 0:
        yield f"  by place: {share('by_place')}, one photographer within {limits['spot_m']:g} m"


def iter_audits(folder: Path) -> Iterator[Path]:
    """Every file of a folder that is an audit of any version, ordered by name."""
    for path in sorted(folder.glob("*.parquet")):
        is_audit = False
        with contextlib.suppress(ArtifactError), reading(path, ArtifactError):
            is_audit = _KEY in (pq.read_schema(path).metadata or {})
        if is_audit:
            yield path


def read_audit(path: Path) -> Audit:
    """An audit's file; ArtifactError for any other."""
    fix = "pinpoint audit GALLERY DATASET writes one"
    with reading(path, ArtifactError, what="the audit", fix=fix), pq.ParquetFile(path) as file:
        found = file.schema_arrow
        if found.metadata and _KEY in found.metadata and found.equals(SCHEMA, check_metadata=False):
            asked = json.loads(found.metadata[_KEY])
            return Audit(file.read().replace_schema_metadata(None), asked)
    raise ArtifactError(
        f"'{path}' is not an audit",
        found="another table, or one of an older version",
        fix=fix,
    )


def parse_exclusion(text: str) -> tuple[Path, tuple[str, ...]]:
    """`FILE` or `FILE:KIND,KIND`, as `--exclude` takes it; without kinds, all of them."""
    file, colon, tail = text.rpartition(":")
    if not colon or Path(text).is_file():
        return Path(text), tuple(KINDS)
    kinds = tuple(dict.fromkeys(tail.split(",")))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise unknown_name(f"--exclude cannot leave out '{unknown[0]}'", unknown[0], KINDS)
    return Path(file), kinds


def read_part(exclusion: str) -> Part | None:
    """The photos that an exclusion, as `parse_exclusion` reads it, leaves of a run."""
    path, kinds = parse_exclusion(exclusion)
    return read_audit(path).view(kinds)
