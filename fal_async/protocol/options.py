"""What may be asked of fal beside the input: request options as headers, both directions (PROTOCOL 4).

Checks are made where the value is made, so that nothing unsendable gets as far as the wire.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire
from fal_async.protocol.lifecycle import (
    LifecyclePreference,
    build_lifecycle,
    parse_expire,
    parse_lifecycle,
)

__all__ = [
    "RequestOptions",
    "build_option_headers",
    "check_headers",
    "parse_lifecycle_header",
    "parse_start_timeout",
]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_TAG_KEY: Final = re.compile(rf"[a-z0-9._-]{{1,{wire.TAG_KEY_MAX}}}")
_TAG_VALUE: Final = re.compile(rf"[\x20-\x2b\x2d-\x7e]{{1,{wire.TAG_VALUE_MAX}}}")

#: Headers that the transport owns, or that decide who is asked and as whom.
_RESERVED: Final = frozenset(
    (
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's own headers, as a dict.

    :raises InputError: for names or values that no header can have, and for names the transport owns.
    """
    if not isinstance(headers, Mapping):
        raise InputError(f"headers is a mapping, not {type(headers).__name__}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError("a header's name holds letters, digits and -, without spaces")
        if name.lower() in _RESERVED:
            raise InputError(f"the header {name} is set by the client itself")
        checked[name] = _header_value(value, f"the header {name}")
    return checked


def _header_value(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} is a string, not {type(value).__name__}")
    if not _VALUE.fullmatch(value):
        raise InputError(f"{what} holds a character that no header may: printable ASCII only")
    return value


def _start_timeout(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"start_timeout is a number of seconds, not {type(value).__name__}")
    if not value >= wire.START_TIMEOUT_MIN:
        raise InputError("start_timeout is at least 1 second")
    if value > _LONGEST:
        raise InputError("start_timeout is longer than any runner lives; leave it out for no limit")
    return float(value)


#: Ours, and more than ten years.
_LONGEST: Final = 1e9


def _hint(value: object) -> str | None:
    if value is None:
        return None
    text = _header_value(value, "hint")
    if not text.strip():
        raise InputError("hint is empty")
    return text


def _check_flag(_: object, attribute: attrs.Attribute[bool | None], value: object) -> None:
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{attribute.name} is True, False or None, not {type(value).__name__}")


def _tags(value: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InputError(f"tags is a mapping, not {type(value).__name__}")
    pairs: dict[str, str] = {}
    for key, text in value.items():
        name = key.lower() if isinstance(key, str) else ""
        if not _TAG_KEY.fullmatch(name) or name.startswith("fal."):
            raise InputError(
                "a tag's key holds 1 to 64 of a-z, 0-9, '.', '_' and '-', and does not start with 'fal.'"
            )
        if not isinstance(text, str) or not _TAG_VALUE.fullmatch(text):
            raise InputError(
                f"the value of tag {name} is 1 to {wire.TAG_VALUE_MAX} printable ASCII characters "
                "without a comma"
            )
        if name in pairs:
            raise InputError(f"two tags are named {name}: fal writes their keys small")
        pairs[name] = text
    if len(pairs) > wire.TAGS_MAX:
        raise InputError(f"at most {wire.TAGS_MAX} tags")
    if sum(len(name) + len(text) for name, text in pairs.items()) > wire.TAGS_TOTAL_MAX:
        raise InputError(f"all tags together hold at most {wire.TAGS_TOTAL_MAX} characters")
    return tuple(pairs.items())


@attrs.frozen(kw_only=True)
class RequestOptions:
    """The platform switches of one call.

    :param expire: lifetime of what the call makes; see :class:`LifecyclePreference`.
    :param start_timeout: seconds, at least 1: fal gives up (504) if no runner has started by then.
    :param hint: the same hint is sent to the same runner if possible.
    :param store_io: whether fal keeps input and output; None leaves the account's setting.
    :param disable_fallback: True forbids fal to serve the call from an equivalent endpoint.
    :param tags: up to 10 pairs for the billing tools.
    :raises InputError: for a value that fal would refuse, ignore or misread.
    """

    expire: LifecyclePreference | None = attrs.field(default=None, converter=parse_expire)
    start_timeout: float | None = attrs.field(default=None, converter=_start_timeout)
    hint: str | None = attrs.field(default=None, converter=_hint)
    store_io: bool | None = attrs.field(default=None, validator=_check_flag)
    disable_fallback: bool | None = attrs.field(default=None, validator=_check_flag)
    tags: tuple[tuple[str, str], ...] = attrs.field(default=None, converter=_tags)


def build_option_headers(options: RequestOptions) -> dict[str, str]:
    """The headers that say these options; a new dict each time."""
    headers: dict[str, str] = {}
    if options.expire is not None:
        lifecycle = build_lifecycle(options.expire)
        if lifecycle is not None:
            headers[wire.LIFECYCLE] = lifecycle
    if options.start_timeout is not None:
        seconds = options.start_timeout
        text = str(int(seconds)) if seconds == int(seconds) else repr(seconds)
        headers[wire.START_TIMEOUT] = text
        headers[wire.START_TIMEOUT_NEW] = text
    if options.hint is not None:
        headers[wire.RUNNER_HINT] = options.hint
    if options.store_io is not None:
        headers[wire.STORE_IO] = "1" if options.store_io else "0"
    if options.disable_fallback:
        headers.update(dict.fromkeys(wire.DISABLE_FALLBACK, "true"))
    if options.tags:
        headers[wire.TAGS] = ",".join(f"{key}={value}" for key, value in options.tags)
    return headers


def parse_start_timeout(headers: Mapping[str, str]) -> float | None:
    """Read the start timeout as the platform does; ``headers`` compare case-insensitively.

    The newer name wins where both are sent; more than 0.1 s is accepted (PROTOCOL 17).

    :raises InputError: for a value that is no such number: the platform answers 400.
    """
    text = headers.get(wire.START_TIMEOUT_NEW) or headers.get(wire.START_TIMEOUT)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        raise InputError("the start timeout is not a number") from None
    if not math.isfinite(seconds) or seconds <= wire.START_TIMEOUT_PLATFORM_MIN:
        raise InputError("the start timeout must be greater than 0.1 seconds")
    return seconds


def parse_lifecycle_header(headers: Mapping[str, str]) -> LifecyclePreference | None:
    """Read the lifecycle preference of a request; None if it has none or it cannot be read."""
    text = headers.get(wire.LIFECYCLE)
    return parse_lifecycle(text) if text is not None else None
