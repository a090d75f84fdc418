"""Which photos of a dataset are run, and what identifies them in the key of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, UsageError
from ..photo_ids import match, rows_sha256, truth_hash

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Subset:
    """Which photos of a dataset to run: its first rows, those of a list, or (neither) all of them."""

    limit: int | None = None
    ids: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """The photos of one dataset that are run: rows of its whole truth, and how they were chosen."""

    full: pd.DataFrame
    """The whole truth, by which editions of a dataset are told apart."""
    truth: pd.DataFrame
    """The chosen rows."""
    subset: Subset

    @classmethod
    def of(cls, full: pd.DataFrame, subset: Subset | None = None) -> Selection:
        """The rows of `full` that `subset` names, in the order of `full`; all without a subset.

        DataError for a listed id that is not in the dataset, UsageError if no row is left.
        """
        subset = subset or Subset()
        rows = np.arange(len(full)) if subset.ids is None else _listed_rows(full, subset.ids)
        truth = full.iloc[rows[: subset.limit]].reset_index(drop=True)
        if truth.empty:
            raise UsageError(
                "no photo is left to run", fix="give --limit 1 or more, or a list with ids in it"
            )
        return cls(full, truth, subset)

    def by_id(self) -> Selection:
        """The same selection with its rows in the order of their ids."""
        return replace(self, truth=self.truth.sort_values("id", ignore_index=True))

    def record(self) -> dict[str, Any] | None:
        """How the rows were chosen, for `run.json` and `store.json`; None where all are run."""
        if self.subset.ids is None and self.subset.limit is None:
            return None
        # The ids and not only their number: the first photos of another copy may be others.
        limit = {} if self.subset.limit is None else {"limit": len(self.truth)}
        return {"rows": len(self.truth), "ids_sha256": rows_sha256(self.truth["id"]), **limit}

    def spec(self) -> dict[str, Any]:
        """What identifies the photos in the key of an artifact, whatever the order of the rows."""
        return {
            "dataset_hash": truth_hash(self.full),
            "dataset_rows": len(self.full),
            "authors_sha256": _authors_sha256(self.truth),
            "sources_sha256": rows_sha256(self.truth["id"], self.truth["source"]),
            "subset": self.record(),
        }


def _listed_rows(truth: pd.DataFrame, ids: Sequence[str]) -> NDArray[np.int64]:
    """The rows of the listed photos, ascending; each is named by its `image` or its `id`."""
    import pandas as pd

    listed = pd.Series(list(ids), dtype=str)
    rows = match(listed, truth["image"])
    rows = np.where(rows < 0, match(listed, truth["id"]), rows)
    if (rows < 0).any():
        unknown = listed[rows < 0]
        raise DataError(
            f"{len(unknown)} of {len(listed)} listed ids are not in the dataset",
            found=f"the first is '{unknown.iloc[0]}'",
            fix=f"give one id a line, spelled like '{truth['image'].iloc[0]}'",
        )
    return np.sort(rows)


def _authors_sha256(truth: pd.DataFrame) -> str | None:
    """Who took what; None where no author is known.

    Two truth files may agree on every coordinate while only one names the photographers, on whom
    intervals and author filters rest.
    """
    known = truth[truth["author"].notna()]
    return None if known.empty else rows_sha256(known["id"], known["author"])
