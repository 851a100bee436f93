"""What models commonly give back, as plain attrs classes for ``result_type=`` (PROTOCOL 16).

Each model differs: every field may be absent or null, but for a file's ``url`` and the one that a class is
named after; fields not listed here are dropped. Write a class of your own, from these, for what a model of
yours gives.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

__all__ = [
    "Audio",
    "AudioOutput",
    "File",
    "Image",
    "ImageOutput",
    "LocalFile",
    "TextOutput",
    "Video",
    "VideoOutput",
]


_SHOWN_MAX: Final = 200


def _shown(url: str) -> str:
    """For reprs, which end in logs: a file by value is cut to its media type."""
    text = str(url)
    if text[:5].lower() == "data:":
        text = f"{text.partition(',')[0][:64]},…"
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…")


@attrs.frozen(kw_only=True)
class File:
    """A file that a model made, by its URL. ``str()`` gives the URL.

    :ivar url: where it lies, or the file itself as a ``data:`` URI.
    :ivar content_type: its media type, such as ``image/png``.
    :ivar file_name: a name for it.
    :ivar file_size: its size in bytes.
    """

    url: str = attrs.field(repr=_shown)
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None

    def __str__(self) -> str:
        return self.url

    @staticmethod
    def local(
        data: Any, *, content_type: str | None = None, file_name: str | None = None
    ) -> LocalFile:
        """A file of this machine, to stand in an input: it goes up by itself, and its URL takes its place.

        :param data: a ``Path``, bytes, an open binary file or a Pillow image. A ``Path`` or an image needs no
            ``local`` around it, unless there is more to be said of it.
        :param content_type: its media type; None: as its name says, else its first bytes.
        :param file_name: what it shall be called there.
        """
        return LocalFile(data, content_type=content_type, file_name=file_name)


@attrs.frozen
class LocalFile:
    """A file of this machine in an input; made by :meth:`File.local`."""

    data: Any = attrs.field(repr=False)
    content_type: str | None = attrs.field(default=None, kw_only=True)
    file_name: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True)
class Image(File):
    """A picture; ``width`` and ``height`` in pixels."""

    width: int | None = None
    height: int | None = None

    __str__ = File.__str__


@attrs.frozen(kw_only=True)
class Video(File):
    """A film; ``duration`` in seconds, ``fps`` in frames a second."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration: float | None = None
    num_frames: int | None = None

    __str__ = File.__str__


@attrs.frozen(kw_only=True)
class Audio(File):
    """A sound; ``duration`` in seconds."""

    duration: float | None = None

    __str__ = File.__str__


@attrs.frozen(kw_only=True)
class ImageOutput:
    """What text-to-image models give.

    :ivar timings: seconds by phase, such as ``{"inference": 2.5}``.
    :ivar seed: an unsigned 64-bit integer, exact.
    """

    images: list[Image]
    timings: dict[str, float | None] | None = None
    seed: int | None = None
    has_nsfw_concepts: list[bool] | None = None
    prompt: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class VideoOutput:
    """What text-to-video models give."""

    video: Video
    seed: int | None = None
    timings: dict[str, float | None] | None = None


@attrs.frozen(kw_only=True)
class AudioOutput:
    """What text-to-speech and music models give, where they give a file object."""

    audio: Audio
    seed: int | None = None
    timings: dict[str, float | None] | None = None


@attrs.frozen(kw_only=True)
class TextOutput:
    """What LLM-like models give (``fal-ai/any-llm``)."""

    output: str = attrs.field(repr=False)
    reasoning: str | None = attrs.field(default=None, repr=False)
    partial: bool | None = None
    error: str | None = None
