"""Reading baseline JPEG by the book (ITU T.81): what the writer's tests hold its files against.

Knows nothing of how the files were made: tables, sampling and order are read from them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import cos, pi, sqrt

import attrs

ZIGZAG = sorted(
    ((y, x) for y in range(8) for x in range(8)),
    key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]),
)
COSINES = [
    [(sqrt(0.125) if u == 0 else 0.5) * cos((2 * x + 1) * u * pi / 16) for u in range(8)]
    for x in range(8)
]


@attrs.frozen
class Jpeg:
    """Its samples: luma and the two differences, row by row, in full resolution."""

    width: int
    height: int
    planes: list[list[list[float]]]

    def rgb(self, x: int, y: int) -> tuple[float, float, float]:
        luma, blue, red = (plane[y][x] for plane in self.planes)
        blue, red = blue - 128, red - 128
        return luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue


@attrs.define
class _Bits:
    data: bytes
    at: int = 0

    def take(self, number: int) -> int:
        value = 0
        for _ in range(number):
            value = value << 1 | (self.data[self.at >> 3] >> (7 - self.at & 7) & 1)
            self.at += 1
        return value

    def symbol(self, codes: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 17):
            code = code << 1 | self.take(1)
            if (length, code) in codes:
                return codes[length, code]
        raise AssertionError("no such code")

    def signed(self, size: int) -> int:
        value = self.take(size)
        return value if not size or value >> (size - 1) else value - (1 << size) + 1


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    assert data[:2] == b"\xff\xd8"
    at = 2
    while data[at + 1] != 0xDA:
        (marker, size) = struct.unpack_from(">HH", data, at)
        yield marker & 0xFF, data[at + 4 : at + 2 + size]
        at += 2 + size
    (size,) = struct.unpack_from(">H", data, at + 2)
    assert data[-2:] == b"\xff\xd9"
    scan = data[at + 2 + size : -2]
    assert all(scan[i + 1] == 0 for i in range(len(scan) - 1) if scan[i] == 0xFF)
    yield 0xDA, scan.replace(b"\xff\0", b"\xff")


def codes_of(content: bytes) -> dict[tuple[int, int], int]:
    found, code, symbols = {}, 0, iter(content[17:])
    for length in range(1, 17):
        for _ in range(content[length]):
            found[length, code] = next(symbols)
            code += 1
        assert code < 1 << length or not content[length]  # all ones is no code
        code <<= 1
    return found


def block(
    bits: _Bits, codes: dict[int, dict[tuple[int, int], int]], quant: bytes, mean: int
) -> tuple[int, list[list[float]]]:
    mean += bits.signed(bits.symbol(codes[0x00]))
    table = [[0.0] * 8 for _ in range(8)]
    table[0][0] = mean * quant[0]
    k = 1
    while k < 64:
        symbol = bits.symbol(codes[0x10])
        if symbol == 0:
            break
        k += symbol >> 4
        y, x = ZIGZAG[k]
        table[y][x] = bits.signed(symbol & 15) * quant[k]
        k += 1
    half = [[sum(COSINES[x][u] * row[u] for u in range(8)) for x in range(8)] for row in table]
    return mean, [
        [128 + sum(COSINES[y][v] * half[v][x] for v in range(8)) for x in range(8)]
        for y in range(8)
    ]


def read_jpeg(data: bytes) -> Jpeg:
    codes: dict[int, dict[tuple[int, int], int]] = {}
    quant, frame, scan = b"", b"", b""
    for marker, content in segments(data):
        if marker == 0xDB:
            quant = content[1:]
        elif marker == 0xC0:
            frame = content
        elif marker == 0xC4:
            codes[content[0]] = codes_of(content)
        elif marker == 0xDA:
            scan = content
    _, height, width, number = struct.unpack_from(">BHHB", frame)
    factors = [(frame[7 + 3 * i] >> 4, frame[7 + 3 * i] & 15) for i in range(number)]
    most = max(h for h, _ in factors), max(v for _, v in factors)
    across, down = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    small = [[[0.0] * (8 * h * across) for _ in range(8 * v * down)] for h, v in factors]
    bits, means = _Bits(scan), [0] * number
    for unit in range(across * down):
        for i, (h, v) in enumerate(factors):
            for j in range(h * v):
                means[i], samples = block(bits, codes, quant, means[i])
                top = 8 * (unit // across * v + j // h)
                left = 8 * (unit % across * h + j % h)
                for y, row in enumerate(samples):
                    small[i][top + y][left : left + 8] = row
    assert len(scan) * 8 - bits.at < 8
    planes = [
        [[plane[y * v // most[1]][x * h // most[0]] for x in range(width)] for y in range(height)]
        for plane, (h, v) in zip(small, factors, strict=True)
    ]
    return Jpeg(width, height, planes)
