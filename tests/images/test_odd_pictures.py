"""Pictures that phones and programs really write, which a strict reader takes for damaged or hostile ones."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from tests.support.photo_files import encode, film, photo, png, with_chunk, with_segment, xmp_packet

from pinpoint_harness.images import Failure, decoder_name
from pinpoint_harness.images import decode as images
from pinpoint_harness.images.decode import decode
from pinpoint_harness.images.prefetch import prefetch
from pinpoint_harness.images.structure import MAX_TEXT_BYTES, heif_kind, jpeg_layout

Pixels = NDArray[np.uint8]


def decoded(data: bytes, **limits: int) -> tuple[Pixels, list[str]]:
    """The pixels, and what is remarked about them."""
    remarks: list[str] = []
    result = decode(data, remark=remarks.append, **limits)
    assert not isinstance(result, Failure), result
    return result, remarks


def reason_of(data: bytes, **limits: int) -> str:
    result = decode(data, **limits)
    assert isinstance(result, Failure)
    return result.reason


# Motion photos, previews, gain maps: what is not the picture's own pixels is not counted.


@pytest.fixture(scope="module")
def twelve_megapixels() -> bytes:
    return encode(PIL.Image.new("RGB", (4000, 3000), (90, 120, 60)), "JPEG")


def test_a_film_behind_a_photo_is_not_taken_for_scans(twelve_megapixels: bytes) -> None:
    assert decoded(twelve_megapixels + film())[0].shape == (3000, 4000, 3)


@pytest.mark.parametrize("filling", [b"", bytes(300), b"SEFT" + bytes(20)], ids=["none", "zeros", "trailer"])
def test_whatever_stands_between_photo_and_film(twelve_megapixels: bytes, filling: bytes) -> None:
    assert decoded(twelve_megapixels + filling + film() + filling)[0].shape == (3000, 4000, 3)


def test_a_preview_within_a_segment_is_not_taken_for_scans(twelve_megapixels: bytes) -> None:
    preview = encode(photo(), "JPEG", progressive=True)
    data = twelve_megapixels
    for _ in range(40):
        data = with_segment(data, 0xE2, preview)
    assert data.count(b"\xff\xda") > 166
    assert decoded(data)[0].shape == (3000, 4000, 3)


def test_a_second_picture_in_the_file_is_not_counted(twelve_megapixels: bytes) -> None:
    gain_map = encode(photo(), "JPEG", progressive=True)
    data = twelve_megapixels + gain_map * 30
    assert data.count(b"\xff\xda") > 166
    assert decoded(data)[0].shape == (3000, 4000, 3)


def test_scans_of_the_picture_itself_are_counted_wherever_a_film_follows(twelve_megapixels: bytes) -> None:
    first = twelve_megapixels.index(b"\xff\xda")
    hostile = twelve_megapixels[:-2] + twelve_megapixels[first:-2] * 200 + b"\xff\xd9" + film()
    assert "scans" in reason_of(hostile)


@pytest.mark.parametrize(
    ("options", "scans", "samples"),
    [({"subsampling": "4:4:4"}, 1, 3), ({"subsampling": "4:2:0"}, 1, 1.5), ({"progressive": True}, 10, 1.5)],
)
def test_the_layout_of_a_jpeg_is_read_from_its_markers(
    options: dict[str, Any], scans: int, samples: float
) -> None:
    layout = jpeg_layout(encode(photo(), "JPEG", **options) + film(), 10_000)
    assert (layout.scans, layout.has_end, layout.is_whole) == (scans, True, True)
    assert layout.samples_per_pixel == samples


def test_counting_ends_where_a_file_has_nothing_but_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinpoint_harness.images.structure.MAX_SEGMENTS", 1000)
    layout = jpeg_layout(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 2000, 10)
    assert not layout.is_counted


# Large sensors.


@pytest.mark.parametrize(("width", "height"), [(61, 47), (62, 48), (2, 300)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_over_the_limit_is_decoded_at_half_its_size(
    width: int, height: int, progressive: bool
) -> None:
    data = encode(photo(width, height), "JPEG", progressive=progressive)
    pixels, remarks = decoded(data, max_pixels=width * height - 1)
    with PIL.Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (width // 2, height // 2))
        expected = np.asarray(image)
    assert np.array_equal(pixels, expected)
    assert pixels.shape == (-(-height // 2), -(-width // 2), 3)
    assert remarks == [
        f"JPEG of more than {width * height - 1:,} pixels, decoded at half its width and height"
    ]
    assert decoded(data, max_pixels=width * height)[1] == []


def test_a_halved_photo_stands_upright() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(60, 48), "JPEG", exif=exif.tobytes())
    assert decoded(data, max_pixels=60 * 48 - 1)[0].shape == (30, 24, 3)


def test_108_megapixels_are_decoded() -> None:
    data = encode(PIL.Image.new("L", (12_000, 9_000), 77), "JPEG")
    pixels, remarks = decoded(data)
    assert pixels.shape == (4500, 6000, 3)
    assert np.abs(pixels[::500, ::500].astype(int) - 77).max() <= 1
    assert len(remarks) == 1


@pytest.mark.parametrize(("width", "height"), [(11_648, 8_736), (16_320, 12_240), (19_999, 19_999)])
def test_phones_of_102_and_200_megapixels_are_not_refused_for_their_size(width: int, height: int) -> None:
    assert "truncated" in reason_of(declared(encode(photo(), "JPEG"), width, height)[:-40])


def test_beyond_400_megapixels_a_jpeg_is_refused_and_other_formats_beyond_100() -> None:
    assert "21000 x 21000 pixels" in reason_of(declared(encode(photo(), "JPEG"), 21_000, 21_000))
    assert "11648 x 8736 pixels" in reason_of(png(11_648, 8_736, 8, 2, b""))


def test_a_large_progressive_jpeg_may_not_ask_to_keep_more_than_there_is_room_for() -> None:
    full_colour = declared(encode(photo(), "JPEG", progressive=True, subsampling="4:4:4"), 13_000, 12_000)
    half_colour = declared(encode(photo(), "JPEG", progressive=True, subsampling="4:2:0"), 13_000, 12_000)
    assert "must all be kept" in reason_of(full_colour)
    assert "truncated" in reason_of(half_colour[:-40])


def declared(jpeg: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its header."""
    frame = max(jpeg.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2"))
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


# PNGs with a lot of text.

LONG = b"a prompt and a workflow " * 70_000  # 1.6 MB
TEXTS = {
    "text": (b"tEXt", b"prompt\0" + LONG),
    "packed text": (b"zTXt", b"prompt\0\0" + zlib.compress(LONG)),
    "international text": (b"iTXt", b"prompt\0\0\0\0\0" + LONG),
    "packed international text": (b"iTXt", b"prompt\0\1\0en\0Prompt\0" + zlib.compress(LONG)),
    "colour profile": (b"iCCP", b"profile\0\0" + zlib.compress(LONG)),
    "bomb": (b"zTXt", b"prompt\0\0" + zlib.compress(bytes(50_000_000))),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("behind_pixels", [False, True])
def test_a_png_with_long_text_keeps_its_pixels(name: str, behind_pixels: bool) -> None:
    plain = encode(photo(), "PNG")
    kind, content = TEXTS[name]
    assert len(content) > MAX_TEXT_BYTES or "packed" in name or name in ("colour profile", "bomb")
    assert np.array_equal(decoded(with_chunk(plain, kind, content, behind_pixels))[0], decoded(plain)[0])


def test_many_texts_that_are_too_much_together_cost_nothing() -> None:
    data = plain = encode(photo(), "PNG")
    chunk = zlib.compress(bytes(MAX_TEXT_BYTES))
    for number in range(70):
        data = with_chunk(data, b"zTXt", b"text %d\0\0" % number + chunk)
    assert np.array_equal(decoded(data)[0], decoded(plain)[0])


def test_a_short_text_that_turns_the_picture_is_kept() -> None:
    plain = encode(photo(), "PNG")
    packet = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp_packet('tiff:Orientation="6"')
    assert decoded(with_chunk(plain, b"iTXt", packet))[0].shape == (61, 47, 3)


@pytest.mark.parametrize("content", [b"", b"no end", b"prompt\0\0not packed", b"prompt\0\1\0\0\0not packed"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"tEXt"])
def test_a_damaged_text_is_left_to_pillow(kind: bytes, content: bytes) -> None:
    assert isinstance(decode(with_chunk(encode(photo(), "PNG"), kind, content)), np.ndarray | Failure)


# JPEGs without their end mark.

LAYOUTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "full colour": {"subsampling": "4:4:4"},
    "restarts in rows": {"restart_marker_rows": 1},
    "restarts in blocks": {"restart_marker_blocks": 3},
    "progressive with restarts": {"restart_marker_blocks": 3, "progressive": True},
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_mark_is_whole_and_remarked(name: str, mode: str) -> None:
    whole = encode(photo().convert(mode), "JPEG", **LAYOUTS[name])
    for cut in (1, 2):
        pixels, remarks = decoded(whole[:-cut])
        assert np.array_equal(pixels, decoded(whole)[0])
        assert remarks == ["JPEG without its end mark, complete but for that"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_jpeg_that_lacks_anything_else_is_no_picture(name: str) -> None:
    whole = encode(photo(), "JPEG", **LAYOUTS[name])
    for cut in range(3, len(whole) - whole.index(b"\xff\xda"), 3):
        assert isinstance(decode(whole[:-cut]), Failure), cut


def test_what_is_remarked_reaches_whoever_decodes_ahead() -> None:
    whole = encode(photo(), "JPEG")
    remarks: list[tuple[int, str]] = []
    files = [whole, whole[:-2], whole]
    list(prefetch(files.__getitem__, 3, remark=lambda index, text: remarks.append((index, text))))
    assert remarks == [(1, "JPEG without its end mark, complete but for that")]


# AVIF and HEIC.


def test_avif_is_read_by_pillow() -> None:
    data = encode(photo(), "AVIF", quality=90)
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decoded(data)[0], np.asarray(image.convert("RGB")))
    assert "61 x 47 pixels" in reason_of(data, max_pixels=100)


def test_avif_stands_upright_and_on_white() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert decoded(encode(photo(), "AVIF", exif=exif.tobytes()))[0].shape == (61, 47, 3)
    clear = PIL.Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    assert (decoded(encode(clear, "AVIF"))[0] >= 254).all()


def test_an_avif_that_breaks_off_is_no_picture() -> None:
    data = encode(photo(), "AVIF")
    for cut in (1, 10, len(data) // 2, len(data) - 40):
        assert isinstance(decode(data[:-cut]), Failure)


def test_all_brands_tell_avif_from_heic() -> None:
    avif = encode(photo(8, 8), "AVIF")
    assert heif_kind(avif) == "AVIF"
    assert heif_kind(avif[:8] + b"mif1" + avif[12:]) == "AVIF"
    assert heif_kind(b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic") == "HEIF"
    assert heif_kind(b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42") == heif_kind(b"") == ""
    assert decoded(avif[:8] + b"mif1" + avif[12:])[0].shape == (8, 8, 3)


needs_heif = pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None, reason="needs the extra heic"
)


def heic(picture: PIL.Image.Image, **options: Any) -> bytes:
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(picture).save(stream, **options)
    return stream.getvalue()


@needs_heif
def test_heic_is_read_within_the_same_limits() -> None:
    data = heic(photo(64, 48), quality=95)
    pixels, remarks = decoded(data)
    assert np.abs(pixels.astype(int) - np.asarray(photo(64, 48))).mean() < 6
    assert remarks == []
    assert "64 x 48 pixels" in reason_of(data, max_pixels=64 * 48 - 1)
    assert "HEIF" not in PIL.Image.OPEN  # Pillow's own list is left as it is
    assert "pillow-heif" in decoder_name()


@needs_heif
def test_a_turned_heic_stands_upright_once() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    upright, turned = heic(photo(64, 48)), heic(photo(64, 48), exif=exif.tobytes())
    expected = np.rot90(decoded(upright)[0], -1)
    assert np.abs(decoded(turned)[0].astype(int) - expected).mean() < 6


@needs_heif
def test_a_heic_that_breaks_off_is_no_picture() -> None:
    data = heic(photo(64, 48))
    for cut in (10, len(data) // 2, len(data) - 40):
        assert isinstance(decode(data[:-cut]), Failure)


def test_without_the_extra_a_heic_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_heif_opener", lambda: None)
    words = reason_of(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200))
    assert "pip install 'pinpoint-geo[heic]'" in words
    assert "pillow-heif" not in decoder_name()
