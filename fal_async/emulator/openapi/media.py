"""The files in an output: of what kind one is, by what the schema calls it, and real small files of each.

Pure: which file stands where follows from names, the input and a key; its content is made when asked for.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from fal_async.emulator.answers import MadeFile
from fal_async.emulator.models.pictures import PRESETS, encode_picture
from fal_async.emulator.openapi.films import FRAMES_A_SECOND, encode_mp4
from fal_async.emulator.openapi.shapes import Choice, Record, Shape, Text, resolve
from fal_async.emulator.openapi.sounds import encode_mp3, encode_wav

__all__ = ["ABOUT_FILES", "Wishes", "holds_url", "is_file", "kind_of", "make_file"]

#: What words in the name of a class, a field or a category mean.
_WORDS: Final = (
    ("video", ("video", "movie", "film", "clip_url")),
    ("audio", ("audio", "speech", "voice", "music", "sound", "song", "vocals", "instrumental")),
    ("mesh", ("mesh", "glb", "gltf", "3d")),
    ("image", ("image", "picture", "photo", "mask", "thumbnail", "frame", "depth_map", "preview")),
)
#: What is told of a file, and of nothing else that has a URL.
ABOUT_FILES: Final = frozenset(
    (
        "channels",
        "content_type",
        "duration",
        "file_data",
        "file_name",
        "file_size",
        "fps",
        "height",
        "num_frames",
        "sample_rate",
        "width",
    )
)
_LONG_ENOUGH: Final = 200


def _kind_in(name: str) -> str:
    folded = name.lower()
    return next((kind for kind, words in _WORDS if any(w in folded for w in words)), "")


def kind_of(names: Iterable[str]) -> str:
    """``image``, ``video``, ``audio``, ``mesh`` or ``data``: what the first telling name says."""
    return next((kind for name in names if (kind := _kind_in(name))), "data")


def holds_url(shape: Shape) -> bool:
    """Whether a URL of ours can stand there."""
    shape = resolve(shape)
    if isinstance(shape, Choice):
        return any(holds_url(option) for option in shape.options)
    if not isinstance(shape, Text) or shape.pattern is not None:
        return False
    return shape.shortest <= 30 and (shape.longest is None or shape.longest >= _LONG_ENOUGH)


def is_file(shape: Record) -> bool:
    """Whether an object stands for a file (PROTOCOL 16): it has a URL, and is otherwise like one."""
    if "url" not in shape.fields or not holds_url(shape.fields["url"].shape):
        return False
    told = bool(ABOUT_FILES & shape.fields.keys()) or len(shape.fields) == 1
    return told or bool(_kind_in(shape.name)) or "file" in shape.name.lower()


@attrs.frozen(kw_only=True)
class Wishes:
    """What an input says of the files to be made: found in fields of the names that fal's models have."""

    width: int = 1024
    height: int = 1024
    form: str = ""
    seconds: float = 2.0
    inline: bool = False

    @classmethod
    def of(cls, input: Any) -> Wishes:
        """Those of an input that was read."""
        if not isinstance(input, Mapping):
            return cls()
        width, height = _size(input)
        return cls(
            width=width,
            height=height,
            form=_form(input),
            seconds=_seconds(input),
            inline=input.get("sync_mode") is True,
        )


_SIDE_MAX: Final = 14_142  # PROTOCOL 16
_RATIO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*[:x/]\s*(\d+(?:\.\d+)?)")
_NUMBER: Final = re.compile(r"\d+(\.\d+)?")
_FORMS: Final = ("output_format", "response_format", "audio_format", "image_format", "format")
_ALIASES: Final = {"jpg": "jpeg"}


def _size(input: Mapping[str, Any]) -> tuple[int, int]:
    size = input.get("image_size") or input.get("video_size")
    if isinstance(size, str) and size in PRESETS:
        return PRESETS[size]
    if isinstance(size, str) and (match := re.fullmatch(r"(\d{2,5})x(\d{2,5})", size)):
        return _side(int(match[1])), _side(int(match[2]))
    for holder in (size, input):
        if isinstance(holder, Mapping) and {"width", "height"} <= holder.keys():
            return _side(holder["width"]), _side(holder["height"])
    match = _RATIO.fullmatch(str(input.get("aspect_ratio")))
    ratio = float(match[1]) / float(match[2]) if match and float(match[2]) else 1.0
    ratio = min(max(ratio, 0.1), 10.0)
    # A megapixel of that form, in steps that video has, too.
    return 16 * round(64 * ratio**0.5), 16 * round(64 * ratio**-0.5)


def _side(value: Any) -> int:
    return min(max(int(value), 1), _SIDE_MAX) if isinstance(value, (int, float)) else 1024


def _form(input: Mapping[str, Any]) -> str:
    found = next((input[name] for name in _FORMS if isinstance(input.get(name), str)), "")
    word = re.split(r"[^a-z0-9]", str(found).lower())[0]
    return _ALIASES.get(word, word)


def _seconds(input: Mapping[str, Any]) -> float:
    for name in ("duration", "duration_seconds", "seconds_total", "audio_length", "video_length"):
        match = _NUMBER.search(str(input.get(name, "")))
        if match:
            return min(max(float(match[0]), 0.1), 30.0)
    return 2.0


# --- the files --------------------------------------------------------------------------------------


def make_file(
    kind: str, key: bytes, wishes: Wishes, types: Iterable[str] = ()
) -> tuple[MadeFile, dict[str, Any]]:
    """A file, to stand where its URL belongs, and what an object that stands for it may say of it.

    :param types: content types that the schema names: the first one that can be made is.
    """
    forms = [_FORM_OF.get(each, "") for each in types]
    extension = next((f for f in (wishes.form, *forms) if f in _MAKERS[kind]), _USUAL[kind])
    content, facts = _MAKERS[kind][extension](key, wishes)
    content_type = _TYPES[extension]
    file = MadeFile(content, content_type, extension, inline=wishes.inline, bare=True)
    facts = {"content_type": content_type, "file_name": f"{key.hex()[:20]}.{extension}", **facts}
    if isinstance(content, bytes):
        facts["file_size"] = len(content)
    return file, facts


_Made = tuple[bytes | Callable[[], bytes], dict[str, Any]]


def _picture(form: str, key: bytes, wishes: Wishes) -> _Made:
    facts = {"width": wishes.width, "height": wishes.height}
    return partial(encode_picture, form, key, wishes.width, wishes.height), facts


def _film(key: bytes, wishes: Wishes) -> _Made:
    # Nobody looks at its points one by one: it has the form that is wanted, and a small size.
    scale = max(wishes.width, wishes.height) / 20
    columns, rows = (max(1, round(side / scale)) for side in (wishes.width, wishes.height))
    frames = max(1, round(wishes.seconds * FRAMES_A_SECOND))
    facts = {
        "width": 16 * columns,
        "height": 16 * rows,
        "fps": FRAMES_A_SECOND,
        "duration": frames / FRAMES_A_SECOND,
        "num_frames": frames,
    }
    return encode_mp4(key, columns, rows, wishes.seconds), facts


def _note(key: bytes, wishes: Wishes) -> _Made:
    facts = {"duration": wishes.seconds, "sample_rate": 8000, "channels": 1}
    return partial(encode_wav, key[0] % 25, wishes.seconds), facts


def _silence(_: bytes, wishes: Wishes) -> _Made:
    content, seconds = encode_mp3(wishes.seconds)
    return content, {"duration": seconds, "sample_rate": 24_000, "channels": 1}


def _mesh(key: bytes, _: Wishes) -> _Made:
    """The binary form of glTF 2.0: a scene without anything in it."""
    content = {"asset": {"version": "2.0", "generator": key.hex()[:8]}, "scenes": [{}], "scene": 0}
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4s4I", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A)
    return head + text, {}


def _data(key: bytes, _: Wishes) -> _Made:
    return key * 4, {}


_MAKERS: Final[Mapping[str, Mapping[str, Callable[[bytes, Wishes], _Made]]]] = {
    "image": {form: partial(_picture, form) for form in ("jpeg", "png")},
    "video": {"mp4": _film},
    "audio": {"wav": _note, "mp3": _silence},
    "mesh": {"glb": _mesh},
    "data": {"bin": _data},
}
_USUAL: Final = {"image": "jpeg", "video": "mp4", "audio": "wav", "mesh": "glb", "data": "bin"}
_TYPES: Final = {
    "bin": "application/octet-stream",
    "glb": "model/gltf-binary",
    "jpeg": "image/jpeg",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "png": "image/png",
    "wav": "audio/wav",
}
_FORM_OF: Final = {
    **{content_type: form for form, content_type in _TYPES.items()},
    "audio/mp3": "mp3",
}
