"""GeoCLIP: against the authors' package on its own weights, and against arithmetic written another way."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.support.processors import CLIPImageProcessorPil
from tests.support.small_clips import POINTS, WIDTH, gallery_table, small_clip, small_towers
from tests.support.weight_files import Trap
from torch.nn.functional import normalize
from transformers.utils import logging as transformers_logging

from pinpoint_harness import params
from pinpoint_harness.api import evaluate
from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, DataError, UsageError
from pinpoint_harness.features import write_matrix_header
from pinpoint_harness.features.store import VERSION, store_files
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.photo_ids import truth_hash
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_params, check_predictions
from pinpoint_harness.running.record import describe_method
from pinpoint_harness.testing import assert_contract
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.common.place_gallery import best_rows
from pinpoint_methods.geoclip import towers
from pinpoint_methods.geoclip.files import INSTALL, TowerFiles
from pinpoint_methods.geoclip.method import GeoCLIP
from pinpoint_methods.geoclip.towers import LocationEncoder, equal_earth
from pinpoint_methods.geoclip.views import Views

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("geoclip") is None, reason=f"the package geoclip is not installed: {INSTALL}"
)


@pytest.fixture(autouse=True)
def own_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache and no gallery of this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


@pytest.fixture(scope="module", autouse=True)
def silence() -> None:
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def package() -> Any:
    """The authors' code, the oracle; never imported by ours."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses torch.jit.script, which is deprecated
        return importlib.import_module("geoclip")


# Small models in the real formats


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("small")
    return {
        "towers": str(small_towers(root / "towers")),
        "backbone": str(small_clip(root / "clip", spread=4.0)),
    }


def built(**settings: Any) -> GeoCLIP:
    return GeoCLIP(params.build(GeoCLIP.Params, settings, "method 'geoclip'"), Context())


def ask(method: GeoCLIP, given: Any) -> Any:
    count = len(given)
    queries = Queries(
        np.arange(count, dtype=np.uint64), np.zeros(count, np.uint64), ["photos"] * count, given
    )
    answer = method.predict(queries)
    check_predictions(answer, count)
    return answer


def photo(seed: int, height: int = 60, width: int = 80) -> np.ndarray[Any, np.dtype[np.uint8]]:
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (max(2, height // 9), max(2, width // 7), 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)).copy()


def photos(count: int) -> list[Any]:
    random = np.random.default_rng(1)
    return [photo(seed, *map(int, random.integers(20, 130, 2))) for seed in range(count)]


# The location tower


@settings(max_examples=50, deadline=None)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_the_projection_is_equal_earth_as_proj_computes_it(latitude: float, longitude: float) -> None:
    expected = np.array(pyproj.Proj("+proj=eqearth +R=1")(longitude, latitude)) * 66.50336 / 180
    found = equal_earth(torch.tensor([[latitude, longitude]], dtype=torch.float64))[0]
    assert found.numpy() == pytest.approx(expected, abs=1e-7)


def test_a_location_vector_is_the_sum_of_three_networks_over_fourier_features(small: dict[str, str]) -> None:
    weights = torch.load(Path(small["towers"], "weights", "location_encoder_weights.pth"), weights_only=True)
    exact = {name: value.double().numpy() for name, value in weights.items()}
    places = gallery_table().to_numpy(copy=True)[:20]
    plane = np.array(pyproj.Proj("+proj=eqearth +R=1")(places[:, 1], places[:, 0])).T * 66.50336 / 180
    expected = np.zeros((20, 12))
    for scale in range(3):
        part = {name.partition(".")[2]: value for name, value in exact.items() if f"LocEnc{scale}" in name}
        angle = 2 * np.pi * plane @ part["capsule.0.b"].T
        hidden = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        for layer in "135":
            hidden = hidden @ part[f"capsule.{layer}.weight"].T + part[f"capsule.{layer}.bias"]
            hidden = np.maximum(hidden, 0)
        expected += hidden @ part["head.0.weight"].T + part["head.0.bias"]
    found = LocationEncoder(weights)(torch.from_numpy(places).float()).detach().numpy()
    # The phases of the finest scale are thousands of radians, of which float32 keeps three decimals.
    assert found == pytest.approx(expected, abs=2e-2)


@needs_package
def test_location_vectors_are_those_of_the_package_to_the_last_bit(package: Any) -> None:
    files = TowerFiles.find(None)
    places = torch.from_numpy(files.coordinates()[:500]).float()
    corners = torch.tensor([[90.0, 0.0], [-90.0, 180.0], [0.0, -180.0], [0.0, 180.0]])
    with torch.inference_mode():
        for points in (places, corners):
            assert torch.equal(files.location_encoder()(points), package.LocationEncoder().eval()(points))


@needs_package
def test_places_that_lie_together_have_like_vectors() -> None:
    paris, london, sydney = (48.8566, 2.3522), (51.5, -0.12), (-33.8688, 151.2093)
    near = (48.8566 + 0.3 / 111.2, 2.3522)  # 300 m to the north
    with torch.inference_mode():
        vectors = normalize(
            TowerFiles.find(None).location_encoder()(torch.tensor([paris, near, london, sydney])), dim=1
        )
    cosine = (vectors @ vectors[0]).tolist()
    assert cosine[1:] == pytest.approx([0.992, 0.404, 0.290], abs=5e-3)


@needs_package
def test_the_gallery_is_that_of_the_package(package: Any) -> None:
    misc = importlib.import_module("geoclip.model.misc")
    expected = misc.load_gps_data(Path(misc.file_dir, "gps_gallery", "coordinates_100K.csv"))
    found = TowerFiles.find(None).coordinates()
    assert torch.equal(torch.from_numpy(found).float(), expected)
    assert len(found) == 100_000
    assert len(np.unique(np.float32(found), axis=0)) == 94_100


@needs_package
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("yfcc4k.csv", [62.43, 96.98, 99.89, 99.98, 100.0]),
        ("im2gps_places365.csv", [62.45, 95.78, 99.58, 100.0, 100.0]),
    ],
)
def test_the_best_its_gallery_allows_is_known(file: str, expected: list[float], real_data: Path) -> None:
    table = pd.read_csv(real_data / file)
    gallery = TowerFiles.find(None).coordinates()
    from scipy.spatial import cKDTree

    def on_sphere(places: Any) -> Any:
        latitude, longitude = np.radians(places).T
        flat = np.cos(latitude)
        return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)

    places = table[["LAT", "LON"]].to_numpy(dtype=float)
    _, nearest = cKDTree(on_sphere(gallery)).query(on_sphere(places))
    error_km = haversine_km(gallery[nearest], places)
    assert [
        round(100 * float((error_km <= radius).mean()), 2) for radius in (1, 25, 200, 750, 2500)
    ] == expected


# A release for the hub


def released(folder: Path, towers_folder: str) -> Path:
    """The towers in one file, as the package's `GeoCLIP.from_pretrained` reads it."""
    folder.mkdir()
    stored = {
        name: torch.load(Path(towers_folder, "weights", f"{name}_weights.pth"), weights_only=True)
        for name in ("location_encoder", "image_encoder_mlp", "logit_scale")
    }
    weights = {f"location_encoder.{name}": value for name, value in stored["location_encoder"].items()}
    weights |= {f"image_encoder.mlp.{name}": value for name, value in stored["image_encoder_mlp"].items()}
    save_file(weights | {"logit_scale": stored["logit_scale"]}, folder / "model.safetensors")
    shutil.copy(Path(towers_folder, "gps_gallery", "coordinates_100K.csv"), folder / "gallery.csv")
    config = {
        "format_version": 1, "model_type": "geoclip-geolocation", "sigma": [1, 16, 256],
        "gallery_file": "gallery.csv",
        "backbone": {"repo_id": "openai/clip-vit-large-patch14", "revision": "a" * 40},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_release_answers_as_the_folder_of_the_package_does(small: dict[str, str], tmp_path: Path) -> None:
    folder = released(tmp_path / "release", small["towers"])
    by_release = built(towers=str(folder), backbone=small["backbone"])
    images = photos(3)
    expected = ask(built(**small), images)
    assert np.array_equal(ask(by_release, images).candidates.probability, expected.candidates.probability)
    assert by_release._files.clip == "openai/clip-vit-large-patch14@" + "a" * 40
    assert set(by_release.content()["towers"]) == {"config.json", "model.safetensors", "gallery.csv"}


@needs_package
def test_a_release_that_the_package_writes_is_one_that_is_read(package: Any, tmp_path: Path) -> None:
    hub = importlib.import_module("geoclip.model._hub")
    towers_folder = small_towers(tmp_path / "towers")
    folder = released(tmp_path / "release", str(towers_folder))
    path, config, weights = hub.read_release(folder, "geoclip-geolocation")
    assert torch.equal(
        hub.read_gallery(path, config), torch.from_numpy(TowerFiles.find(folder).coordinates()).float()
    )
    assert len(weights) == len(load_file(folder / "model.safetensors"))


def test_a_release_comes_from_the_hub_by_its_id(
    small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    folder, asked = released(tmp_path / "release", small["towers"]), []

    def snapshot(repository: str, **options: Any) -> str:
        asked.append((repository, options["revision"], tuple(options["allow_patterns"])))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    found = TowerFiles.find(Path("someone/geoclip@v1"))
    assert found.folder == folder
    assert asked == [("someone/geoclip", "v1", ("config.json", "model.safetensors", "*.csv"))]


@pytest.mark.parametrize(
    "change",
    [{"format_version": 2}, {"model_type": "other"}, {"gallery_file": "../gallery.csv"}, {"backbone": 1}],
)
def test_another_kind_of_release_is_refused(
    change: dict[str, Any], small: dict[str, str], tmp_path: Path
) -> None:
    folder = released(tmp_path / "release", small["towers"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(DataError, match="is no release of GeoCLIP that can be read"):
        TowerFiles.find(folder)


# The gallery, encoded once


@pytest.fixture
def encoded_points(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points each pass of a location encoder was given."""
    counted: list[int] = []
    forward = towers.LocationEncoder.forward

    def counting(self: Any, coordinates: torch.Tensor) -> torch.Tensor:
        counted.append(len(coordinates))
        return forward(self, coordinates)

    monkeypatch.setattr(towers.LocationEncoder, "forward", counting)
    return counted


def test_the_gallery_is_encoded_once_for_its_key_and_never_for_a_tile(
    small: dict[str, str], encoded_points: list[int], tmp_path: Path
) -> None:
    method = built(**small)
    assert encoded_points == []  # a run that is complete never gets to the first tile
    first = ask(method, photos(3))
    ask(method, photos(5))
    assert sum(encoded_points) == POINTS
    again = ask(built(**small), photos(3))
    copy = shutil.copytree(small["towers"], tmp_path / "copy")
    ask(built(**{**small, "towers": str(copy)}), photos(3))
    assert sum(encoded_points) == POINTS
    assert np.array_equal(first.candidates.probability, again.candidates.probability)
    gallery_table(200).to_csv(copy / "gps_gallery" / "coordinates_100K.csv", index=False)
    ask(built(**{**small, "towers": str(copy)}), photos(3))
    assert sum(encoded_points) == POINTS + 200


def test_a_damaged_gallery_file_names_the_folder_to_remove(small: dict[str, str], tmp_path: Path) -> None:
    ask(built(**small), photos(1))
    (path,) = (tmp_path / "models").rglob("vectors.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=rf"remove '{path.parent}'"):
        ask(built(**small), photos(1))


# Answers


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
def test_of_equal_logits_the_lower_row_comes_first(queries: int, rows: int, count: int, seed: int) -> None:
    logits = np.random.default_rng(seed).integers(0, 4, (queries, rows)).astype(np.float32)
    kept = min(count, rows)
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :kept]
    assert np.array_equal(best_rows(torch.from_numpy(logits), kept).numpy(), expected)


def test_probabilities_are_the_softmax_over_the_whole_gallery(small: dict[str, str]) -> None:
    method = built(**small, candidates=7)
    images = photos(4)
    logits = method.logits(images).double().numpy()
    answer = ask(method, images)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    rows = np.argsort(-logits, axis=1, kind="stable")[:, :7]
    assert np.array_equal(answer.candidates.coordinates, gallery_table().to_numpy()[rows])
    assert answer.candidates.source is answer.candidates.photo_id is None
    assert answer.candidates.probability == pytest.approx(np.take_along_axis(share, rows, axis=1), rel=1e-4)
    assert np.array_equal(answer.confidence, answer.candidates.probability[:, 0])
    assert np.array_equal(answer.coordinates, gallery_table().to_numpy()[rows[:, 0]])
    everything = ask(built(**small, candidates=1000), images).candidates
    assert everything.probability.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert everything.probability.shape == (4, POINTS)


@needs_package
def test_logits_and_answers_are_those_of_the_package_on_200_pictures(package: Any, tmp_path: Path) -> None:
    """Its trained towers over a small CLIP; every fiftieth point of its gallery, for the time it takes."""
    own = shutil.copytree(TowerFiles.find(None).folder, tmp_path / "towers")
    table = pd.read_csv(own / "gps_gallery" / "coordinates_100K.csv")[::50]
    table.to_csv(own / "gps_gallery" / "coordinates_100K.csv", index=False)
    clip = small_clip(tmp_path / "clip", width=768, spread=6.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = package.GeoCLIP(clip_path=str(clip)).eval()
    theirs.gps_gallery = theirs.gps_gallery[::50]
    images = photos(200)
    with torch.inference_mode():
        pixels = [theirs.image_encoder.preprocess_image(Image.fromarray(image)) for image in images]
        expected = theirs(torch.cat(pixels), theirs.gps_gallery)
    ours = built(towers=str(own), backbone=str(clip), candidates=5)
    assert torch.allclose(ours.logits(images), expected, rtol=0, atol=1e-4)
    answer = ask(ours, images)
    probability, rows = torch.topk(expected.softmax(dim=-1), 5, dim=1)
    assert np.array_equal(answer.coordinates, table.to_numpy()[rows[:, 0]])
    assert len(np.unique(answer.coordinates, axis=0)) >= 50
    assert answer.candidates.probability == pytest.approx(probability.numpy(), abs=1e-5)


def test_ten_crops_are_answered_by_the_mean_of_their_logits(small: dict[str, str]) -> None:
    for preprocess in ("predict", "eval"):
        method = built(**small, views=10, preprocess=preprocess)
        images = photos(5)
        found = method.logits(images)
        clip, gallery = method._clip, method._gallery
        assert clip is not None
        for row, image in enumerate(images):
            crops = list(clip.prepare(image))
            assert len(crops) == 10
            features = clip.features(crops + crops[:1] * (clip.tile - 10))[:10]
            with torch.inference_mode():
                vectors = normalize(method._head(features), dim=1)
            mean = (np.exp(2.5) * vectors @ gallery.T).mean(dim=0)
            assert torch.allclose(found[row], mean, atol=1e-4)


# What CLIP sees


@pytest.mark.parametrize("shape", [(60, 81), (97, 35), (35, 50), (36, 35), (20, 21), (240, 240), (5, 9)])
def test_predict_prepares_pictures_as_the_checkpoints_processor_does(
    shape: tuple[int, int], small: dict[str, str]
) -> None:
    method = built(**small)
    assert method._clip is not None
    image = photo(3, *shape)
    (view,) = method._clip.prepare(image)
    found = method._clip._preprocess.normalised(view[None])[0]
    processor = CLIPImageProcessorPil.from_pretrained(small["backbone"])
    expected = torch.as_tensor(np.asarray(processor(image)["pixel_values"][0]))
    assert torch.allclose(found, expected, atol=1e-6)


def located(height: int, width: int) -> Any:
    """A picture whose every pixel says where it stands: row in red, column in green and blue."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns % 256, columns // 256], axis=2).astype(np.uint8)


def corner(view: Any) -> tuple[int, int, int, int]:
    """First and last row and column of a view of `located`."""
    first, last = view[0, 0].astype(int), view[-1, -1].astype(int)
    return first[0], last[0], first[1] + 256 * first[2], last[1] + 256 * last[2]


def test_the_evaluation_takes_the_middle_224_of_256_with_halves_to_the_even_neighbour() -> None:
    views = Views(crop=224, shorter=256, filter="bilinear", count=1)
    (view,) = views.cut(located(256, 343))  # half of the 119 spare columns is 59.5
    assert corner(view) == (16, 239, 60, 283)
    (view,) = views.cut(located(256, 341))  # 58.5
    assert corner(view) == (16, 239, 58, 281)
    wide = views.cut(np.full((100, 300, 3), 9, np.uint8))
    assert [view.shape for view in wide] == [(224, 224, 3)]


def test_ten_crops_are_four_corners_and_the_middle_then_those_of_the_mirror_image() -> None:
    views = Views(crop=224, shorter=256, filter="bilinear", count=10)
    found = [corner(view) for view in views.cut(located(256, 343))]
    assert found[:5] == [
        (0, 223, 0, 223), (0, 223, 119, 342), (32, 255, 0, 223), (32, 255, 119, 342), (16, 239, 60, 283),
    ]  # fmt: skip
    assert found[5:] == [
        (0, 223, 342, 119), (0, 223, 223, 0), (32, 255, 342, 119), (32, 255, 223, 0), (16, 239, 282, 59),
    ]  # fmt: skip


def test_the_two_ways_differ_in_size_filter_and_normalisation(small: dict[str, str]) -> None:
    towers_of = {
        (preprocess, views): built(**small, preprocess=preprocess, views=views)._clip
        for preprocess in ("predict", "eval")
        for views in (1, 10)
    }
    shapes = {key: (clip.views.shorter, clip.views.filter) for key, clip in towers_of.items() if clip}
    assert shapes == {
        ("predict", 1): (35, "bicubic"),
        ("predict", 10): (40, "bicubic"),
        ("eval", 1): (40, "bilinear"),
        ("eval", 10): (40, "bilinear"),
    }
    means = {key[0]: clip._preprocess.mean for key, clip in towers_of.items() if clip}
    assert means["predict"] == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert means["eval"] == (0.485, 0.456, 0.406)
    contents = {json.dumps(clip.content(), sort_keys=True) for clip in towers_of.values() if clip}
    assert len(contents) == 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 60_000), (60_000, 1), (3, 2)])
def test_pictures_of_any_shape_are_cut(shape: tuple[int, int]) -> None:
    for count in (1, 10):
        views = Views(crop=35, shorter=40, filter="bicubic", count=count)
        cut = views.cut(np.full((*shape, 3), 7, np.uint8))
        assert len(cut) == count
        assert all(view.shape == (35, 35, 3) and (view == 7).all() for view in cut)


# In a run


@pytest.mark.parametrize("settings", [{}, {"preprocess": "eval", "views": 10}])
def test_the_method_keeps_the_contract(settings: dict[str, Any], small: dict[str, str]) -> None:
    assert_contract(load_registry().method("geoclip"), {**small, **settings}, tile=5)


def test_on_stored_features_it_keeps_the_contract(small: dict[str, str]) -> None:
    given = {**small, "preprocess": "store", "backbone": "drawn"}
    assert_contract(load_registry().method("geoclip"), given, widths={"drawn": WIDTH}, tile=5)


def test_pictures_of_a_folder_are_answered_and_the_key_follows_what_is_asked(
    small: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        Image.fromarray(photo(seed)).save(tmp_path / "photos" / f"{seed}.jpg")
    truth = tmp_path / "truth.csv"
    truth.write_text("img_id,lat,lon\n0.jpg,1,2\n1.jpg,3,4\n2.jpg,5,6\nabsent.jpg,7,8\n")

    def run(**settings: Any) -> Any:
        where: dict[str, Any] = {"data": truth, "images": [tmp_path / "photos"], "out": tmp_path / "runs"}
        return evaluate("geoclip", "table", parameters={**small, **settings}, tile=4, device="cpu", **where)

    first = run()
    assert first.record["counts"]["ok"] == 3
    assert first.record["counts"]["missing"] == 1
    asked = first.record["recipe"]["parameters"]
    assert set(asked["towers"]) == {
        "weights/location_encoder_weights.pth",
        "weights/image_encoder_mlp_weights.pth",
        "weights/logit_scale_weights.pth",
        "gps_gallery/coordinates_100K.csv",
    }
    assert str(tmp_path) not in json.dumps(first.record["recipe"])
    copy = shutil.copytree(small["backbone"], tmp_path / "clip-elsewhere")
    assert run(backbone=str(copy)).key == first.key
    assert run(preprocess="eval").key != first.key
    assert run(views=10).key != first.key


def test_stored_features_are_answered_without_pictures(small: dict[str, str], tmp_path: Path) -> None:
    features = np.random.default_rng(2).normal(size=(6, WIDTH)).astype(np.float16)
    ids = [f"q{row}" for row in range(6)]
    truth = pd.DataFrame(
        {"id": ids, "latitude": 1.0, "longitude": np.arange(6.0), "author": None, "source": "photos"}
    )
    (tmp_path / "truth.csv").write_text(
        "img_id,lat,lon\n" + "".join(f"{name},1,{row}\n" for row, name in enumerate(ids))
    )
    spec = {"version": VERSION, "imported": {"set": "six"}, "dataset_hash": truth_hash(truth)}
    record = {
        "dataset": "table", "backbone": "owner/none", "rows": 6, "width": WIDTH, "failed": 0,
        "normalisation": "none", "subset": None, "recipe": spec,
    }  # fmt: skip

    def write(stream: Any) -> None:
        write_matrix_header(stream, *features.shape)
        stream.write(features.tobytes())

    artifact = Artifact.begin(tmp_path / "stores" / "table" / "owner-none", "features", spec)
    artifact.finish(store_files(truth, {}, write, record))
    given = {**small, "preprocess": "store", "backbone": "owner/none"}
    run = evaluate(
        "geoclip", "table", data=tmp_path / "truth.csv", parameters=given, tile=4, device="cpu",
    )  # fmt: skip
    expected = ask(built(**given), torch.from_numpy(features)).coordinates
    found = run.predictions()[["predicted_latitude", "predicted_longitude"]].to_numpy()
    assert np.array_equal(found, expected)
    assert len(np.unique(expected, axis=0)) > 1


def test_a_store_holds_one_view(small: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"one view[\s\S]*views=10"):
        built(**small, preprocess="store", views=10)


def test_a_backbone_of_another_width_is_refused(small: dict[str, str], tmp_path: Path) -> None:
    other = small_clip(tmp_path / "other", width=20)
    with pytest.raises(DataError, match=rf"width {WIDTH}[\s\S]*gives 20[\s\S]*openai/clip-vit-large-patch14"):
        built(**{**small, "backbone": str(other)})
    stored = built(**{**small, "backbone": "owner/none"}, preprocess="store")
    with pytest.raises(DataError, match="gives 20"):
        ask(stored, torch.zeros(2, 20, dtype=torch.float16))


# What is missing, and what is not to be trusted


def assert_names_every_way(message: str) -> None:
    for way in (
        INSTALL,
        "extra geoclip",
        "--set towers=",
        "openai/clip-vit-large-patch14",
        "--set backbone=",
    ):
        assert way in message, way


def test_without_the_package_one_message_says_all_ways_and_other_methods_go_on(
    small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "geoclip" else real(name, *rest)
    )
    with pytest.raises(DataError, match="package geoclip is not installed") as caught:
        built(backbone=small["backbone"])
    assert_names_every_way(str(caught.value))
    shown = CliRunner().invoke(cli, ["run", "geoclip", "capitals"])
    assert shown.exit_code == 2
    assert_names_every_way(shown.stderr)
    given = ["--set", "latitude=1", "--set", "longitude=2"]
    assert CliRunner().invoke(cli, ["run", "constant", "capitals", *given]).exit_code == 0
    assert "geoclip" in CliRunner().invoke(cli, ["methods", "list"]).output


def test_without_clip_the_message_says_all_ways(
    small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def offline(repository: str, **options: Any) -> str:
        if options["local_files_only"]:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        DataError, match=r"weights 'openai/clip-vit-large-patch14'[\s\S]*no network"
    ) as caught:
        built(towers=small["towers"])
    assert_names_every_way(str(caught.value))
    with pytest.raises(DataError, match=r"weights 'nowhere/at/all'[\s\S]*no such folder"):
        built(towers=small["towers"], backbone="nowhere/at/all")
    with pytest.raises(DataError, match=r"without weights/location_encoder_weights.pth") as caught:
        built(towers=str(tmp_path))
    assert_names_every_way(str(caught.value))


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_code_in_a_weight_file_is_refused_and_not_run(
    protocol: str, small: dict[str, str], tmp_path: Path
) -> None:
    own = shutil.copytree(small["towers"], tmp_path / "towers")
    file, sprung = own / "weights" / "image_encoder_mlp_weights.pth", tmp_path / "sprung"
    weights = {"0.weight": torch.zeros(2, 2), "trap": Trap(sprung)}
    if protocol == "torch":
        torch.save(weights, file)
    else:
        file.write_bytes(pickle.dumps(weights))
    with pytest.raises(DataError, match=r"cannot read tensors from '.*image_encoder_mlp_weights.pth'"):
        built(**{**small, "towers": str(own)})
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["image_encoder_mlp", "location_encoder", "logit_scale"])
def test_the_weights_of_something_else_are_refused_by_file(
    name: str, small: dict[str, str], tmp_path: Path
) -> None:
    own = shutil.copytree(small["towers"], tmp_path / "towers")
    file = own / "weights" / f"{name}_weights.pth"
    for stored in ({"layer.weight": torch.zeros(3)}, {"LocEnc0.head.1.weight": torch.zeros(3, 2)}, [1]):
        torch.save(stored, file)
        with pytest.raises(DataError, match=rf"cannot read a part of GeoCLIP from '.*{name}_weights.pth'"):
            ask(built(**{**small, "towers": str(own)}), photos(1))
    file.write_bytes(b"")
    with pytest.raises(DataError, match=rf"cannot read tensors from '.*{name}_weights.pth'"):
        ask(built(**{**small, "towers": str(own)}), photos(1))


def test_it_is_described_with_its_licence_data_gallery_and_needs() -> None:
    shown = CliRunner().invoke(cli, ["methods", "show", "geoclip"]).output
    for word in (
        "2309.16020",
        "MIT",
        "MP-16",
        "100K",
        INSTALL,
        "openai/clip-vit-large-patch14",
        "views (1 | 10",
    ):
        assert word in shown, word


def test_a_row_says_how_many_views_a_run_took() -> None:
    entry = load_registry([]).method("geoclip")
    taken = [
        describe_method(entry, build_params(entry, settings))["views"] for settings in ({}, {"views": 10})
    ]
    assert taken == [1, 10]
