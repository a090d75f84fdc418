"""Pictures and containers damaged in ways that are drawn from a number, so that each can be made again."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache

import numpy as np
import PIL.Image

MEMBERS = 6


def damaged_image(number: int) -> tuple[str, bytes]:
    """What was done to which picture, and the bytes, for a case number."""
    random = np.random.default_rng([1, number])
    bases = sound_images()
    name = sorted(bases)[number % len(bases)]
    damage = list(DAMAGES)[number // len(bases) % len(DAMAGES)]
    return f"{damage} of {name}", DAMAGES[damage](bases[name], random)


def damaged_container(number: int) -> tuple[str, dict[str, bytes]]:
    """What was done to which container, and its files, for a case number."""
    random = np.random.default_rng([2, number])
    bases = sound_containers()
    name = sorted(bases)[number % len(bases)]
    damage = list(DAMAGES)[number // len(bases) % len(DAMAGES)]
    files = dict(bases[name])
    victim = sorted(files)[int(random.integers(len(files)))]
    files[victim] = DAMAGES[damage](files[victim], random)
    return f"{damage} of {name}", files


def _cut(data: bytes, random: np.random.Generator) -> bytes:
    return data[: int(random.integers(len(data)))]


def _flip_bits(data: bytes, random: np.random.Generator) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    places = random.integers(len(data), size=int(random.integers(1, 12)))
    changed[places] ^= (1 << random.integers(8, size=len(places))).astype(np.uint8)
    return changed.tobytes()


def _insert(data: bytes, random: np.random.Generator) -> bytes:
    place = int(random.integers(len(data)))
    return data[:place] + random.bytes(int(random.integers(1, 40))) + data[place:]


def _drop(data: bytes, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(data)))
    return data[:start] + data[start + int(random.integers(1, 200)) :]


def _edit_header(data: bytes, random: np.random.Generator) -> bytes:
    """Extreme numbers where sizes, counts and offsets lie."""
    width = int(random.choice([1, 2, 4]))
    value = int(random.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
    packed = struct.pack(str(random.choice(["<I", ">I"])), value)
    place = int(random.integers(min(len(data), 640)))
    piece = packed[:width] if packed[0] else packed[-width:]
    return data[:place] + piece + data[place + width :]


def _edit_tail(data: bytes, random: np.random.Generator) -> bytes:
    """The same at the end, where a zip keeps its directory."""
    return _edit_header(data[::-1], random)[::-1]


def _swap_type(data: bytes, random: np.random.Generator) -> bytes:
    """The beginning of another kind of file."""
    others = [
        *sound_images().values(),
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"<html><body>404",
        b"%!PS-Adobe",
        b"\0" * 600,
    ]
    other = others[int(random.integers(len(others)))]
    return other[: int(random.integers(1, 64))] + data[int(random.integers(64)) :]


def _repeat(data: bytes, random: np.random.Generator) -> bytes:
    """A piece said many times over, such as one chunk, directory entry or scan."""
    start = int(random.integers(len(data)))
    piece = data[start : start + int(random.integers(1, 300))]
    return data[:start] + piece * int(random.integers(2, 60)) + data[start:]


DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "truncation": _cut,
    "flipped bits": _flip_bits,
    "inserted bytes": _insert,
    "dropped bytes": _drop,
    "edited header": _edit_header,
    "edited tail": _edit_tail,
    "swapped type": _swap_type,
    "repeated piece": _repeat,
}


@cache
def sound_images() -> dict[str, bytes]:
    """One small picture per format and layout that matters."""
    random = np.random.default_rng(0)
    picture = PIL.Image.fromarray(random.integers(0, 256, (5, 6, 3), np.uint8)).resize(
        (61, 47), PIL.Image.Resampling.BICUBIC
    )
    transparent = picture.copy()
    transparent.putalpha(PIL.Image.linear_gradient("L").resize(picture.size))
    wide = PIL.Image.fromarray(random.integers(0, 2**16, (47, 61), np.uint16))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    exif[0x8825] = {1: "N", 2: (43.0, 28.0, 2.8), 3: "E", 4: (11.0, 53.0, 6.4)}
    return {
        "jpeg": _encode(picture, "JPEG", exif=exif.tobytes()),
        "jpeg progressive": _encode(picture, "JPEG", progressive=True, quality=90),
        "jpeg grey": _encode(picture.convert("L"), "JPEG"),
        "jpeg cmyk": _encode(picture.convert("CMYK"), "JPEG"),
        "png": _encode(picture, "PNG", exif=exif.tobytes()),
        "png palette": _encode(picture.convert("P"), "PNG", transparency=3),
        "png 16 bit": _encode(wide, "PNG"),
        "png alpha": _encode(transparent, "PNG"),
        "gif animated": _encode(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
        "bmp": _encode(picture, "BMP"),
        "bmp 1 bit": _encode(picture.convert("1"), "BMP"),
        "webp": _encode(picture, "WEBP", exif=exif.tobytes()),
        "webp lossless": _encode(transparent, "WEBP", lossless=True),
        "webp animated": _encode(picture, "WEBP", save_all=True, append_images=[picture.rotate(90)]),
        "avif": _encode(picture, "AVIF", exif=exif.tobytes()),
        "tiff": _encode(picture, "TIFF"),
        "tiff alpha": _encode(transparent, "TIFF"),
        "tiff 16 bit": _encode(wide, "TIFF"),
        "tiff jpeg": _encode(picture, "TIFF", compression="jpeg"),
    }


def _encode(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def member_name(index: int) -> str:
    return f"aa/{index:02d}_{index * 7919}.jpg"


@cache
def sound_containers() -> dict[str, dict[str, bytes]]:
    """One small container per kind: file name -> bytes."""
    pictures = {member_name(index): sound_images()["jpeg grey"] + bytes(index) for index in range(MEMBERS)}
    tar = _tar(pictures, tarfile.GNU_FORMAT)
    third = len(tar) // 3
    return {
        "stored zip": {"00.zip": _zip(pictures, zipfile.ZIP_STORED)},
        "deflated zip": {"00.zip": _zip(pictures, zipfile.ZIP_DEFLATED)},
        "tar": {"shard-0000.tar": tar},
        "pax tar": {"shard-0000.tar": _tar({**pictures, "ü" * 120 + ".jpg": b"long"}, tarfile.PAX_FORMAT)},
        "gzipped tar": {"images.tar.gz": gzip.compress(tar, mtime=0)},
        "split tar": {
            f"mp-16-images{part:02d}": tar[part * third : (part + 1) * third + 5 * (part == 2)]
            for part in range(3)
        },
    }


def _zip(pictures: dict[str, bytes], method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in pictures.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def _tar(pictures: dict[str, bytes], style: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=style) as archive:
        for name, data in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()
