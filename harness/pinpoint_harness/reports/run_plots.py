"""Pictures of runs: how errors are distributed, where they happen, and what stood to choose from.

Every function gives a matplotlib Figure; `maps.png` makes a file of it.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..geo import geodesic_km
from ..running import candidates_of
from ..running.predictions import to_frame
from ..types import RADII_KM, Candidates
from .maps import draw_land, latitude_label, longitude_label, longitude_on, printable, world_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..running import Run
    from ..types import Floats
    from .photo_lookup import Photo, PhotoLookup

FARTHEST_KM = 20_004.0
"""From pole to pole, the longest way on WGS84."""

NEAREST_KM = 0.01

BAND_COLOURS = ("#16317d", "#2a7ab9", "#3fae9a", "#f0a32f", "#df5327", "#85091c")
"""Errors within the five radii and beyond, near to far; told apart by most colour-blind readers."""

NEAR_KM = 25.0
NEAR_COLOUR, FAR_COLOUR, QUERY_COLOUR = "#1a9641", "#d7191c", "#444444"

AROUND_DEG = 15.0
_MOST_POINTS = 20_000
_LINES = ("solid", "dashed", "dotted", "dashdot")
_CURVE_KM = np.unique([*np.geomspace(NEAREST_KM, FARTHEST_KM, 2000), *RADII_KM])


def check_one_dataset(runs: Sequence[Run]) -> None:
    """UsageError unless all runs, each named once, are over one edition of one dataset."""
    folders = Counter(run.folder.resolve() for run in runs)
    again = [folder for folder, times in folders.items() if times > 1]
    if again:
        raise UsageError(f"the run '{again[0]}' is named twice", fix="name each run once")
    asked = {(run.dataset, run.record["recipe"]["dataset_hash"]): run for run in runs}
    if len(asked) > 1:
        found = ", ".join(f"{run.label} on {name} ({edition[:8]})" for (name, edition), run in asked.items())
        raise UsageError(
            "these runs do not share one dataset, so their curves cannot stand in one picture",
            found=found,
            fix="give the runs of one dataset at a time; `pinpoint results list --dataset NAME` shows them",
        )


def share_within(error_km: Floats, at_km: Floats) -> Floats:
    """Share of all rows, in percent, whose error is at most each distance; NaN is never reached."""
    reached = np.sort(error_km[~np.isnan(error_km)])
    return 100.0 * np.searchsorted(reached, at_km, side="right") / len(error_km)


def error_cdf(runs: Sequence[Run]) -> Figure:
    """The share of photos within each distance, a curve per run, distances on a log scale.

    Photos without an answer are never reached: where there are any, a curve ends below 100 %.
    """
    from matplotlib.figure import Figure

    check_one_dataset(runs)
    errors_km = [run.predictions()["error_km"].to_numpy(np.float64) for run in runs]
    names = [_curve_name(*pair) for pair in zip(runs, errors_km, strict=True)]
    lines = "\n".join(names).count("\n") + 1
    figure = Figure(figsize=(9, 5.2 + 0.2 * lines), dpi=110, layout="constrained")
    axes = figure.add_subplot(xscale="log", xlim=(NEAREST_KM, FARTHEST_KM), ylim=(0, 101))
    for radius in RADII_KM:
        axes.axvline(radius, color="0.8", linewidth=0.8, zorder=0)
        axes.annotate(
            f"{radius:g} km", (radius, 101), (0, 2), textcoords="offset points", ha="center", fontsize=8
        )
    curves = []
    for number, error_km in enumerate(errors_km):
        style = _LINES[number // 10 % len(_LINES)]
        share = share_within(error_km, _CURVE_KM)
        curves += axes.plot(_CURVE_KM, share, color=f"C{number % 10}", linestyle=style)
    axes.set_xlabel("error, km (WGS84)")
    axes.set_ylabel("photos within this distance, %")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_title(f"{printable(runs[0].dataset)}: error of every photo", pad=20, parse_math=False)
    legend = figure.legend(curves, names, loc="outside lower left", fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def error_map(run: Run, *, lines: int = 0, most: int = _MOST_POINTS, seed: int = 0) -> Figure:
    """Where the photos were taken, coloured by error; photos without an answer are crosses.

    Of more than `most` photos as many are drawn, by chance, and the title says so; the legend
    counts all. The farthest `lines` answers are joined with the truth by the shortest way.
    """
    from matplotlib.figure import Figure

    frame = run.predictions()
    error_km = frame["error_km"].to_numpy(np.float64)
    places = frame[["latitude", "longitude"]].to_numpy(np.float64)
    band = np.where(np.isnan(error_km), -1, np.searchsorted(RADII_KM, error_km, side="left"))
    shown = np.random.default_rng(seed).permutation(len(frame))[:most]  # by chance on top of each other, too
    drawn = "" if len(shown) == len(frame) else f", {len(shown):,} drawn by chance"
    figure = Figure(figsize=(12, 6.9), dpi=110, layout="constrained")
    axes = world_axes(
        figure, title=_short(f"{run.dataset}: {len(frame):,} photos{drawn}, by {run.title}", 115)
    )
    answered, silent = shown[band[shown] >= 0], shown[band[shown] < 0]
    # Crosses lie below: where many photos were taken in one place they would hide the others.
    axes.scatter(places[silent, 1], places[silent, 0], s=14, c="black", marker="x", linewidths=0.8)
    colours = np.array(BAND_COLOURS)[band[answered]]
    axes.scatter(places[answered, 1], places[answered, 0], s=9, c=colours, alpha=0.75, linewidths=0)
    answers = frame[["predicted_latitude", "predicted_longitude"]].to_numpy(np.float64)
    farthest = choose_rows(error_km, lines, worst=True)
    for row in farthest:
        _draw_way(axes, places[row], answers[row])
    _band_legend(figure, band, len(farthest))
    return figure


def choose_rows(error_km: Floats, count: int, *, worst: bool, seed: int = 0) -> NDArray[np.int64]:
    """Rows to look at: by chance and in their order, or the farthest answers, farthest first.

    Photos without an answer are no worst answers, but chance may choose them.
    """
    if worst:
        ranked = np.argsort(-error_km, kind="stable")  # NaN last
        return ranked[: min(count, int((~np.isnan(error_km)).sum()))]
    return np.sort(np.random.default_rng(seed).permutation(len(error_km))[:count])


def candidate_sheet(photo_lookup: PhotoLookup, rows: NDArray[np.int64], *, most: int = 6) -> Figure:
    """A line for each row: the query, then its candidates, best first, with their distance to the truth.

    Candidates within 25 km have a green border, others a red one. Where a photo cannot be had, a map
    of the place stands for it and the foot of the sheet says why. A run without candidates shows
    its answer instead.
    """
    from matplotlib.figure import Figure

    queries, choices = _look_up(photo_lookup, rows, most)
    columns = max(4, 1 + max((len(line) for line in choices), default=0))  # wide enough for the title
    notes = _notes([*queries, *(cell for line in choices for cell in line)])
    width, height = columns * 1.75, len(rows) * 2.15 + 0.85 + 0.16 * len(notes)
    figure = Figure(figsize=(width, height), dpi=110)
    edges = {"left": 0.1 / width, "right": 1 - 0.1 / width, "top": 1 - 1.05 / height}
    foot = (0.1 + 0.16 * len(notes)) / height
    grid = figure.subplots(
        len(rows), columns, squeeze=False, gridspec_kw={**edges, "bottom": foot, "wspace": 0.1, "hspace": 0.3}
    )
    for line, query, others in zip(grid, queries, choices, strict=True):
        for axes, cell in zip(line, [query, *others], strict=False):
            _draw_cell(axes, cell)
        for axes in line[1 + len(others) :]:
            axes.set_axis_off()
        if not others:
            line[1].set_title("no candidates", fontsize=6.5, pad=4, loc="left")
    title = f"{_short(photo_lookup.run.title, int(width * 9))} on {photo_lookup.run.dataset}"
    _write(figure, 0.1 / width, 1 - 0.1 / height, title, size=10, top=True)
    legend = "query, then candidates, best first; distance to the truth, green border within 25 km"
    _write(figure, 0.1 / width, 1 - 0.32 / height, legend, size=8, top=True)
    _write(figure, 0.1 / width, 0.06 / height, "\n".join(notes), size=7)
    return figure


@dataclass(frozen=True)
class _Cell:
    """A photo, or why there is none; where it was taken; what is written above; the border's colour."""

    photo: Photo
    place: Floats
    caption: tuple[str, ...]
    colour: str


def _look_up(
    photo_lookup: PhotoLookup, rows: NDArray[np.int64], most: int
) -> tuple[list[_Cell], list[list[_Cell]]]:
    """The cells of the queries, and of each one's candidates."""
    table = photo_lookup.run.table().take(rows)
    frame = to_frame(table)
    truth = frame[["latitude", "longitude"]].to_numpy(np.float64)
    answer = frame[["predicted_latitude", "predicted_longitude"]].to_numpy(np.float64)
    queries = [
        _Cell(photo, place, (name, _place_label(place), said), QUERY_COLOUR)
        for photo, place, name, said in zip(
            photo_lookup.queries(frame["id"].tolist(), truth),
            truth,
            frame["id"],
            _sayings(frame),
            strict=True,
        )
    ]
    found = candidates_of(table) or Candidates(answer[:, None])
    places = found.coordinates[:, :most]  # (n, k, 2)
    kept = ~np.isnan(places[..., 0])  # (n, k)
    query = np.nonzero(kept)[0]
    flat = places[kept]  # (m, 2)
    nothing = np.full(kept.shape, "")
    source, photo_id = (
        (nothing if names is None else names[:, :most])[kept] for names in (found.source, found.photo_id)
    )
    distance_km = geodesic_km(truth[query], flat)
    choices: list[list[_Cell]] = [[] for _ in rows]
    for at, photo in enumerate(photo_lookup.candidates(source, photo_id, flat)):
        word = "answer: " if (flat[at] == answer[query[at]]).all() else ""
        caption = (word + _km(distance_km[at]), _place_label(flat[at]), str(source[at]))
        colour = NEAR_COLOUR if distance_km[at] <= NEAR_KM else FAR_COLOUR
        choices[query[at]].append(_Cell(photo, flat[at], caption, colour))
    return queries, choices


def _sayings(frame: pd.DataFrame) -> list[str]:
    """What became of each query, in a few words."""
    return [
        f"error {_km(error_km)}" if status == "ok" else f"no answer: {status}"
        for error_km, status in zip(frame["error_km"], frame["status"], strict=True)
    ]


def _draw_cell(axes: Axes, cell: _Cell) -> None:
    if isinstance(cell.photo, str):
        _draw_surroundings(axes, cell.place)
    else:
        axes.imshow(cell.photo)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=cell.colour, linewidth=3.5)
    caption = "\n".join(_short(line, 30) for line in cell.caption if line)
    axes.set_title(caption, fontsize=6.5, pad=4, loc="left", parse_math=False)


def _draw_surroundings(axes: Axes, place: Floats) -> None:
    """A map of some 3,300 km around a place, with a dot on it."""
    latitude, longitude = place.tolist()
    middle = float(np.clip(latitude, AROUND_DEG - 89, 89 - AROUND_DEG))
    half = AROUND_DEG / np.cos(np.radians(middle))
    west, east = (float((longitude + side + 180) % 360 - 180) for side in (-half, half))
    draw_land(axes, (west, middle - AROUND_DEG, east, middle + AROUND_DEG))
    axes.scatter(longitude_on(axes, np.array([longitude])), [latitude], s=30, c="black")
    axes.text(0.04, 0.04, "map", transform=axes.transAxes, fontsize=6.5, color="0.4")


def _notes(cells: Sequence[_Cell]) -> list[str]:
    """Why maps stand for photos, the commonest reason first, on short lines."""
    reasons = Counter(cell.photo for cell in cells if isinstance(cell.photo, str))
    return [
        f"{times} of {len(cells)} photos are shown as maps: {_short(why, 110)}"
        for why, times in reasons.most_common(5)
    ]


def _draw_way(axes: Axes, truth: Floats, answer: Floats) -> None:
    """The shortest way from the truth to an answer, going on at the other edge where it leaves the map."""
    from pyproj import Geod

    points = np.array(Geod(ellps="WGS84").npts(truth[1], truth[0], answer[1], answer[0], 98))
    way = np.vstack([truth[::-1], points, answer[::-1]])
    longitude = np.unwrap(way[:, 0], period=360)
    for turn in (-360, 0, 360):
        axes.plot(longitude + turn, way[:, 1], color="0.25", linewidth=0.6, alpha=0.7)
    axes.scatter([answer[1]], [answer[0]], s=16, facecolors="none", edgecolors="0.1", linewidths=0.8)


def _band_legend(figure: Figure, band: NDArray[np.int64], ways: int) -> None:
    """What the colours mean, with the number and share of all photos of each."""
    from matplotlib.lines import Line2D

    bounds = [0.0, *RADII_KM]
    words = [f"{low:g} to {high:g} km" for low, high in pairwise(bounds)] + [f"over {RADII_KM[-1]:g} km"]
    entries = [(number, word, "o", BAND_COLOURS[number]) for number, word in enumerate(words)]
    if (band < 0).any():
        entries.append((-1, "no answer", "x", "black"))
    handles = [
        Line2D(
            [], [], linestyle="none", label=f"{word}: {_count(band == number)}", marker=marker, color=colour
        )
        for number, word, marker, colour in entries
    ]
    if ways:
        label = f"from the truth to the {ways} farthest answers (rings)"
        handles.append(Line2D([], [], color="0.25", linewidth=0.6, label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)


def _count(chosen: NDArray[np.bool_]) -> str:
    return f"{int(chosen.sum()):,} ({chosen.mean():.1%})"


def _curve_name(run: Run, error_km: Floats) -> str:
    answered = float((~np.isnan(error_km)).mean())
    part = f"; partial: {run.partial}" if run.partial else ""
    name = f"{_short(run.title, 160)}: {answered:.1%} of {len(error_km):,} answered{part}"
    return textwrap.fill(name, 120, subsequent_indent="    ")


def _short(text: str, length: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def _km(distance_km: float) -> str:
    return f"{distance_km:,.{2 if distance_km < 10 else 0}f} km"


def _place_label(place: Floats) -> str:
    return f"{latitude_label(round(place[0], 3))} {longitude_label(round(place[1], 3))}"


def _write(figure: Figure, x: float, y: float, text: str, *, size: float, top: bool = False) -> None:
    figure.text(x, y, text, fontsize=size, va="top" if top else "bottom", parse_math=False)
