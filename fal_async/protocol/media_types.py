"""What media types are called at the end of a file's name, and the other way round. Pure.

A table of our own: the system's differ from machine to machine, and know little of what models make.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["extension_of", "is_media_name", "type_of_name"]

#: Extension to media type. Of several extensions of a type, the first one is what it is usually called.
_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "heic": "image/heic",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "tif": "image/tiff",
    "svg": "image/svg+xml",
    "exr": "image/x-exr",
    "hdr": "image/vnd.radiance",
    "ico": "image/x-icon",
    "psd": "image/vnd.adobe.photoshop",
    "mp4": "video/mp4",
    "m4v": "video/x-m4v",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpeg": "video/mpeg",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "mid": "audio/midi",
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "obj": "model/obj",
    "stl": "model/stl",
    "fbx": "model/vnd.fbx",
    "ply": "model/ply",
    "usdz": "model/vnd.usdz+zip",
    "splat": "model/splat",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "gz": "application/gzip",
    "tar": "application/x-tar",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "yaml": "application/yaml",
    "safetensors": "application/safetensors",
    "bin": "application/octet-stream",
    "npz": "application/x-npz",
    "npy": "application/x-npy",
    "pt": "application/x-pytorch",
    "txt": "text/plain",
    "srt": "text/srt",
    "vtt": "text/vtt",
    "csv": "text/csv",
    "html": "text/html",
    "md": "text/markdown",
    "xml": "application/xml",
}

_EXTENSIONS: Final = {kind: ending for ending, kind in reversed(_TYPES.items())} | {
    "application/gzip": "gz",
    "application/x-gzip": "gz",
    "application/x-zip-compressed": "zip",
    "audio/mp3": "mp3",
    "audio/vnd.wave": "wav",
    "audio/wave": "wav",
    "audio/x-flac": "flac",
    "audio/x-m4a": "m4a",
    "audio/x-wav": "wav",
    "image/jpg": "jpg",
    "image/x-png": "png",
    "text/xml": "xml",
}

#: Types that are said of files of which a name knows more.
_VAGUE: Final = frozenset(
    ("", "application/octet-stream", "binary/octet-stream", "text/plain", "application/zip")
)
_MEDIA: Final = ("audio/", "image/", "model/", "video/")
_ENDING: Final = re.compile(r"\.([A-Za-z0-9]{1,16})$")


def type_of_name(name: str) -> str | None:
    """The media type that a file's name ends with; None if it says none."""
    found = _ENDING.search(name)
    return None if found is None else _TYPES.get(found[1].lower())


def is_media_name(name: str) -> bool:
    """Whether a file of that name is a picture, film, sound or 3-D model."""
    return (type_of_name(name) or "").startswith(_MEDIA)


def extension_of(name: str, *content_types: str | None) -> str:
    """How a file's name should end, without the dot: ``png``.

    The first media type that says something decides, then the name, then a vague type such as
    ``text/plain``; ``bin`` if nothing is known.
    """
    kinds = [(kind or "").partition(";")[0].strip().lower() for kind in content_types]
    for kind in kinds:
        if kind not in _VAGUE and kind in _EXTENSIONS:
            return _EXTENSIONS[kind]
    if type_of_name(name) is not None:
        return name.rpartition(".")[2].lower()
    return next((_EXTENSIONS[kind] for kind in kinds if kind in _EXTENSIONS), "bin")
