"""How long what a request makes shall live, and who may read it (PROTOCOL 4, lifecycle JSON).

Value to header and back; the words fal has for lifetimes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, Final, Literal, cast

import attrs
import msgspec

from fal_async.errors import InputError
from fal_async.protocol import wire

__all__ = [
    "AclRule",
    "Decision",
    "Expire",
    "InitialAcl",
    "LifecyclePreference",
    "build_acl",
    "build_lifecycle",
    "parse_acl",
    "parse_expire",
    "parse_lifecycle",
]

Decision = Literal["allow", "forbid", "hide"]
"""Who asks for the object gets it, 403 or 404."""

_DECISIONS: Final = ("allow", "forbid", "hide")


def _check_decision(_: object, __: object, value: str) -> None:
    if value not in _DECISIONS:
        raise InputError(f"an ACL decision is one of {', '.join(_DECISIONS)}")


def _check_user(_: object, __: object, value: str) -> None:
    if not isinstance(value, str) or not value or not _is_utf8(value):
        raise InputError("an ACL rule names a user by nickname")


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _as_rules(value: Iterable[AclRule]) -> tuple[AclRule, ...]:
    if isinstance(value, Iterable):
        rules = tuple(value)
        if all(isinstance(rule, AclRule) for rule in rules):
            return rules
    raise InputError("the rules of an ACL are AclRule values")


def _check_acl(_: object, __: object, value: InitialAcl | None) -> None:
    if value is not None and not isinstance(value, InitialAcl):
        raise InputError(f"initial_acl is an InitialAcl or None, not {type(value).__name__}")


@attrs.frozen
class AclRule:
    """One user's access to the objects a request makes; unknown users are dropped by fal."""

    user: str = attrs.field(validator=_check_user)
    decision: Decision = attrs.field(validator=_check_decision)


@attrs.frozen
class InitialAcl:
    """Access to the objects a request makes. The most permissive matching rule wins."""

    default: Decision = attrs.field(validator=_check_decision)
    rules: tuple[AclRule, ...] = attrs.field(default=(), converter=_as_rules)


_Lifetime = (
    int | float | datetime.timedelta | Literal["never", "immediate", "1h", "1d", "7d", "30d", "1y"]
)


def _seconds(value: _Lifetime | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value not in wire.LIFETIMES:
            raise InputError(f"expire is not one of fal's words: {', '.join(wire.LIFETIMES)}")
        return wire.LIFETIMES[value]
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"expire is seconds, a timedelta or one of {', '.join(wire.LIFETIMES)}; "
            f"not {type(value).__name__}"
        )
    if value <= 0:
        raise InputError(
            "expire is at least 1 second: fal reads 0 as for ever; say expire='never' if that is meant"
        )
    if not value <= _LONGEST or value != int(value):
        raise InputError(f"expire is a whole number of seconds, {_LONGEST} at most")
    return int(value)


#: Ours: what every reader of JSON can hold exactly.
_LONGEST: Final = 2**53


@attrs.frozen
class LifecyclePreference:
    """Lifetime and access of every object a request makes.

    :param expire: seconds from each object's creation, a ``timedelta``, or one of fal's words
        (``"immediate"`` is 60 s). None and ``"never"`` send no lifetime: the account's setting applies,
        which is "for ever" if it was never set.
    :param initial_acl: who may read the objects; None leaves the account's setting.
    :raises InputError: for 0 (fal reads it as for ever), negative or fractional seconds, other words.
    """

    expire: int | None = attrs.field(default=None, converter=_seconds)
    initial_acl: InitialAcl | None = attrs.field(default=None, validator=_check_acl)


Expire = _Lifetime | LifecyclePreference
"""What ``expire=`` takes."""


def parse_expire(value: Expire | None) -> LifecyclePreference | None:
    """The preference that ``expire=`` asks for; None where nothing is to be sent."""
    if value is None or isinstance(value, LifecyclePreference):
        return value
    return LifecyclePreference(value)


def build_lifecycle(preference: LifecyclePreference) -> str | None:
    """The header's value, or None where there is nothing to say."""
    content: dict[str, object] = {}
    if preference.expire is not None:
        content["expiration_duration_seconds"] = preference.expire
    if preference.initial_acl is not None:
        content["initial_acl"] = build_acl(preference.initial_acl)
    return _ascii(content) if content else None


def build_acl(acl: InitialAcl) -> dict[str, object]:
    """An access list as the header has it, and the platform API."""
    rules = [{"user": rule.user, "decision": rule.decision} for rule in acl.rules]
    return {"default": acl.default, "rules": rules}


def _ascii(content: dict[str, object]) -> str:
    text = msgspec.json.encode(content).decode()
    # Header values are ASCII; JSON can say the rest in escapes.
    return "".join(c if c < "\x7f" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def parse_lifecycle(text: str) -> LifecyclePreference | None:
    """Read the header as the platform does: 0 and null mean no expiry; None if it is not an object.

    Unknown fields are ignored; an ACL that cannot be read counts as none. One of rules alone, as fal's Python
    client sends it where no default is given, leaves the object to everybody else.
    """
    try:
        content = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    if not isinstance(content, dict):
        return None
    seconds: Any = content.get("expiration_duration_seconds")
    usable = type(seconds) in {int, float} and seconds > 0
    expire = int(min(max(1, seconds), _LONGEST)) if usable else None
    acl = content.get("initial_acl")
    if isinstance(acl, dict) and acl.get("rules") and acl.get("default") is None:
        acl = {**acl, "default": "allow"}
    return LifecyclePreference(expire, parse_acl(acl))


def parse_acl(content: object) -> InitialAcl | None:
    """Read an access list: None if it cannot be read; rules that cannot are left out."""
    if not isinstance(content, dict) or content.get("default") not in _DECISIONS:
        return None
    rules = content.get("rules")
    readable = [
        AclRule(rule["user"], cast(Decision, rule["decision"]))
        for rule in (rules if isinstance(rules, list) else [])
        if isinstance(rule, dict)
        and isinstance(rule.get("user"), str)
        and rule["user"]
        and rule.get("decision") in _DECISIONS
    ]
    return InitialAcl(cast(Decision, content["default"]), tuple(readable))
