"""From a file's bytes to RGB, or to the reason why not.

Photos come from strangers: everything here treats the bytes as hostile and answers with a
`Failure` instead of an exception. What is accepted: JPEG, PNG, GIF, BMP, WebP, AVIF and uncompressed
TIFF, recognised by content, whatever the file is called; HEIC, where the extra `heic` is installed.
Every other decoder of Pillow is refused: EPS starts Ghostscript, JPEG 2000 and compressed TIFF bring
large libraries with a record of holes, and libtiff writes to stderr besides.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import random
import re
import struct
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

# Importing a format's module registers it; a format that is not imported here cannot be opened.
import PIL.AvifImagePlugin
import PIL.BmpImagePlugin
import PIL.features
import PIL.GifImagePlugin
import PIL.Image
import PIL.ImageFile
import PIL.JpegImagePlugin
import PIL.MpoImagePlugin
import PIL.PngImagePlugin
import PIL.TiffImagePlugin
import PIL.WebPImagePlugin
from numpy.typing import NDArray

from .containers import Failure, is_passing, unreadable_now
from .structure import MAX_SEGMENTS, JpegLayout, heif_kind, jpeg_layout, without_long_text

__all__ = ["Failure", "decode", "decoder_name", "open_picture", "resize", "what_it_is"]

if TYPE_CHECKING:
    Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")

MAX_PIXELS = 100_000_000
"""300 MB of RGB. JPEGs of up to four times as many are decoded at half their size; phones reach 200 MP."""

_BYTES_PER_PIXEL = 8
"""While a picture is decoded: four in Pillow's hands, three of the result, and what lies between."""

_STRIP_PIXELS = 1 << 20

MAX_SIDE = 65_535
"""The longest side a JPEG can declare."""

MAX_SCAN_PIXELS = 2_000_000_000
"""Pixels times scans of a JPEG: a progressive file may ask to go over one picture a thousand times."""

MAX_SAMPLES_KEPT = 4 * MAX_PIXELS
"""Samples of a JPEG in several scans, all of which libjpeg keeps in 2 bytes each until the last scan."""

HALVED = "JPEG of more than {limit:,} pixels, decoded at half its width and height"
NO_END_MARK = "JPEG without its end mark, complete but for that"

_JUNK = tuple(random.Random(number).randbytes(4096).replace(b"\xff", b"") for number in range(4))
"""Coded data that say different things, each more than one block of samples can take, and no marker."""

_RESTARTS = b"".join(b"\xff" + bytes([0xD0 + number % 8]) + _JUNK[0] for number in range(16))
"""The same behind whichever restart marker a decoder waits for: it passes over what comes before."""

_TAILS = (b"", *_JUNK, _RESTARTS)

_EXIF_ORIENTATION = 0x0112
_UPRIGHT: Mapping[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
"""EXIF orientation -> the view that stands upright."""

_SIGNATURES = (
    (rb"\s*(<!doctype\s+html|<html|<head|<body|<script)", "an HTML page, such as a web server's error"),
    (rb"\s*(<\?xml|<svg|<Error>)", "XML text"),
    (rb"\s*[{\[]", "JSON text"),
    (rb"version https://git-lfs", "a Git LFS pointer, the picture itself was not downloaded"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a zip file"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"8BPS", "a Photoshop file, a format that is refused"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file, a format that is refused"),
    (rb".{4}ftyp(hei|hev|mif|msf|avi)", "a HEIC or AVIF picture whose header is damaged"),
    (rb".{4}ftyp", "a film, such as MP4 or MOV"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture, a format that is refused"),
    (rb"\xff\xd8\xff", "a JPEG whose header is damaged or of an unknown kind"),
    (rb"\x89PNG", "a PNG whose header is damaged or of an unknown kind"),
    (rb"GIF8", "a GIF whose header is damaged or of an unknown kind"),
    (rb"RIFF.{4}WEBP", "a WebP picture whose header is damaged or of an unknown kind"),
    (rb"BM", "a BMP whose header is damaged or of an unknown kind"),
    (rb"II\x2a\x00|MM\x00\x2a", "a TIFF whose header is damaged or of an unknown kind"),
)


Remark = Callable[[str], None]
"""Is told what a reader of the results should know about a picture that was decoded."""


def decode(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int = MAX_SIDE,
    remark: Remark = lambda text: None,
) -> Pixels | Failure:
    """The picture upright, in RGB uint8 `(h, w, 3)`, C-contiguous and writable; or why there is none.

    The size is checked in the header, before anything is decoded; a JPEG of up to four times
    `max_pixels` is decoded at half its width and height. EXIF orientation is applied; a damaged
    EXIF block leaves the picture as it is. ICC profiles are ignored, as the published evaluations
    do. Transparency is laid over white, of animations the first frame is taken, CMYK follows
    Adobe's inverted convention, 16-bit samples keep their high byte. A picture whose data break off
    is a failure, never half a picture; a JPEG that lacks only its end mark is whole. `remark` is
    told where a picture was halved or lacks the mark.

    JPEGs in RGB and grey are decoded by simplejpeg where it is installed, 1.9 times faster than
    Pillow and equal to it in every pixel of 80 real photos and 12 synthetic layouts (simplejpeg
    1.9.0, Pillow 13.0.0). Whatever simplejpeg will not decode, Pillow decides, so the same files
    fail with and without it.
    """
    if not data:
        return Failure("unreadable", "empty file (0 bytes)")
    io.BytesIO(data)  # outside, so that a caller who passes no bytes gets a TypeError
    try:
        with open_picture(data) as image:
            refusal, half = _refusal(image, data, max_pixels, max_side)
            if refusal:
                return Failure("unreadable", refusal)
            pixels = _upright(image, data, half)
            if half:
                remark(HALVED.format(limit=max_pixels))
            if image.format in ("JPEG", "MPO") and data.rfind(b"\xff\xd9") < 0:
                remark(NO_END_MARK)
            return pixels
    except PIL.UnidentifiedImageError:
        return Failure("unreadable", what_it_is(data))
    except Exception as error:
        # The boundary with hostile input. Over mutated files Pillow raises OSError, SyntaxError,
        # ValueError, TypeError, KeyError, IndexError, struct.error, EOFError, OverflowError,
        # AttributeError, AssertionError, RecursionError, DecompressionBombError and more,
        # differently in each release; none of them may end a run, and each is reported.
        if is_passing(error):
            raise unreadable_now("a picture is there and cannot be decoded", error) from error
        message = str(error)
        return Failure("unreadable", message if " " in message else f"{type(error).__name__}: {message}")


def open_picture(data: bytes) -> PIL.ImageFile.ImageFile:
    """A picture of an accepted format with its header read and nothing decoded, of whatever size.

    `PIL.Image.open` refuses by size before anyone can read a position. Raises
    PIL.UnidentifiedImageError, and whatever Pillow raises over damaged files.
    """
    _set_up_pillow()
    data = without_long_text(data)
    for factory, accept in _openers(heif_kind(data)):
        stream = io.BytesIO(data)
        try:
            if accept is None or accept(data[:16]):
                image: PIL.ImageFile.ImageFile = factory(stream, "")
                return image
        except (SyntaxError, IndexError, TypeError, struct.error):  # those Pillow itself passes over
            continue
    raise PIL.UnidentifiedImageError("in no accepted format")


def decoding_bytes(data: bytes) -> int:
    """About what decoding a picture takes, from its header; 0 for what will be no picture."""
    try:
        with open_picture(data) as image:
            width, height = image.size
            half = image.format in ("JPEG", "MPO") and width * height > MAX_PIXELS
    except Exception:  # noqa: BLE001 - `decode` says what is wrong
        return 0
    pixels = width * height // (4 if half else 1)
    return pixels * _BYTES_PER_PIXEL if pixels <= MAX_PIXELS else 0


def decoder_name() -> str:
    """The decoder with its versions, the same for the whole process: what pixels depend on."""
    library = PIL.features.version_feature("libjpeg_turbo") or PIL.features.version_codec("jpg")
    pillow = f"Pillow {version('Pillow')} (libjpeg {library})"
    fast = f"simplejpeg {version('simplejpeg')}, " if _simplejpeg_decode() else ""
    heic = f", pillow-heif {version('pillow-heif')}" if _heif_opener() else ""
    return f"{fast}{pillow}{heic}"


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Bicubic with antialiasing, in uint8 from end to end; within two levels of 255 of Pillow's."""
    import torch
    from torch.nn import functional

    _allow_read_only()
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]  # (1, 3, h, w)
    resized = functional.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    result: Pixels = resized[0].permute(1, 2, 0).contiguous().numpy()
    return result


def _set_up_pillow() -> None:
    """Undo what other packages may have set for the whole process.

    `warnings.catch_warnings` saves and restores a list shared by all threads, so two threads that
    overlap leave it broken. A filter that is only ever added has nothing to restore: Pillow's
    remarks about odd files are reported as failures where they matter, and silent otherwise.
    """
    silent = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if silent not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    # Some packages switch this on at import; half a picture must count as unreadable.
    PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False


def _allow_read_only() -> None:
    """Pictures that rows of a tile share cannot be written to; torch warns, but nothing here writes."""
    words = "The given NumPy array is not writable"
    if not any(known[1] is not None and known[1].pattern == words for known in warnings.filters):
        warnings.filterwarnings("ignore", words)


def _openers(heif: str) -> list[tuple[Callable[..., Any], Callable[[bytes], Any] | None]]:
    """What may open a file, of the kind its HEIF brands say; nothing where that is not installed."""
    if heif == "HEIF":
        opener = _heif_opener()
        return [(opener, None)] if opener else []
    return [PIL.Image.OPEN[name] for name in ((heif,) if heif else FORMATS)]


@functools.cache
def _heif_opener() -> Callable[..., Any] | None:
    """pillow-heif's reader if it is installed; used as it is, so that Pillow's own list stays unchanged."""
    if importlib.util.find_spec("pillow_heif") is None:
        return None
    import pillow_heif

    opener: Callable[..., Any] = pillow_heif.HeifImageFile
    return opener


def _refusal(image: PIL.Image.Image, data: bytes, max_pixels: int, max_side: int) -> tuple[str, bool]:
    """Why a picture is not even decoded, from its header, or nothing; and whether to halve it."""
    width, height = image.size
    pixels = width * height
    is_jpeg = image.format in ("JPEG", "MPO")
    half = is_jpeg and max_pixels < pixels <= 4 * max_pixels and min(width, height) > 1
    if max(width, height) > max_side or (pixels > max_pixels and not half):
        return f"{width} x {height} pixels, allowed {max_pixels} and {max_side} a side", half
    if is_jpeg:
        most_scans = MAX_SCAN_PIXELS // max(pixels, 1)
        # The cheap count takes in what lies inside segments and behind the picture.
        if half or data.count(b"\xff\xda") > most_scans:
            layout = jpeg_layout(data, most_scans)
            return _too_many_scans(layout, width, height, most_scans), half
    if image.format == "TIFF" and (compression := image.info.get("compression")) != "raw":
        return f"TIFF with {compression} compression, a format that is refused", half
    return "", half


def _too_many_scans(layout: JpegLayout, width: int, height: int, most_scans: int) -> str:
    if not layout.is_counted:
        return "JPEG with more segments than are looked at"
    if layout.scans > most_scans:
        return f"{width} x {height} pixels in more than {most_scans} scans"
    if layout.scans > 1 and layout.samples_per_pixel * width * height > MAX_SAMPLES_KEPT:
        return f"{width} x {height} pixels in {layout.scans} scans, which must all be kept"
    return ""


@functools.cache
def _simplejpeg_decode() -> Callable[..., Any] | None:
    """simplejpeg's decoder if it is installed; one that is there but broken is an error."""
    if importlib.util.find_spec("simplejpeg") is None:
        return None
    import simplejpeg

    decode_jpeg: Callable[..., Any] = simplejpeg.decode_jpeg
    return decode_jpeg


def _fast_jpeg(image: PIL.Image.Image, data: bytes) -> Pixels | None:
    """The pixels from simplejpeg, None where Pillow has to decide."""
    decode_jpeg = _simplejpeg_decode()
    if decode_jpeg is None or image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    try:
        pixels: Pixels = decode_jpeg(data, "RGB")
    except ValueError:
        # Also raised for harmless oddities, such as stray bytes between two markers.
        return None
    return pixels if pixels.shape == (image.height, image.width, 3) else None


def _upright(image: PIL.ImageFile.ImageFile, data: bytes, half: bool) -> Pixels:
    pixels = None if half else _fast_jpeg(image, data)
    if pixels is None:
        pixels = _by_pillow(image, data, half)
    # After the pixels: Pillow turns TIFFs by itself while it loads them.
    turned = _UPRIGHT.get(_orientation(image))
    return pixels if turned is None else np.ascontiguousarray(turned(pixels))


def _by_pillow(image: PIL.ImageFile.ImageFile, data: bytes, half: bool) -> Pixels:
    """The pixels from Pillow, also of a JPEG that lacks only its end mark."""
    try:
        return _rgb(image, half)
    except OSError:
        if image.format not in ("JPEG", "MPO") or not _lacks_only_its_end(data, half):
            raise
    return _with_tail(data.rstrip(b"\xff"), b"", half)


def _lacks_only_its_end(data: bytes, half: bool) -> bool:
    """Whether a JPEG without an end mark sends its whole picture, and nothing behind it.

    What follows a whole picture does not change it, and what follows a part of one does. A download
    that was cut short and then padded is whole in this sense too, but stays so with 64 bytes less.
    """
    layout = jpeg_layout(data, MAX_SEGMENTS)
    if layout.has_end or not layout.is_counted or not layout.is_whole:
        return False
    coded = data.rstrip(b"\xff")
    return _is_settled(coded, half) and not _is_settled(coded[:-64].rstrip(b"\xff"), half)


def _is_settled(coded: bytes, half: bool) -> bool:
    digests: set[bytes] = set()
    for tail in _TAILS:
        try:
            digests.add(hashlib.blake2b(_with_tail(coded, tail, half).data).digest())
        except OSError:
            return False
        if len(digests) > 1:
            return False
    return True


def _with_tail(coded: bytes, tail: bytes, half: bool) -> Pixels:
    with open_picture(coded + tail + b"\xff\xd9") as image:
        return _rgb(image, half)


def _rgb(image: PIL.Image.Image, half: bool = False) -> Pixels:
    if half:
        image.draft(image.mode, (image.width // 2, image.height // 2))
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)  # (h, w)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit samples (mode {image.mode}) have no agreed white")
    if image.has_transparency_data:
        return _over_white(image)
    return np.array(image.convert("RGB"))


def _over_white(image: PIL.Image.Image) -> Pixels:
    """A few rows at a time: whole, it would exist four times over."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, step := max(1, _STRIP_PIXELS // width)):
        strip = image.crop((0, top, width, min(top + step, height))).convert("RGBA")
        white = PIL.Image.new("RGBA", strip.size, "white")
        pixels[top : top + step] = np.asarray(PIL.Image.alpha_composite(white, strip).convert("RGB"))
    return pixels


def _orientation(image: PIL.Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001
        # The same boundary as in `decode`: every viewer shows a photo with a damaged EXIF block upright.
        return 1
    return value if isinstance(value, int) else 1


def what_it_is(data: bytes) -> str:
    """What a file that is no accepted picture looks like, in words."""
    if heif_kind(data) == "HEIF" and _heif_opener() is None:
        return "a HEIC picture, read where the extra is installed: pip install 'pinpoint-geo[heic]'"
    head = data[:512]
    for pattern, title in _SIGNATURES:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            return f"looks like {title}"
    return f"not a picture in an accepted format ({', '.join(FORMATS)})"
