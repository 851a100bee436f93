"""From an answer to a value or an error: the client's reading of PROTOCOL 3 and 5.

Pure: a response in, a value out or an error made. The class of an error is chosen here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

import attrs
import cattrs

from fal_async import errors
from fal_async.errors import ErrorDetail, StatusError
from fal_async.protocol import codec, wire
from fal_async.protocol.billing import billing_of
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.misfit import Misfit, name_of
from fal_async.protocol.structuring import structure
from fal_async.protocol.wording import brief

__all__ = ["concurrency_limit", "error_from_response", "needs_retry", "read_answer", "retry_after"]

_E = TypeVar("_E", bound=errors.FalError)

# --- success --------------------------------------------------------------------------------------------


_says_json: Final = lru_cache(maxsize=256)(codec.is_json)  # few types, each many times


def read_answer(
    response: HttpResponse,
    result_type: Any,
    converter: cattrs.BaseConverter | None,
    limit: int,
) -> Any:
    """What a 2xx answer holds.

    :param result_type: None for plain JSON (bytes, where the answer is none), ``bytes`` for the raw body,
        anything else is given to cattrs.
    :param limit: largest unpacked body in bytes.
    :raises DecodeError: for an empty body or JSON that does not decode.
    :raises StructureError: for a value that does not fit ``result_type``.
    """
    headers, body = response.headers, response.body
    if body and "Content-Encoding" in headers:
        body = _unpack(response, limit)
    if not body:
        raise _kept(errors.DecodeError("the answer is empty"), response)
    if result_type is bytes:
        return body
    content_type = headers.get("Content-Type", "")
    says_json = _says_json(content_type)
    value: Any = body
    # Where it does not say so it may be JSON all the same: nobody named a type, or the caller expects one.
    if says_json or not content_type or result_type is not None:
        try:
            value = codec.decode_json(body)
        except codec.Undecodable as error:
            if says_json:
                raise _undecodable(error, response) from None
    if result_type is None:
        return value
    try:
        return structure(value, result_type, converter)
    except Misfit as misfit:
        failure = errors.StructureError(f"the answer does not fit {name_of(result_type)}: {misfit}")
        failure.value, failure.path = value, misfit.path
        raise _kept(failure, response) from misfit.reason


def _unpack(response: HttpResponse, limit: int) -> bytes:
    try:
        return codec.decompress(response.body, response.headers["Content-Encoding"], limit)
    except codec.Undecodable as error:
        raise _undecodable(error, response) from None


def _undecodable(error: codec.Undecodable, response: HttpResponse) -> errors.DecodeError:
    return _kept(errors.DecodeError(f"the answer does not decode: {error}"), response)


def _kept(error: _E, response: HttpResponse) -> _E:
    """The error, with all that was paid for."""
    error.billing = billing_of(response.status, response.headers)
    error.status = response.status
    error.headers = Headers(response.headers)
    error.body = response.body
    error.request_id = response.headers.get(wire.REQUEST_ID)
    return error


# --- failure --------------------------------------------------------------------------------------------

#: error_type → whether another try is useful (PROTOCOL 5.2, last column).
_USEFUL: Final = {kind: status >= 500 for kind, status in wire.REQUEST_ERROR_STATUS.items()}


@attrs.frozen
class _Reading:
    """An error body, read as far as it can be (PROTOCOL 5, decision order)."""

    detail: str = ""
    error_type: str | None = None
    details: tuple[ErrorDetail, ...] = ()
    limit: int | None = None


def error_from_response(response: HttpResponse, request: HttpRequest) -> StatusError:
    """The error for an answer that is no success, with every fact it holds.

    ``request`` is looked at only to keep its key and its input out of the error's text.
    """
    status, headers = response.status, response.headers
    reading = _read_body(response)
    error_type = headers.get(wire.ERROR_TYPE) or reading.error_type
    kind = _class_of(status, headers, error_type, reading)
    error = kind(
        _text(status, error_type, reading, request),
        billing=billing_of(status, headers, error_type),
        retryable=_is_retryable(status, headers, error_type, kind),
        request_id=headers.get(wire.REQUEST_ID),
        status=status,
        error_type=error_type,
        details=reading.details,
        retry_after=retry_after(headers),
        headers=Headers(headers),
        body=response.body,
    )
    error.invited = _is_invited(headers, error_type, kind)
    if isinstance(error, errors.AccountLockedError):
        error.reason = reading.detail.removeprefix(wire.LOCKED_PREFIX).strip().removesuffix(".")
    elif isinstance(error, errors.TooManyRequestsError):
        error.limit = reading.limit
    elif isinstance(error, errors.RedirectError):
        error.location = headers.get("Location")
    return error


def _text(status: int, error_type: str | None, reading: _Reading, request: HttpRequest) -> str:
    said = brief(_sentence(reading), request)
    word = brief(error_type or "", request)
    shown = f" ({word})" if word not in said else ""
    return f"fal answered {status}{shown}: {said}" if said else f"fal answered {status}{shown}"


def _class_of(
    status: int, headers: Mapping[str, str], error_type: str | None, reading: _Reading
) -> type[StatusError]:
    if status < 400:
        return errors.RedirectError
    if status == 400 and error_type == wire.BAD_REQUEST:
        return errors.BadRequestError
    if status == 403 and reading.detail.startswith(wire.LOCKED_PREFIX):
        return errors.AccountLockedError
    if status < 500:
        return _BY_STATUS.get(status, errors.ModelError)
    if status == 504 and headers.get(wire.TIMEOUT_TYPE, "").lower() == wire.TIMEOUT_TYPE_USER:
        return errors.StartTimeoutError
    if wire.REQUEST_ID not in headers:
        return errors.GatewayError
    return errors.ServerTimeoutError if status == 504 else errors.ServerError


_BY_STATUS: Final[dict[int, type[StatusError]]] = {
    401: errors.AuthenticationError,
    403: errors.AccessDeniedError,
    404: errors.NotFoundError,
    429: errors.TooManyRequestsError,
    499: errors.RequestCancelledError,
}


def _read_body(response: HttpResponse) -> _Reading:
    body = response.body
    try:
        body = codec.decompress(body, response.headers.get("Content-Encoding", ""), _ERROR_BODY_MAX)
        content = codec.decode_json(body)
    except codec.Undecodable:
        return _Reading()  # opaque: an ingress page, or plain text nobody documented
    if not isinstance(content, dict):
        return _Reading()
    detail = content.get("detail")
    word = content.get("error_type", content.get("type"))
    details = tuple(_read_details(detail)) if isinstance(detail, list) else ()
    if not isinstance(word, str):
        word = details[0].type or None if details else None
    data = content.get("data")
    limit = data.get("limit") if isinstance(data, dict) else None
    return _Reading(
        detail if isinstance(detail, str) else "",
        word,
        details,
        limit if type(limit) is int and 0 < limit <= _LIMIT_MAX else None,
    )


_ERROR_BODY_MAX: Final = 4 * 1024 * 1024
#: No account's limit is near it; a number beyond it is something else.
_LIMIT_MAX: Final = 1_000_000


def _read_details(entries: list[Any]) -> Iterator[ErrorDetail]:
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        loc, msg, kind = entry.get("loc"), entry.get("msg"), entry.get("type")
        ctx, url = entry.get("ctx"), entry.get("url")
        yield ErrorDetail(
            loc=tuple(filter(_is_step, loc)) if isinstance(loc, list) else (),
            msg=msg if isinstance(msg, str) else "",
            type=kind if isinstance(kind, str) else "",
            ctx=ctx if isinstance(ctx, dict) else {},
            url=url if isinstance(url, str) else None,
        )


def _is_step(part: object) -> bool:
    # An index beyond all arrays may have more digits than Python writes.
    return isinstance(part, str) or (type(part) is int and 0 <= part <= _LIMIT_MAX)


def _sentence(reading: _Reading) -> str:
    if reading.details:
        first = reading.details[0]
        more = len(reading.details) - 1
        place = f"{first.path}: " if first.loc else ""
        kind = f" ({first.type})" if first.type else ""
        return f"{place}{first.msg}{kind}" + (f", and {more} more" if more else "")
    return reading.detail


# --- what fal says about sending again ------------------------------------------------------------------

_YES: Final = frozenset(("1", "true", "yes"))
_NO: Final = frozenset(("0", "false", "no"))


def _flag(headers: Mapping[str, str], name: str) -> bool | None:
    text = headers.get(name, "").strip().lower()
    return True if text in _YES else False if text in _NO else None


def needs_retry(headers: Mapping[str, str]) -> bool | None:
    """fal's own verdict on sending again: either header, either spelling; a no of one of them wins."""
    words = {_flag(headers, wire.NEEDS_RETRY), _flag(headers, wire.RETRYABLE)}
    return False if False in words else True if True in words else None


def _is_invited(
    headers: Mapping[str, str], error_type: str | None, kind: type[StatusError]
) -> bool | None:
    if needs_retry(headers) is False:
        return False
    if kind is errors.StartTimeoutError:
        return None  # no runner had it because the caller would not wait
    # "Retryable" says that it may help; only "needs retry" asks for it (PROTOCOL 3.1).
    asked = _flag(headers, wire.NEEDS_RETRY) is True or error_type in wire.NEVER_STARTED
    return True if asked else None


#: Whatever a header says (PROTOCOL 2.1, 5.2).
_NEVER_USEFUL: Final = (
    errors.AuthenticationError,
    errors.AccessDeniedError,
    errors.NotFoundError,
    errors.RedirectError,
    errors.StartTimeoutError,
)


def _is_retryable(
    status: int, headers: Mapping[str, str], error_type: str | None, kind: type[StatusError]
) -> bool:
    if issubclass(kind, _NEVER_USEFUL):
        return False
    said = needs_retry(headers)
    if said is not None:
        return said
    if error_type in _USEFUL:
        return _USEFUL[error_type]
    return status in {429, 502, 503, 504}


def concurrency_limit(response: HttpResponse) -> int | None:
    """The limit that a 429 names in its body, if it does (PROTOCOL 3.3)."""
    return _read_body(response).limit


def retry_after(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in seconds; None if absent, negative or unreadable.

    A date is taken relative to the answer's own ``Date``: which clock is right does not matter then.
    """
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_between(headers.get("Date", ""), text)
    return seconds if 0 <= seconds < math.inf else None


def _seconds_between(now: str, then: str) -> float:
    try:
        passed = parsedate_to_datetime(then) - parsedate_to_datetime(now)
    except (IndexError, OverflowError, TypeError, ValueError):
        return math.nan
    return max(0.0, passed.total_seconds())
