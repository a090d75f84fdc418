"""Audits: every leak that was planted is found, by the rule that should find it, and can be left out."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.pinpoint_world import World

from pinpoint_datasets.mini_earth.archive import ensure_world
from pinpoint_datasets.mini_earth.world import WorldSpec
from pinpoint_harness.api import evaluate
from pinpoint_harness.audit.effect import galleries_behind
from pinpoint_harness.audit.identical import Pictures, compare_files
from pinpoint_harness.audit.near_duplicates import calibrate
from pinpoint_harness.audit.perceptual import BITS, as_vectors, hamming, perceptual_hash
from pinpoint_harness.audit.result import KINDS, VIEWS, Audit, parse_exclusion, read_audit
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, UsageError
from pinpoint_harness.evaluation import Part, score_run
from pinpoint_harness.images import ImageStore
from pinpoint_harness.photo_ids import flickr_id
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.reports.photo_lookup import PhotoLookup
from pinpoint_harness.running import candidates_of, find_run
from pinpoint_harness.search import Gallery, search
from pinpoint_harness.types import DataLocation

METRE_DEG = 1 / 111_195


def pinpoint(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words], prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def picture(seed: int) -> Image.Image:
    """A soft blot of colours, unlike that of any other seed."""
    blot = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(blot).resize((64, 64), Image.Resampling.BICUBIC)


GALLERY = [(f"{100 + n}.png", "abcd"[n % 4], 10.0 + n, 20.0 + 3 * n) for n in range(12)]


def write_world(folder: Path) -> None:
    """Twelve gallery photos by a, b, c and d, and ten queries with one leak of each kind."""
    for name in ("gallery", "queries"):
        (folder / name / "images").mkdir(parents=True)
    for number, (name, *_) in enumerate(GALLERY):
        picture(number).save(folder / "gallery" / "images" / name)

    def place(number: int, metres: float = 0.0) -> tuple[float, float]:
        return GALLERY[number][2] + metres * METRE_DEG, GALLERY[number][3]

    queries = {
        "500.png": ("x", -5.0, -5.0),  # nothing leaks
        "501.png": ("a", -6.0, -6.0),  # by a gallery photographer, elsewhere
        "502.png": ("x", *place(2)),  # the same bytes as 102
        "503.png": ("b", *place(5, 12)),  # another picture, 12 m from b's photo 105
        "504.png": ("x", -40.0, 100.0),  # 106 again, smaller and darker
        "505.png": ("x", 1.0, 1.0),  # three placeholders
        "506.png": ("y", 2.0, 2.0),
        "507.png": ("z", 3.0, 3.0),
        "109.png": ("y", -7.0, -7.0),  # the id of a gallery photo
        "508.png": ("x", -8.0, -8.0),  # its picture is gone
    }
    images = folder / "queries" / "images"
    for number, name in enumerate(queries):
        picture(50 + number).save(images / name)
    (images / "502.png").write_bytes((folder / "gallery" / "images" / "102.png").read_bytes())
    darker = Image.eval(picture(6).resize((50, 50), Image.Resampling.BICUBIC), lambda value: int(value * 0.8))
    darker.save(images / "504.png")
    for name in ("505.png", "506.png", "507.png"):
        Image.new("RGB", (40, 40), (200, 200, 200)).save(images / name)
    (images / "508.png").unlink()
    for name, rows in (
        ("gallery", GALLERY),
        ("queries", [(photo, *rest) for photo, rest in queries.items()]),
    ):
        lines = [",".join(map(str, row)) for row in rows]
        (folder / name / "truth.csv").write_text("\n".join(["image,author,lat,lng", *lines]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, a run of nearest-photo over them, and an audit."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    gallery = ["--set", "gallery=table", "--set", f"gallery_data={folder / 'gallery' / 'truth.csv'}"]
    pinpoint(
        "run", "nearest-photo", "table", "--data", folder / "queries" / "truth.csv", *gallery,
        "--set", "backbone=mini", "--home", folder,
    )  # fmt: skip
    audited(folder, "audit.parquet")
    return folder


def audited(folder: Path, file: str, *more: object) -> Result:
    return pinpoint(
        "audit", "table", "table", "--data", folder / "queries" / "truth.csv",
        "--gallery-data", folder / "gallery" / "truth.csv", "--backbone", "mini",
        "--home", folder, "--file", folder / file, *more,
    )  # fmt: skip


def rows_of(folder: Path, file: str = "audit.parquet") -> pd.DataFrame:
    frame: pd.DataFrame = read_audit(folder / file).table.to_pandas()
    return frame.set_index(frame["id"].str.removesuffix(".png"))


def those(frame: pd.DataFrame, column: str) -> set[str]:
    return set(frame.index[frame[column].fillna(False).astype(bool)])


def test_every_leak_is_found_by_the_rule_that_should_find_it(world: Path) -> None:
    frame = rows_of(world)
    assert frame["same_author_rows"].to_dict() == {
        name: 3 if name in ("501", "503") else 0 for name in frame.index
    }
    assert those(frame, "identical_bytes") == {"502"}
    assert those(frame, "placeholder") == {"505", "506", "507"}
    assert those(frame, "identical_id") == {"109"}
    assert those(frame, "by_place") == {"503"}
    assert {"502", "504"} == those(frame, "by_hash")
    assert those(frame, "near_duplicate") == {"502", "503", "504", "109"} | those(frame, "by_features")
    assert not {"500", "501", "508"} & those(frame, "near_duplicate")


def test_the_nearest_photo_is_named_with_how_near_it_is(world: Path) -> None:
    frame = rows_of(world)
    copy, spot, again = (frame.loc[name] for name in ("502", "503", "504"))
    assert copy["nearest_id"].startswith("102")
    assert (copy["hamming"], copy["cosine"]) == (0, pytest.approx(1, abs=1e-3))
    assert spot["nearest_id"].startswith("105")
    assert spot["distance_km"] == pytest.approx(0.012, rel=0.01)
    assert again["nearest_id"].startswith("106")
    assert 0 < again["hamming"] <= 31
    assert again["distance_km"] > 1000
    assert pd.isna(frame.loc["508"]["nearest_id"])


def test_views_leave_out_what_their_names_say(world: Path) -> None:
    frame = rows_of(world)
    everybody = set(frame.index)
    assert those(frame, "all") == everybody
    assert those(frame, "other_authors_only") == everybody - {"501", "503"}
    assert those(frame, "no_near_duplicates") == everybody - those(frame, "near_duplicate")
    assert those(frame, "no_placeholders") == everybody - {"505", "506", "507"}


def test_the_summary_counts_in_plain_words(world: Path) -> None:
    text = audited(world, "words.parquet", "--run", "nearest-photo@table").stdout
    assert "10 queries of table against 12 of table, features by mini" in text
    assert "same author: 2 (20.0 %) queries, 6 pairs with gallery photos of theirs" in text
    assert "same bytes: 1 (10.0 %)" in text
    assert "placeholders: 3 (30.0 %)" in text
    assert "by place: 1 (10.0 %), one photographer within 30 m" in text
    line = next(line for line in text.splitlines() if line.startswith("no placeholders"))
    assert line.split()[2] == "7"


def test_hits_are_counted_by_whose_photo_stands_at_the_answer(world: Path) -> None:
    report = json.loads(audited(world, "json.parquet", "--run", "nearest-photo@table", "--json").stdout)
    run = find_run("nearest-photo@table", world / "runs")
    answers = run.predictions()
    place = {(latitude, longitude): author for _, author, latitude, longitude in GALLERY}
    mine = np.array(
        [
            place.get((row["predicted_latitude"], row["predicted_longitude"])) == row["author"]
            for row in answers.to_dict("records")
        ]
    )
    (effect,) = report["runs"]
    for hits in effect["hits"]:
        within = answers["error_km"] < hits["radius_km"]
        assert hits["hits"] == within.sum()
        assert hits["same_author"] == (within & mine).sum()
        assert hits["same_author"] + hits["other_author"] == hits["hits"]
        assert hits["elsewhere"] == 0
    assert report["counts"]["same_author"] == 2


def test_limits_decide_what_counts(world: Path) -> None:
    audited(world, "strict.parquet", "--spot", "0", "--hamming", "0", "--cosine", "1.001")
    frame = rows_of(world, "strict.parquet")
    assert those(frame, "near_duplicate") == {"502", "109"}
    audited(world, "wide.parquet", "--spot", "5000000", "--cosine", "1.001")
    assert those(rows_of(world, "wide.parquet"), "by_place") == {"501", "503"}
    audited(world, "alike.parquet", "--cosine", "-1")
    assert those(rows_of(world, "alike.parquet"), "by_features") == {"500", "501", "502", "503", "504", "109"}


def test_hashing_every_picture_finds_at_least_as_much_and_is_kept(world: Path) -> None:
    audited(world, "pixels.parquet", "--pixels")
    assert those(rows_of(world), "by_hash") <= those(rows_of(world, "pixels.parquet"), "by_hash")
    kept = list((world / "stores").glob("table/pixels/perceptual-hash/*/table.npy"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    audited(world, "pixels.parquet", "--pixels")
    assert kept[0].stat().st_mtime_ns == before


def test_ids_of_training_sets_are_looked_for(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yfcc4k").mkdir()
    (tmp_path / "yfcc4k" / "yfcc4k.csv").write_text(
        "IMG_ID,LAT,LON,OwnerNSID\n500.jpg,1,2,p\n900.jpg,3,4,q\n"
    )
    monkeypatch.setenv("PINPOINT_DATA", str(tmp_path))
    text = audited(world, "training.parquet", "--training", "yfcc4k").stdout
    assert "training: 1 (10.0 %) queries stand in yfcc4k" in text
    assert those(rows_of(world, "training.parquet"), "training_id") == {"500"}
    assert rows_of(world)["training_id"].isna().all()


def test_without_pictures_features_tell_equal_photos_and_placeholders(tmp_path: Path) -> None:
    write_world(tmp_path)
    audited(tmp_path, "with.parquet")
    for name in ("gallery", "queries"):
        (tmp_path / name / "images").rename(tmp_path / f"{name}-pictures")
    store = next((tmp_path / "stores" / "table" / "mini").glob("*/store.json"))
    stores = [path.parent for path in store.parent.parent.glob("*/store.json")]
    gallery = next(one for one in stores if json.loads((one / "store.json").read_text())["rows"] == 12)
    result = pinpoint(
        "audit", gallery, "table", "--data", tmp_path / "queries" / "truth.csv", "--backbone", "mini",
        "--home", tmp_path, "--file", tmp_path / "without.parquet",
    )  # fmt: skip
    assert "the pictures are not here" in result.stdout
    with_pictures, without = rows_of(tmp_path, "with.parquet"), rows_of(tmp_path, "without.parquet")
    assert those(without, "placeholder") == those(with_pictures, "placeholder")
    assert those(without, "near_duplicate") >= {"502", "503", "109"}
    assert without["identical_bytes"].isna().all()
    assert without["hamming"].isna().all()


# Scoring without what was found


def test_scores_leave_out_what_the_audit_found_and_say_so(world: Path) -> None:
    file = world / "audit.parquet"
    words = ["score", "nearest-photo@table", "--home", world, "--exclude"]
    text = pinpoint(*words, f"{file}:placeholders").stdout
    assert "partial: 7 of 10, without placeholders (audited against table)" in text
    kept = set(rows_of(world).index) - {"505", "506", "507"}
    answers = find_run("nearest-photo@table", world / "runs").predictions()
    left = answers[answers["id"].str.removesuffix(".png").isin(kept)]
    (score,) = json.loads(pinpoint(*words, f"{file}:placeholders", "--json").stdout)["scores"]
    assert score["estimates"]["acc_2500km"]["n"] == 7
    assert score["estimates"]["acc_2500km"]["value"] == pytest.approx(
        100 * (left["error_km"] < 2500).sum() / 7
    )
    (full,) = json.loads(pinpoint(*words[:-1], "--json").stdout)["scores"]
    assert full["counts"]["total"] == 10
    assert "part" not in full


def test_everything_is_left_out_unless_kinds_are_named(world: Path) -> None:
    frame = rows_of(world)
    left = set(frame.index) - those(frame, "near_duplicate") - {"501", "503", "505", "506", "507"}
    words = ["score", "nearest-photo@table", "--home", world, "--json", "--exclude"]
    (score,) = json.loads(pinpoint(*words, world / "audit.parquet").stdout)["scores"]
    assert score["counts"]["total"] == len(left)
    assert score["part"].startswith(f"{len(left)} of 10, without same-author and near-duplicates and")


def test_a_table_of_a_part_is_marked_and_ranks_nothing(world: Path) -> None:
    words = ["table", "table", "--home", world]
    text = pinpoint(*words, "--exclude", f"{world / 'audit.parquet'}:placeholders").stdout
    assert "scored on 7 of 10, without placeholders" in text
    assert "not ranked" in text
    assert "scored on" not in pinpoint(*words).stdout
    error = pinpoint(*words, "--exclude", world / "audit.parquet", "--compare", code=2).stderr
    assert "no letters" in error


def test_comparisons_are_made_on_the_photos_that_are_left(world: Path) -> None:
    pinpoint(
        "run", "constant", "table", "--data", world / "queries" / "truth.csv", "--home", world,
        "--set", "latitude=1", "--set", "longitude=1",
    )  # fmt: skip
    words = ["compare", "nearest-photo@table", "constant@table", "--home", world, "--flips", "500"]
    text = pinpoint(*words, "--exclude", f"{world / 'audit.parquet'}:placeholders").stdout
    assert "7 photos, without placeholders" in text


def test_an_audit_of_another_dataset_is_refused(world: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("image,lat,lng\n500.png,1,2\n501.png,3,4\n")
    pinpoint(
        "run", "constant", "table", "--data", tmp_path / "other.csv", "--home", tmp_path,
        "--set", "latitude=1", "--set", "longitude=1",
    )  # fmt: skip
    words = ["score", "constant@table", "--home", tmp_path]
    error = pinpoint(*words, "--exclude", world / "audit.parquet", code=2).stderr
    assert "is not of the truth" in error


def test_a_part_without_photos_is_an_error(world: Path) -> None:
    run = find_run("nearest-photo@table", world / "runs")
    part = Part("without anything", frozenset(), run.record["recipe"]["dataset_hash"])
    with pytest.raises(UsageError, match="is left without anything"):
        score_run(run, "wgs84-lt", part=part)


def test_other_files_are_no_audits(world: Path, tmp_path: Path) -> None:
    predictions = find_run("nearest-photo@table", world / "runs").folder / "predictions.parquet"
    with pytest.raises(ArtifactError, match="is not an audit"):
        read_audit(predictions)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match="cannot read"):
        read_audit(tmp_path / "broken.parquet")


def test_exclusions_name_a_file_and_kinds(tmp_path: Path) -> None:
    assert parse_exclusion("a.parquet") == (Path("a.parquet"), tuple(KINDS))
    assert parse_exclusion("a.parquet:placeholders,same-author") == (
        Path("a.parquet"),
        ("placeholders", "same-author"),
    )
    odd = tmp_path / "odd:name"
    odd.write_text("")
    assert parse_exclusion(str(odd)) == (odd, tuple(KINDS))
    with pytest.raises(UsageError, match="cannot leave out 'everything'"):
        parse_exclusion("a.parquet:everything")


def test_unknown_photographers_are_unknown_and_not_strangers(world: Path) -> None:
    audit = read_audit(world / "audit.parquet")
    columns = ["same_author_rows", "other_authors_only"]
    table = audit.table
    for name in columns:
        place = table.schema.get_field_index(name)
        nothing = pa.nulls(len(table), table.schema.field(place).type)
        table = table.set_column(place, table.schema.field(place), nothing)
    blind = Audit(table, audit.asked)
    assert blind.counts()["same_author"] is None
    assert any("not known" in line for line in blind.in_words())
    with pytest.raises(UsageError, match="does not know"):
        blind.view(["same-author"])
    assert set(VIEWS.values()) == {
        "all", "other authors only", "no near-duplicates", "no placeholders"
    }  # fmt: skip


# Contents


def stored(folder: Path, files: dict[str, bytes]) -> Pictures:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    store = ImageStore.open([folder])
    return Pictures(store, store.find(pd.Series([*files, "gone.jpg"])))


def test_only_files_as_long_as_a_query_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = stored(tmp_path / "q", {"a.jpg": b"abc", "b.jpg": b"hello"})
    gallery = stored(tmp_path / "g", {"1.jpg": b"abc", "2.jpg": b"xyz", "3.jpg": b"longer than any"})
    read: list[int] = []
    original = gallery.store.read

    def noted(ref: int) -> Any:
        read.append(ref)
        return original(ref)

    monkeypatch.setattr(gallery.store, "read", noted)
    found = compare_files(queries, [gallery], [np.zeros((3, 2)), np.zeros((4, 2))])
    assert found.identical.tolist() == [True, False, False]
    assert sorted(read) == sorted(gallery.refs[:2])


def test_copies_in_one_place_are_one_photo_and_no_placeholder(tmp_path: Path) -> None:
    queries = stored(tmp_path / "q", {"a.jpg": b"same", "b.jpg": b"gone", "c.jpg": b"twice"})
    names = "1234567"
    content = [b"same"] * 3 + [b"gone"] * 3 + [b"twice"]
    gallery = stored(tmp_path / "g", {f"{name}.jpg": data for name, data in zip(names, content, strict=True)})
    places = np.array([[5.0, 5.0]] * 3 + [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]] + [[0.0, 0.0]] * 2)
    found = compare_files(queries, [gallery], [np.zeros((4, 2)), places])
    assert found.placeholder.tolist() == [False, True, False, False]
    assert found.identical.tolist() == [True, True, True, False]
    assert found.photos.tolist() == [False, False, False, True]


def test_sizes_are_told_without_reading(tmp_path: Path) -> None:
    files = {"a.jpg": b"12345", "b.jpg": b"1"}
    with zipfile.ZipFile(tmp_path / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with tarfile.open(tmp_path / "two.tar", "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (tmp_path / "three").mkdir()
    for name, data in files.items():
        (tmp_path / "three" / name).write_bytes(data)
    for root in ("one.zip", "two.tar", "three"):
        store = ImageStore.open([tmp_path / root])
        refs = store.find(pd.Series(list(files)))
        assert [store.size(ref) for ref in refs] == [5, 1]
        assert [len(store.read(ref)) for ref in refs] == [5, 1]  # type: ignore[arg-type]
    (tmp_path / "three" / "a.jpg").unlink()
    assert store.size(refs[0]) == -1


# Likeness


def test_the_hash_is_that_of_the_package_the_field_uses() -> None:
    """Bits of imagehash 4.3.2, `phash(image, hash_size=16)`."""
    y, x = np.mgrid[:48, :60]
    ramp = np.stack([(x * 4) % 256, (y * 5) % 256, (x * y) % 256], -1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (100, 80, 3), dtype=np.uint8)
    assert perceptual_hash(ramp).tobytes().hex() == (
        "800007ff1fe03f033c3f787871e17387671c673966636ccc4cd9499359265b6d"
    )
    assert perceptual_hash(noise).tobytes().hex() == (
        "824ea6fb72411f55ecf7cc332d2d46615ee01c2092995fb87c1d28e95f58fc24"
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12))
def test_the_exact_search_finds_the_fewest_differing_bits(seed: int, rows: int, queries: int) -> None:
    generator = np.random.default_rng(seed)
    gallery = generator.integers(0, 256, (rows, BITS // 8), dtype=np.uint8)
    asked = gallery[generator.integers(0, rows, queries)] ^ generator.integers(
        0, 2, (queries, BITS // 8), dtype=np.uint8
    )
    hits = search(Gallery.of({"hash": as_vectors(gallery)}), {"hash": as_vectors(asked)}, {"hash": 1})["hash"]
    best = np.array([min(bin(int.from_bytes(a.tobytes()) ^ int.from_bytes(g.tobytes())).count("1")
                         for g in gallery) for a in asked])  # fmt: skip
    assert ((1 - hits.scores[:, 0].numpy()) * BITS / 2).tolist() == best.tolist()
    assert hamming(asked, gallery[hits.rows[:, 0].numpy()]).tolist() == best.tolist()


def test_the_cosine_is_set_where_one_far_photo_in_a_thousand_reaches_it() -> None:
    far = np.arange(3000) / 3000
    limit = calibrate([far, far[::-1] * 0], np.ones(3000, dtype=bool))
    assert (far >= limit).sum() == 3
    few = calibrate([far[:100]], np.ones(100, dtype=bool))
    assert (far[:100] >= few).sum() == 0
    without = np.arange(3000) < 2990
    assert (far[without] >= calibrate([far], without)).sum() == 2
    assert calibrate([far], np.zeros(3000, dtype=bool)) == 1.0


# Mini-Earth


def test_every_plant_of_a_small_mini_earth_is_found(tmp_path: Path) -> None:
    """Recall 1.0; what is reported beyond the plants is by the same photographer or looks alike."""
    data = ensure_world(
        WorldSpec(seed=3, photos=450, streetview=10, queries=140), tmp_path / "worlds", workers=1
    )
    pinpoint(
        "audit", "mini-earth/gallery-photos", "mini-earth/query-noisy", "--backbone", "mini", "--data", data,
        "--gallery-data", data, "--home", tmp_path, "--file", tmp_path / "audit.parquet",
    )  # fmt: skip
    frame = rows_of(tmp_path)
    with (data / "leaks.csv").open(newline="") as stream:
        leaks: list[dict[str, Any]] = list(csv.DictReader(stream))
    ids = flickr_id(pd.Series([leak["IMG_ID"] for leak in leaks]))
    planted = {kind: {i for i, leak in zip(ids, leaks, strict=True) if leak["leak"] == kind} for kind in
               ("same-photographer", "near-duplicate", "exact-duplicate", "placeholder")}  # fmt: skip
    assert all(planted.values())
    assert set(frame.index[frame["same_author_rows"] > 0]) >= planted["same-photographer"]
    assert those(frame, "identical_bytes") == planted["exact-duplicate"]
    assert those(frame, "placeholder") == planted["placeholder"]
    assert those(frame, "near_duplicate") >= planted["near-duplicate"] | planted["exact-duplicate"]
    assert len(those(frame, "near_duplicate") & planted["same-photographer"]) <= 2


def test_a_gallery_is_named_once(world: Path) -> None:
    words = ["--backbone", "mini", "--data", world / "queries" / "truth.csv", "--file", world / "x.parquet"]
    error = pinpoint("audit", "table,table", "table", *words, code=2).stderr
    assert "each named once" in error


def test_an_unknown_gallery_says_what_to_do(world: Path) -> None:
    words = ["--backbone", "mini", "--data", world / "queries" / "truth.csv", "--file", world / "x.parquet"]
    assert "nowhere" in pinpoint("audit", "nowhere", "table", *words, code=2).stderr


def test_hashing_everything_without_pictures_is_refused(world: Path) -> None:
    stores = (world / "stores" / "table" / "mini").glob("*/store.json")
    gallery = next(path.parent for path in stores if json.loads(path.read_text())["rows"] == 12)
    words = ["--data", world / "queries" / "truth.csv", "--backbone", "mini", "--home", world]
    result = pinpoint("audit", gallery, "table", *words, "--pixels", "--file", world / "x.parquet", code=2)
    assert "not all pictures are here" in result.stderr


def test_pictures_and_people_of_another_edition_are_not_mixed_in(world: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("image,author,lat,lng\n100.png,x,1,2\n101.png,x,3,4\n")
    stores = (world / "stores" / "table" / "mini").glob("*/store.json")
    gallery = next(path.parent for path in stores if json.loads(path.read_text())["rows"] == 12)
    result = pinpoint(
        "audit", gallery, "table", "--data", world / "queries" / "truth.csv", "--backbone", "mini",
        "--gallery-data", tmp_path / "other.csv", "--home", world,
        "--file", tmp_path / "x.parquet",
    )  # fmt: skip
    assert rows_of(tmp_path, "x.parquet")["same_author_rows"].sum() == 6
    assert rows_of(tmp_path, "x.parquet")["identical_bytes"].isna().all()
    assert "another truth file" in result.stderr


def test_a_method_stands_for_the_galleries_it_opens(pinpoint_world: World) -> None:
    world = pinpoint_world
    galleries = {"backbone": "colours", "gallery": "toy/streetview,toy/photos"}
    run = evaluate(
        "nearest-photo",
        "toy/asked",
        parameters=galleries,
        home=world.folder,
        device="cpu",
        registry=world.registry,
    )
    assert [(one.name, one.backbone) for one in galleries_behind(run)] == [
        ("toy/streetview", "colours"),
        ("toy/photos", "colours"),
    ]
    nobody = evaluate("random-prior", "toy/asked", home=world.folder, registry=world.registry)
    with pytest.raises(UsageError, match="opens no gallery"):
        galleries_behind(nobody)


def test_a_run_with_a_gallery_in_another_folder_is_audited_broken_down_and_plotted(
    world: Path, tmp_path: Path
) -> None:
    """Where the gallery lies is known from the run: no command is told again."""
    queries, file = world / "queries" / "truth.csv", tmp_path / "audit.parquet"
    where = ["--data", queries, "--home", world]
    pinpoint("audit", "nearest-photo", "table", *where, "--file", file)
    assert read_audit(file).table.equals(read_audit(world / "audit.parquet").table)
    words = ["runs", "breakdown", "nearest-photo@table", "--by", "density", "--home", world]
    told = pinpoint(*words, "--gallery", world / "gallery" / "truth.csv", "--json").stdout
    assert pinpoint(*words, "--json").stdout == told
    run = find_run("nearest-photo@table", world / "runs")
    candidates = candidates_of(run.table())
    assert candidates is not None
    assert candidates.source is not None
    assert candidates.photo_id is not None
    named = candidates.photo_id != ""
    assert named.any()
    photos = PhotoLookup(run, load_registry(), DataLocation(queries)).candidates(
        candidates.source[named], candidates.photo_id[named], candidates.coordinates[named]
    )
    assert not [photo for photo in photos if isinstance(photo, str)]


def test_the_gallery_of_a_run_may_be_the_folder_of_a_store(world: Path, tmp_path: Path) -> None:
    stores = (world / "stores" / "table" / "mini").glob("*/store.json")
    gallery = next(path.parent for path in stores if json.loads(path.read_text())["rows"] == 12)
    queries = world / "queries" / "truth.csv"
    where = ["--data", queries, "--home", tmp_path]
    pinpoint("run", "nearest-photo", "table", *where, "--set", f"gallery={gallery}", "--set", "backbone=mini")
    more = ["--gallery-data", world / "gallery" / "truth.csv", "--file", tmp_path / "audit.parquet"]
    pinpoint("audit", "nearest-photo", "table", *where, *more)
    assert those(rows_of(tmp_path), "identical_bytes") == {"502"}
    words = ["runs", "breakdown", "nearest-photo@table", "--by", "density", "--home", tmp_path]
    assert "of 12" in pinpoint(*words).stdout


def test_a_gallery_without_a_backbone_is_refused(world: Path) -> None:
    result = pinpoint("audit", "table", "table", "--data", world / "queries" / "truth.csv", code=2)
    assert "--backbone" in result.output
