"""Datasets, runs and what they are worth: DataFrames in, DataFrames out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from ..artifacts import Subset
from ..errors import UsageError
from ..evaluation import ADMIN_PRESETS, BINS, DISTRIBUTIONS, Scores, get_protocol, score_frame, score_run
from ..evaluation import compare as compare_runs
from ..evaluation.calibration import calibrate as calibrate_run
from ..evaluation.scoring import RESAMPLES
from ..home import Home, find_home
from ..plugins import Registry, load_registry
from ..processes import joined_processes
from ..readers.answer_values import Order, Units
from ..readers.prediction_files import Answers, answers_of_frame
from ..readers.truth import checked_truth
from ..running import TILE, Run, build_request, find_run, statuses
from ..running.runner import run
from ..types import RADII_KM, DataLocation
from .python_words import speaks_python

if TYPE_CHECKING:
    from ..evaluation.breakdown import Breakdown
    from ..types import Floats

log = logging.getLogger(__name__)

Given = TypeVar("Given")


@speaks_python
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

    Examples:
        >>> truth = load_dataset("capitals")
        >>> truth.loc[truth["id"] == "FR", "latitude"].round(2).item()
        48.85
    """
    return (registry or load_registry()).open_dataset(name, data_location(data, columns)).truth()


@speaks_python
def evaluate(
    method: str,
    dataset: str,
    *,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    images: Sequence[str | Path] = (),
    follow_links: bool = False,
    gallery_images: Sequence[str | Path] = (),
    parameters: Mapping[str, Any] | None = None,
    home: Home | str | Path | None = None,
    label: str | None = None,
    limit: int | None = None,
    ids: Sequence[str] | None = None,
    seed: int | None = None,
    device: str = "auto",
    tile: int = TILE,
    fresh: bool = False,
    weights: str | None = None,
    registry: Registry | None = None,
    protocol: str | None = None,
    out: str | Path | None = None,
    stores: str | Path | None = None,
) -> Run:
    """Run a method over a dataset, or reuse the run if it is stored already, and score it.

    `parameters` are the method's, by name. `follow_links` opens pictures that links outside of their folder
    lead to; `gallery_images` are the pictures of a gallery that has no features yet, where they do not lie
    with its dataset's other files. Runs, features and trained stages lie below `home` (default
    `$PINPOINT_HOME`, then `results`; `out` and `stores` are the old way to move runs and features alone).
    `weights` is a folder or id instead of the weights the backbone names.

    The answers lie in `run.folder`; `run.predictions()` gives them as a DataFrame, `score(run)` what they
    are worth, and `table(dataset)` sets the run beside others. What is stored is the score by `protocol`,
    without it by the dataset's own.

    Examples:
        >>> run = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
        >>> run.title
        'constant (latitude=15.5, longitude=32.56)'
        >>> run.predictions()[["id", "predicted_latitude", "error_km"]].shape
        (193, 3)
    """
    registry = registry or load_registry()
    location = data_location(data, columns, images, follow_links)
    opened = registry.open_dataset(dataset, location)
    if protocol is not None and protocol not in (*ADMIN_PRESETS, *DISTRIBUTIONS):
        get_protocol(protocol)  # now, and not after a run of hours
    request = build_request(
        registry.method(method),
        dataset,
        opened,
        parameters=parameters or {},
        subset=Subset(limit, ids),
        seed=seed,
        device=device,
        label=label,
        home=find_home(home, runs=out, stores=stores),
        tile=tile,
        fresh=fresh,
        weights=weights,
        registry=registry,
        gallery_images=[Path(place) for place in gallery_images],
    )
    with joined_processes(request.context.device) as processes:
        done = run(request)
        default = done.record["dataset"]["default_protocol"]
        processes.by_first(lambda: score_run(done, protocol or default, truth=opened.truth))
    return done


def data_location(
    data: str | Path | None,
    columns: Mapping[str, str] | None = None,
    images: Sequence[str | Path] = (),
    follow_links: bool = False,
) -> DataLocation:
    """Where a dataset's truth and pictures lie, as the functions of the package are told."""
    places = tuple(Path(place) for place in images)
    return DataLocation(None if data is None else Path(data), dict(columns or {}), places, follow_links)


@speaks_python
def score(
    answers: Run | pd.DataFrame,
    truth: pd.DataFrame | None = None,
    *,
    protocol: str | None = None,
    radii_km: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    select: str | None = None,
    columns: Mapping[str, str] | None = None,
    units: Units = "auto",
    order: Order = "latlon",
    allow_truth: bool = False,
) -> Scores:
    """Score a stored run, or a table of answers such as `id, latitude, longitude` against a truth table.

    Tables go through the checks of `pinpoint score FILE`, and `select`, `columns`, `units`, `order` and
    `allow_truth` are its options (see `readers.read_answers`): photos are joined by their names in any
    spelling, a truth row without an answer is a miss, and what is not understood is refused. A run holds
    its truth; only administrative accuracy needs the dataset's table, with its place names.

    Examples:
        >>> truth = load_dataset("capitals")
        >>> answers = truth[["id", "latitude", "longitude"]].head(50)
        >>> score(answers, truth, allow_truth=True).estimates["acc_25km"].value  # 50 of 193
        25.90...
    """
    if isinstance(answers, Run):
        name = protocol or answers.record["dataset"]["default_protocol"]
        given = None if truth is None else lambda: truth
        return score_run(answers, name, radii_km=radii_km, resamples=resamples, seed=seed, truth=given)
    if not isinstance(answers, pd.DataFrame):
        raise UsageError(
            "answers are a Run or a DataFrame",
            found=type(answers).__name__,
            fix='pandas.read_csv("answers.csv"), or `pinpoint score` for a file of another form',
        )
    if truth is None:
        raise UsageError("a table of answers needs a truth table to be scored against")
    if not isinstance(truth, pd.DataFrame):
        raise UsageError(
            "the truth is a DataFrame",
            found=type(truth).__name__,
            fix='load_dataset("table", data="truth.csv")',
        )
    read = answers_of_frame(
        answers, select=select, columns=columns, units=units, order=order, allow_truth=allow_truth
    )
    frame = _joined(read, truth)
    chosen = get_protocol(protocol or "wgs84-lt")
    radii_km = RADII_KM if radii_km is None else radii_km
    return score_frame(frame, chosen, radii_km=radii_km, resamples=resamples, seed=seed)


@speaks_python
def break_down(
    run: Run,
    by: str,
    truth: pd.DataFrame | None = None,
    *,
    gallery: Floats | None = None,
    bins: int = BINS,
    protocol: str | None = None,
    radii_km: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Breakdown:
    """Score slices of a stored run: by country, continent, density, author or a column of the truth.

    `truth` is the dataset's table, without which only density and author can be told. `gallery` are the
    points `(m, 2)` whose density is meant.

    Examples:
        >>> run = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
        >>> found = break_down(run, "continent", load_dataset("capitals"))
        >>> sorted({row["slice"] for row in found.to_frame().to_dict("records")})[:2]
        ['Africa', 'Asia']
    """
    from ..evaluation.breakdown import break_down_run

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


@speaks_python
def read_run(run: str | Path, out: str | Path | None = None, *, home: Home | str | Path | None = None) -> Run:
    """A finished run below `home` by path, key prefix or `METHOD@DATASET` (`@latest` behind it: the newest).

    `out` is the old way to name the folder of runs.

    Examples:
        >>> made = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.56})
        >>> read_run("constant@capitals") == read_run(made.key[:8]) == made
        True
    """
    found = find_home(home, runs=out)
    return find_run(str(run), found.runs, found.runs_made())


compare = speaks_python(compare_runs)
calibrate = speaks_python(calibrate_run)


def _joined(answers: Answers, truth: pd.DataFrame) -> pd.DataFrame:
    """Rows of truth and answers as in a run's table, after the checks that files go through."""
    rows = checked_truth(truth)
    predictions = answers.of_photos(rows)
    for note in predictions.notes:
        log.warning("%s", note)
    rows[["predicted_latitude", "predicted_longitude"]] = predictions.coordinates
    rows["status"] = statuses(predictions)
    return rows
