"""Photos as other people's cameras, phones and programs write them, made by hand."""

from __future__ import annotations

import binascii
import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image


def encode(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def photo(width: int = 61, height: int = 47, seed: int = 0) -> PIL.Image.Image:
    """Smooth colours with edges, without any symmetry."""
    random = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(random.integers(0, 256, (5, 6, 3), np.uint8))
    return coarse.resize((width, height), PIL.Image.Resampling.BICUBIC)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand, for sample layouts Pillow cannot write; `rows` begin with filter 0."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        *([(extra[:4], extra[4:])] if extra else []),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", binascii.crc32(n + c)) for n, c in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


Entry = tuple[int, int, int, bytes]


def exif_block(entries: Sequence[Entry], gps: Sequence[Entry] = ()) -> bytes:
    """An EXIF block written by hand: (tag, type, count, value); a second directory for GPS."""

    def directory(items: Sequence[Entry], start: int) -> bytes:
        tail = start + 2 + 12 * len(items) + 4
        table, values = struct.pack(">H", len(items)), b""
        for tag, kind, count, value in items:
            if len(value) <= 4:
                table += struct.pack(">HHI", tag, kind, count) + value.ljust(4, b"\0")
            else:
                table += struct.pack(">HHII", tag, kind, count, tail + len(values))
                values += value
        return table + b"\0\0\0\0" + values

    entries = list(entries)
    if gps:
        length = len(directory([*entries, (0x8825, 4, 1, b"\0\0\0\0")], 8))
        entries.append((0x8825, 4, 1, struct.pack(">I", 8 + length)))
    first = directory(entries, 8)
    second = directory(list(gps), 8 + len(first)) if gps else b""
    return b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08" + first + second


def rationals(*fractions: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">II", *fraction) for fraction in fractions)


def located(
    latitude: tuple[tuple[int, int], ...] = ((43, 1), (28, 1), (281, 100)),
    longitude: tuple[tuple[int, int], ...] = ((11, 1), (53, 1), (645, 100)),
    references: tuple[bytes | None, bytes | None] = (b"N\0", b"E\0"),
) -> bytes:
    """A JPEG with a hand-written GPS block."""
    gps = [(2, 5, len(latitude), rationals(*latitude)), (4, 5, len(longitude), rationals(*longitude))]
    gps += [(tag, 2, len(ref), ref) for tag, ref in zip((1, 3), references, strict=True) if ref is not None]
    return encode(photo(), "JPEG", exif=exif_block([], sorted(gps)))


def film(scans: int = 200) -> bytes:
    """An MP4 in which the bytes that begin a JPEG's scan occur many times, as they do by chance."""
    coded = b"\x12\x34\xff\xda\x00\x0c\x56" * scans
    return (
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42"
        + struct.pack(">I", len(coded) + 8)
        + b"mdat"
        + coded
    )


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment right after its beginning."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def with_chunk(data: bytes, kind: bytes, content: bytes, behind_pixels: bool = False) -> bytes:
    """A PNG with one more chunk, before or behind its pixels."""
    place = data.index(b"IEND" if behind_pixels else b"IDAT") - 4
    chunk = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", binascii.crc32(kind + content))
    )
    return data[:place] + chunk + data[place:]


def xmp_packet(fields: str, elements: str = "") -> bytes:
    """An XMP packet with these attributes and elements."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" {fields}>{elements}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
