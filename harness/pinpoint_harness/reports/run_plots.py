"""Pictures of runs: how errors are distributed, where they happen, and what stood to choose from.

Every function gives a matplotlib Figure; `pictures` makes a file of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..evaluation.bootstrap import Clusters, cluster_draws, cluster_rows
from ..geo import geodesic_km
from ..running import candidates_of, most_probable_first, radii_of
from ..running.predictions import to_frame
from ..types import Candidates
from .maps import draw_land, latitude_label, longitude_label, longitude_on, printable, world_axes
from .tables.names import short_names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..running import Run
    from ..types import Floats
    from .photo_lookup import Photo, PhotoLookup

FARTHEST_KM = 20_004.0
"""From pole to pole, the longest way on WGS84."""

NEAREST_KM = 0.01

_BAND_COLOURS = ("#16317d", "#2a7ab9", "#3fae9a", "#f0a32f", "#df5327", "#85091c")
"""Errors within five radii and beyond, near to far; told apart by most colour-blind readers."""

NEAR_KM = 25.0
NEAR_COLOUR, FAR_COLOUR, QUERY_COLOUR = "#1a9641", "#d7191c", "#444444"

SILENT_COLOUR = "#111111"

AROUND_DEG = 15.0
_HEXAGONS = (144, 41)
"""Columns and rows of hexagons of 2.5 degrees: regular ones are the square root of three as far apart."""

_SILENT_KM = 1e9
"""Stands for no answer: hexbin leaves out what is not finite."""

_HEXAGON_AREA = (5.0, 46.0)
_LINES = ("solid", "dashed", "dotted", "dashdot")
_BAND_KM = np.geomspace(NEAREST_KM, FARTHEST_KM, 160)
_CURVE_KM = np.geomspace(NEAREST_KM, FARTHEST_KM, 2000)


def band_colours(radii: int) -> list[str]:
    """A colour for errors within each of so many radii, and one for those beyond, near to far."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    if radii + 1 == len(_BAND_COLOURS):
        return list(_BAND_COLOURS)
    ramp = LinearSegmentedColormap.from_list("bands", _BAND_COLOURS)
    return [to_hex(ramp(share)) for share in np.linspace(0, 1, radii + 1)]


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
            fix="give the runs of one dataset at a time; `pinpoint runs list --dataset NAME` shows them",
        )


def share_within(error_km: Floats, at_km: Floats) -> Floats:
    """Share of all rows, in percent, whose error is at most each distance; NaN is never reached."""
    reached = np.sort(error_km[~np.isnan(error_km)])
    return 100.0 * np.searchsorted(reached, at_km, side="right") / len(error_km)


def error_cdf(runs: Sequence[Run]) -> Figure:
    """The share of photos within each distance, a curve per run, distances on a log scale.

    Each has its pointwise 95 % band from a bootstrap over photographers, where there are several. Photos
    without an answer are never reached: where there are any, a curve ends below 100 %.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    check_one_dataset(runs)
    figure = Figure(figsize=(7.5, 4.6 + 0.2 * len(runs)), dpi=110, layout="constrained")
    axes = figure.add_subplot(xscale="log", xlim=(NEAREST_KM, FARTHEST_KM), ylim=(0, 101))
    radii_km = radii_of(runs)
    curve_km = np.unique([*_CURVE_KM, *radii_km])
    for radius in radii_km:
        axes.axvline(radius, color="0.8", linewidth=0.8, zorder=0)
        axes.annotate(
            f"{radius:g} km", (radius, 101), (0, 2), textcoords="offset points", ha="center", fontsize=8
        )
    handles: list[Artist] = []
    names, banded = [], False
    for number, (run, short) in enumerate(zip(runs, short_names(runs), strict=True)):
        frame = run.predictions()
        error_km = frame["error_km"].to_numpy(np.float64)
        colour, style = f"C{number % 10}", _LINES[number // 10 % len(_LINES)]
        if (band := share_band(error_km, cluster_rows(frame, ""), _BAND_KM)) is not None:
            axes.fill_between(_BAND_KM, *band, color=colour, alpha=0.2, linewidth=0)
            banded = True
        handles += axes.plot(curve_km, share_within(error_km, curve_km), color=colour, linestyle=style)
        names.append(_curve_name(run, short, error_km))
    axes.set_xlabel("error, km (WGS84)")
    axes.set_ylabel("photos within this distance, %")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    title = f"{printable(runs[0].dataset)}: error of every photo"
    axes.set_title(title, pad=20, parse_math=False)
    if banded:
        handles.append(Patch(color="0.5", alpha=0.3, linewidth=0))
        names.append("95 % band of each curve, by photographer")
    legend = figure.legend(handles, names, loc="outside lower left", fontsize=8.5, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def share_band(
    error_km: Floats, clusters: Clusters, at_km: Floats, resamples: int = 500
) -> tuple[Floats, Floats] | None:
    """Where 95 % of `share_within` at each distance lies when photographers are drawn: low, high, in percent.

    None for fewer than two photographers, of which nothing can be drawn.
    """
    if clusters.count < 2:
        return None
    # The first distance that reaches a photo; those that none reaches come last and are left out.
    first = np.searchsorted(at_km, np.nan_to_num(error_km, nan=np.inf), side="left")
    sums = np.zeros((clusters.count, len(at_km) + 1))
    np.add.at(sums, (clusters.codes, first), 1.0)
    within = sums[:, :-1].cumsum(axis=1)  # (clusters, distances)
    size = sums.sum(axis=1)
    draws = np.array(list(cluster_draws(clusters.count, resamples, seed=0)))  # (resamples, clusters)
    shares = 100.0 * (draws @ within) / (draws @ size)[:, None]
    low, high = np.percentile(shares, [2.5, 97.5], axis=0)
    return low, high


def error_map(run: Run, *, lines: int = 0) -> Figure:
    """Where the photos were taken, in hexagons coloured by the median error of their photos.

    The more photos, the larger a hexagon; one whose median photo has no answer is black. The key counts
    photos, not hexagons. The farthest `lines` answers are joined with the truth by the shortest way.
    """
    from matplotlib.figure import Figure

    frame = run.predictions()
    error_km = frame["error_km"].to_numpy(np.float64)
    places = frame[["latitude", "longitude"]].to_numpy(np.float64)
    figure = Figure(figsize=(12, 7.1), dpi=110, layout="constrained")
    axes = world_axes(figure, title=_short(f"{run.dataset}: {len(frame):,} photos, by {run.label}", 115))
    sizes = _draw_hexagons(axes, places, error_km, run.radii_km)
    answers = frame[["predicted_latitude", "predicted_longitude"]].to_numpy(np.float64)
    farthest = choose_rows(error_km, lines, worst=True)
    for row in farthest:
        _draw_way(axes, places[row], answers[row])
    _band_legend(figure, _band(error_km, run.radii_km), run.radii_km, len(farthest), sizes)
    return figure


def _band(error_km: Floats, radii_km: Sequence[float]) -> NDArray[np.int64]:
    """Which of the bands each error lies in; -1 without an answer."""
    found = np.searchsorted(radii_km, error_km, side="left")
    return np.where(np.isfinite(error_km), found, -1)


def _draw_hexagons(
    axes: Axes, places: Floats, error_km: Floats, radii_km: Sequence[float]
) -> dict[int, float]:
    """Hexagons of photos; returns the area of the key's numbers of photos."""
    missed = np.where(np.isnan(error_km), _SILENT_KM, error_km)
    grid: dict[str, Any] = {"gridsize": _HEXAGONS, "extent": (-180, 180, -90, 90)}
    x, y = places[:, 1], places[:, 0]
    # The middle photo, not the mean of two: a band is that of a photo that is there.
    binned = axes.hexbin(x, y, C=missed, reduce_C_function=_middle, **grid)
    counted = axes.hexbin(x, y, C=missed, reduce_C_function=len, **grid)
    centres = np.asarray(binned.get_offsets())
    median, count = np.asarray(binned.get_array()), np.asarray(counted.get_array())
    median = np.where(median == _SILENT_KM, np.nan, median)
    for drawn in (binned, counted):
        drawn.remove()
    most = int(count.max())
    colours = np.array([*band_colours(len(radii_km)), SILENT_COLOUR])[_band(median, radii_km)]
    order = np.argsort(-count, kind="stable")  # large ones below
    axes.scatter(
        centres[order, 0],
        centres[order, 1],
        s=_area(count[order], most),
        c=colours[order],
        marker="h",
        linewidths=0.3,
        edgecolors="white",
        zorder=2,
    )
    numbers = [number for number in (1, 10, 100, 1000, 10_000) if 2 * number < most] + [most]
    return {number: float(_area(np.array([number]), most)[0]) for number in numbers}


def _middle(errors: NDArray[Any] | list[float]) -> float:
    return float(np.sort(errors)[(len(errors) - 1) // 2])


def _area(count: NDArray[Any], most: int) -> Floats:
    """Points squared: from a dot for one photo to a hexagon that fills its place for the most."""
    share = np.log1p(count - 1) / max(np.log1p(most - 1), 1e-9)
    area: Floats = _HEXAGON_AREA[0] + (_HEXAGON_AREA[1] - _HEXAGON_AREA[0]) * share
    return area


def choose_rows(error_km: Floats, count: int, *, worst: bool, seed: int = 0) -> NDArray[np.int64]:
    """Rows to look at: by chance and in their order, or the farthest answers, farthest first.

    Photos without an answer are no worst answers, but chance may choose them.
    """
    if worst:
        ranked = np.argsort(-error_km, kind="stable")  # NaN last
        return ranked[: min(count, int((~np.isnan(error_km)).sum()))]
    return np.sort(np.random.default_rng(seed).permutation(len(error_km))[:count])


def candidate_sheet(photo_lookup: PhotoLookup, rows: NDArray[np.int64], *, most: int = 6) -> Figure:
    """A line for each row: the query, then its candidates with their distance to the truth.

    Candidates stand by probability where they have one, else as the method ranks them; those within 25 km
    have a green border, others a red one. Where a photo cannot be had, a map of the place stands for it and
    the foot of the sheet says why. A run without candidates shows its answer instead.
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
    legend = "query, then candidates in order; distance to the truth; green border within 25 km, red beyond"
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
    found, _ = most_probable_first(candidates_of(table) or Candidates(answer[:, None]))
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


def _band_legend(
    figure: Figure,
    band: NDArray[np.int64],
    radii_km: Sequence[float],
    ways: int,
    sizes: Mapping[int, float],
) -> None:
    """What colours and sizes mean, with the number and share of all photos of each band."""
    from matplotlib.lines import Line2D

    bounds = [0.0, *radii_km]
    words = [f"{low:g} to {high:g} km" for low, high in pairwise(bounds)] + [f"over {radii_km[-1]:g} km"]
    colours = band_colours(len(radii_km))
    entries = [(number, word, colours[number]) for number, word in enumerate(words)]
    if (band < 0).any():
        entries.append((-1, "no answer", SILENT_COLOUR))
    none: dict[str, Any] = {"linestyle": "none", "marker": "h", "markersize": 8}
    handles = [
        Line2D([], [], label=f"{word}: {_count(band == number)}", color=colour, **none)
        for number, word, colour in entries
    ]
    for number, area in sizes.items():
        label = f"{number:,} photo{'s' * (number > 1)} in a hexagon"
        handles.append(Line2D([], [], label=label, color="0.6", **(none | {"markersize": area**0.5})))
    handles.append(Line2D([], [], linestyle="none", label="colour of a hexagon: median error"))
    if ways:
        label = f"from the truth to the {ways} farthest answers (rings)"
        handles.append(Line2D([], [], color="0.25", linewidth=0.6, label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)


def _count(chosen: NDArray[np.bool_]) -> str:
    return f"{int(chosen.sum()):,} ({chosen.mean():.1%})"


def _curve_name(run: Run, short: str, error_km: Floats) -> str:
    """The short name, and what a reader must know of the curve: where it ends, what it is of."""
    answered = float((~np.isnan(error_km)).mean())
    notes = [
        *([f"{answered:.1%} of {len(error_km):,} answered"] if answered < 1 else []),
        *([f"partial: {run.partial}"] if run.partial else []),
        *(["oracle"] if run.oracle else []),
    ]
    return _short(": ".join([short, *(["; ".join(notes)] if notes else [])]), 110)


def _short(text: str, length: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def _km(distance_km: float) -> str:
    return f"{distance_km:,.{2 if distance_km < 10 else 0}f} km"


def _place_label(place: Floats) -> str:
    return f"{latitude_label(round(place[0], 3))} {longitude_label(round(place[1], 3))}"


def _write(figure: Figure, x: float, y: float, text: str, *, size: float, top: bool = False) -> None:
    figure.text(x, y, text, fontsize=size, va="top" if top else "bottom", parse_math=False)
