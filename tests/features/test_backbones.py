"""Backbones: the vision tower of a real checkpoint format, equal to the full model; its preprocessing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.support.processors import CLIPImageProcessorPil, SiglipImageProcessorPil
from transformers import (
    AutoModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    SiglipConfig,
    SiglipModel,
)
from transformers.utils import logging as transformers_logging

from pinpoint_harness import hookimpl
from pinpoint_harness.artifacts import file_sha256
from pinpoint_harness.errors import DataError, PluginError, UsageError
from pinpoint_harness.features.backbones import WeightsError, find_backbone, weights
from pinpoint_harness.features.backbones.preprocess import Preprocess
from pinpoint_harness.plugins import Origin, Registry, load_registry
from pinpoint_harness.types import BackboneInfo, Context
from pinpoint_methods.backbones import BicubicSigLIP, CLIPClassToken, CroppedDINOv3, SquareDINOv2

SIDE = 32
TEXT: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pinpoint" / "sha256.json"


@pytest.fixture(scope="module", autouse=True)
def silence() -> None:
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def siglip() -> Any:
    return SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION))


def clip() -> Any:
    # The projection's width stands at the top of the configuration, the vision part has another default.
    return CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24))


def dinov2() -> Any:
    return Dinov2Model(Dinov2Config(**{**VISION, "mlp_ratio": 2}))


def dinov3() -> Any:
    return DINOv3ViTModel(DINOv3ViTConfig(**VISION, num_register_tokens=2))


SQUARE: dict[str, Any] = {"size": {"height": SIDE, "width": SIDE}, "resample": 2}
CROPPED: dict[str, Any] = {
    "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
    "resample": 3,
}


def checkpoint(folder: Path, build: Callable[[], Any], seed: int = 0, **options: Any) -> Path:
    """A checkpoint in the real format, with the preprocessing its family has."""
    torch.manual_seed(seed)
    build().eval().save_pretrained(folder, **options)
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    processor = (
        SiglipImageProcessorPil(**SQUARE)
        if kind in ("siglip", "dinov3_vit")
        else CLIPImageProcessorPil(**CROPPED)
    )
    processor.save_pretrained(folder)
    return folder


def opened(folder: Path, **context: Any) -> Any:
    return find_backbone(Registry(), str(folder)).open(Context(**context))


def photo(seed: int, height: int = 60, width: int = 80) -> np.ndarray[Any, np.dtype[np.uint8]]:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 5, width // 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()


def embed(backbone: Any, photos: list[Any]) -> torch.Tensor:
    prepared = [backbone.prepare(image) for image in photos]
    features: torch.Tensor = backbone.features(prepared + [prepared[-1]] * (backbone.tile - len(prepared)))
    return features[: len(photos)]


def full_model_features(folder: Path, pixels: torch.Tensor) -> torch.Tensor:
    """What whoever loads the whole model gets, as the published feature files were made."""
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = model.get_image_features(pixels) if hasattr(model, "get_image_features") else model(pixels)
    return found if isinstance(found, torch.Tensor) else found.pooler_output


@pytest.mark.parametrize(("build", "width"), [(siglip, 32), (clip, 24), (dinov2, 32), (dinov3, 32)])
def test_the_tower_alone_gives_what_the_full_model_gives(
    build: Callable[[], Any], width: int, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "model", build)
    backbone = opened(folder)
    photos = [photo(seed) for seed in range(3)]
    prepared = torch.stack([backbone.prepare(image) for image in photos])
    pixels = Preprocess.of_folder(folder).normalised(prepared)
    found = embed(backbone, photos)
    assert backbone.width == width == found.shape[1]
    # The same kernels at the same shape: equal to the last bit.
    padded = torch.cat([pixels, pixels[-1:].expand(backbone.tile - 3, -1, -1, -1)])
    assert torch.equal(found, full_model_features(folder, padded)[:3])


@pytest.mark.parametrize("build", [siglip, clip])
def test_the_text_tower_is_not_in_memory_and_attention_is_fused(
    build: Callable[[], Any], tmp_path: Path
) -> None:
    backbone = opened(checkpoint(tmp_path / "model", build))
    embed(backbone, [photo(0)])
    names = [name for name, _ in backbone._network.named_parameters()]
    assert not [name for name in names if "text" in name or "logit" in name]
    assert backbone._network.config._attn_implementation == "sdpa"


def test_weights_may_lie_in_several_files(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path / "whole", siglip)
    parts = checkpoint(tmp_path / "parts", siglip, max_shard_size="20KB")
    assert len(list(parts.glob("model-*.safetensors"))) > 1
    assert torch.equal(embed(opened(whole), [photo(1)]), embed(opened(parts), [photo(1)]))


def test_bf16_stays_close_to_fp32(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", siglip)
    exact, half = (
        embed(opened(folder, dtype=dtype), [photo(2)]).float() for dtype in ("float32", "bfloat16")
    )
    assert 0.999 < torch.cosine_similarity(exact, half).item() < 1


def test_one_photo_alone_does_not_wait_for_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = opened(checkpoint(tmp_path / "model", siglip))
    compiled: list[int] = []

    def compile_(network: Any) -> Any:
        def call(pixel_values: torch.Tensor) -> Any:
            compiled.append(len(pixel_values))
            return network(pixel_values=pixel_values)

        return call

    monkeypatch.setattr(type(backbone), "compiled", True)
    monkeypatch.setattr(torch, "compile", compile_)
    prepared = backbone.prepare(photo(3))
    backbone.features([prepared])
    assert compiled == []
    backbone.features([prepared] * backbone.tile)
    assert compiled == [backbone.tile]


def test_a_feature_does_not_depend_on_the_others_of_its_tile(tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        backbone = opened(checkpoint(tmp_path / dtype, siglip), dtype=dtype)
        photos = [photo(seed) for seed in range(backbone.tile)]
        together = embed(backbone, photos)
        alone = torch.cat([embed(backbone, [image]) for image in photos[:4]])
        assert torch.equal(together[:4], alone)
        assert torch.equal(embed(backbone, photos[::-1]).flip(0), together)


# Preprocessing


PROCESSORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "siglip2": (SiglipImageProcessorPil, {"size": {"height": 384, "width": 384}, "resample": 2}),
    "siglip": (SiglipImageProcessorPil, {"size": {"height": 224, "width": 224}, "resample": 3}),
    "clip": (CLIPImageProcessorPil, {"size": {"shortest_edge": 336}, "crop_size": 336, "resample": 3}),
    "dinov2": (CLIPImageProcessorPil, {"size": {"shortest_edge": 256}, "crop_size": 224, "resample": 3}),
}
SHAPES = [(500, 375), (375, 500), (100, 90), (301, 997), (240, 240), (384, 384)]


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_pillow_processor_within_two_levels(name: str, tmp_path: Path) -> None:
    processor_class, options = PROCESSORS[name]
    processor = processor_class(**options)
    processor.save_pretrained(tmp_path)
    ours = Preprocess.of_folder(tmp_path)
    differences = []
    for seed, shape in enumerate(SHAPES):
        image = photo(seed, *shape)
        expected = torch.as_tensor(np.asarray(processor(image)["pixel_values"][0]))
        found = ours.normalised(ours.pixels(image)[None])[0]
        assert found.shape == expected.shape
        levels = (found - expected).abs() * 255 * torch.tensor(ours.std)[:, None, None]
        differences.append(levels)
    largest = max(float(levels.max()) for levels in differences)
    mean = float(torch.cat([levels.flatten() for levels in differences]).mean())
    assert largest <= 2.01
    assert mean < 0.06


def test_a_picture_smaller_than_the_crop_stands_on_black_as_in_the_pillow_processor(tmp_path: Path) -> None:
    processor = CLIPImageProcessorPil(do_resize=False, crop_size=45)
    processor.save_pretrained(tmp_path)
    image = photo(3, 30, 60)
    expected = torch.as_tensor(np.asarray(processor(image)["pixel_values"][0]))
    ours = Preprocess.of_folder(tmp_path)
    assert torch.allclose(ours.normalised(ours.pixels(image)[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 60_000), (60_000, 1), (3, 2)])
def test_pictures_of_any_shape_are_prepared(shape: tuple[int, int]) -> None:
    for config in (SQUARE, CROPPED):
        ours = Preprocess.of_config({**config, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
        assert ours.pixels(np.full((*shape, 3), 7, np.uint8)).eq(7).all()


def test_trimming_a_long_strip_changes_no_pixel_of_the_crop() -> None:
    config = {**CROPPED, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    ours = Preprocess.of_config(config)
    strip = photo(5, 40, 4000)
    assert 4000 > 64 * 40
    trimmed, middle = ours.pixels(strip), ours.pixels(strip[:, 2000 - 1280 : 2000 + 1280])
    assert torch.equal(trimmed, middle)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(strip).permute(2, 0, 1)[None], (32, 3200), mode="bicubic", antialias=True
    )[0, :, :, 1584:1616]
    assert (whole.int() - trimmed.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, "KeyError"),
        ({**SQUARE, "resample": 1}, "resample is 1"),
        ({"do_pad": True}, "do_pad is not supported"),
        ({"size": {"shortest_edge": 32}, "resample": 3}, "different sizes"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}, "resample": 3, "crop_size": 32}, "longest_edge"),
    ],
)
def test_preprocessing_that_is_not_understood_is_refused(
    config: dict[str, Any], found: str, tmp_path: Path
) -> None:
    complete = {**config, "image_mean": [0.5] * 3, "image_std": [0.5] * 3} if config else {}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(complete))
    with pytest.raises(DataError, match="does not say how images are prepared") as caught:
        Preprocess.of_folder(tmp_path)
    assert found in (caught.value.found or "")


def test_old_files_with_bare_numbers_are_understood() -> None:
    old = {
        "size": 224,
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": [0] * 3,
        "image_std": [1] * 3,
    }
    assert Preprocess.of_config(old).shortest == 224
    without_crop = {name: value for name, value in old.items() if "crop" not in name}
    assert Preprocess.of_config(without_crop).size == (224, 224)


# Towers as published methods used them


def plonk_pixels(image: Any) -> torch.Tensor:
    """The middle square at 336 pixels by Pillow, normalised as for ImageNet: PLONK's own preparation."""
    picture = Image.fromarray(image)
    side = min(picture.size)
    left, top = (round((whole - side) / 2) for whole in picture.size)
    square = picture.crop((left, top, left + side, top + side)).resize((336, 336), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(square, dtype=np.float32) / 255)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((values - mean) / std).permute(2, 0, 1)


@pytest.mark.parametrize("shape", [(60, 81), (97, 40), (400, 400)])
def test_plonks_dinov2_sees_the_middle_square_whatever_the_checkpoint_says(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    def with_registers() -> Any:
        config = {**VISION, "patch_size": 14, "image_size": 56, "mlp_ratio": 2, "num_register_tokens": 4}
        return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**config))

    folder = checkpoint(tmp_path / "model", with_registers)
    backbone = SquareDINOv2(folder, Context())
    image = photo(4, *shape)
    pixels = backbone._preprocess.normalised(backbone.prepare(image)[None])
    levels = (pixels[0] - plonk_pixels(image)).abs() * 255 * 0.229
    assert float(levels.max()) <= 2.3
    with torch.inference_mode():
        whole = AutoModel.from_pretrained(folder).eval()(pixels).last_hidden_state[:, 0]
    assert torch.allclose(embed(backbone, [image]), whole, atol=1e-5)
    assert backbone.content() != opened(folder).content()


def test_the_class_token_of_clip_is_that_of_its_last_layer_before_its_norm(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", clip)
    backbone, image = CLIPClassToken(folder, Context()), photo(4)
    pixels = backbone._preprocess.normalised(backbone.prepare(image)[None])
    with torch.inference_mode():
        whole = CLIPVisionModel.from_pretrained(folder).eval()(pixels).last_hidden_state[:, 0]
    assert backbone.width == 32
    assert torch.allclose(embed(backbone, [image]), whole, atol=1e-5)


@pytest.mark.parametrize(("kind", "build"), [(BicubicSigLIP, siglip), (CroppedDINOv3, dinov3)])
def test_chipoints_towers_prepare_pictures_as_their_gallery_was_made(
    kind: Any, build: Callable[[], Any], tmp_path: Path
) -> None:
    backbone = kind(checkpoint(tmp_path / "model", build), Context())
    image = photo(4, 300, 420)
    picture = Image.fromarray(image)
    if kind is BicubicSigLIP:
        expected = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    else:
        left, top = (358 - 224) // 2, (256 - 224) // 2
        resized = picture.resize((358, 256), Image.Resampling.BILINEAR)
        expected = resized.crop((left, top, left + 224, top + 224))
    found = backbone.prepare(image).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.asarray(expected).astype(int)).max() <= 2


def test_an_id_that_several_backbones_name_stands_for_the_first() -> None:
    registry = load_registry()
    for name in ("streetclip", "dinov3-vitl16"):
        assert find_backbone(registry, registry.backbones[name].info.weights).name == name


# What the key depends on


def test_the_content_follows_weights_and_preprocessing_and_not_the_place(tmp_path: Path) -> None:
    def content(folder: Path) -> Any:
        source = find_backbone(Registry(), str(folder))
        return source.content(source.open(Context()))

    first = checkpoint(tmp_path / "a", siglip)
    copy = tmp_path / "elsewhere"
    shutil.copytree(first, copy)
    assert content(copy) == content(first)
    assert content(checkpoint(tmp_path / "b", siglip, seed=1)) != content(first)
    config = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 3}))
    assert content(copy) != content(first)


def test_a_checksum_is_remembered_until_the_file_changes(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path / "model", siglip)
    (first,) = weights.weights_sha256(folder)
    assert own_cache.is_file()
    reads: list[Path] = []

    def counted(path: Path) -> str:
        reads.append(path)
        return file_sha256(path)

    monkeypatch.setattr(weights, "file_sha256", counted)
    assert weights.weights_sha256(folder) == [first]
    assert reads == []
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["logit_scale"] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    os.utime(file, ns=(1, 1))
    (second,) = weights.weights_sha256(folder)
    assert len(reads) == 1
    assert second != first


# Finding backbones and their weights


class Drawn:
    """A backbone in as many lines as it takes."""

    width, tile = 3, 4

    def __init__(self, weights: Path | None, context: Context) -> None:
        self.weights = weights

    def content(self) -> dict[str, Any]:
        return {"version": 1}

    def prepare(self, image: Any) -> Any:
        return image.mean(axis=(0, 1))

    def features(self, images: Any) -> Any:
        return np.stack(images)


def registry_with(**backbones: BackboneInfo) -> Registry:
    class Plugin:
        @hookimpl
        def pinpoint_register(self, register: Any) -> None:
            for name, info in backbones.items():
                register.backbone(name, f"{__name__}:Drawn", info)

    registry = Registry()
    registry.add_plugin(Plugin(), Origin("test", "explicit"))
    return registry


def test_a_registered_backbone_of_its_own_needs_no_weights() -> None:
    source = find_backbone(registry_with(drawn=BackboneInfo(title="Drawn", width=3)), "drawn")
    assert source.is_here()
    assert source.open(Context()).width == 3
    with pytest.raises(UsageError, match="carries its own weights"):
        find_backbone(registry_with(drawn=BackboneInfo(title="Drawn", width=3)), "drawn", "elsewhere")


def test_a_hub_id_and_the_name_registered_for_it_are_one_backbone() -> None:
    registry = registry_with(drawn=BackboneInfo(title="Drawn", width=3, weights="owner/drawn"))
    assert find_backbone(registry, "owner/drawn").name == find_backbone(registry, "drawn").name == "drawn"


def test_a_name_nobody_knows_lists_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"no backbone 'drown'[\s\S]*drawn"):
        find_backbone(registry_with(drawn=BackboneInfo(title="Drawn", width=3)), "drown")


@pytest.mark.parametrize("name", ["none", "image", "id", "Upper"])
def test_a_backbone_cannot_take_a_name_that_means_something_else(name: str) -> None:
    with pytest.raises(PluginError):
        registry_with(**{name: BackboneInfo(title="x", width=1)})


def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face client, and no way to its server."""
    import huggingface_hub

    real = huggingface_hub.snapshot_download
    cache = tmp_path / "hub"

    def offline(repository: str, *, local_files_only: bool, **options: Any) -> str:
        if not local_files_only:
            raise ConnectionError("no network")
        return str(real(repository, cache_dir=cache, local_files_only=True, **options))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    return cache


def test_weights_in_the_hub_cache_are_found_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = hub_cache(tmp_path, monkeypatch)
    commit = "0" * 40
    snapshot = cache / "models--owner--tiny" / "snapshots" / commit
    (cache / "models--owner--tiny" / "refs").mkdir(parents=True)
    (cache / "models--owner--tiny" / "refs" / "main").write_text(commit)
    checkpoint(snapshot, siglip)
    assert find_backbone(Registry(), "owner/tiny").open(Context()).width == 32
    # Another program may have cached the configuration alone.
    (snapshot / "model.safetensors").unlink()
    assert not find_backbone(Registry(), "owner/tiny").is_here()


def test_missing_weights_name_the_id_and_the_way_to_a_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_cache(tmp_path, monkeypatch)
    for fetch in (False, True):
        with pytest.raises(WeightsError) as caught:
            find_backbone(Registry(), "owner/absent@v2").open(Context(), fetch=fetch)
        assert "owner/absent@v2" in str(caught.value)
        assert "hf download owner/absent --revision v2" in str(caught.value)
        assert "--weights" in str(caught.value)


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", siglip)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickled weights"):
        embed(opened(folder), [photo(0)])


def test_a_checkpoint_that_lacks_a_weight_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", clip)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["visual_projection.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lacks weights of its vision tower[\s\S]*visual_projection"):
        embed(opened(folder), [photo(0)])


def test_a_model_of_another_kind_is_refused_by_its_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "siglip2"}')
    with pytest.raises(DataError, match=r"type 'siglip2'[\s\S]*fixed resolution"):
        opened(tmp_path)
