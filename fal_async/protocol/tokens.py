"""Short-lived tokens for browsers and sockets, asked for and given, in both flavours (PROTOCOL 2.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, get_args

import attrs
import msgspec

from fal_async.errors import InputError
from fal_async.protocol import codec, wire
from fal_async.protocol.model import ModelId, parse_model_id

__all__ = [
    "Flavour",
    "TokenRequest",
    "build_token_request",
    "covers",
    "parse_token_request",
    "read_token",
    "token_path",
]

Flavour = Literal["classic", "newer"]
"""``classic``: what all shipped clients ask for. ``newer``: what fal's newer pages describe."""

_PATHS: Final[dict[Flavour, str]] = {
    "classic": wire.TOKENS_PATH,
    "newer": wire.TOKENS_REALTIME_PATH,
}
_SECONDS: Final[dict[Flavour, str]] = {"classic": "token_expiration", "newer": "duration"}
#: A day; nobody says how long fal lets one live, and a token in a browser is anybody's.
_LONGEST: Final = 86_400
_ALIAS: Final = re.compile(r"[A-Za-z0-9_.-]+")


@attrs.frozen(kw_only=True)
class TokenRequest:
    """What a token is asked for: applications as the flavour names them, and seconds."""

    allowed: tuple[str, ...]
    seconds: int
    flavour: Flavour = "classic"


def token_path(flavour: Flavour) -> str:
    """Where on the REST host a token of this flavour is asked for."""
    return _PATHS[flavour]


def build_token_request(
    apps: str | Iterable[str], seconds: object, flavour: object
) -> tuple[TokenRequest, bytes]:
    """The request for a token, and its body.

    :param apps: one model id or several. ``classic`` names the app alone, without its owner; ``newer`` the
        whole path of the realtime endpoint.
    :raises InputError: for what no token can be asked for.
    """
    if flavour not in get_args(Flavour):
        raise InputError(f"flavour is one of {', '.join(get_args(Flavour))}")
    kind: Flavour = "newer" if flavour == "newer" else "classic"
    whole = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not whole or not 1 <= seconds <= _LONGEST or seconds != int(seconds):  # type: ignore[operator,call-overload]
        raise InputError(f"expires is a whole number of seconds from 1 to {_LONGEST}")
    named = (apps,) if isinstance(apps, str) else tuple(apps)
    if not named:
        raise InputError("a token is for one application at least")
    wanted = TokenRequest(
        allowed=tuple(_allowed(app, kind) for app in named),
        seconds=int(seconds),  # type: ignore[call-overload]
        flavour=kind,
    )
    content = {"allowed_apps": list(wanted.allowed), _SECONDS[kind]: wanted.seconds}
    return wanted, msgspec.json.encode(content)


def _allowed(app: object, flavour: Flavour) -> str:
    if flavour == "classic" and isinstance(app, str) and _ALIAS.fullmatch(app):
        return app  # the alias itself
    parsed = parse_model_id(app)  # type: ignore[arg-type]
    if flavour == "classic":
        return parsed.app
    return f"{parsed.application}/{parsed.path or wire.REALTIME_PATH.strip('/')}"


def read_token(body: bytes) -> str:
    """The token that an answer holds: a JSON string, or an object's ``token`` or ``detail``.

    :raises Undecodable: if it holds none. The text shows nothing of the body.
    """
    content = codec.decode_json(body)
    if isinstance(content, dict):
        content = content.get("token") or content.get("detail")
    if not isinstance(content, str) or not content.strip():
        raise codec.Undecodable("it holds no token")
    return content


# --- the other end --------------------------------------------------------------------------------------


def parse_token_request(path: str, body: bytes) -> TokenRequest | None:
    """What is asked for at this path; None if no token is asked for there.

    :raises InputError: for a body that asks for nothing.
    """
    there = path.strip("/")
    flavour: Flavour | None = next(
        (kind for kind in _PATHS if _PATHS[kind].strip("/") == there), None
    )
    if flavour is None:
        return None
    try:
        content: Any = codec.decode_json(body)
    except codec.Undecodable:
        content = None
    if not isinstance(content, dict):
        raise InputError("the body is a JSON object")
    allowed, seconds = content.get("allowed_apps"), content.get(_SECONDS[flavour], 120)
    if not isinstance(allowed, list) or not all(isinstance(app, str) for app in allowed):
        raise InputError("allowed_apps is a list of strings")
    if type(seconds) is not int or seconds < 1:
        raise InputError(f"{_SECONDS[flavour]} is a whole number of seconds")
    return TokenRequest(allowed=tuple(allowed), seconds=seconds, flavour=flavour)


def covers(wanted: TokenRequest, model_id: ModelId) -> bool:
    """Whether a token given for this may open a connection to a model."""
    if wanted.flavour == "classic":
        return model_id.app in wanted.allowed
    return str(model_id) in wanted.allowed
