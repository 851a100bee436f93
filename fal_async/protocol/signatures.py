"""What a file is, by its first bytes: for bytes that come without a name. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SIGNATURE_SIZE", "type_of_content"]

#: So many bytes of the start are enough.
SIGNATURE_SIZE: Final = 512

_STARTS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"v/1\x01", "image/x-exr"),
    (b"#?RADIANCE", "image/vnd.radiance"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"MThd", "audio/midi"),
    (b"glTF", "model/gltf-binary"),
    (b"ply\n", "model/ply"),
    (b"ply\r\n", "model/ply"),
    (b"Kaydara FBX Binary", "model/vnd.fbx"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
)
#: Those of RIFF and FORM: what stands in bytes 8 to 12.
_CONTAINED: Final = {
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RIFF", b"WAVE"): "audio/wav",
    (b"RIFF", b"AVI "): "video/x-msvideo",
    (b"FORM", b"AIFF"): "audio/aiff",
    (b"FORM", b"AIFC"): "audio/aiff",
}
#: The brands of ISO 14496-12 files, by their beginnings.
_BRANDS: Final = (
    (b"avif", "image/avif"),
    (b"avis", "image/avif"),
    (b"hei", "image/heic"),
    (b"hev", "image/heic"),
    (b"mif1", "image/heic"),
    (b"msf1", "image/heic"),
    (b"M4A", "audio/mp4"),
    (b"M4B", "audio/mp4"),
    (b"qt  ", "video/quicktime"),
    (b"M4V", "video/x-m4v"),
)
_SVG: Final = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL
)
_MARK: Final = b"\xef\xbb\xbf"


def type_of_content(head: bytes) -> str | None:
    """The media type of a file that begins like this; None if nothing is known that does.

    :param head: its first :data:`SIGNATURE_SIZE` bytes, or all of it.
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    contained = _CONTAINED.get((head[:4], head[8:12]))
    if contained is not None:
        return contained
    if head[4:8] == b"ftyp":
        return next((kind for brand, kind in _BRANDS if head[8:].startswith(brand)), "video/mp4")
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"OggS"):
        return "audio/opus" if b"OpusHead" in head[:64] else "audio/ogg"
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "image/bmp"
    if _is_mpeg_audio(head):
        return "audio/mpeg"
    return "image/svg+xml" if _SVG.match(head.removeprefix(_MARK)) else None


def _is_mpeg_audio(head: bytes) -> bool:
    """A frame of MPEG audio: its sync, and a layer, bit rate and sampling rate that there are."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, sampling = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer != 0 and rate not in {0, 15} and sampling != 3
