"""Which photos of a dataset are run, and what identifies them in the key of an artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, UsageError
from ..photo_ids import match, truth_hash

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Subset:
    """The part of a dataset to run: its first rows, the photos of a list, or (neither) all of it."""

    limit: int | None = None
    ids: Sequence[str] | None = None

    def of(self, truth: pd.DataFrame) -> pd.DataFrame:
        """The chosen rows, in the order of the truth."""
        rows = np.arange(len(truth))
        if self.ids is not None:
            import pandas as pd

            named = pd.Series(list(self.ids), dtype=str)
            rows = match(named, truth["image"])
            rows = np.where(rows < 0, match(named, truth["id"]), rows)
            if (rows < 0).any():
                unknown = named[rows < 0]
                raise DataError(
                    f"{len(unknown)} of {len(named)} listed ids are not in the dataset",
                    found=f"the first is '{unknown.iloc[0]}'",
                    fix=f"give one id a line, spelled like '{truth['image'].iloc[0]}'",
                )
            rows = np.sort(rows)
        chosen = truth.iloc[rows[: self.limit]].reset_index(drop=True)
        if chosen.empty:
            raise UsageError(
                "no photo is left to run", fix="give --limit 1 or more, or a list with ids in it"
            )
        return chosen

    def record(self, chosen: pd.DataFrame) -> dict[str, Any] | None:
        """How the choice stands in the record; None where everything is run."""
        if self.ids is None and self.limit is None:
            return None
        # The ids and not only their number: the first photos of another copy may be others.
        limit = {} if self.limit is None else {"limit": len(chosen)}
        return {"rows": len(chosen), "ids_sha256": id_list_sha256(chosen["id"]), **limit}


def truth_spec(full_truth: pd.DataFrame, truth: pd.DataFrame, subset: Subset) -> dict[str, Any]:
    """The part of a spec that says which photos are run."""
    return {
        "dataset_hash": truth_hash(full_truth),
        "dataset_rows": len(full_truth),
        "authors_sha256": _authors_sha256(truth),
        "subset": subset.record(truth),
    }


def id_list_sha256(ids: Iterable[str]) -> str:
    """What identifies a set of photos, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def _authors_sha256(truth: pd.DataFrame) -> str | None:
    """Who took what; None where no author is known.

    Two truth files may agree on every coordinate while only one names the photographers, on whom
    intervals and author filters rest.
    """
    if truth["author"].isna().all():
        return None
    pairs = zip(truth["id"], truth["author"], strict=True)
    return id_list_sha256(f"{name}\t{author}" for name, author in pairs if isinstance(author, str))
