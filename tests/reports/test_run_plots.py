"""Pictures of runs: what the curves, maps and sheets say, and what stands where a photo cannot be had."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from pinpoint_harness.api import evaluate
from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation.bootstrap import cluster, estimate_all
from pinpoint_harness.features import FeatureStore, write_matrix_header
from pinpoint_harness.features.store import VERSION, store_files
from pinpoint_harness.images import Failure
from pinpoint_harness.images.decode import decode
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.reports.contact_sheet import fit_square
from pinpoint_harness.reports.photo_lookup import SIDE, PhotoLookup
from pinpoint_harness.reports.pictures import encoded
from pinpoint_harness.reports.run_plots import (
    FAR_COLOUR,
    NEAR_COLOUR,
    SILENT_COLOUR,
    _draw_hexagons,
    band_colours,
    candidate_sheet,
    choose_rows,
    error_cdf,
    error_map,
    share_band,
    share_within,
)
from pinpoint_harness.running import Run
from pinpoint_harness.types import RADII_KM, DataLocation

PLUGIN = '''
"""A gallery called `shelf`, and methods that answer every query with its rows."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pinpoint_harness import Candidates, DatasetInfo, MethodInfo, Predictions, hookimpl
from pinpoint_harness.features.store import FeatureStore
from pinpoint_harness.params import param
from pinpoint_harness.readers.truth import TableDataset, TruthSpec

INFO = DatasetInfo(title="Shelf", source="the test", licence="none")


class Shelf(TableDataset):
    spec = TruthSpec(name="shelf", info=INFO, files=("truth.csv",), ids="verbatim", images=("images",))


@dataclass(frozen=True)
class Params:
    store: str = param(help="folder of a feature store")
    unknown: bool = param(False, "name a dataset that is not registered")


class Rows:
    """Candidates are the store's rows in their order; the second is the answer."""

    Params = Params
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        self.store, self.unknown = FeatureStore.open(Path(params.store)), params.unknown

    def content(self):
        return {"store": self.store.key}

    def predict(self, queries):
        places = np.tile(self.store.coordinates(), (len(queries), 1, 1))
        shape = places.shape[:2]
        photo_id = np.tile(self.store.table["id"].to_numpy().astype(str), (len(queries), 1))
        source = np.full(shape, "nowhere" if self.unknown else "shelf")
        chosen = Candidates(places, source=source, photo_id=photo_id)
        return Predictions(places[:, 1], candidates=chosen)


@hookimpl
def pinpoint_register(register):
    register.dataset("shelf", f"{__name__}:Shelf", INFO)
    register.method("rows", f"{__name__}:Rows", MethodInfo(title="Rows"))
'''

QUERIES = {"q0.jpg": (10.0, 20.0), "q1.jpg": (-17.0, 179.9), "q$2_.jpg": (48.0, 2.0)}
GALLERY = {"g0.jpg": (-60.0, 100.0), "g1.jpg": (10.1, 20.1), "g2.jpg": (-17.1, -179.9), "g3.jpg": (0.0, 0.0)}
QUERY_RED, SHELF_GREEN = 200, 180


def dataset(folder: Path, places: dict[str, tuple[float, float]], colour: tuple[int, int, int]) -> Path:
    (folder / "images").mkdir(parents=True)
    rows = [f"{name},{latitude},{longitude}" for name, (latitude, longitude) in places.items()]
    (folder / "truth.csv").write_text("\n".join(["image,latitude,longitude", *rows]) + "\n")
    for name in places:
        stream = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(stream, "JPEG", quality=95)
        (folder / "images" / name).write_bytes(stream.getvalue())
    return folder


def shelf_store(root: Path) -> FeatureStore:
    """The gallery's feature store, of which `g3.jpg` could not be read: its rows are not the truth's."""
    frame = pd.DataFrame(
        {
            "id": list(GALLERY),
            "latitude": [place[0] for place in GALLERY.values()],
            "longitude": [place[1] for place in GALLERY.values()],
            "author": None,
            "source": "photos",
        }
    )

    def write(stream: Any) -> None:
        write_matrix_header(stream, 3, 2)
        stream.write(np.zeros((3, 2), np.float16).tobytes())

    spec = {"version": VERSION, "imported": {"set": "shelf"}, "dataset_hash": "0" * 64}
    record = {"dataset": "shelf", "backbone": "none", "rows": 3, "width": 2, "failed": 1,
              "normalisation": "none", "subset": None, "recipe": spec}  # fmt: skip
    artifact = Artifact.begin(root / "shelf" / "none", "features", spec)
    artifact.finish(store_files(frame, {3: "unreadable: torn"}, write, record))
    return FeatureStore.open(artifact.folder)


class World:
    """Queries, a gallery, its store and a run, as a user would have them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setenv("PINPOINT_DATA", str(root / "data"))
        monkeypatch.setenv("PINPOINT_HOME", str(root))
        self.queries = dataset(root / "queries", QUERIES, (QUERY_RED, 0, 0))
        self.gallery = dataset(root / "data" / "shelf", GALLERY, (0, SHELF_GREEN, 0))
        self.plugin = root / "shelf_plugin.py"
        self.plugin.write_text(PLUGIN)
        self.registry = load_registry([str(self.plugin)])
        self.store = shelf_store(root / "stores")
        self.location = DataLocation(self.queries / "truth.csv", {}, (self.queries / "images",))

    def run(self, method: str = "rows", label: str | None = None, **parameters: Any) -> Run:
        given = {"store": str(self.store.folder), **parameters} if method == "rows" else parameters
        return evaluate(
            method, "table", data=self.location.path, parameters=given, label=label, registry=self.registry
        )

    def photo_lookup(self, run: Run) -> PhotoLookup:
        return PhotoLookup(run, self.registry, self.location)

    def cells(self, run: Run, rows: tuple[int, ...] = (0, 1, 2)) -> list[list[Cell]]:
        figure = candidate_sheet(self.photo_lookup(run), np.array(rows))
        found = [Cell(axes) for axes in figure.axes]
        width = len(found) // len(rows)
        return [found[start : start + width] for start in range(0, len(found), width)]

    def notes(self, run: Run) -> str:
        figure = candidate_sheet(self.photo_lookup(run), np.array([0, 1, 2]))
        return "\n".join(text.get_text() for text in figure.texts)

    def pinpoint(self, *words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--plugin", str(self.plugin), *words])
        assert result.exit_code == code, result.output
        return result


class Cell:
    """What stands in one cell of a sheet."""

    def __init__(self, axes: Any) -> None:
        self.caption: list[str] = axes.get_title(loc="left").split("\n")
        self.border = to_hex(axes.spines["left"].get_edgecolor()) if axes.axison else None
        self.is_map = any(text.get_text() == "map" for text in axes.texts)
        self.middle = np.full(3, np.nan)
        if axes.images and not self.is_map:
            self.middle = axes.images[0].get_array()[SIDE // 2, SIDE // 2].astype(float)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_the_share_within_a_distance_counts_photos_without_an_answer_as_never_reached() -> None:
    error_km = np.array([0.5, np.nan, 25.0, 3000.0])
    assert share_within(error_km, np.array([0.1, 0.5, 24.9, 25.0, 20004.0])).tolist() == [0, 25, 25, 50, 75]


@given(
    st.lists(st.floats(0, 20004) | st.just(float("nan")), min_size=1, max_size=30),
    st.lists(st.floats(0, 20004), min_size=1, max_size=5),
)
def test_the_share_is_that_of_counting(errors: list[float], at: list[float]) -> None:
    counted = [100 * sum(error <= distance for error in errors) / len(errors) for distance in at]
    assert share_within(np.array(errors), np.array(at)) == pytest.approx(counted)


def test_a_curve_ends_at_the_share_that_was_answered(world: World, tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("id,latitude,longitude\nq0.jpg,10.0,20.5\nq1.jpg,-17,179.9\n")
    half = world.run("stored-predictions", label="_half $x$", file=file)
    figure = error_cdf([half, world.run()])
    (axes,) = figure.axes
    lines = [np.asarray(line.get_xydata()) for line in axes.lines]
    assert [line[-1, 1] for line in lines if len(line) > 2] == pytest.approx([200 / 3, 100])
    assert [line[0, 0] for line in lines if len(line) == 2] == [1, 25, 200, 750, 2500]
    names = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    assert names == ["_half $x$: 66.7% of 3 answered", "rows", "95 % band of each curve, by photographer"]
    for form, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        drawn = encoded(error_cdf([half, world.run()]), form)
        assert drawn.startswith(start)
        assert drawn == encoded(error_cdf([half, world.run()]), form)


def test_runs_on_different_datasets_or_editions_are_refused(world: World, tmp_path: Path) -> None:
    first = world.run("constant", latitude=1, longitude=1)
    other = evaluate("constant", "capitals", parameters={"latitude": 1, "longitude": 1})
    with pytest.raises(UsageError, match="do not share one dataset"):
        error_cdf([first, other])
    edition = tmp_path / "edition.csv"
    edition.write_text("image,latitude,longitude\nq0.jpg,11,20\n")
    moved = evaluate("constant", "table", data=edition, parameters={"latitude": 1, "longitude": 1})
    with pytest.raises(UsageError, match="do not share one dataset"):
        error_cdf([first, moved])
    with pytest.raises(UsageError, match="named twice"):
        error_cdf([first, first])


def test_the_map_counts_every_photo_and_has_a_key_for_all_it_shows(world: World, tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("id,latitude,longitude\nq0.jpg,10.0,20.5\nq1.jpg,-17,179.9\n")
    figure = error_map(world.run("stored-predictions", file=file))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == [
        "0 to 1 km: 1 (33.3%)", "1 to 25 km: 0 (0.0%)", "25 to 200 km: 1 (33.3%)", "200 to 750 km: 0 (0.0%)",
        "750 to 2500 km: 0 (0.0%)", "over 2500 km: 0 (0.0%)", "no answer: 1 (33.3%)",
        "1 photo in a hexagon", "colour of a hexagon: median error",
    ]  # fmt: skip
    (title,) = [axes.get_title() for axes in figure.axes]
    assert title == "table: 3 photos, by stored-predictions"
    (hexagons,) = figure.axes[0].collections
    drawn = zip(np.asarray(hexagons.get_offsets()), hexagons.get_facecolor(), strict=True)
    colours = {tuple(np.round(place / 10).astype(int).tolist()): to_hex(colour) for place, colour in drawn}
    assert colours == {(2, 1): band_colours(5)[2], (18, -2): band_colours(5)[0], (0, 5): SILENT_COLOUR}


def test_photos_of_one_place_are_one_hexagon_of_their_median_error() -> None:
    axes = Figure().add_subplot()
    places = np.array([[10.0, 20.0]] * 3 + [[50.0, 60.0]])
    sizes = _draw_hexagons(axes, places, np.array([0.5, 300.0, np.nan, 3000.0]), RADII_KM)
    (hexagons,) = axes.collections
    # The hexagon of three is drawn first, so that it hides none; its middle photo is 300 km off.
    assert [to_hex(colour) for colour in hexagons.get_facecolor()] == [band_colours(5)[3], band_colours(5)[5]]
    assert hexagons.get_sizes().tolist() == pytest.approx([sizes[3], sizes[1]])
    assert sizes[3] > sizes[1]


def test_a_band_holds_the_curve_and_is_that_of_the_tables_bootstrap() -> None:
    generator = np.random.default_rng(0)
    error_km = np.where(generator.random(200) < 0.1, np.nan, generator.exponential(500, 200))
    clusters = cluster([f"author {number}" for number in generator.integers(0, 40, 200)], "author", 200)
    at_km = np.array([1.0, 25.0, 200.0, 750.0, 2500.0])
    band = share_band(error_km, clusters, at_km, resamples=1000)
    assert band is not None
    missed = np.where(np.isnan(error_km), np.inf, error_km)
    table = estimate_all(missed, clusters, at_km.tolist(), inclusive=True, round_geoscore=False)
    for name, low, high in zip(table, *band, strict=False):
        if table[name].value:  # at no hit the table has the exact bounds
            assert (low, high) == pytest.approx((table[name].low, table[name].high), abs=0.6)
    assert (band[0] <= share_within(error_km, at_km)).all()
    assert (band[1] >= share_within(error_km, at_km)).all()
    assert share_band(error_km, cluster(["one"] * 200, "author", 200), at_km) is None


def test_a_way_across_the_antimeridian_reaches_both_edges_of_the_map(world: World) -> None:
    run = world.run("constant", latitude=-17.0, longitude=-170.0)
    figure = error_map(run, lines=3)
    encoded(figure, "png")
    axes = figure.axes[0]
    ends = [np.asarray(line.get_xydata())[[0, -1]].ravel().round(6).tolist() for line in axes.lines]
    # From q1 at 179.9 degrees, once for each edge that it meets.
    assert [179.9, -17.0, 190.0, -17.0] in ends
    assert [-180.1, -17.0, -170.0, -17.0] in ends
    assert axes.get_xlim() == (-180, 180)
    assert "3 farthest answers" in figure.legends[0].get_texts()[-1].get_text()


def test_the_worst_rows_are_the_farthest_answers_and_chance_repeats_itself() -> None:
    error_km = np.array([5.0, np.nan, 9000.0, 3.0, 9000.0])
    assert choose_rows(error_km, 3, worst=True).tolist() == [2, 4, 0]
    assert choose_rows(error_km, 9, worst=True).tolist() == [2, 4, 0, 3]
    assert choose_rows(error_km, 9, worst=False).tolist() == [0, 1, 2, 3, 4]
    chosen = choose_rows(np.zeros(1000), 8, worst=False, seed=3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert chosen.tolist() == choose_rows(np.zeros(1000), 8, worst=False, seed=3).tolist()
    assert chosen.tolist() != choose_rows(np.zeros(1000), 8, worst=False, seed=4).tolist()


def test_a_sheet_shows_photos_distances_and_borders(world: World) -> None:
    first, second, third = world.cells(world.run())
    assert [cell.border for cell in first[1:]] == [FAR_COLOUR, NEAR_COLOUR, FAR_COLOUR]
    assert [cell.border for cell in second[1:]] == [FAR_COLOUR, FAR_COLOUR, NEAR_COLOUR]
    assert [cell.border for cell in third[1:]] == [FAR_COLOUR] * 3
    # 0.1 degree north and east of 10 N 20 E: 11.06 km and 10.96 km.
    assert first[2].caption == ["answer: 16 km", "10.1°N 20.1°E", "shelf"]
    # Over the antimeridian: 0.2 degree of longitude at 17 S are 21.3 km, 0.1 of latitude 11.1 km.
    assert second[3].caption == ["24 km", "17.1°S 179.9°W", "shelf"]
    assert first[0].caption == ["q0.jpg", "10°N 20°E", "error 16 km"]
    assert third[0].caption[0] == "q$2_.jpg"
    for line in (first, second, third):
        assert np.abs(line[0].middle - [QUERY_RED, 0, 0]).max() <= 8
        assert all(np.abs(cell.middle - [0, SHELF_GREEN, 0]).max() <= 8 for cell in line[1:])


def test_no_photo_is_decoded_outside_the_harness(world: World) -> None:
    for name, data in (("g0.jpg", b"<html>not found"), ("g1.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n")):
        (world.gallery / "images" / name).write_bytes(data)
    (world.gallery / "images" / "g2.jpg").unlink()
    run = world.run()
    cells = world.cells(run)
    assert all(cell.is_map for line in cells for cell in line[1:])
    assert cells[0][2].caption == ["answer: 16 km", "10.1°N 20.1°E", "shelf"]
    notes = world.notes(run)
    assert "3 of 12 photos are shown as maps: photo missing" in notes
    assert "photo unreadable: looks like an HTML page" in notes
    assert "photo unreadable: looks like a PostScript file" in notes


def test_photos_are_shown_without_the_store_and_the_method_that_found_them(world: World) -> None:
    run = world.run()
    shutil.rmtree(world.root / "stores")
    first = world.cells(run)[0]
    assert all(np.abs(cell.middle - [0, SHELF_GREEN, 0]).max() <= 8 for cell in first[1:])


def test_a_gallery_that_is_no_dataset_is_shown_as_maps_and_says_so(world: World) -> None:
    run = world.run(unknown=True)
    assert [cell.is_map for cell in world.cells(run)[0]] == [False, True, True, True]
    assert "9 of 12 photos are shown as maps: nowhere: there is no dataset 'nowhere'" in world.notes(run)


def test_a_photo_that_lies_elsewhere_now_is_not_shown(world: World) -> None:
    run = world.run()
    table = world.gallery / "truth.csv"
    table.write_text(table.read_text().replace("10.1,20.1", "10.2,20.1"))
    assert [cell.is_map for cell in world.cells(run)[0]] == [False, False, True, False]
    assert "3 of 12 photos are shown as maps: the dataset here is another edition" in world.notes(run)


def test_a_run_without_candidates_shows_its_answer_on_a_map(world: World) -> None:
    run = world.run("constant", latitude=10.0, longitude=20.0)
    line = world.cells(run)[0]
    assert line[1].is_map
    assert line[1].caption == ["answer: 0.00 km", "10°N 20°E"]
    assert line[1].border == NEAR_COLOUR
    assert [cell.border for cell in line[2:]] == [None, None]
    assert "3 of 6 photos are shown as maps: the run names no photo, only a place" in world.notes(run)


def test_a_query_without_an_answer_says_why(world: World, tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("id,latitude,longitude\nq0.jpg,10.0,20.5\n")
    lines = world.cells(world.run("stored-predictions", file=file))
    assert lines[1][0].caption == ["q1.jpg", "17°S 179.9°E", "no answer: missing"]
    assert lines[1][1].caption == ["no candidates"]


@pytest.mark.parametrize("place", [(90.0, 0.0), (-90.0, 180.0), (0.0, -180.0), (89.99, 179.99)])
def test_a_map_is_drawn_around_any_place_on_earth(world: World, place: tuple[float, float]) -> None:
    run = world.run("constant", latitude=place[0], longitude=place[1])
    assert world.cells(run)[0][1].is_map


def test_the_command_writes_what_it_says(world: World, tmp_path: Path) -> None:
    run = world.run()
    where = ["--data", str(world.location.path), "--images", str(world.queries / "images")]
    out = tmp_path / "pictures" / "deep"
    words = ["plot", run.key[:8], "--out", str(out), "--worst", "--rows", "2", *where]
    result = world.pinpoint(*words)
    names = [f"table-{name}.png" for name in ("cdf", f"rows-{run.key[:8]}-map", f"rows-{run.key[:8]}-sheet")]
    assert result.stdout.split() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == names
    for path in out.iterdir():
        picture = decode(path.read_bytes())
        assert not isinstance(picture, Failure)
        assert picture.std() > 5


def test_several_runs_share_one_picture_of_curves(world: World, tmp_path: Path) -> None:
    world.run()
    world.run("constant", latitude=10, longitude=20)
    words = ["plot", "rows@table", "constant@table", "--kind", "cdf", "--out", str(tmp_path)]
    assert world.pinpoint(*words).stdout.split() == [str(tmp_path / "table-cdf.png")]
    words[-1] = str(tmp_path / "table-cdf.png" / "below")
    assert "choose another --out" in world.pinpoint(*words, code=2).stderr


def test_a_picture_is_what_its_name_says_as_large_as_asked(world: World, tmp_path: Path) -> None:
    world.run()
    words = ["plot", "rows@table", "--kind", "cdf", "--out"]
    pdf, png = tmp_path / "new" / "a.pdf", tmp_path / "b.PNG"
    assert world.pinpoint(*words, str(pdf)).stdout.split() == [str(pdf)]
    assert pdf.read_bytes().startswith(b"%PDF")
    world.pinpoint(*words, str(png), "--size", "4x3", "--dpi", "50")
    with Image.open(png) as picture:
        assert picture.size == (200, 150)
    listed = world.pinpoint(*words, str(tmp_path / "folder"), "--format", "svg").stdout.split()
    assert listed == [str(tmp_path / "folder" / "table-cdf.svg")]
    assert "is not the name of a picture" in world.pinpoint(*words, str(tmp_path / "a.jpg"), code=2).stderr
    assert "is no size" in world.pinpoint(*words, str(png), "--size", "4", code=2).stderr
    several = ["plot", "rows@table", "--out", str(tmp_path / "c.pdf")]
    assert "one file for several pictures" in world.pinpoint(*several, code=2).stderr


def test_another_picture_is_replaced_only_when_asked(world: World, tmp_path: Path) -> None:
    world.run()
    out = tmp_path / "a.png"
    words = ["plot", "rows@table", "--kind", "cdf", "--out", str(out)]
    world.pinpoint(*words)
    world.pinpoint(*words)  # the same
    out.write_bytes(b"mine")
    assert "is there already" in world.pinpoint(*words, code=2).stderr
    assert out.read_bytes() == b"mine"
    world.pinpoint(*words, "--overwrite")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_data_that_is_named_must_be_there_and_else_maps_are_drawn(world: World, tmp_path: Path) -> None:
    run = world.run()
    sheet = ["plot", str(run.folder), "--kind", "sheet", "--out", str(tmp_path / "o")]
    missing = world.pinpoint(*sheet, "--data", str(tmp_path / "nowhere.csv"), code=2)
    assert "nowhere.csv" in missing.stderr
    assert world.pinpoint(*sheet).stdout.endswith("sheet.png\n")
    with pytest.raises(DataError):
        PhotoLookup(run, world.registry, DataLocation(tmp_path / "nowhere.csv")).queries(
            ["q0.jpg"], np.array([[10.0, 20.0]])
        )


def test_runs_of_two_datasets_are_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    world.run()
    evaluate("constant", "capitals", parameters={"latitude": 1, "longitude": 1})
    words = ["plot", "rows@table", "constant@capitals", "--out", str(tmp_path / "o")]
    assert "do not share one dataset" in world.pinpoint(*words, code=2).stderr
    assert not (tmp_path / "o").exists()


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_fitted_picture_fills_its_longer_side_and_keeps_its_shape(height: int, width: int) -> None:
    square = fit_square(np.full((height, width, 3), 255, np.uint8), 64)
    lit = square[..., 0] > 0
    rows, columns = lit.any(axis=1).sum(), lit.any(axis=0).sum()
    assert max(rows, columns) == 64
    shorter = max(1, 64 * min(height, width) / max(height, width))
    assert abs(min(rows, columns) - shorter) <= 0.5 + 1e-9
