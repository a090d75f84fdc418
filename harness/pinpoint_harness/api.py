"""The Python API, used by the command line itself: DataFrames in, DataFrames out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from . import params as parameters
from .embedding import default_device
from .errors import UsageError
from .features import stores_root
from .plugins import Entry, Registry, load_registry
from .predictions import statuses
from .protocols import get_protocol
from .records import TILE, Request, Share, Subset
from .runner import run
from .runs import Run, find_run, results_root
from .scoring import RESAMPLES, Scores, score_frame, score_run
from .shelf import Shelf
from .slicing import BINS
from .types import RADII_KM, Context, DataLocation, Dataset, MethodInfo, Predictions

if TYPE_CHECKING:
    from .breakdowns import Breakdown
    from .types import Floats

Given = TypeVar("Given")


@dataclass(frozen=True)
class NoParams:
    """For methods that have none."""


def load_dataset(
    name: str,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    registry: Registry | None = None,
) -> pd.DataFrame:
    """The truth of a dataset: `id, image, latitude, longitude, author, source` and its own columns.

    `data` is a file or folder (default `$PINPOINT_DATA/<name>`, then `$PINPOINT_DATA`); `columns`
    maps a role such as `latitude` to a column of the file.
    """
    location = DataLocation(None if data is None else Path(data), dict(columns or {}))
    return (registry or load_registry()).open_dataset(name, location).truth()


def evaluate(
    method: str,
    dataset: str,
    *,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    images: Sequence[str | Path] = (),
    follow_links: bool = False,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    label: str | None = None,
    limit: int | None = None,
    ids: Sequence[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    tile: int = TILE,
    fresh: bool = False,
    stores: str | Path | None = None,
    weights: str | None = None,
    registry: Registry | None = None,
) -> Run:
    """Run a method over a dataset, or reuse the run if it is stored already.

    `follow_links` opens pictures that links outside of their folder lead to.
    Features are taken from, or put, below `stores` (default `$PINPOINT_STORES`, then
    `results/stores`); `weights` is a folder or id instead of the weights the backbone names.
    The answers lie in `run.folder`; `run.predictions()` gives them as a DataFrame and
    `score(run)` what they are worth.
    """
    registry = registry or load_registry()
    location = DataLocation(
        None if data is None else Path(data),
        dict(columns or {}),
        tuple(Path(place) for place in images),
        follow_links,
    )
    request = build_request(
        registry.method(method),
        dataset,
        registry.open_dataset(dataset, location),
        parameters=parameters or {},
        subset=Subset(limit, ids),
        seed=seed,
        device=device,
        label=label,
        out=None if out is None else Path(out),
        tile=tile,
        fresh=fresh,
        stores=None if stores is None else Path(stores),
        weights=weights,
        registry=registry,
    )
    return run(request)


def build_request(
    entry: Entry[MethodInfo],
    dataset_name: str,
    dataset: Dataset,
    *,
    parameters: Mapping[str, Any],
    subset: Subset,
    seed: int = 0,
    device: str = "auto",
    label: str | None = None,
    out: Path | None = None,
    tile: int = TILE,
    fresh: bool = False,
    share: Share | None = None,
    stores: Path | None = None,
    weights: str | None = None,
    registry: Registry | None = None,
) -> Request:
    """A checked request to run a method over a dataset that is open.

    Without a registry there is nowhere to look for backbones and galleries: only methods that look
    at nothing or at pictures can be run.
    """
    if subset.limit is not None and subset.limit < 1:
        raise UsageError(f"limit {subset.limit} leaves nothing to run", fix="give 1 or more")
    device = choose_device(entry, device)
    share = share or Share.of_environment()
    shelf = None if registry is None else Shelf(registry, stores_root(stores), device, weights, share)
    return Request(
        method=entry,
        params=build_params(entry, parameters),
        dataset_name=dataset_name,
        dataset=dataset,
        label=label or entry.name,
        out=results_root(out),
        context=Context(device=device, seed=seed, stores=shelf),
        subset=subset,
        tile=tile,
        fresh=fresh,
        share=share,
        shelf=shelf,
    )


def score(
    answers: Run | pd.DataFrame,
    truth: pd.DataFrame | None = None,
    *,
    protocol: str | None = None,
    radii_km: Sequence[float] = RADII_KM,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score a stored run, or a table of `id, latitude, longitude` against a truth table.

    Tables are joined by `id`; a truth row without an answer is a miss. A run holds its truth;
    only administrative accuracy needs the dataset's table, with its place names.
    """
    if isinstance(answers, Run):
        name = protocol or answers.record["dataset"]["default_protocol"]
        given = None if truth is None else lambda: truth
        return score_run(answers, name, radii_km=radii_km, resamples=resamples, seed=seed, truth=given)
    if truth is None:
        raise UsageError("a table of answers needs a truth table to be scored against")
    frame = _joined(answers, truth)
    chosen = get_protocol(protocol or "wgs84-lt")
    return score_frame(frame, chosen, radii_km=radii_km, resamples=resamples, seed=seed)


def break_down(
    run: Run,
    by: str,
    truth: pd.DataFrame | None = None,
    *,
    gallery: Floats | None = None,
    bins: int = BINS,
    protocol: str | None = None,
    radii_km: Sequence[float] = RADII_KM,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Breakdown:
    """Score slices of a stored run: by country, continent, density, author or a column of the truth.

    `truth` is the dataset's table, without which only density and author can be told. `gallery` are the
    points `(m, 2)` whose density is meant.
    """
    from .breakdowns import break_down_run

    return break_down_run(
        run,
        by,
        truth=lambda: _needed(truth, by, "the truth table"),
        gallery=lambda: _needed(gallery, by, "the points of a gallery"),
        bins=bins,
        protocol=protocol,
        radii_km=radii_km,
        resamples=resamples,
        seed=seed,
    )


def _needed(given: Given | None, by: str, what: str) -> Given:
    if given is None:
        raise UsageError(f"slices by '{by}' need {what}")
    return given


def read_run(run: str | Path, out: str | Path | None = None) -> Run:
    """A finished run by path, key prefix or `METHOD@DATASET`."""
    return find_run(str(run), results_root(None if out is None else Path(out)))


def params_class(entry: Entry[MethodInfo]) -> type[Any]:
    """The parameter dataclass of a method."""
    declared: type[Any] = getattr(entry.load(), "Params", NoParams)
    return declared


def build_params(entry: Entry[MethodInfo], settings: Mapping[str, Any]) -> Any:
    return parameters.build(params_class(entry), settings, f"method '{entry.name}'")


def choose_device(entry: Entry[MethodInfo], device: str) -> str:
    """`auto` is the GPU where there is one, and the CPU for methods that compute nothing on it."""
    if device != "auto":
        return device
    if getattr(entry.load(), "input", None) in ("none", "id"):  # a parameter may name a backbone
        return "cpu"
    return default_device()


def _joined(answers: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    for name, table in (("answers", answers), ("truth", truth)):
        missing = {"id", "latitude", "longitude"} - set(table.columns)
        if missing:
            raise UsageError(f"the {name} table lacks {', '.join(sorted(missing))}")
        if table["id"].duplicated().any():
            first = table["id"][table["id"].duplicated()].iloc[0]
            raise UsageError(f"the {name} table has id '{first}' twice")
    renamed = {"latitude": "predicted_latitude", "longitude": "predicted_longitude"}
    given = answers[["id", "latitude", "longitude"]].rename(columns=renamed)
    frame = truth.merge(given, on="id", how="left", validate="one_to_one", indicator=True)
    places = frame[["predicted_latitude", "predicted_longitude"]].to_numpy(dtype=np.float64, copy=True)
    frame["status"] = statuses(Predictions(places))
    frame.loc[frame.pop("_merge") == "left_only", "status"] = "missing"
    places[frame["status"] != "ok"] = np.nan
    frame[["predicted_latitude", "predicted_longitude"]] = places
    if "author" not in frame:
        frame["author"] = None
    return frame
