"""Faults by rule: which call meets which fault, and whether its model had run by then.

Pure: chance and counting only. What a fault does to the answer is told by ``distorting``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, Literal, get_args

import attrs

from fal_async.emulator.chance import Chance
from fal_async.emulator.matching import matches
from fal_async.protocol import wire

__all__ = ["KINDS", "Fault", "FaultBook", "Kind"]


@attrs.frozen
class Kind:
    """What is so of every fault of a kind.

    :param ran: whether the model has run before it, unless the rule says otherwise.
    :param choice: whether a rule may say otherwise.
    :param billed: whether a run that met it is charged for, unless the rule says otherwise.
    :param where: the operations that know it; empty is every exchange over HTTP.
    """

    ran: bool
    choice: bool = True
    billed: bool = True
    where: frozenset[str] = frozenset()


_NEVER: Final = Kind(ran=False, choice=False)
_ALWAYS: Final = Kind(ran=True, choice=False)
_BEFORE: Final = Kind(ran=False)
_AFTER: Final = Kind(ran=True)
#: The platform's own 5xx are never charged (PROTOCOL 3.2).
_FREE: Final = Kind(ran=True, billed=False)
_STATUS: Final = Kind(
    ran=True, choice=False, where=frozenset(("submit", "status", "status_stream"))
)
_STREAM: Final = Kind(ran=True, choice=False, where=frozenset(("status_stream",)))
_SOCKET: Final = Kind(ran=True, choice=False, where=frozenset(("websocket", "realtime")))
_UPLOAD: Final = Kind(ran=False, choice=False, where=frozenset(("upload", "put", "part")))
_TOKEN: Final = Kind(
    ran=False, choice=False, where=frozenset(("upload", "create", "part", "complete", "sign"))
)
_PART: Final = Kind(ran=True, choice=False, where=frozenset(("part",)))
_EVENTS: Final = Kind(ran=True, choice=False, where=frozenset(("status_stream", "stream")))

KINDS: Final[dict[str, Kind]] = {
    # the connection
    "reset_on_arrival": _NEVER,  # RST before the body was read
    "close_on_arrival": _NEVER,  # closed before the body was read
    "reset": _AFTER,  # RST once the body was read
    "close": _AFTER,  # FIN without an answer
    "half_head": _AFTER,  # closed within the answer's headers
    "stall": _AFTER,  # nothing, ever
    # a success that does not arrive whole
    "stall_after_head": _ALWAYS,  # headers, then nothing, ever
    "stall_in_body": _ALWAYS,  # half of the body, then nothing, ever
    "half_body": _ALWAYS,  # closed within the body, by Content-Length
    "reset_in_body": _ALWAYS,
    "half_chunk": _ALWAYS,  # closed within a chunk
    "bad_chunk": _ALWAYS,  # a chunk whose size is no number
    "cut_short": _ALWAYS,  # a body that ends with the connection, too early: looks whole
    "slow": _ALWAYS,  # whole, in drips over `seconds`
    # an answer that is no HTTP
    "bad_status_line": _AFTER,
    "huge_header": _ALWAYS,  # one header of `size` bytes
    # a success that is not what it says it is
    "empty_body": _ALWAYS,
    "bad_json": _ALWAYS,
    "bad_gzip": _ALWAYS,
    "cut_gzip": _ALWAYS,
    "nan": _ALWAYS,  # JSON but for a NaN and an Infinity
    "lone_surrogate": _ALWAYS,
    "byte_order_mark": _ALWAYS,
    "huge_body": _ALWAYS,  # JSON of `size` bytes
    "not_json": _ALWAYS,  # bytes of another content type
    "wrong_content_type": _ALWAYS,  # JSON that says text/html
    # other answers
    "answer": _BEFORE,  # `status`, `headers`, `body`, as given
    "redirect": _BEFORE,  # `status` 307 to `location`
    "too_many_requests": _NEVER,  # 429; `limit`, `retry_after`, `needs_retry`
    "ingress_502": _BEFORE,
    "ingress_503": _BEFORE,
    "ingress_504": _AFTER,  # the load balancer's patience ended, not the model's
    # the platform, by the name of its error_type (PROTOCOL 5.2)
    wire.REQUEST_TIMEOUT: _FREE,
    wire.STARTUP_TIMEOUT: _NEVER,
    wire.RUNNER_SCHEDULING_FAILURE: _NEVER,
    wire.RUNNER_CONNECTION_TIMEOUT: _NEVER,
    wire.RUNNER_CONNECTION_REFUSED: _NEVER,
    wire.RUNNER_CONNECTION_ERROR: Kind(ran=False, billed=False),
    wire.RUNNER_DISCONNECTED: _FREE,
    wire.RUNNER_INCOMPLETE_RESPONSE: _FREE,
    wire.RUNNER_SERVER_ERROR: _FREE,
    wire.INTERNAL_ERROR: Kind(ran=False, billed=False),
    wire.CLIENT_DISCONNECTED: _AFTER,
    wire.CLIENT_CANCELLED: _AFTER,
    wire.BAD_REQUEST: _NEVER,
    "start_timeout": _NEVER,  # 504, as if the caller's own had passed
    # WebSockets; after `events` frames of an answer, or results of a session
    "socket_drop": _SOCKET,  # RST
    "socket_stall": _SOCKET,  # nothing more, ever
    "socket_close": _SOCKET,  # closed with the code `status`, 1011 unless given, and `body` as the reason
    "socket_garbage": _SOCKET,  # a frame that says nothing, or `body`; it goes on then
    "socket_unknown": _SOCKET,  # a control message that nobody knows; it goes on then
    "socket_error": _SOCKET,  # the application fails
    # what the queue says of a request: whole, but not what one expects
    "no_logs": _STATUS,  # the key is missing; so with the next two
    "no_metrics": _STATUS,
    "no_queue_position": _STATUS,
    "extra_fields": _STATUS,
    "unknown_status": _STATUS,  # a word that is none of the three, until it is COMPLETED
    # streams of events: a status's, a model's
    "stream_refused": _STREAM,  # `status`, 405 unless given
    "stream_stalls": _EVENTS,  # after `events` of them: nothing, ever, no keepalive either
    "stream_ends": _EVENTS,  # after `events`, properly
    "stream_cut": _EVENTS,  # after `events`, within the next one
    # after `events`, one with `body`, then the end
    "stream_error": Kind(ran=True, choice=False, where=frozenset(("stream",))),
    # uploads
    "reset_midway": _UPLOAD,  # RST once half of the body was read
    "stall_midway": _UPLOAD,  # half of the body is read, then nothing, ever
    "token_expired": _TOKEN,  # 401, and the token is void from now on
    "no_etag": _PART,  # it arrived, and the answer does not say under which ETag
}

Operation = Literal[
    "run",
    "stream",
    "submit",
    "status",
    "status_stream",
    "result",
    "cancel",
    "any",
    "attempt",
    "download",
    "token",
    "upload",
    "initiate",
    "put",
    "create",
    "part",
    "complete",
    "sign",
    "storage",
]

#: A handshake of either kind; a payload on the gateway; a realtime connection; either of the last two.
SocketOperation = Literal["connect", "websocket", "realtime", "socket"]

_STORAGE: Final = ("token", "upload", "initiate", "put", "create", "part", "complete", "sign")
#: Meant by name only, never by ``any``: they are no calls.
_BY_NAME: Final = frozenset(("attempt", "download", *_STORAGE, *get_args(SocketOperation)))

#: What an answer as a whole can be over a WebSocket, where there is no head and no chunk to break within.
_OF_PAYLOADS: Final = frozenset(
    (
        *wire.REQUEST_ERROR_STATUS,
        *("answer", "too_many_requests", "start_timeout", "redirect"),
        *("ingress_502", "ingress_503", "ingress_504", "huge_body"),
        *("empty_body", "bad_json", "nan", "lone_surrogate", "not_json", "wrong_content_type"),
    )
)

#: With what an attempt of a queued request can fail: what the platform says of its runners, and what an
#: application may answer.
_OF_ATTEMPTS: Final = frozenset(
    ("answer", *(kind for kind, status in wire.REQUEST_ERROR_STATUS.items() if status >= 500))
)


def _check_kind(_: object, __: object, value: str) -> None:
    if value not in KINDS:
        raise ValueError(f"{value!r} is no kind of fault; there are: {', '.join(sorted(KINDS))}")


def _check_operation(fault: Fault, _: object, value: str) -> None:
    known = get_args(Operation) + get_args(SocketOperation)
    if value not in known:
        raise ValueError(f"{value!r} is no operation; there are: {', '.join(known)}")
    if not _knows(value, fault.kind):
        raise ValueError(f"there is no fault of kind {fault.kind!r} in operation {value!r}")


def _knows(operation: str, kind: str) -> bool:
    if operation == "attempt":
        return kind in _OF_ATTEMPTS
    where = KINDS[kind].where
    if operation in {"websocket", "realtime", "socket"} or where == _SOCKET.where:
        of_sockets = where == _SOCKET.where and operation in {*where, "socket"}
        return of_sockets or (operation == "websocket" and kind in _OF_PAYLOADS)
    if operation == "storage":
        return not where or bool(where & set(_STORAGE))
    return not where or operation == "any" or operation in where


def _numbers(value: int | Collection[int] | None) -> Collection[int] | None:
    return (value,) if isinstance(value, int) else value


def _check_nth(_: object, __: object, value: Collection[int] | None) -> None:
    if value is not None and not all(isinstance(nth, int) and nth >= 1 for nth in value):
        raise ValueError("nth is counted from 1: a number, or several")


def _check_probability(_: object, __: object, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"a probability is from 0 to 1, not {value}")


def _check_ran(fault: Fault, _: object, value: bool) -> None:  # noqa: FBT001  # attrs' signature
    kind = KINDS[fault.kind]
    if value is not kind.ran and not kind.choice:
        done = "has run" if kind.ran else "has not run"
        raise ValueError(f"with a fault of kind {fault.kind!r} the model {done}")


def _usual(where: frozenset[str]) -> str:
    """The operation meant by a rule that does not say, of a kind which only these know."""
    if not where:
        return "run"
    if where == _SOCKET.where:
        return "socket"
    return "storage" if where <= set(_STORAGE) else "any"


_usually_ran: Any = attrs.Factory(lambda f: f.kind in KINDS and KINDS[f.kind].ran, takes_self=True)
_usually_billed: Any = attrs.Factory(
    lambda f: f.ran and f.kind in KINDS and KINDS[f.kind].billed, takes_self=True
)
_usual_operation: Any = attrs.Factory(
    lambda f: _usual(KINDS[f.kind].where) if f.kind in KINDS else "run", takes_self=True
)
_usual_size: Any = attrs.Factory(
    lambda f: 16 * 1024 if f.kind == "huge_header" else 64 * 1024 * 1024, takes_self=True
)


@attrs.frozen
class Fault:
    """A rule: which requests break, and how.

    :param kind: one of ``KINDS``, among them every ``error_type`` of the platform.
    :param model: a model's id, an application, a pattern such as ``"fal-ai/*"``; None is every model.
    :param nth: which of the requests that ``model`` and ``operation`` cover, counted from 1 since the
        rule was added; one number or several. None is each of them.
    :param probability: with which the rule applies to a call, drawn from the emulator's seed.
    :param times: how often it applies at most.
    :param ran: whether the model has run, and was charged for, before the fault; None is what is usual
        for the kind. Some kinds leave no choice. Of a submit: whether it was accepted; of a cancel:
        whether it had its effect; of what is only read, nothing.
    :param billed: whether that run is charged for; None is what is usual: yes, but for the platform's
        own 5xx.
    :param operation: what kind of request it applies to: ``run`` (direct calls), ``stream``, one of the
        queue's, or ``any`` of these. Usually ``run``; ``any`` for kinds that it does not have. Or
        ``attempt``: an execution of a queued request fails so, which the queue may try again. Or
        ``download``: a file is fetched from the CDN; ``model`` is then the file's path, such as
        ``"files/*.png"``. Or one of the WebSockets': ``connect`` (a handshake), ``websocket`` (a
        payload), ``realtime`` (a connection), ``socket`` (either of these two). Or one of the storage's, or
        ``storage`` for each of these: ``model`` is then the file's name where the URL does not have its
        path.
    :param events: how many events of a stream come before the fault.
    :param status: of ``answer`` and ``redirect``, or instead of the kind's usual one.
    :param seconds: how long ``slow`` drips.
    :param size: bytes of ``huge_body`` and ``huge_header``.
    :param limit: the number that ``too_many_requests`` names; None names none.
    :param retry_after: seconds of its ``Retry-After``; None sends none.
    :param needs_retry: what ``X-Fal-Needs-Retry`` says; None is what is usual for the kind.
    :param location: where ``redirect`` leads.
    :raises ValueError: for what no request could ever meet (an unknown kind, a number below 1, a
        probability above 1), and for ``ran`` where the kind leaves no choice.
    """

    kind: str = attrs.field(validator=_check_kind)
    model: str | None = attrs.field(default=None, kw_only=True)
    nth: Collection[int] | None = attrs.field(
        default=None, kw_only=True, converter=_numbers, validator=_check_nth
    )
    probability: float | None = attrs.field(
        default=None, kw_only=True, validator=_check_probability
    )
    times: int | None = attrs.field(default=None, kw_only=True)
    ran: bool = attrs.field(kw_only=True, default=_usually_ran, validator=_check_ran)
    billed: bool = attrs.field(kw_only=True, default=_usually_billed)
    operation: Operation | SocketOperation = attrs.field(
        kw_only=True, default=_usual_operation, validator=_check_operation
    )
    status: int | None = attrs.field(default=None, kw_only=True)
    headers: dict[str, str] = attrs.field(factory=dict, kw_only=True, converter=dict)
    body: bytes = attrs.field(default=b"", kw_only=True, repr=False)
    seconds: float = attrs.field(default=1.0, kw_only=True)
    size: int = attrs.field(kw_only=True, default=_usual_size)
    limit: int | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    needs_retry: bool | None = attrs.field(default=None, kw_only=True)
    events: int = attrs.field(default=1, kw_only=True)
    location: str = attrs.field(default="http://stranger.invalid/", kw_only=True)


def _covers(fault: Fault, operation: str) -> bool:
    if fault.operation == "socket":
        return operation in _SOCKET.where
    if fault.operation == "storage":
        return operation in _STORAGE and _knows(operation, fault.kind)
    if fault.operation != "any":
        return fault.operation == operation
    return operation not in _BY_NAME and _knows(operation, fault.kind)


@attrs.define
class _Rule:
    fault: Fault
    number: int
    seen: int = 0
    fired: int = 0

    def applies(self, model: str, chance: Chance) -> bool:
        fault = self.fault
        if not matches(fault.model, model):
            return False
        self.seen += 1
        if fault.times is not None and self.fired >= fault.times:
            return False
        if fault.nth is not None and self.seen not in fault.nth:
            return False
        if fault.probability is None:
            return True
        return chance.fraction("fault", self.number, self.seen) < fault.probability


class FaultBook:
    """The rules in force. Of several that apply to a call, the first one added does."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._rules: list[_Rule] = []
        self._added = 0

    def add(self, fault: Fault | str, **settings: Any) -> Fault:
        """Put a rule in force: a :class:`Fault`, or its kind and settings."""
        rule = Fault(fault, **settings) if isinstance(fault, str) else fault
        self._rules.append(_Rule(rule, self._added))
        self._added += 1
        return rule

    def remove(self, fault: Fault) -> None:
        """Take a rule out of force."""
        self._rules = [rule for rule in self._rules if rule.fault is not fault]

    def clear(self) -> None:
        """Take all rules out of force."""
        self._rules.clear()

    def fired(self, fault: Fault | None = None) -> int:
        """How many calls met this fault, or any of those in force."""
        return sum(r.fired for r in self._rules if fault is None or r.fault is fault)

    def draw(self, model: str, operation: str = "run") -> Fault | None:
        """The fault that the call arriving now meets, if any. Every rule counts the call."""
        found: _Rule | None = None
        for rule in self._rules:
            if (
                _covers(rule.fault, operation)
                and rule.applies(model, self._chance)
                and found is None
            ):
                found = rule
        if found is None:
            return None
        found.fired += 1
        return found.fault

    def take_back(self, fault: Fault) -> None:
        """The fault could not happen: the call was turned away before its model ran."""
        for rule in self._rules:
            if rule.fault is fault:
                rule.fired -= 1

    def __iter__(self) -> Iterator[Fault]:
        return (rule.fault for rule in self._rules)

    def __len__(self) -> int:
        return len(self._rules)
