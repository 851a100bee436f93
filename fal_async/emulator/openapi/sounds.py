"""Small sound files: a note that fades, as WAV, and silence as MP3. Pure: numbers in, a file out."""

from __future__ import annotations

import math
import struct
from array import array
from typing import Final

__all__ = ["encode_mp3", "encode_wav"]

_RATE: Final = 8000
#: MPEG-2, Layer III, no checksum; 8 kbit/s at 24,000 samples a second, mono. The rest of a frame, all zeros,
#: says that nothing is heard.
_FRAME: Final = bytes((0xFF, 0xF3, 0x14, 0xC0)) + bytes(20)
_SAMPLES_OF_FRAME: Final = 576
_MP3_RATE: Final = 24_000


def encode_wav(note: int, seconds: float) -> bytes:
    """A note as 16 bit mono, 8,000 samples a second.

    :param note: 0 is the A below middle C; each is a semitone above the one before.
    """
    count = max(1, round(seconds * _RATE))
    step = 2 * math.pi * 220 * 2 ** (note / 12) / _RATE
    samples = array("h", (round(9000 * (1 - i / count) * math.sin(step * i)) for i in range(count)))
    data = struct.pack(f"<{count}h", *samples)
    head = struct.pack("<HHIIHH", 1, 1, _RATE, 2 * _RATE, 2, 16)
    body = b"WAVE" + _chunk(b"fmt ", head) + _chunk(b"data", data)
    return _chunk(b"RIFF", body)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data


def encode_mp3(seconds: float) -> tuple[bytes, float]:
    """Silence of that length, to the next frame; and how long it is."""
    frames = max(1, math.ceil(seconds * _MP3_RATE / _SAMPLES_OF_FRAME))
    return _FRAME * frames, frames * _SAMPLES_OF_FRAME / _MP3_RATE
