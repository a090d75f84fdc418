"""Methods that look: pixels and an opaque key, whatever name, comment or EXIF a file carries."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, PluginError
from pinpoint_harness.images import Failure, ImageStore
from pinpoint_harness.images import decode as decoding
from pinpoint_harness.plugins import Registry, load_registry

pytestmark = pytest.mark.usefixtures("any_number_of_rows")

METHOD = """
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl

class Brightness:
    input = "image"
    answer_version = 1
    sizes = []

    def __init__(self, params, context):
        pass

    def predict(self, queries):
        self.sizes.append(len(queries.input))
        mean = [image.mean() for image in queries.input]
        width = [image.shape[1] / 10 for image in queries.input]
        return Predictions(np.array([[m / 255 * 90, w] for m, w in zip(mean, width)]))

@hookimpl
def pinpoint_register(register):
    register.method("brightness", f"{__name__}:Brightness", MethodInfo(title="Brightness"))
"""

COUNT = 7


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (40 + number, 30), (number * 30, 10, 10))


def jpeg(number: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture(number).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rows = [f"p{n}.jpg,{n},{n}" for n in range(COUNT)]
    (folder / "truth.csv").write_text("\n".join(["image,lat,lng", *rows]) + "\n")
    for number in range(COUNT):
        (folder / "images" / f"p{number}.jpg").write_bytes(jpeg(number))
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    file = tmp_path / "brightness.py"
    file.write_text(METHOD)
    return load_registry([str(file)])


def ask(data: Path, out: Path, registry: Registry, images: Path | None = None, **changes: Any) -> Any:
    where = images or data / "images"
    options: dict[str, Any] = {"tile": 3, "out": out, "registry": registry, **changes}
    return evaluate("brightness", "table", data=data / "truth.csv", images=[where], **options)


def answers(run: Any) -> list[list[float]]:
    frame = run.predictions()
    coordinates: list[list[float]] = frame[["predicted_latitude", "predicted_longitude"]].to_numpy().tolist()
    return coordinates


def as_zip(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"deep/below/{file.name}")
    return target


def as_tar(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        for file in sorted(folder.iterdir(), reverse=True):
            archive.add(file, f"x/{file.name}")
    return target


def test_pixels_reach_the_method_in_the_order_of_the_truth(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    run = ask(data, tmp_path / "out", registry)
    expected = [(40 + number) / 10 for number in range(COUNT)]
    assert [longitude for _, longitude in answers(run)] == expected
    assert set(registry.method("brightness").load().sizes) == {3}


@pytest.mark.parametrize("pack", [None, as_zip])
def test_pictures_that_go_while_the_method_is_made_are_not_missing(
    pack: Any, data: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a method whose gallery is embedded first, for hours."""
    place = pack(data / "images", tmp_path / "pictures.zip") if pack else data / "images"
    away = place.with_name("away")
    method = registry.method("brightness").load()
    monkeypatch.setattr(method, "__init__", lambda self, params, context: place.rename(away) and None)
    with pytest.raises(DataError, match=r"cannot be read any more|no pictures to open"):
        ask(data, tmp_path / "out", registry, place)
    monkeypatch.undo()
    away.rename(place)
    assert len(answers(ask(data, tmp_path / "out", registry, place))) == COUNT


def test_one_of_two_folders_that_goes_while_the_method_is_made_stops_the_run(
    data: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").mkdir()
    (data / "images" / "p3.jpg").rename(tmp_path / "more" / "p3.jpg")
    both = [data / "images", tmp_path / "more"]
    method = registry.method("brightness").load()
    monkeypatch.setattr(method, "__init__", lambda self, params, context: shutil.rmtree(both[1]))
    with pytest.raises(DataError, match=r"cannot be read any more: .*more"):
        evaluate("brightness", "table", data=data / "truth.csv", images=both, out=tmp_path, registry=registry)


def test_one_picture_that_goes_while_the_method_is_made_stops_the_run(
    data: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = data / "images" / "p3.jpg"
    method = registry.method("brightness").load()
    monkeypatch.setattr(method, "__init__", lambda self, params, context: picture.unlink())
    with pytest.raises(DataError, match=r"cannot be read any more: p3.jpg[\s\S]*same command again"):
        ask(data, tmp_path / "out", registry)
    monkeypatch.undo()
    run = ask(data, tmp_path / "out", registry)  # away when the command starts
    assert run.record["counts"]["missing"] == 1


@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_archives_give_the_answers_of_the_folder(
    pack: Callable[[Path, Path], Path], data: Path, tmp_path: Path, registry: Registry
) -> None:
    archive = pack(data / "images", tmp_path / f"pictures.{pack.__name__[3:]}")
    from_folder, from_archive = (
        ask(data, tmp_path / "a", registry),
        ask(data, tmp_path / "b", registry, archive),
    )
    one, other = (run.folder / "predictions.parquet" for run in (from_folder, from_archive))
    assert one.read_bytes() == other.read_bytes()


def test_other_pictures_of_the_same_names_are_another_run(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    bright = tmp_path / "bright"
    bright.mkdir()
    for number in range(COUNT):
        (bright / f"p{number}.jpg").write_bytes(jpeg(COUNT - 1 - number))
    out = tmp_path / "out"
    first, second = ask(data, out, registry), ask(data, out, registry, bright)
    assert answers(second) == pytest.approx(np.array(answers(first))[::-1])
    assert ask(data, out, registry).folder == first.folder
    (data / "images" / "p3.jpg").write_bytes(jpeg(5))  # fetched again
    assert answers(ask(data, out, registry))[3] == answers(first)[5]


def test_a_folder_that_is_away_for_a_moment_stops_a_run_that_resumes(
    data: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was away must not be stored as missing, and the resumed run has the bytes of any other."""
    images, away = data / "images", tmp_path / "away"
    whole = ask(data, tmp_path / "whole", registry)
    read = ImageStore.read

    def read_while_it_moves(store: ImageStore, ref: int, *limits: int) -> bytes | Failure:
        if ref == 4 and images.exists():
            images.rename(away)
        return read(store, ref, *limits)

    monkeypatch.setattr(ImageStore, "read", read_while_it_moves)
    with pytest.raises(DataError, match=r"cannot be read any more[\s\S]*same command again"):
        ask(data, tmp_path / "out", registry)
    monkeypatch.setattr(ImageStore, "read", read)
    away.rename(images)
    resumed = ask(data, tmp_path / "out", registry)
    for name in ("predictions.parquet", "run.json", "manifest.json"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_memory_that_runs_out_in_a_decoder_stops_a_run(
    data: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(decoding, "_upright", full)
    with pytest.raises(DataError, match=r"cannot be read any more[\s\S]*MemoryError"):
        ask(data, tmp_path / "out", registry)
    monkeypatch.undo()
    assert len(answers(ask(data, tmp_path / "out", registry))) == COUNT


def test_a_method_that_works_in_place_changes_no_other_picture(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    looks = "        self.sizes.append"
    spoiled = METHOD.replace(looks, f"        queries.input[0][:] = 0\n{looks}")
    (tmp_path / "in_place.py").write_text(spoiled)
    with pytest.raises(PluginError, match=r"failed on a tile[\s\S]*read-only"):
        ask(data, tmp_path / "out", load_registry([str(tmp_path / "in_place.py")]))


def test_a_falsified_position_comment_and_name_change_no_answer(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    honest = ask(data, tmp_path / "honest", registry)
    lying = tmp_path / "lying"
    lying.mkdir()
    rows = []
    for number in range(COUNT):
        exif = Image.Exif()
        exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 0.0, 0.0), 3: "E", 4: (151.0, 0.0, 0.0)})
        comment = b"latitude: -33\nlongitude: 151\n"
        name = f"Sydney_00003_{number}00000_abcdef_12_34@N00.jpg"
        (lying / name).write_bytes(jpeg(number, exif=exif.tobytes(), comment=comment))
        rows.append(f"{name},{number},{number}")
    (lying / "truth.csv").write_text("\n".join(["image,lat,lng", *rows]))
    misled = ask(lying, tmp_path / "misled", registry, lying)
    assert answers(misled) == answers(honest)


def test_bad_files_are_misses_with_a_reason_and_disturb_no_neighbour(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    whole = answers(ask(data, tmp_path / "whole", registry))
    images = data / "images"
    (images / "p1.jpg").write_bytes(b"")
    (images / "p2.jpg").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    (images / "p3.jpg").write_bytes(jpeg(3)[:200])
    (images / "p5.jpg").unlink()
    run = ask(data, tmp_path / "broken", registry)
    frame = run.predictions()
    status = frame["status"].tolist()
    assert [word.partition(":")[0] for word in status] == [
        "ok", "unreadable", "unreadable", "unreadable", "ok", "missing", "ok",
    ]  # fmt: skip
    assert "HTML" in status[2]
    for number in (0, 4, 6):
        assert answers(run)[number] == whole[number]
    assert run.record["counts"]["missing"] == 1
    assert run.record["counts"]["unreadable"] == 3


def test_a_tile_without_any_picture_is_not_asked_about(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    for number in (0, 1, 2):
        (data / "images" / f"p{number}.jpg").write_bytes(b"")
    sizes = registry.method("brightness").load().sizes
    sizes.clear()
    run = ask(data, tmp_path / "out", registry)
    assert sizes == [3, 3]
    assert run.record["counts"]["unreadable"] == 3


def test_pictures_found_later_make_another_run(data: Path, tmp_path: Path, registry: Registry) -> None:
    hidden = tmp_path / "hidden.jpg"
    shutil.move(data / "images" / "p4.jpg", hidden)
    first = ask(data, tmp_path / "out", registry)
    shutil.move(hidden, data / "images" / "p4.jpg")
    second = ask(data, tmp_path / "out", registry)
    assert first.key != second.key
    assert (first.record["counts"]["missing"], second.record["counts"]["missing"]) == (1, 0)


def test_finding_no_picture_at_all_is_an_error_and_not_a_run_of_misses(
    data: Path, tmp_path: Path, registry: Registry
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"none of the 7 photos was found[\s\S]*with images"):
        ask(data, tmp_path / "out", registry, empty)


def test_the_tile_is_in_the_key(data: Path, tmp_path: Path, registry: Registry) -> None:
    first, second = (ask(data, tmp_path / "out", registry, tile=size) for size in (3, 4))
    assert first.key != second.key
    assert answers(first) == answers(second)


@pytest.mark.realdata
def test_real_photos_run_from_folder_zip_and_tar(real_data: Path, tmp_path: Path, registry: Registry) -> None:
    source = real_data / "osv5m"
    found = []
    for kind in ("folder", "zip", "tar"):
        base = tmp_path / kind
        (base / "images" / "test").mkdir(parents=True)
        shutil.copy(source / "test.csv", base)
        pictures = source / "images" / "test" / "00"
        if kind == "folder":
            shutil.copytree(pictures, base / "images" / "test" / "00")
        else:
            pack = {"zip": as_zip, "tar": as_tar}[kind]
            pack(pictures, base / "images" / "test" / f"00.{kind}")
        run = evaluate("brightness", "osv5m", data=base, home=tmp_path / f"out-{kind}", registry=registry)
        assert run.record["counts"]["ok"] == 71
        found.append((run.folder / "predictions.parquet").read_bytes())
        result = CliRunner().invoke(cli, ["datasets", "verify", "osv5m", str(base), "--json"])
        assert json.loads(result.stdout)["decoded"] == 71
    assert found[0] == found[1] == found[2]
