"""From a file's bytes to RGB, or to the reason why not.

Photos come from strangers: everything here treats the bytes as hostile and answers with a
`Failure` instead of an exception. What is accepted: JPEG, PNG, GIF, BMP, WebP and uncompressed TIFF,
recognised by content, whatever the file is called. Every other decoder of Pillow is refused: EPS
starts Ghostscript, JPEG 2000, AVIF and compressed TIFF bring large libraries with a record of holes,
and libtiff writes to stderr besides.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

# Importing a format's module registers it; a format that is not imported here cannot be opened.
import PIL.BmpImagePlugin
import PIL.ExifTags
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

from .containers import Failure

__all__ = ["Failure", "decode", "decoder_name", "exif_gps", "resize"]

if TYPE_CHECKING:
    Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")

MAX_PIXELS = 100_000_000
"""300 MB of RGB. Cameras reach 100 MP; stitched panoramas beyond that are refused."""

MAX_SIDE = 65_535
"""The longest side a JPEG can declare."""

MAX_SCAN_PIXELS = 2_000_000_000
"""Pixels times scans of a JPEG: a progressive file may ask to go over one picture a thousand times."""

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
    (rb".{4}ftyp(hei|hev|mif|msf|avi)", "a HEIC or AVIF picture, a format that is refused"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture, a format that is refused"),
    (rb"\xff\xd8\xff", "a JPEG whose header is damaged or of an unknown kind"),
    (rb"\x89PNG", "a PNG whose header is damaged or of an unknown kind"),
    (rb"GIF8", "a GIF whose header is damaged or of an unknown kind"),
    (rb"RIFF.{4}WEBP", "a WebP picture whose header is damaged or of an unknown kind"),
    (rb"BM", "a BMP whose header is damaged or of an unknown kind"),
    (rb"II\x2a\x00|MM\x00\x2a", "a TIFF whose header is damaged or of an unknown kind"),
)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int = MAX_SIDE) -> Pixels | Failure:
    """The picture upright, in RGB uint8 `(h, w, 3)`, C-contiguous and writable; or why there is none.

    The size is checked in the header, before anything is decoded. EXIF orientation is applied;
    a damaged EXIF block leaves the picture as it is. ICC profiles are ignored, as the published
    evaluations do. Transparency is laid over white, of animations the first frame is taken, CMYK
    follows Adobe's inverted convention, 16-bit samples keep their high byte. A picture whose data
    break off is a failure, never half a picture.

    JPEGs in RGB and grey are decoded by simplejpeg where it is installed, 1.9 times faster than
    Pillow and equal to it in every pixel of 80 real photos and 12 synthetic layouts (simplejpeg
    1.9.0, Pillow 13.0.0). Whatever simplejpeg will not decode, Pillow decides, so the same files
    fail with and without it.
    """
    if not data:
        return Failure("unreadable", "empty file (0 bytes)")
    _set_up_pillow()
    stream = io.BytesIO(data)  # outside, so that a caller who passes no bytes gets a TypeError
    try:
        with PIL.Image.open(stream, formats=FORMATS) as image:
            refusal = _refusal(image, data, max_pixels, max_side)
            if refusal:
                return Failure("unreadable", refusal)
            pixels = _fast_jpeg(image, data)
            if pixels is None:
                pixels = _rgb(image)
            # After the pixels: Pillow turns TIFFs by itself while it loads them.
            upright = _UPRIGHT.get(_orientation(image))
            return pixels if upright is None else np.ascontiguousarray(upright(pixels))
    except PIL.UnidentifiedImageError:
        return Failure("unreadable", _what_it_is(data))
    except Exception as error:  # noqa: BLE001
        # The boundary with hostile input. Over mutated files Pillow raises OSError, SyntaxError,
        # ValueError, TypeError, KeyError, IndexError, struct.error, EOFError, OverflowError,
        # AttributeError, AssertionError, MemoryError, RecursionError, DecompressionBombError and
        # more, differently in each release; none of them may end a run, and each is reported.
        message = str(error)
        return Failure("unreadable", message if " " in message else f"{type(error).__name__}: {message}")


def decoder_name() -> str:
    """The decoder with its versions, the same for the whole process: what pixels depend on."""
    library = PIL.features.version_feature("libjpeg_turbo") or PIL.features.version_codec("jpg")
    pillow = f"Pillow {version('Pillow')} (libjpeg {library})"
    return f"simplejpeg {version('simplejpeg')}, {pillow}" if _simplejpeg_decode() else pillow


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Bicubic with antialiasing, in uint8 from end to end; within two levels of 255 of Pillow's."""
    import torch
    from torch.nn import functional

    planes = torch.from_numpy(image).permute(2, 0, 1)[None]  # (1, 3, h, w)
    resized = functional.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    result: Pixels = resized[0].permute(1, 2, 0).contiguous().numpy()
    return result


def exif_gps(data: bytes) -> tuple[float, float] | None:
    """`(latitude, longitude)` in degrees from a photo's EXIF block, or nothing.

    Nothing if the hemisphere letters are absent: without them a position has four mirror images.
    Nothing either for zero denominators, minutes or seconds above 60 and angles out of range.
    """
    _set_up_pillow()
    stream = io.BytesIO(data)
    try:
        with PIL.Image.open(stream, formats=FORMATS) as image:
            block = dict(image.getexif().get_ifd(PIL.ExifTags.IFD.GPSInfo))
    except Exception:  # noqa: BLE001
        # The same boundary as in `decode`: a file without a readable position has none.
        return None
    tags = PIL.ExifTags.GPS
    latitude = _angle(block.get(tags.GPSLatitude), block.get(tags.GPSLatitudeRef), "NS", 90.0)
    longitude = _angle(block.get(tags.GPSLongitude), block.get(tags.GPSLongitudeRef), "EW", 180.0)
    return None if latitude is None or longitude is None else (latitude, longitude)


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


def _refusal(image: PIL.Image.Image, data: bytes, max_pixels: int, max_side: int) -> str:
    """Why a picture is not even decoded, from its header, or nothing."""
    width, height = image.size
    if width * height > max_pixels or max(width, height) > max_side:
        return f"{width} x {height} pixels, allowed {max_pixels} and {max_side} a side"
    if image.format in ("JPEG", "MPO"):
        scans = data.count(b"\xff\xda")
        if scans * width * height > MAX_SCAN_PIXELS:
            return f"{width} x {height} pixels in {scans} scans"
    if image.format == "TIFF" and (compression := image.info.get("compression")) != "raw":
        return f"TIFF with {compression} compression, a format that is refused"
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


def _rgb(image: PIL.Image.Image) -> Pixels:
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)  # (h, w)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit samples (mode {image.mode}) have no agreed white")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = PIL.Image.new("RGBA", picture.size, "white")
        return np.array(PIL.Image.alpha_composite(white, picture).convert("RGB"))
    return np.array(image.convert("RGB"))


def _orientation(image: PIL.Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001
        # The same boundary as in `decode`: every viewer shows a photo with a damaged EXIF block upright.
        return 1
    return value if isinstance(value, int) else 1


def _what_it_is(data: bytes) -> str:
    head = data[:512]
    for pattern, title in _SIGNATURES:
        if re.match(pattern, head, re.IGNORECASE | re.DOTALL):
            return f"looks like {title}"
    return f"not a picture in an accepted format ({', '.join(FORMATS)})"


def _angle(parts: object, reference: object, letters: str, limit_deg: float) -> float | None:
    """Signed degrees from (degrees, minutes, seconds) and a hemisphere letter."""
    if isinstance(reference, bytes):
        reference = reference.decode("ascii", "replace")
    letter = reference.strip("\0 ").upper() if isinstance(reference, str) else ""
    if len(letter) != 1 or letter not in letters or not isinstance(parts, tuple) or len(parts) != 3:
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not (degrees >= 0 and 0 <= minutes <= 60 and 0 <= seconds <= 60):  # refuses NaN too
        return None
    angle = degrees + minutes / 60 + seconds / 3600
    return math.copysign(angle, 1 if letter == letters[0] else -1) if angle <= limit_deg else None
