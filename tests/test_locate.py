"""`pinpoint locate`: the path of a run over photos nobody has a truth for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.support.locate_world import COUNT, World, located_world, pixels, save

from pinpoint_harness.batching import tiles
from pinpoint_harness.cli.locate import _percent
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import LiveBackbone, iter_stores
from pinpoint_harness.features.backbones import find_backbone
from pinpoint_harness.images.loose import PhotoDataset
from pinpoint_harness.locate import Answer, Candidate, Locator, locate_photos, open_photos
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.reports.answer_map import _around, draw_answers
from pinpoint_harness.reports.maps import LAND_COLOUR, SEA_COLOUR
from pinpoint_harness.reports.pictures import encoded
from pinpoint_harness.running import SingleInput, candidates_of
from pinpoint_harness.running.predictions import within_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with located_world(tmp_path_factory.mktemp("world")) as made:
        made.run("nearest-photo", gallery="toy/drawn", backbone="flexible")
        yield made


def ask(locator: Locator, *paths: Path) -> list[Answer]:
    with open_photos(paths) as photos:
        return list(locator.answers(photos))


def assert_as_in_the_run(answers: list[Answer], run: Any) -> None:
    frame = run.predictions()
    candidates = candidates_of(run.table())
    assert candidates is not None
    for row, answer in enumerate(answers):
        assert answer.place == (frame["predicted_latitude"][row], frame["predicted_longitude"][row])
        assert answer.score == frame["confidence"][row]
        stored = candidates.coordinates[row]
        assert [(c.latitude, c.longitude) for c in answer.candidates] == [
            tuple(place) for place in stored.tolist() if not np.isnan(place[0])
        ]
        assert candidates.photo_id is not None
        names = candidates.photo_id[row][: len(answer.candidates)].tolist()
        assert [c.photo_id or "" for c in answer.candidates] == names


def test_a_method_that_sees_pictures_answers_as_in_a_stored_run_at_tile_1(world: World) -> None:
    assert_as_in_the_run(ask(world.locator(), *world.photos), world.run("looker"))


def test_a_method_on_features_answers_as_in_a_stored_run_at_tile_1(world: World) -> None:
    run = world.run("nearest-photo", gallery="toy/real", backbone="colours")
    assert_as_in_the_run(ask(world.nearest("toy/real"), *world.photos), run)


def test_a_photo_alone_gets_the_answer_it_has_among_others(world: World) -> None:
    together = ask(world.nearest("toy/real"), *world.photos)
    for photo, answer in zip(world.photos, together, strict=True):
        assert ask(world.nearest("toy/real"), photo) == [answer]


def test_a_backbone_gets_its_own_tile_unless_it_takes_any(world: World) -> None:
    sizes = world.registry.backbones["colours"].load().sizes
    sizes.clear()
    ask(world.nearest("toy/drawn"), *world.photos)
    assert sizes == [16]
    sizes.clear()
    locator = world.nearest("toy/drawn", "flexible")
    ask(locator, *world.photos)
    assert sizes == [1] * COUNT
    assert locator.record()["inputs"]["tile"] == 1
    assert locator.record()["tile"] == 1


def test_a_tower_of_hugging_face_answers_from_one_picture_as_from_a_full_tile(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.processors import SiglipImageProcessorPil
    from transformers import Dinov2Config, Dinov2Model

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checkpoint = tmp_path / "tiny"
    torch.manual_seed(0)
    Dinov2Model(
        Dinov2Config(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            mlp_ratio=2,
            image_size=32,
            patch_size=8,
        )
    ).save_pretrained(checkpoint)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(checkpoint)
    stored = world.run("nearest-photo", gallery="toy/real", backbone=str(checkpoint))
    locator = world.nearest("toy/real", str(checkpoint))
    answers = ask(locator, *world.photos)
    assert locator.record()["inputs"]["tile"] == 1
    frame = stored.predictions()
    assert [answer.place for answer in answers] == [
        *zip(frame["predicted_latitude"], frame["predicted_longitude"], strict=True)
    ]
    for answer, confidence in zip(answers, frame["confidence"], strict=True):
        assert answer.score == pytest.approx(confidence, abs=1e-3)


def test_nothing_is_stored(world: World) -> None:
    before = sorted(world.folder.rglob("*"))
    assert world.command(*world.photos, "--method", "looker").exit_code == 0
    ask(world.nearest("toy/real"), *world.photos)
    assert sorted(world.folder.rglob("*")) == before


def test_a_photo_on_its_side_is_answered_as_it_stands(world: World, tmp_path: Path) -> None:
    upright = pixels(7, width=20, height=8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stands upright when turned clockwise by a quarter
    turned = save(tmp_path / "turned.png", np.rot90(upright).copy(), exif=exif)
    straight = save(tmp_path / "straight.png", upright)
    first, second = ask(world.locator(), turned, straight)
    assert first.place == second.place
    assert first.place is not None
    assert first.place[1] == 20


def test_a_name_a_comment_and_a_position_change_nothing_a_method_sees(world: World, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 0.0, 0.0), 3: "E", 4: (151.0, 0.0, 0.0)})
    plain, lying = (io.BytesIO() for _ in range(2))
    Image.fromarray(pixels(3)).save(plain, "JPEG")
    Image.fromarray(pixels(3)).save(lying, "JPEG", exif=exif.tobytes(), comment=b"latitude: -33")
    (tmp_path / "a.jpg").write_bytes(plain.getvalue())
    (tmp_path / "Sydney_33S_151E.jpg").write_bytes(lying.getvalue())
    world.seen().clear()
    first, second = ask(world.locator(), tmp_path / "a.jpg", tmp_path / "Sydney_33S_151E.jpg")
    assert replace(first, photo="") == replace(second, photo="")
    honest, misled = world.seen()
    np.testing.assert_array_equal(honest.key, misled.key)
    np.testing.assert_array_equal(honest.input[0], misled.input[0])
    assert misled.author_token.tolist() == [0]
    assert misled.source == ["photos"]


def test_the_dataset_of_the_given_photos_holds_neither_names_nor_places(world: World) -> None:
    with open_photos(world.photos) as photos:
        truth = PhotoDataset(photos, "streetview").truth()
    assert truth["id"].is_unique
    assert truth[["latitude", "longitude", "author"]].isna().all(axis=None)
    assert set(truth["source"]) == {"streetview"}
    assert not truth.astype(str).apply(lambda column: column.str.contains("asked")).any(axis=None)


def test_a_photo_has_one_key_whether_pixels_or_features_are_asked_for(world: World, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    live = LiveBackbone(find_backbone(world.registry, "colours"), "cpu")
    with open_photos([world.photos[0], tmp_path / "broken.jpg", *world.photos[1:]]) as photos:
        dataset, each = PhotoDataset(photos, "photos"), list(tiles(len(photos), 1))
        pixels, features = (
            list(SingleInput(dataset, dataset.truth(), backbones).stream(each, 1))
            for backbones in ((), (live,))
        )
    assert [given.keys for given in pixels] == [given.keys for given in features]
    assert [given.answerable for given in pixels] == [given.answerable for given in features]
    assert [given.failures for given in features] == [{}, {0: "unreadable: empty file (0 bytes)"}, *[{}] * 4]
    for picture, feature in zip(pixels, features, strict=True):
        if feature.answerable:
            made = live.backbone.prepare(picture.values[0]).astype(np.float16)
            assert feature.values.shape == (1, 12)
            np.testing.assert_array_equal(feature.values[0].numpy(), made)


def test_of_no_photos_there_are_no_answers(world: World) -> None:
    assert ask(world.locator()) == []
    assert ask(world.nearest("toy/real")) == []


def test_other_pixels_have_another_key(world: World, tmp_path: Path) -> None:
    image = pixels(5)
    other = image.copy()
    other[2, 3, 1] ^= 1
    world.seen().clear()
    ask(
        world.locator(),
        save(tmp_path / "a.png", image),
        save(tmp_path / "b.png", other),
        save(tmp_path / "c.png", image.reshape(12, 8, 3)),
    )
    assert len({int(query.key[0]) for query in world.seen()}) == 3


def test_a_broken_file_in_a_folder_is_reported_and_the_others_are_answered(
    world: World, tmp_path: Path
) -> None:
    save(tmp_path / "c.png", pixels(1))
    save(tmp_path / "a.png", pixels(2))
    (tmp_path / "b.jpg").write_bytes(b"<!DOCTYPE html><html>not found</html>")
    (tmp_path / "d.jpg").write_bytes(b"")
    result = world.command(tmp_path, "--method", "looker", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["photos"]
    assert [Path(photo["photo"]).name for photo in found] == ["a.png", "b.jpg", "c.png", "d.jpg"]
    assert [photo["status"] == "ok" for photo in found] == [True, False, True, False]
    assert "HTML" in found[1]["status"]
    assert found[1]["latitude"] is None
    assert found[1]["candidates"] == []
    printed = world.command(tmp_path, "--method", "looker")
    assert printed.exit_code == 1
    assert "no place    unreadable: looks like an HTML page" in printed.stdout
    features = ask(world.nearest("toy/real"), tmp_path)
    assert [answer.status == "ok" for answer in features] == [True, False, True, False]
    assert features[2] == ask(world.nearest("toy/real"), tmp_path / "c.png")[0]


def test_a_feature_that_is_not_finite_fails_its_photo_only(world: World, tmp_path: Path) -> None:
    dark = save(tmp_path / "dark.png", np.full((8, 12, 3), 20, np.uint8))
    answers = ask(world.nearest("toy/drawn", "flexible"), world.photos[0], dark, world.photos[1])
    assert [answer.status for answer in answers] == ["ok", "unreadable: its feature is not finite", "ok"]


def test_a_photo_the_method_does_not_answer_has_no_place(world: World, tmp_path: Path) -> None:
    black = save(tmp_path / "black.png", np.zeros((8, 8, 3), np.uint8))
    (answer,) = ask(world.locator(), black)
    assert (answer.status, answer.place, answer.within) == ("no prediction", None, None)
    assert world.command(black, "--method", "looker").exit_code == 1


def test_confidence_and_distances_are_those_of_the_candidates(world: World, tmp_path: Path) -> None:
    red = np.zeros((4, 30, 3), np.uint8)
    red[..., 0] = 1
    (answer,) = ask(world.locator(), save(tmp_path / "red.png", red))
    assert answer.place == (80 / 255, 30.0)
    # A tenth of a degree of latitude is 11.1 km; 60 degrees of longitude near the equator are 6,672 km.
    assert answer.within == {1.0: 0.5, 25.0: 0.75, 200.0: 0.75, 750.0: 0.75, 2500.0: 0.75}
    assert [round(candidate.distance_km, 1) for candidate in answer.candidates] == [0.0, 11.1, 6671.6]
    assert [(c.source, c.photo_id, c.probability) for c in answer.candidates] == [
        ("a", "3.jpg", 0.5),
        ("b", "5.jpg", 0.25),
        ("a", None, 0.125),
    ]


def test_the_confidence_is_what_a_method_states_and_the_candidates_where_it_states_nothing(
    world: World, tmp_path: Path
) -> None:
    pictures = [np.full((height, 30, 3), 9, np.uint8) for height in (4, 7)]
    photos = [save(tmp_path / f"{number}.png", picture) for number, picture in enumerate(pictures)]
    stated, silent = ask(world.locator("stating"), *photos)
    assert stated.within == {1.0: 0.25, 25.0: 0.375, 200.0: 0.5, 750.0: 0.75, 2500.0: 0.9375}
    assert silent.within == {1.0: 0.5, 25.0: 0.75, 200.0: 0.75, 750.0: 0.75, 2500.0: 0.75}
    printed = world.command(photos[0], "--method", "stating").stdout
    assert "25 % within 1 km, 38 % within 25 km, 50 % within 200 km, 75 % within 750 km, 94 %" in printed


def test_what_a_method_states_is_stored_with_its_run(world: World) -> None:
    within = within_of(world.run("stating").table())
    np.testing.assert_array_equal(within, np.tile([0.25, 0.375, 0.5, 0.75, 0.9375], (COUNT, 1)))


def test_json_holds_every_photo_and_what_the_answers_depend_on(world: World) -> None:
    result = world.command(*world.photos[:2], "--method", "looker", "--json", "--candidates", "2")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert set(document) == {"method", "made", "notes", "photos"}
    assert document["made"]["tile"] == 1
    assert document["made"]["answer_version"] == 1
    assert document["made"]["inputs"]["decoder"]
    first = document["photos"][0]
    assert set(first) == {
        "photo", "status", "latitude", "longitude", "score", "confidence_within_km", "candidates", "link",
    }  # fmt: skip
    assert first["confidence_within_km"] == {"1": 0.5, "25": 0.75, "200": 0.75, "750": 0.75, "2500": 0.75}
    assert len(first["candidates"]) == 2
    assert set(first["candidates"][0]) == {
        "latitude", "longitude", "distance_km", "probability", "source", "photo_id",
    }  # fmt: skip


def test_the_text_holds_place_confidence_candidates_and_link(world: World, tmp_path: Path) -> None:
    red = np.zeros((4, 30, 3), np.uint8)
    red[..., 0] = 1
    printed = world.command(save(tmp_path / "red.png", red), "--method", "looker").stdout
    assert "place       0.31373, 30.00000" in printed
    assert "50 % within 1 km, 75 % within 25 km" in printed
    assert "0.41373,   30.00000    25 %      11.1 km  b" in printed
    assert "https://www.openstreetmap.org/?mlat=0.31373&mlon=30.00000#map=10/0.31373/30.00000" in printed
    assert "note" not in printed
    without = world.command(
        world.photos[0], "--method", "nearest-photo", "--set", "gallery=toy/real", "--set", "backbone=colours"
    )
    assert "this method reports no probabilities" in without.stdout


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.004, "<1 %"), (0.256, "26 %"), (0.996, ">99 %"), (1.0, "100 %")],
)
def test_neither_nothing_nor_certainty_comes_from_rounding(share: float, text: str) -> None:
    assert _percent(share) == text


def test_a_model_of_a_procedural_world_says_so_in_every_output(world: World, tmp_path: Path) -> None:
    settings = ["--method", "nearest-photo", "--set", "backbone=colours", "--set"]
    photos = world.photos[:2]
    drawn = world.command(*photos, *settings, "gallery=toy/drawn").stdout
    assert drawn.count("knows only toy/drawn, pictures of a procedural planet") == 2
    told = json.loads(world.command(*photos, *settings, "gallery=toy/drawn", "--json").stdout)["notes"]
    assert len(told) == 1
    assert "means nothing" in told[0]
    for gallery in ("toy/real", "toy/real,toy/drawn"):
        assert "procedural" not in world.command(*photos, *settings, f"gallery={gallery}").stdout


def test_mini_earth_s_own_datasets_are_known_as_procedural() -> None:
    infos = {name: entry.info for name, entry in load_registry().datasets.items()}
    assert {name for name, info in infos.items() if info.procedural} == {
        name for name in infos if name.startswith("mini-earth")
    }


def test_from_python_answers_come_in_a_list_and_what_must_be_said_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"gallery": "toy/drawn", "backbone": "colours"}
    where: dict[str, Any] = {"device": "cpu", "home": world.folder, "registry": world.registry}
    answers = locate_photos([str(world.folder / "asked")], "nearest-photo", settings, **where)
    assert answers == ask(world.nearest("toy/drawn"), *sorted(world.photos))
    assert ["means nothing" in record.message for record in caplog.records] == [True]
    caplog.clear()
    locate_photos(world.photos[:1], "nearest-photo", settings | {"gallery": "toy/real"}, **where)
    assert not caplog.records


def test_a_photographer_s_photos_are_left_out_where_the_filter_is_on(world: World) -> None:
    settings = {"gallery": "toy/real", "backbone": "colours"}
    plain = world.locator("nearest-photo", **settings)
    filtered = world.locator("nearest-photo", **settings, author_filter=True)
    with open_photos([world.folder / "real" / "real4.png"]) as photos:
        names = {
            author: next(filtered.answers(photos, author)).candidates[0].photo_id
            for author in ("Ansel", "Dorothea")
        }
        assert names["Ansel"] != next(plain.answers(photos)).candidates[0].photo_id == "real4"
        assert names["Dorothea"] == "real4"
        with pytest.raises(UsageError, match="who took the photos"):
            next(filtered.answers(photos))
        with pytest.raises(UsageError, match="author_filter = false"):
            next(plain.answers(photos, "Ansel"))
        with pytest.raises(UsageError, match="no author_filter"):
            next(world.locator().answers(photos, "Ansel"))


def test_the_photographer_of_a_photo_stands_in_the_json(world: World) -> None:
    words = [
        "--method",
        "nearest-photo",
        "--set",
        "gallery=toy/real",
        "--set",
        "backbone=colours",
        "--json",
        "--set",
    ]
    photo = world.folder / "real" / "real4.png"
    told = json.loads(world.command(photo, *words, "author_filter=true", "--author", "Ansel").stdout)
    assert told["made"]["author"] == "Ansel"
    assert told["photos"][0]["candidates"][0]["photo_id"] != "real4"


def test_a_method_that_does_not_look_is_refused(world: World) -> None:
    result = world.command(world.photos[0], "--method", "blind")
    assert result.exit_code == 2
    assert "method 'blind' does not look at photos" in result.stderr
    with pytest.raises(UsageError, match="does not look at photos"):
        world.locator("stored-predictions", file="x.csv")


def test_a_gallery_without_features_is_named_with_the_command_and_not_embedded(world: World) -> None:
    with pytest.raises(DataError, match="pinpoint embed toy/real --backbone flexible"):
        world.nearest("toy/real", "flexible")
    assert not any(
        (store.dataset, store.backbone) == ("toy/real", "flexible") for store in iter_stores(world.stores)
    )


def test_a_path_that_leads_nowhere_ends_it_before_any_work(world: World, tmp_path: Path) -> None:
    result = world.command(world.photos[0], tmp_path / "typo.jpg", "--method", "no-such-method")
    assert result.exit_code == 2
    assert "typo.jpg" in result.stderr
    with pytest.raises(DataError, match="no pictures"), open_photos([tmp_path]):
        pass


def test_archives_and_links_are_read_and_odd_names_are_shown_safely(world: World, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for photo in world.photos:
            file.write(photo, f"deep/{photo.name}")
    link = tmp_path / "\x1b[2Jlink.png"
    link.symlink_to(world.photos[0])
    *packed, linked = ask(world.locator(), archive, link)
    loose = ask(world.locator(), *world.photos)
    assert [answer.place for answer in packed] == [answer.place for answer in loose]
    assert packed[0].photo == f"{archive}/deep/asked0.png"
    assert linked.place == loose[0].place
    assert linked.photo.isprintable()


def test_what_a_folder_holds_and_is_left_out_is_said(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "a.png", pixels(1))
    (tmp_path / "b.png").symlink_to(world.photos[0])
    (tmp_path / "c.zip").write_bytes(b"PK, and nothing of a zip")
    assert [Path(answer.photo).name for answer in ask(world.locator(), tmp_path)] == ["a.png"]
    assert "symbolic link leads outside its folder" in caplog.text
    assert "c.zip" in caplog.text


def test_a_map_is_drawn_of_one_photo_and_of_many(world: World, tmp_path: Path) -> None:
    sizes = []
    for count in (1, COUNT):
        target = tmp_path / f"{count}.png"
        result = world.command(*world.photos[:count], "--method", "looker", "--map", target)
        assert result.exit_code == 0, result.output
        with Image.open(target) as picture:
            sizes.append(picture.size)
            colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours is not None
        assert {LAND_COLOUR, SEA_COLOUR} <= {
            "#" + bytes(colour).hex() for _, colour in colours if isinstance(colour, tuple)
        }
    assert sizes[0] == sizes[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", f"{COUNT}.png"]


def test_a_map_bears_its_note_and_any_name(world: World) -> None:
    answers = [
        Answer(name, "ok", (10.0, 179.0), candidates=[Candidate(-16.0, -179.0, 1.0, 0.5, "a", 1)])
        for name in ("_$x^{.jpg", "東京.jpg", "a" * 99)
    ]
    plain, noted = (
        encoded(draw_answers(answers, "title", notes), "png") for notes in ([], ["it means nothing"])
    )
    assert plain[:4] == noted[:4] == b"\x89PNG"
    assert plain != noted


def test_a_map_that_cannot_be_written_is_refused_before_any_work(world: World, tmp_path: Path) -> None:
    for target in (tmp_path / "map.jpg", tmp_path / "absent" / "map.png"):
        result = world.command(world.photos[0], "--method", "no-such-method", "--map", target)
        assert result.exit_code == 2
        assert "map" in result.stderr
        assert "no-such-method" not in result.stderr
    assert not any(tmp_path.iterdir())


PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(PLACES, st.lists(PLACES, max_size=6))
def test_the_map_of_one_photo_holds_its_candidates(
    place: tuple[float, float], others: list[tuple[float, float]]
) -> None:
    candidates = [Candidate(*other, 0.0, None, None, None) for other in others]
    extent = _around(Answer("x", "ok", place, candidates=candidates))
    if extent is None:
        return
    west, south, east, north = extent
    width = (east - west) % 360
    assert -180 <= west <= 180
    assert -90 <= south < north <= 90
    assert width > 0
    for latitude, longitude in [place, *others]:
        assert south - 1e-9 <= latitude <= north + 1e-9
        assert (longitude - west + 1e-6) % 360 <= width + 2e-6


def test_a_map_around_the_antimeridian_stays_small() -> None:
    near = Candidate(-17.0, -179.5, 0.0, None, None, None)
    extent = _around(Answer("x", "ok", (-17.0, 179.5), candidates=[near]))
    assert extent is not None
    west, _, east, _ = extent
    assert 170 < west <= 180
    assert -180 <= east < -170


@pytest.mark.realdata
def test_camera_photos_are_all_answered(real_data: Path, world: World) -> None:
    result = world.command(real_data / "exif", "--method", "looker", "--json")
    photos = json.loads(result.stdout)["photos"]
    assert result.exit_code == 0
    assert len(photos) == len(list((real_data / "exif").glob("*.jpg")))
