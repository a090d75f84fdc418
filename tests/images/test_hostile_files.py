"""Two thousand damaged files, each made from its number alone, so that a failing one can be made again."""

from __future__ import annotations

import faulthandler
import gzip
import io
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from pinpoint_harness.errors import DataError
from pinpoint_harness.images import Failure, ImageStore
from pinpoint_harness.images.decode import FORMATS, decode
from pinpoint_harness.images.positions import Position, position_of

IMAGE_CASES = 1600
CONTAINER_CASES = 400
GROUP = 40
SLOWEST_CASE_S = 5.0
HANGING_S = 120.0
MAX_PIXELS = 4_000_000
MEMBERS = 6


@pytest.fixture(autouse=True)
def _a_hang_ends_with_a_traceback() -> Iterator[None]:
    assert sys.__stderr__ is not None
    faulthandler.dump_traceback_later(HANGING_S, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("first", range(0, IMAGE_CASES, GROUP))
def test_a_damaged_picture_is_decoded_or_has_a_reason(first: int, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(first, first + GROUP):
        name, data = damaged_image(number)
        started = time.process_time()
        result = decode(data, max_pixels=MAX_PIXELS)
        position = position_of(data)
        assert time.process_time() - started < SLOWEST_CASE_S, (number, name)
        if isinstance(result, Failure):
            assert result.kind == "unreadable", (number, name)
            assert 0 < len(result.reason) <= 160, (number, name)
            assert result.reason.isprintable(), (number, name)
        else:
            assert result.dtype == np.uint8, (number, name)
            assert result.shape[2] == 3, (number, name)
            assert 0 < result.shape[0] * result.shape[1] <= MAX_PIXELS, (number, name)
            assert result.flags.c_contiguous, (number, name)
            assert result.flags.writeable, (number, name)
        if isinstance(position, Position):
            assert abs(position.latitude) <= 90, (number, name)
            assert abs(position.longitude) <= 180, (number, name)
        else:
            assert position.reason, (number, name)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("first", range(0, CONTAINER_CASES, GROUP))
def test_a_damaged_container_gives_its_pictures_or_says_why_not(first: int, tmp_path: Path) -> None:
    for number in range(first, first + GROUP):
        name, files = damaged_container(number)
        folder = tmp_path / str(number)
        folder.mkdir()
        for file_name, data in files.items():
            (folder / file_name).write_bytes(data)
        started = time.process_time()
        _read_everything(folder, f"{number} {name}")
        assert time.process_time() - started < SLOWEST_CASE_S, (number, name)


def test_most_damage_is_noticed_and_some_leaves_a_picture() -> None:
    # Were every case refused, or none, the two thousand cases would test nothing.
    results = [decode(damaged_image(number)[1], max_pixels=MAX_PIXELS) for number in range(0, IMAGE_CASES, 8)]
    refused = sum(isinstance(result, Failure) for result in results)
    assert 0.3 < refused / len(results) < 0.9


def test_a_case_is_the_same_whenever_it_is_made() -> None:
    assert damaged_image(17) == damaged_image(17)
    assert damaged_container(17) == damaged_container(17)
    assert len({damaged_image(number)[1] for number in range(200)}) > 190


def _read_everything(folder: Path, case: str) -> None:
    wanted = pd.Series([_member_name(index) for index in range(MEMBERS)])
    with ImageStore.open([folder]) as store:
        try:
            refs = store.find(wanted)
        except DataError:
            return  # damage to a name made two alike, which is an error by design
        for ref in refs:
            data = store.read(int(ref))
            if isinstance(data, Failure):
                assert data.status in ("missing", f"unreadable: {data.reason}"), case
            else:
                assert isinstance(decode(data), np.ndarray | Failure), case
        for entry in store.skipped:
            assert entry.reason, case
            assert entry.count > 0, case
            assert "\n" not in str(entry), case


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


def test_every_accepted_format_is_among_the_damaged_ones() -> None:
    formats = {PIL.Image.open(io.BytesIO(data)).format for data in sound_images().values()}
    assert formats == set(FORMATS)


def _encode(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _member_name(index: int) -> str:
    return f"aa/{index:02d}_{index * 7919}.jpg"


@cache
def sound_containers() -> dict[str, dict[str, bytes]]:
    """One small container per kind: file name -> bytes."""
    pictures = {_member_name(index): sound_images()["jpeg grey"] + bytes(index) for index in range(MEMBERS)}
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
