"""What a file is, by its first bytes."""

from __future__ import annotations

import pytest

from fal_async.protocol.media_types import extension_of
from fal_async.protocol.signatures import SIGNATURE_SIZE, type_of_content

HEADS = [
    (b"\x89PNG\r\n\x1a\n....", "image/png"),
    (b"\xff\xd8\xff\xe0....", "image/jpeg"),
    (b"GIF89a", "image/gif"),
    (b"GIF87a", "image/gif"),
    (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
    (b"RIFF\x10\0\0\0AVI LIST", "video/x-msvideo"),
    (b"FORM\0\0\0\0AIFFCOMM", "audio/aiff"),
    (b"\0\0\0\x20ftypavif", "image/avif"),
    (b"\0\0\0\x20ftypheic", "image/heic"),
    (b"\0\0\0\x20ftypisom", "video/mp4"),
    (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
    (b"\0\0\0\x20ftypqt  ", "video/quicktime"),
    (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm"),
    (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", "video/x-matroska"),
    (b"OggS" + bytes(24) + b"OpusHead", "audio/opus"),
    (b"OggS" + bytes(24) + b"\x01vorbis", "audio/ogg"),
    (b"BM\x36\0\x0c\0\0\0\0\0\x36", "image/bmp"),
    (b"ID3\x04", "audio/mpeg"),
    (b"\xff\xfb\x90\x44", "audio/mpeg"),
    (b"glTF\x02\0\0\0", "model/gltf-binary"),
    (b"%PDF-1.7", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"<svg xmlns='x'>", "image/svg+xml"),
    (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a cat -->\n<svg>", "image/svg+xml"),
]


@pytest.mark.parametrize(
    ("head", "kind"), HEADS, ids=[f"{kind} {n}" for n, (_, kind) in enumerate(HEADS)]
)
def test_a_file_is_known_by_its_first_bytes(head: bytes, kind: str) -> None:
    assert type_of_content(head) == kind
    assert type_of_content(head + bytes(SIGNATURE_SIZE)) == kind
    assert extension_of("", kind) != "bin"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a cat",
        b"BMW is a make of cars",
        b"RIFF....JUNK",
        b"\xff\xfb",
        b"\xff\xff\xff\xff",
        b"\xff\xe8\x90\x00",
        b"\xff\xf9\x90\x00",
        b"\xff\xfb\xf0\x00",
        b"\xff\xfb\x9c\x00",
        b"<html><svg>",
    ],
)
def test_what_is_not_known_is_not_guessed(head: bytes) -> None:
    assert type_of_content(head) is None


def test_no_file_makes_it_think_for_long() -> None:
    assert type_of_content((b"<!---->" * 100)[:SIGNATURE_SIZE]) is None
    assert type_of_content((b"<?xml?> " * 100)[:SIGNATURE_SIZE]) is None
