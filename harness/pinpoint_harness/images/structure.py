"""What the bytes of a JPEG, PNG or HEIF file declare, told without decoding them.

Everything here takes hostile bytes, looks at each at most a few times and raises nothing.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field

MAX_SEGMENTS = 1_000_000
"""Markers looked at in one JPEG; a photo has about fifty."""

MAX_TEXT_BYTES = 2**20
"""How far Pillow unpacks one text or colour profile of a PNG; it refuses the picture beyond that."""

MAX_TEXT_BYTES_TOTAL = 2**26
"""The same for all texts of a PNG together."""

# Neither a stuffed byte of coded data, nor a restart, nor filling.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _BARE = 0xD8, 0xD9, 0xDA, 0x01
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COEFFICIENTS = 64

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_MAX_BRAND_BYTES = 256


@dataclass
class JpegLayout:
    """The scans of a JPEG's first picture; thumbnails, previews and films in the same file are not its own.

    `has_end` says whether the end mark is there. `is_counted` is false where there are too many
    segments to go on. `samples_per_pixel` is 3 in full colour and 1.5 with colour at half resolution.
    """

    scans: int = 0
    has_end: bool = False
    is_counted: bool = True
    samples_per_pixel: float = 0.0
    _bits_left: dict[int, list[int]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the scans together send every coefficient of every component to its last bit."""
        return bool(self._bits_left) and not any(map(any, self._bits_left.values()))

    def add_frame(self, segment: bytes) -> None:
        """Note the components; a JPEG has one frame, and a second one is ignored."""
        if self._bits_left or len(segment) < 8:
            return
        components = [segment[place : place + 2] for place in range(6, 6 + 3 * segment[5], 3)]
        components = [component for component in components if len(component) == 2]
        areas = [(component[1] >> 4) * (component[1] & 15) for component in components]
        widest = max((component[1] >> 4 for component in components), default=1)
        highest = max((component[1] & 15 for component in components), default=1)
        self.samples_per_pixel = sum(areas) / max(widest * highest, 1)
        self._bits_left = {component[0]: [1] * _COEFFICIENTS for component in components}

    def add_scan(self, segment: bytes) -> None:
        """Note which coefficients a scan sends, and how many of their bits are still to come."""
        self.scans += 1
        count = segment[0] if segment else 0
        tail = segment[1 + 2 * count :]
        if len(tail) < 3:
            return
        first, last, bits_left = tail[0], min(tail[1], _COEFFICIENTS - 1), tail[2] & 15
        for component in segment[1 : 1 + 2 * count : 2]:
            left = self._bits_left.get(component)
            if left:
                left[first : last + 1] = [bits_left] * max(last + 1 - first, 0)


def jpeg_layout(data: bytes, most_scans: int) -> JpegLayout:
    """Walk the markers to the end mark, or until there are more than `most_scans` scans.

    As libjpeg walks: what stands between a segment and the next marker is passed over, and the
    inside of a segment is never taken for markers.
    """
    layout, position = JpegLayout(), 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            return layout
        marker, position = data[found.start() + 1], found.end()
        if marker == _END_OF_IMAGE:
            layout.has_end = True
            return layout
        if marker in (_START_OF_IMAGE, _BARE):
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        segment = data[position + 2 : position + length]
        position += max(length, 2)
        if marker in _FRAMES:
            layout.add_frame(segment)
        elif marker == _START_OF_SCAN:
            layout.add_scan(segment)
            if layout.scans > most_scans:
                return layout
    layout.is_counted = False
    return layout


def without_long_text(data: bytes) -> bytes:
    """A PNG without the texts and colour profiles Pillow refuses for their length; others as they are.

    No pixel depends on what is taken out. Anything but a PNG is given back unchanged.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return data
    kept: list[bytes] = []
    start, position, room = 0, len(_PNG_SIGNATURE), MAX_TEXT_BYTES_TOTAL
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind == b"IEND":
            break
        if kind in _PNG_TEXTS:
            size = _text_bytes(kind, data[position + 8 : end - 4])
            room -= size
            if room < 0 or (size > MAX_TEXT_BYTES and kind != b"tEXt"):
                kept.append(data[start:position])
                start = end
        position = end
    return b"".join([*kept, data[start:]]) if kept else data


def _text_bytes(kind: bytes, chunk: bytes) -> int:
    """How long a text is when unpacked, up to one byte more than is allowed."""
    rest = chunk.partition(b"\0")[2]
    if kind == b"iTXt":
        if rest[:1] != b"\x01":
            return len(chunk)
        rest = rest[1:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif kind == b"tEXt":
        return len(chunk)
    try:
        return len(zlib.decompressobj().decompress(rest[1:], MAX_TEXT_BYTES + 1))
    except zlib.error:
        return len(chunk)


def heif_kind(data: bytes) -> str:
    """`AVIF`, `HEIF` or nothing, by all brands at the beginning: the first may be common to both."""
    if data[4:8] != b"ftyp":
        return ""
    size = min(int.from_bytes(data[:4], "big"), _MAX_BRAND_BYTES)
    brands = {data[8:12], *(data[place : place + 4] for place in range(16, size - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else ""


def png_chunk(data: bytes, kind: bytes, beginning: bytes = b"") -> bytes:
    """The content of the first chunk of a kind, and with this beginning; empty where there is none."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, found = struct.unpack_from(">I4s", data, position)
        if found == kind and data.startswith(beginning, position + 8):
            return data[position + 8 : position + 8 + length]
        position += 12 + length
    return b""
