"""Whether there are files of this machine in an input. Every call looks, so it costs little and loads little.

What is then done with them is told in ``placing``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Final

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire
from fal_async.types import LocalFile

__all__ = ["PLAIN", "check_inline", "has_files", "is_file", "is_picture", "parts_by_name"]

#: Types that hold nothing.
PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def check_inline(value: object) -> int:
    """The caller's ``inline_below``.

    :raises InputError: for anything but a whole number of bytes that fal takes as a data URI.
    """
    if type(value) is not int or not 0 <= value <= wire.DATA_URI_MAX:
        raise InputError(f"inline_below is a number of bytes from 0 to {wire.DATA_URI_MAX:,}")
    return value


def has_files(value: Any) -> bool:
    """Whether there is a file of this machine somewhere in it."""
    kind = type(value)
    if kind in PLAIN:
        return False
    if kind is dict:
        for item in value.values():  # noqa: SIM110 - in front of every call, and faster like this
            if type(item) not in PLAIN and has_files(item):
                return True
        return False
    if kind is list or kind is tuple:
        return any(has_files(item) for item in value)
    return is_file(value) or any(has_files(item) for _, item in parts_by_name(value))


def is_file(value: Any) -> bool:
    """Whether it is a file itself."""
    return isinstance(value, (LocalFile, os.PathLike)) or is_picture(value)


def is_picture(data: object) -> bool:
    """Whether it is a Pillow image."""
    from_pillow = any(kind.__module__.partition(".")[0] == "PIL" for kind in type(data).__mro__)
    return from_pillow and callable(getattr(data, "save", None))


def parts_by_name(value: Any) -> list[tuple[str, Any]]:
    """What an object holds, by the names its copy is made with."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return [(str(i), item) for i, item in enumerate(value)]
    if isinstance(value, type):
        return []
    if attrs.has(type(value)):
        return [
            (f.alias or f.name, getattr(value, f.name)) for f in attrs.fields(type(value)) if f.init
        ]
    if dataclasses.is_dataclass(value):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init]
    return []
