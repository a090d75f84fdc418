"""A plugin's dataset behind the boundary of plugins: what it raises names it, what it gives is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PluginError
from .boundary import plugin_code

if TYPE_CHECKING:
    import pandas as pd

    from ..types import Dataset

COLUMNS = ("id", "image", "latitude", "longitude", "author", "source")


class GuardedDataset:
    """The dataset itself, but for what its `truth` and `images` raise."""

    def __init__(self, named: str, dataset: Dataset) -> None:
        self._named = named
        self._dataset = dataset

    @property  # type: ignore[misc] # it says what it guards
    def __class__(self) -> type[Any]:
        return type(self._dataset)  # it is still an instance of its class

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "_dataset":  # of a copy that is not made yet
            raise AttributeError(attribute)
        return getattr(self._dataset, attribute)

    def truth(self) -> pd.DataFrame:
        with plugin_code(f"{self._named} cannot say its truth"):
            truth = self._dataset.truth()
            lacking = [column for column in COLUMNS if column not in truth.columns]
        if lacking:
            raise PluginError(
                f"{self._named} gives a truth without the column '{lacking[0]}'",
                found=", ".join(map(str, truth.columns[:20])),
                fix=f"give {', '.join(COLUMNS)}",
            )
        return truth

    def images(self) -> Any:
        with plugin_code(f"{self._named} cannot open its pictures"):
            return self._dataset.images()
