"""A small film: MP4 with one picture that stays, in the simplest form that H.264 has. Pure.

The picture is stored as it is (I_PCM blocks of 16 by 16 points, no transform, no prediction), and every frame
after it says of each block that nothing changed, in a few bytes. So ten seconds take hardly more than one.
ITU-T H.264 and ISO/IEC 14496-12, 14496-15 are where the numbers come from.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from fal_async.emulator.models.painting import SoftPicture, paint_softly

__all__ = ["FRAMES_A_SECOND", "encode_mp4"]

FRAMES_A_SECOND: Final = 8
_BLOCK: Final = 16
_BASELINE, _LEVEL_3 = 66, 30
_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
_I_SLICE, _P_SLICE, _PCM = 7, 5, 25
_LIKE_A_BEGINNING: Final = re.compile(rb"\0\0(?=[\0-\3])")
_LONGEST: Final = 255  # frames until the numbers of frames begin anew: none does


class _Bits:
    """Bits one after the other, with the numbers that H.264 writes in them."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def fixed(self, value: int, width: int) -> _Bits:
        self._bits.append(f"{value:0{width}b}")
        return self

    def golomb(self, value: int) -> _Bits:
        """An unsigned Exp-Golomb code, ``ue(v)``."""
        coded = f"{value + 1:b}"
        self._bits.append("0" * (len(coded) - 1) + coded)
        return self

    def aligned(self) -> bytes:
        """All so far, with zeros to the next byte; starts anew."""
        text = "".join(self._bits)
        self._bits = []
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""

    def ended(self) -> bytes:
        """All so far, and the bit that ends each unit."""
        return self.fixed(1, 1).aligned()


def encode_mp4(key: bytes, columns: int, rows: int, seconds: float) -> bytes:
    """A film of the picture that belongs to ``key``.

    :param columns: its width in blocks of 16 points; ``rows`` likewise.
    """
    frames = max(1, min(_LONGEST, round(seconds * FRAMES_A_SECOND)))
    picture = paint_softly(key, columns * _BLOCK, rows * _BLOCK)
    samples = [_first_frame(picture, columns, rows)]
    samples += [_next_frame(number, columns * rows) for number in range(1, frames)]
    named = [struct.pack(">I", len(unit)) + unit for unit in samples]
    head = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomavc1mp41")
    sizes = [len(sample) for sample in named]
    movie = _movie(columns * _BLOCK, rows * _BLOCK, sizes, 0)
    offset = len(head) + len(movie) + 8
    movie = _movie(columns * _BLOCK, rows * _BLOCK, sizes, offset)
    return head + movie + _box(b"mdat", *named)


# --- H.264 ------------------------------------------------------------------------------------------


def _unit(kind: int, content: bytes) -> bytes:
    """A unit, its content kept free of what looks like the beginning of another."""
    return bytes((0x60 | kind,)) + _LIKE_A_BEGINNING.sub(b"\0\0\3", content)


def _sequence(columns: int, rows: int) -> bytes:
    bits = _Bits().fixed(_BASELINE, 8).fixed(0xC0, 8).fixed(_LEVEL_3, 8).golomb(0)
    bits.golomb(4).golomb(2)  # numbers of frames have 8 bits; the order shown is that decoded
    bits.golomb(1).fixed(0, 1).golomb(columns - 1).golomb(rows - 1)
    return _unit(7, bits.fixed(1, 1).fixed(1, 1).fixed(0, 1).fixed(0, 1).ended())


def _parameters() -> bytes:
    bits = _Bits().golomb(0).golomb(0).fixed(0, 1).fixed(0, 1).golomb(0).golomb(0).golomb(0)
    bits.fixed(0, 3).golomb(0).golomb(0).golomb(0)
    return _unit(8, bits.fixed(1, 1).fixed(0, 1).fixed(0, 1).ended())


def _first_frame(picture: SoftPicture, columns: int, rows: int) -> bytes:
    bits = _Bits().golomb(0).golomb(_I_SLICE).golomb(0).fixed(0, 8).golomb(0)
    bits.fixed(0, 2).golomb(0).golomb(1)  # marking of references, quantiser, no deblocking
    parts = [bits.golomb(_PCM).aligned() + block for block in _blocks(picture, columns, rows)]
    return _unit(5, b"".join((*parts, bits.ended())))


def _next_frame(number: int, blocks: int) -> bytes:
    bits = _Bits().golomb(0).golomb(_P_SLICE).golomb(0).fixed(number, 8)
    bits.fixed(0, 1).fixed(0, 1).fixed(0, 1).golomb(0).golomb(1)
    return _unit(1, bits.golomb(blocks).ended())


def _blocks(picture: SoftPicture, columns: int, rows: int) -> Iterator[bytes]:
    """Each block's 256 lumas and twice 64 differences; the picture has one value per 8 by 8 points."""
    for row in range(rows):
        for column in range(columns):
            top, bottom = (
                b"".join(bytes((level,)) * 8 for level in line[2 * column : 2 * column + 2])
                for line in picture.luma[2 * row : 2 * row + 2]
            )
            blue, red = picture.blue[row][column], picture.red[row][column]
            yield top * 8 + bottom * 8 + bytes((blue,)) * 64 + bytes((red,)) * 64


# --- the container ----------------------------------------------------------------------------------


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + kind + data


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """A box that has a version, 0, and flags."""
    return _box(kind, struct.pack(">I", flags), *parts)


def _movie(width: int, height: int, sizes: list[int], offset: int) -> bytes:
    frames = len(sizes)
    clock = struct.pack(">4I", 0, 0, FRAMES_A_SECOND, frames)
    head = _full(
        b"mvhd", clock, struct.pack(">IH10x", 0x10000, 0x100), _MATRIX, bytes(24), b"\0\0\0\2"
    )
    track_head = _full(
        b"tkhd",
        struct.pack(">5I8x4H", 0, 0, 1, 0, frames, 0, 0, 0, 0),
        _MATRIX,
        struct.pack(">II", width << 16, height << 16),
        flags=3,
    )
    media = _box(
        b"mdia",
        _full(b"mdhd", clock, struct.pack(">HH", 0x55C4, 0)),  # no language
        _full(b"hdlr", bytes(4), b"vide", bytes(12), b"video\0"),
        _box(
            b"minf",
            _full(b"vmhd", bytes(8), flags=1),
            _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1))),
            _samples(width, height, sizes, offset),
        ),
    )
    return _box(b"moov", head, _box(b"trak", track_head, media))


def _samples(width: int, height: int, sizes: list[int], offset: int) -> bytes:
    """Where each frame stands, and how it is to be read."""
    frames = len(sizes)
    sequence, parameters = _sequence(width // _BLOCK, height // _BLOCK), _parameters()
    setup = bytes((1, *sequence[1:4], 0xFF, 0xE1)) + struct.pack(">H", len(sequence)) + sequence
    setup += b"\1" + struct.pack(">H", len(parameters)) + parameters
    entry = _box(
        b"avc1",
        struct.pack(">6xH16xHH", 1, width, height),
        struct.pack(">IIIH", 0x480000, 0x480000, 0, 1),
        bytes(32),
        struct.pack(">Hh", 24, -1),
        _box(b"avcC", setup),
    )
    return _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">3I", 1, frames, 1)),
        _full(b"stss", struct.pack(">2I", 1, 1)),
        _full(b"stsc", struct.pack(">4I", 1, 1, frames, 1)),
        _full(b"stsz", struct.pack(f">{2 + frames}I", 0, frames, *sizes)),
        _full(b"stco", struct.pack(">2I", 1, offset)),
    )
