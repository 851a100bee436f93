"""The API key: where it is looked for, what makes one, and the header it travels in (PROTOCOL 2).

Pure: the environment is handed in. Which requests may carry a key is told by ``hosts``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fal_async.errors import InputError, MissingKeyError
from fal_async.protocol import wire

__all__ = [
    "authorization",
    "check_key",
    "key_from_environment",
    "missing_key",
    "parse_authorization",
]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def check_key(key: object, name: str = "the key") -> str:
    """The key itself, if it can travel in a header.

    Any text that is not blank and holds no control character is a key; its usual form ``id:secret`` is not
    checked.

    :param name: what the error calls it.
    :raises InputError: otherwise. The text never holds the key.
    """
    if not isinstance(key, str):
        raise InputError(f"{name} is a string, not {type(key).__name__}")
    if not key.strip():
        raise InputError(f"{name} is empty")
    if _CONTROL.search(key):
        raise InputError(f"{name} holds a control character (a line break at its end, perhaps)")
    if _SURROGATE.search(key):
        raise InputError(f"{name} holds a lone surrogate, which UTF-8 cannot say")
    return key


def key_from_environment(environ: Mapping[str, str]) -> str | None:
    """``FAL_KEY``, else ``FAL_KEY_ID:FAL_KEY_SECRET``, else None (PROTOCOL 1.3).

    :raises InputError: if what is there is no key.
    """
    if environ.get(wire.ENV_KEY):
        return check_key(environ[wire.ENV_KEY], wire.ENV_KEY)
    key_id, secret = environ.get(wire.ENV_KEY_ID), environ.get(wire.ENV_KEY_SECRET)
    if not key_id or not secret:
        return None
    return f"{check_key(key_id, wire.ENV_KEY_ID)}:{check_key(secret, wire.ENV_KEY_SECRET)}"


def authorization(key: str) -> str:
    """The value of the ``Authorization`` header for a key."""
    return f"{wire.KEY_SCHEME} {key}"


def parse_authorization(value: str | None) -> str | None:
    """The key of an ``Authorization`` header, or None if it carries none (the other direction)."""
    scheme, _, key = (value or "").partition(" ")
    return key.strip() or None if scheme.lower() == wire.KEY_SCHEME.lower() else None


def missing_key() -> MissingKeyError:
    """The error for a call without a key: it lists every place looked in."""
    return MissingKeyError(
        "no API key: none was given as AsyncFal(key=...) or key=..., and the environment has neither "
        f"{wire.ENV_KEY} nor both of {wire.ENV_KEY_ID} and {wire.ENV_KEY_SECRET}"
    )
