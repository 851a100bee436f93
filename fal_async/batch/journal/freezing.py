"""An error as facts that JSON can hold, and back: how a failure survives the process it happened in.

Two things do not: ``handle``, which belongs to a session, and ``value``, which ``body`` gives again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from fal_async import errors
from fal_async.errors import Billing, ErrorDetail, FalError
from fal_async.protocol.messages import Headers

__all__ = ["freeze_error", "thaw_error"]

_AS_THEY_ARE: Final = ("retryable", "request_id", "status", "error_type", "retry_after", "attempts")
_OF_EVERY: Final = frozenset(vars(FalError("")))
_LEFT_BEHIND: Final = frozenset({"value"})
_DEPTH: Final = 4  # of firsts of firsts


def freeze_error(error: FalError) -> dict[str, Any]:
    """The facts of an error, its class included, as JSON can hold them."""
    return _freeze(error, _DEPTH)


def _freeze(error: FalError, depth: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "class": type(error).__name__,
        "what": error.what,
        "billing": error.billing.value,
    }
    own = vars(error)
    facts |= {name: own[name] for name in _AS_THEY_ARE if own[name] is not None}
    if facts_of_its_class := {name: own[name] for name in own.keys() - _OF_EVERY - _LEFT_BEHIND}:
        facts["own"] = facts_of_its_class
    if error.details:
        facts["details"] = [_freeze_detail(detail) for detail in error.details]
    if error.headers:
        facts["headers"] = dict(error.headers.items())
    if error.body is not None:
        facts["body"] = base64.b64encode(error.body).decode("ascii")
    if error.first is not None and depth:
        facts["first"] = _freeze(error.first, depth - 1)
    return facts


def _freeze_detail(detail: ErrorDetail) -> dict[str, Any]:
    return {
        "loc": list(detail.loc),
        "msg": detail.msg,
        "type": detail.type,
        "ctx": dict(detail.ctx),
        "url": detail.url,
    }


def thaw_error(facts: Mapping[str, Any]) -> FalError:
    """The error that had these facts; of a class that is not known any more, a plain :class:`FalError`."""
    known = getattr(errors, facts["class"], None)
    kind = known if isinstance(known, type) and issubclass(known, FalError) else FalError
    body = facts.get("body")
    error = kind(
        facts["what"],
        billing=Billing(facts["billing"]),
        details=[_thaw_detail(detail) for detail in facts.get("details", ())],
        headers=Headers(facts["headers"]) if "headers" in facts else None,
        body=None if body is None else base64.b64decode(body),
        **{name: facts[name] for name in _AS_THEY_ARE if name in facts},
    )
    vars(error).update(facts.get("own", {}))
    first = facts.get("first")
    error.first = None if first is None else thaw_error(first)
    return error


def _thaw_detail(facts: Mapping[str, Any]) -> ErrorDetail:
    return ErrorDetail(**{**facts, "loc": tuple(facts["loc"])})
