from __future__ import annotations

import importlib.util
import io
import itertools
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.photo_files import encode, exif_block, photo, png, rationals

from pinpoint_harness.errors import UsageError
from pinpoint_harness.images import Failure, decoder_name, resize
from pinpoint_harness.images import decode as images
from pinpoint_harness.images.budget import memory_bytes, picture_bytes
from pinpoint_harness.images.decode import decode
from pinpoint_harness.images.prefetch import prefetch

Pixels = NDArray[np.uint8]
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def pixels_of(data: bytes, **limits: int) -> Pixels:
    result = decode(data, **limits)
    assert not isinstance(result, Failure), result
    return result


def reason_of(data: bytes, **limits: int) -> str:
    result = decode(data, **limits)
    assert isinstance(result, Failure)
    assert result.kind == "unreadable"
    return result.reason


# What is decoded, and to what.


@given(size=SIZES, kind=st.sampled_from(["PNG", "BMP", "TIFF", "GIF"]), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_lossless_pictures_come_back_as_they_went_in(size: tuple[int, int], kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    expected = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
    if kind == "GIF":  # at most 256 colours
        expected = np.repeat(expected[..., :1], 3, axis=2)
    source = PIL.Image.fromarray(expected if kind != "GIF" else np.ascontiguousarray(expected[..., 0]))
    result = pixels_of(encode(source, kind))
    assert np.array_equal(result, expected)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_stands_upright_as_pillow_itself_would_turn_it(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(), kind, exif=exif.tobytes() if kind != "TIFF" else exif)
    with PIL.Image.open(io.BytesIO(data)) as image:
        expected = np.array(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    result = pixels_of(data)
    assert result.shape == ((61, 47, 3) if orientation >= 5 else (47, 61, 3))
    assert np.array_equal(result, expected)
    assert result.flags.c_contiguous


def test_orientation_6_brings_the_left_edge_up() -> None:
    # A camera held upright stores its rows from the picture's left edge on, bottom first.
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[:, 0] = 255  # white left edge
    result = pixels_of(encode(PIL.Image.fromarray(stored), "PNG", exif=exif.tobytes()))
    assert result[..., 0].tolist() == [[255, 255], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    "value", [b"\x00\x09", b"\x00\x00", b"\xff\xff"], ids=["nine", "zero", "the largest short"]
)
def test_an_orientation_that_does_not_exist_leaves_the_photo_alone(value: bytes) -> None:
    data = encode(photo(), "PNG", exif=exif_block([(0x0112, 3, 1, value)]))
    assert np.array_equal(pixels_of(data), np.asarray(photo()))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF header",
        b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\xff\xff",
        b"Exif\0\0MM\x00\x2a\xff\xff\xff\xff",
        exif_block([(0x0112, 2, 90, b"\xff\xff\xff\xff")]),
        exif_block([(0x0112, 5, 1, rationals((6, 0)))]),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_costs_nothing(exif: bytes, kind: str) -> None:
    assert np.array_equal(pixels_of(encode(photo(), kind, exif=exif)), pixels_of(encode(photo(), kind)))


def test_cmyk_jpegs_are_read_as_adobe_inverts_them() -> None:
    flat = PIL.Image.new("RGB", (16, 16), (200, 30, 60))
    result = pixels_of(encode(flat.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(result.astype(int) - (200, 30, 60)).max() <= 4


def test_sixteen_bit_samples_keep_their_high_byte() -> None:
    samples = np.array([[0x0000, 0x00FF, 0x0100], [0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    grey = encode(PIL.Image.fromarray(samples), "PNG")
    assert pixels_of(grey)[..., 1].tolist() == [[0, 0, 1], [0x7F, 0x80, 0xFF]]
    colour = png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 0x12FF, 0x8000, 0xFF00))
    assert pixels_of(colour).tolist() == [[[0x12, 0x80, 0xFF]]]


def test_thirty_two_bit_samples_are_refused_because_they_have_no_white() -> None:
    assert "no agreed white" in reason_of(encode(PIL.Image.new("F", (3, 3), 0.5), "TIFF"))


def test_transparency_is_laid_over_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    assert pixels_of(encode(PIL.Image.fromarray(rgba), "PNG")).tolist() == [
        [[10, 20, 30], [255, 255, 255], [204, 204, 204]]  # 255 * (1 - 51/255) = 204
    ]
    grey = PIL.Image.fromarray(np.array([[[9, 255], [9, 0]]], np.uint8))
    assert grey.mode == "LA"
    assert pixels_of(encode(grey, "PNG"))[..., 2].tolist() == [[9, 255]]


def test_a_transparent_palette_entry_and_a_transparent_colour_turn_white() -> None:
    palette = PIL.Image.frombytes("P", (2, 1), b"\x00\x01")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert pixels_of(encode(palette, "PNG")).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert pixels_of(encode(palette, "PNG", transparency=b"\x80")).tolist() == [
        [[132, 137, 142], [40, 50, 60]]
    ]
    assert pixels_of(encode(palette, "GIF", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    keyed = PIL.Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels_of(encode(keyed, "PNG", transparency=(1, 2, 3))).tolist() == [[[255] * 3, [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_pictures_are_black_and_white(kind: str) -> None:
    bits = PIL.Image.fromarray(np.array([[0, 255, 255], [255, 0, 0]], np.uint8)).convert("1")
    assert pixels_of(encode(bits, kind))[..., 0].tolist() == [[0, 255, 255], [255, 0, 0]]


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_of_an_animation_the_first_frame_is_taken(kind: str, options: dict[str, Any]) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    assert pixels_of(data).reshape(-1, 3).tolist() == [[255, 0, 0]] * 64


def test_the_content_decides_and_icc_profiles_do_not() -> None:
    plain = encode(photo(), "PNG")
    assert np.array_equal(
        pixels_of(encode(photo(), "PNG", icc_profile=b"not even a profile")), pixels_of(plain)
    )


# What is refused, and in which words.


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>not found", "HTML"),
        (b"  \r\n<HTML><head><title>403", "HTML"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML"),
        (b'{"error": "rate limited"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "Git LFS pointer"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "PostScript"),
        (b"8BPS\x00\x01" + bytes(20), "Photoshop"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00", "AVIF"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00", "a film"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"P6 1 1 255\nabc", "not a picture in an accepted format (JPEG, PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG whose header"),
        (bytes(1000), "not a picture"),
    ],
)
def test_what_is_no_accepted_picture_is_called_by_its_name(data: bytes, words: str) -> None:
    assert words in reason_of(data)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4"])
def test_compressed_tiffs_never_reach_libtiff(compression: str) -> None:
    picture = photo().convert("1") if compression == "group4" else photo()
    assert f"{compression} compression" in reason_of(encode(picture, "TIFF", compression=compression))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG progressive", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_file_that_breaks_off_never_gives_part_of_a_picture(kind: str, data: st.DataObject) -> None:
    whole = encode(photo(), kind.split()[0], **({"progressive": True} if "progressive" in kind else {}))
    cut = data.draw(st.integers(0, len(whole) - 1))
    result = decode(whole[:cut])
    # Losing no more than an end mark leaves the whole picture.
    assert isinstance(result, Failure) or np.array_equal(result, pixels_of(whole))


def test_a_half_jpeg_is_unreadable_even_where_a_package_has_allowed_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encode(photo(), "JPEG")
    assert "truncated" in reason_of(whole[:-20])


def test_enormous_pictures_are_refused_from_their_header() -> None:
    started = time.process_time()
    assert "40000 x 4000 pixels" in reason_of(png(40_000, 4_000, 8, 2, b""))
    assert "100000 x 100000 pixels" in reason_of(png(100_000, 100_000, 8, 2, b""))
    assert "13000 x 13000 pixels" in reason_of(enormous_webp())
    assert time.process_time() - started < 0.5


def enormous_webp() -> bytes:
    """An animation whose only frame covers a corner of a canvas of 169 megapixels."""
    frame = (
        struct.pack("<I", 7)[:3] * 2 + struct.pack("<I", 100)[:3] + b"\0" + encode(photo(8, 8), "WEBP")[12:]
    )
    body = b"WEBPVP8X\x0a\0\0\0\x02\0\0\0" + struct.pack("<I", 12_999)[:3] * 2 + b"ANIM\x06\0\0\0" + bytes(6)
    body += b"ANMF" + struct.pack("<I", len(frame) + 6) + bytes(6) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_the_caller_sets_the_limits() -> None:
    data = encode(photo(61, 47), "JPEG")
    assert pixels_of(data, max_pixels=61 * 47, max_side=61).shape == (47, 61, 3)
    assert "61 x 47 pixels" in reason_of(encode(photo(61, 47), "PNG"), max_pixels=61 * 47 - 1)
    assert "61 x 47 pixels" in reason_of(data, max_pixels=61 * 47 // 4 - 1)
    assert "61 x 47 pixels" in reason_of(data, max_side=60)


def test_a_progressive_jpeg_that_asks_for_a_thousand_passes_is_refused() -> None:
    whole = encode(photo(), "JPEG", progressive=True)
    first_scan = whole.index(b"\xff\xda")
    size = whole.index(b"\xff\xc2") + 5
    large = whole[:size] + struct.pack(">HH", 9000, 9000) + whole[size + 4 : -2]
    assert "scans" in reason_of(large + whole[first_scan:-2] * 100 + whole[-2:])


def test_reasons_are_one_bounded_line_without_memory_addresses() -> None:
    failure = Failure("unreadable", "bad\n\x1b[31m <_io.BytesIO object at 0x7f3c5a1b2c3d>\x00 " + "x" * 999)
    assert failure.status.startswith("unreadable: bad [31m ... xxx")
    assert len(failure.reason) == 160
    assert Failure("missing", "gone").status == "missing"
    assert Failure("unreadable").status == "unreadable"


def test_a_mistake_of_the_caller_is_not_taken_for_a_bad_picture() -> None:
    with pytest.raises(TypeError):
        decode("a path")  # type: ignore[arg-type]


def test_odd_files_raise_no_warning_in_any_thread() -> None:
    # Pillow warns about this block ("Corrupt EXIF data"); filters here turn warnings into errors.
    broken = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x10\x01\x12\x00\x03"
    data = encode(photo(), "JPEG", exif=broken)
    with pytest.warns(UserWarning, match="Corrupt EXIF"), PIL.Image.open(io.BytesIO(data)) as image:
        image.getexif()
    results: list[Pixels | Failure] = []
    threads = [threading.Thread(target=lambda: results.append(decode(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(result) for result in results] == [np.ndarray] * 8


def test_the_list_of_warning_filters_does_not_grow_with_every_picture() -> None:
    decode(encode(photo(), "PNG"))
    before = len(warnings.filters)
    for _ in range(5):
        decode(encode(photo(), "PNG"))
    assert len(warnings.filters) == before


# Two decoders, one answer.


@pytest.fixture
def only_pillow(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Pixels]:
    def decode_by_pillow(data: bytes) -> Pixels:
        with monkeypatch.context() as patch:
            patch.setattr(images, "_simplejpeg_decode", lambda: None)
            return pixels_of(data)

    return decode_by_pillow


needs_simplejpeg = pytest.mark.skipif(
    importlib.util.find_spec("simplejpeg") is None, reason="needs the extra fast-jpeg"
)


@needs_simplejpeg
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_simplejpeg_and_pillow_give_the_same_pixels(
    subsampling: str, progressive: bool, mode: str, only_pillow: Callable[[bytes], Pixels]
) -> None:
    for width, height, quality in [(61, 47, 75), (333, 217, 92), (16, 16, 30), (1, 1, 50)]:
        options = {"subsampling": subsampling, "progressive": progressive, "quality": quality}
        data = encode(photo(width, height).convert(mode), "JPEG", **options)
        assert images._simplejpeg_decode() is not None
        assert np.array_equal(pixels_of(data), only_pillow(data))


@needs_simplejpeg
@given(cut=st.floats(0, 1), flipped=st.lists(st.floats(0, 0.999), max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_same_files_fail_with_and_without_simplejpeg(cut: float, flipped: list[float]) -> None:
    data = bytearray(encode(photo(), "JPEG"))
    for place in flipped:
        data[int(place * len(data))] ^= 0x41
    damaged = bytes(data[: 1 + int(cut * len(data))])
    fast = decode(damaged)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_simplejpeg_decode", lambda: None)
        slow = decode(damaged)
    if isinstance(fast, Failure) or isinstance(slow, Failure):
        assert fast == slow
    else:
        assert np.array_equal(fast, slow)


def test_the_decoder_names_what_pixels_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"Pillow {PIL.__version__}" in decoder_name()
    monkeypatch.setattr(images, "_simplejpeg_decode", lambda: None)
    assert decoder_name().startswith("Pillow ")


def test_simplejpeg_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    images._simplejpeg_decode.cache_clear()
    try:
        assert decoder_name().startswith("Pillow ")
        assert pixels_of(encode(photo(), "JPEG")).shape == (47, 61, 3)
    finally:
        images._simplejpeg_decode.cache_clear()


@pytest.mark.parametrize(("height", "width"), [(384, 384), (120, 200), (47, 61), (1, 1)])
def test_resizing_stays_within_two_levels_of_pillow(height: int, width: int) -> None:
    source = np.asarray(photo(310, 230, seed=3))
    expected = PIL.Image.fromarray(source).resize((width, height), PIL.Image.Resampling.BICUBIC)
    result = resize(source.copy(), height, width)
    assert result.flags.c_contiguous
    assert result.shape == (height, width, 3)
    assert np.abs(result.astype(int) - np.asarray(expected)).max() <= 2


# Decoding ahead.


def test_pictures_come_in_order_whatever_finishes_first() -> None:
    files = [encode(photo(8 + index, 9), "PNG") for index in range(30)]

    def read(index: int) -> bytes | Failure:
        time.sleep(0.002 * (index % 5 == 0))
        return Failure("missing") if index == 7 else files[index]

    seen = list(prefetch(read, 30, threads=4, depth=6))
    assert [index for index, _ in seen] == list(range(30))
    assert seen[7][1] == Failure("missing")
    widths = [image.shape[1] for index, image in seen if not isinstance(image, Failure)]
    assert widths == [8 + index for index in range(30) if index != 7]


@pytest.mark.parametrize(("threads", "depth"), [(1, 1), (2, 5), (4, 2), (8, 8)])
def test_no_more_than_depth_pictures_exist_at_a_time(threads: int, depth: int) -> None:
    data = encode(photo(), "PNG")
    started = itertools.count()
    latest = [0]

    def read(index: int) -> bytes:
        latest[0] = next(started) + 1
        return data

    for consumed, _ in prefetch(read, 40, threads=threads, depth=depth):
        time.sleep(0.001)
        assert latest[0] <= consumed + depth


def test_work_is_done_ahead_in_several_threads() -> None:
    data = encode(photo(), "PNG")
    together = threading.Barrier(3, timeout=10)
    names: set[str] = set()

    def read(index: int) -> bytes:
        together.wait()  # passes only if three reads are under way at once
        names.add(threading.current_thread().name)
        return data

    assert len(list(prefetch(read, 9, threads=3, depth=6))) == 9
    assert len(names) == 3


def test_the_transform_runs_in_the_threads_and_never_sees_a_failure() -> None:
    threads: set[str] = set()

    def transform(image: Pixels) -> int:
        threads.add(threading.current_thread().name)
        return int(image.shape[1])

    files: list[bytes | Failure] = [encode(photo(5, 4), "PNG"), b"<html>", encode(photo(6, 4), "PNG")]
    seen = list(prefetch(files.__getitem__, 3, transform=transform))
    assert [seen[0][1], seen[2][1]] == [5, 6]
    assert isinstance(seen[1][1], Failure)
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("where", ["read", "transform"])
def test_an_exception_reaches_the_consumer_at_its_picture(where: str) -> None:
    data = encode(photo(), "PNG")

    def read(index: int) -> bytes:
        if index == 3 and where == "read":
            raise KeyError("a mistake in the code")
        return data if index != 3 else encode(photo(9, 9), "PNG")

    def transform(image: Pixels) -> Pixels:
        if image.shape[1] == 9:
            raise KeyError("a mistake in the code")
        return image

    pictures = prefetch(read, 10, transform=transform)
    assert [next(pictures)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="a mistake"):
        next(pictures)
    assert not _decoding_threads()


def test_closing_early_stops_the_threads_and_reads_no_further() -> None:
    data = encode(photo(), "PNG")
    reads: list[int] = []

    def read(index: int) -> bytes:
        reads.append(index)
        time.sleep(0.005)
        return data

    pictures = prefetch(read, 1_000_000, threads=2, depth=60)
    next(pictures)
    pictures.close()
    assert not _decoding_threads()
    assert len(reads) < 20


def test_nothing_to_read_and_nonsense_settings() -> None:
    assert list(prefetch(lambda index: b"", 0)) == []
    for options in ({"threads": 0}, {"depth": 0}):
        with pytest.raises(ValueError, match="1 or more"):
            prefetch(lambda index: b"", 5, **options)


def _decoding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pinpoint-decode")]


# Real files.


@pytest.mark.realdata
@needs_simplejpeg
def test_real_photos_decode_to_the_same_pixels_with_both_decoders(
    real_data: Path, only_pillow: Callable[[bytes], Pixels]
) -> None:
    paths = sorted((real_data / "osv5m/images/test/00").glob("*.jpg"))[:20] + sorted(
        (real_data / "exif").glob("*.jpg")
    )
    for path in paths:
        data = path.read_bytes()
        assert np.array_equal(pixels_of(data), only_pillow(data)), path.name


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "RGB", "L"])
def test_transparency_over_white_is_the_same_in_strips(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photo(70, 53)
    if mode.endswith("A"):
        picture = picture.convert(mode)
        picture.putalpha(PIL.Image.linear_gradient("L").resize(picture.size))
        data = encode(picture, "PNG")
    else:
        data = encode(picture.convert(mode), "PNG", transparency={"RGB": (9, 9, 9)}.get(mode, 7))
    whole = decode(data)
    monkeypatch.setattr("pinpoint_harness.images.decode._STRIP_PIXELS", 150)
    in_strips = decode(data)
    assert isinstance(whole, np.ndarray)
    assert np.array_equal(whole, in_strips)


def test_pictures_that_wait_or_are_decoded_stay_within_the_budget_whatever_their_sizes() -> None:
    files = [encode(photo(400 if number % 3 else 40, 300, number), "PNG") for number in range(40)]
    one, budget = 400 * 300 * 8, 3 * 400 * 300 * 8
    lock, living, most = threading.Lock(), 0, 0

    def transform(pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        nonlocal living, most
        with lock:
            living += pixels.size * 8 // 3
            most = max(most, living)
        time.sleep(0.002)
        with lock:
            living -= pixels.size * 8 // 3
        return pixels

    given = prefetch(files.__getitem__, 40, threads=16, depth=40, transform=transform, memory=budget)
    seen = [picture for _, picture in given]
    assert all(np.array_equal(picture, decode(data)) for picture, data in zip(seen, files, strict=True))
    assert one <= most <= budget


def test_a_picture_larger_than_the_budget_is_decoded_alone_and_closing_leaves_nobody_waiting() -> None:
    files = [encode(photo(400, 300, number), "PNG") for number in range(8)]
    assert len(list(prefetch(files.__getitem__, 8, threads=4, depth=8, memory=1))) == 8
    pictures = prefetch(files.__getitem__, 8, threads=4, depth=8, memory=1)
    next(pictures)
    pictures.close()


@pytest.mark.parametrize(("asked", "expected"), [("500M", 500 * 2**20), ("1.5 GiB", 3 * 2**29), ("77", 77)])
def test_the_budget_is_what_was_asked_for(asked: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINPOINT_PICTURE_MEMORY", asked)
    assert picture_bytes() == expected
    monkeypatch.setenv("PINPOINT_PICTURE_MEMORY", "much")
    with pytest.raises(UsageError, match="PINPOINT_PICTURE_MEMORY is 'much'"):
        picture_bytes()
    monkeypatch.delenv("PINPOINT_PICTURE_MEMORY")
    assert 0 < picture_bytes() <= memory_bytes() // 8
