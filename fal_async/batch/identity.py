"""What makes two calls the same call: a digest of model, input and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from fal_async.protocol.codec import decode_json

__all__ = ["call_key"]

_BYTES: Final = 16
#: Headers that say how to talk, not what to do.
_OF_EVERY_CALL: Final = {"accept", "accept-encoding", "authorization", "content-type", "user-agent"}


def call_key(model: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The same 16 bytes for the same model, input and options, whatever the order of names in them.

    Neither the key of the account nor how long to wait is part of it.

    :param headers: the options, as headers.
    :param body: the input, as JSON.
    """
    options = sorted(
        (name.lower(), value)
        for name, value in headers.items()
        if name.lower() not in _OF_EVERY_CALL
    )
    whole = [model.strip("/"), options, decode_json(body)]
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8"), digest_size=_BYTES).digest()
