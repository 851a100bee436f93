"""Model ids: ``[namespace/]owner/app[/path…]`` (PROTOCOL 1.1). Text to value and back, nothing else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire

__all__ = ["ModelId", "parse_model_id"]

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.-]+")
_LEGACY: Final = re.compile(r"([0-9]+)-([a-zA-Z0-9-]+)")
_EXAMPLE: Final = 'such as "fal-ai/fast-sdxl" or "fal-ai/flux/dev"'


@attrs.frozen
class ModelId:
    """What to call. ``str()`` gives the id back, in fal's current spelling."""

    owner: str
    app: str
    path: str = ""
    """The subpath without its slashes: ``dev`` of ``fal-ai/flux/dev``; empty if there is none."""
    namespace: str = ""
    """``workflows`` or ``comfy``, else empty."""

    @property
    def application(self) -> str:
        """``[namespace/]owner/app``: what a queued request lives under (PROTOCOL 1.2)."""
        return "/".join(filter(None, (self.namespace, self.owner, self.app)))

    def __str__(self) -> str:
        return f"{self.application}/{self.path}" if self.path else self.application


def parse_model_id(text: str) -> ModelId:
    """Read a model id.

    :raises InputError: if it is not one; the text says what is wrong.
    """
    if not isinstance(text, str):
        raise InputError(f"a model id is a string {_EXAMPLE}, not {type(text).__name__}")
    return _parse(text)


@lru_cache(maxsize=1024)  # a program calls few models, each many times
def _parse(text: str) -> ModelId:
    legacy = _LEGACY.fullmatch(text)
    if legacy:
        return ModelId(*legacy.groups())
    if "://" in text:
        raise InputError(f"a model id is not a URL: give owner/app, {_EXAMPLE}")
    segments = text.split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            raise InputError(
                f"{_shown(text)} is not a model id: its parts hold letters, digits, '_', '.' and '-', "
                f"with one slash between them, {_EXAMPLE}"
            )
    namespace = segments.pop(0) if segments[0] in wire.NAMESPACES else ""
    if len(segments) < 2:
        raise InputError(
            f"{_shown(text)} is not a model id: it needs an owner and an app, {_EXAMPLE}"
        )
    owner, app, *path = segments
    return ModelId(owner, app, "/".join(path), namespace)


def _shown(text: str) -> str:
    # A prompt given in the model's place must not end in a log whole.
    return repr(text if len(text) <= 40 else text[:37] + "…")
