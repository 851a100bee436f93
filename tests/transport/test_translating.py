"""Nothing of aiohttp escapes untranslated, and each exception means what was found out about it."""

from __future__ import annotations

import inspect
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from fal_async import (
    AsyncFal,
    Billing,
    BodyBrokenError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    FalError,
    InputError,
    RetryPolicy,
    SessionError,
)
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.http import Http, translate
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from tests.support.mocked_responses import MockedResponses
from tests.support.scripted_server import MODEL
from tests.support.secrets import KEY, PROMPT, assert_discreet

RUN_URL = f"https://fal.run/{MODEL}"
HEADERS = CIMultiDictProxy(CIMultiDict({"Authorization": f"Key {KEY}"}))
INFO = RequestInfo(URL(RUN_URL), "POST", HEADERS, URL(RUN_URL))
PLACE = ConnectionKey(
    host="fal.run",
    port=443,
    is_ssl=True,
    ssl=True,
    proxy=URL("http://proxy:8080"),
    proxy_auth=("an-id", KEY),  # type: ignore[arg-type]  # its own class is deprecated
    proxy_headers_hash=None,
)
BROKEN = OSError(111, "Connection refused")


def make(kind: type[Exception]) -> Exception:
    """One of this kind, with all the secrets it can hold."""
    if kind is aiohttp.ClientConnectorCertificateError:
        return kind(PLACE, ssl.CertificateError("self-signed"))
    if kind is client_exceptions.UnixClientConnectorError:
        return kind("/run/socket", PLACE, BROKEN)
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(PLACE, BROKEN)
    if issubclass(kind, aiohttp.ClientResponseError):
        return kind(INFO, (), status=400, message="x", headers=HEADERS)
    if kind is aiohttp.ServerFingerprintMismatch:
        return kind(b"a", b"b", "fal.run", 443)
    if issubclass(kind, aiohttp.InvalidURL):
        return kind(URL(RUN_URL))
    for arguments in (("x",), ("x", 1), ("x", "y", "z"), ()):
        try:
            return kind(*arguments)
        except TypeError:
            continue
    raise AssertionError(kind)


def kinds() -> list[type[Exception]]:
    found: dict[str, type[Exception]] = {}
    for module in (aiohttp, client_exceptions, http_exceptions):
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, Exception):
                found.setdefault(name, value)
    return [*found.values(), OSError, ConnectionError, TimeoutError, ssl.SSLError, RuntimeError]


def a_call(billing: Billing) -> Call:
    call = Call(RetryPolicy())
    call.begin_send()
    call.current = billing
    return call


def by_name(kind: type[Exception]) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", kinds(), ids=by_name)
def test_once_something_was_written_every_exception_means_that_it_may_have_been_billed(
    kind: type[Exception],
) -> None:
    error = translate(make(kind), a_call(Billing.UNKNOWN))
    assert type(error) is ConnectionLostError
    assert error.billing is Billing.UNKNOWN
    assert_discreet(error)


@pytest.mark.parametrize("kind", [*kinds(), ValueError, TypeError, KeyError], ids=by_name)
def test_before_anything_was_written_no_exception_costs_anything(kind: type[Exception]) -> None:
    error = translate(make(kind), a_call(Billing.NOT_BILLED))
    assert isinstance(error, FalError)
    assert not isinstance(error, ConnectionLostError)
    assert error.billing is Billing.NOT_BILLED
    assert_discreet(error)


MEANINGS: list[tuple[Exception, type[FalError], str, bool]] = [
    (make(aiohttp.ClientConnectorError), ConnectError, "no connection to the host", True),
    (make(aiohttp.ClientConnectorDNSError), ConnectError, "name does not resolve", True),
    (make(aiohttp.ClientProxyConnectionError), ConnectError, "no connection to the proxy", True),
    (make(aiohttp.ClientConnectorCertificateError), ConnectError, "certificate is not", True),
    (make(aiohttp.ClientConnectorSSLError), ConnectError, "TLS could not be agreed on", True),
    (make(aiohttp.ConnectionTimeoutError), ConnectTimeoutError, "no connection in time", True),
    (aiohttp.ClientHttpProxyError(INFO, (), status=407), ConnectError, "answered 407", False),
    (aiohttp.ClientHttpProxyError(INFO, (), status=503), ConnectError, "answered 503", True),
    (make(aiohttp.ClientOSError), ConnectError, "before anything was written", True),
    (make(aiohttp.ServerDisconnectedError), ConnectError, "before anything was written", True),
    (make(aiohttp.InvalidUrlClientError), InputError, "a bad URL or header", False),
    (ValueError("a line break in a header"), InputError, "a bad URL or header", False),
    (RuntimeError("Session is closed"), SessionError, "Session is closed", False),
    (TypeError("what is this"), ConnectError, "could not be sent .TypeError.", False),
]


def named(error: Exception) -> str:
    return f"{type(error).__name__} {getattr(error, 'status', '')}".strip()


@pytest.mark.parametrize(
    ("raised", "kind", "text", "retryable"), MEANINGS, ids=[named(row[0]) for row in MEANINGS]
)
async def test_an_exception_of_aiohttp_before_the_first_byte_becomes_one_of_ours(
    raised: Exception, kind: type[FalError], text: str, retryable: bool
) -> None:
    with MockedResponses() as mocked:
        mocked.post(RUN_URL, exception=raised)
        async with AsyncFal(KEY) as fal:
            with pytest.raises(kind, match=text) as caught:
                await fal.run(MODEL, {"prompt": PROMPT}, retry=RetryPolicy.never())
    error = caught.value
    assert type(error) is kind
    assert (error.billing, error.attempts) == (Billing.NOT_BILLED, 1)
    assert error.retryable is retryable
    assert_discreet(error)


class NullWriter:
    """Takes what it is given; its transport is open, closing or gone."""

    def __init__(self, *, closing: bool | None = False) -> None:
        self._closing = closing

    @property
    def transport(self) -> NullWriter | None:
        return None if self._closing is None else self

    def is_closing(self) -> bool:
        return bool(self._closing)

    async def write(self, data: bytes) -> None:
        if self._closing is not False:
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")


LOSSES: list[tuple[Exception, str]] = [
    (make(aiohttp.ClientResponseError), "what came back is not HTTP"),
    (make(aiohttp.ServerDisconnectedError), "closed the connection without an answer"),
    (make(aiohttp.SocketTimeoutError), "the server fell silent"),
    (make(aiohttp.ClientOSError), "the connection was lost"),
    (make(aiohttp.ClientConnectorError), "the connection was lost"),
    (ValueError("of whatever reading raises"), "the connection was lost"),
]


@pytest.mark.parametrize(("raised", "text"), LOSSES, ids=[named(row[0]) for row in LOSSES])
async def test_the_same_exceptions_after_the_first_byte_mean_a_loss(
    raised: Exception, text: str
) -> None:
    async def write_and_raise(_: URL, *, data: Any, **__: Any) -> None:
        await data.write_with_length(NullWriter(), None)
        raise raised

    with MockedResponses() as mocked:
        mocked.post(RUN_URL, callback=write_and_raise)
        async with AsyncFal(KEY) as fal:
            with pytest.raises(ConnectionLostError, match=text) as caught:
                await fal.run(MODEL, {"prompt": PROMPT})
        assert sum(map(len, mocked.requests.values())) == 1
    assert caught.value.billing is Billing.UNKNOWN
    assert not caught.value.retryable
    assert_discreet(caught.value)


@pytest.mark.parametrize("closing", [True, None], ids=["closing", "gone"])
async def test_what_is_given_to_a_closing_transport_was_not_written(closing: bool | None) -> None:
    async def write(_: URL, *, data: Any, **__: Any) -> None:
        await data.write(NullWriter(closing=closing))

    with MockedResponses() as mocked:
        mocked.post(RUN_URL, callback=write)
        async with AsyncFal(KEY) as fal:
            with pytest.raises(ConnectError, match="before anything was written") as caught:
                await fal.run(MODEL, {}, retry=RetryPolicy.never())
    assert caught.value.billing is Billing.NOT_BILLED


async def test_the_request_asks_aiohttp_for_nothing_that_it_would_do_by_itself() -> None:
    with MockedResponses() as mocked:
        mocked.post(RUN_URL, payload={"seed": 1})
        async with AsyncFal(KEY) as fal:
            assert await fal.run(MODEL, {"prompt": PROMPT}) == {"seed": 1}
        ((_, url), (request,)) = next(iter(mocked.requests.items()))
    asked = request.kwargs
    assert str(url) == RUN_URL
    assert asked["headers"]["Authorization"] == f"Key {KEY}"
    assert (asked["allow_redirects"], asked["raise_for_status"]) == (False, False)
    assert (asked["auto_decompress"], asked["middlewares"]) == (False, ())
    assert asked["proxy"] is None
    assert PROMPT not in repr(asked["data"])
    assert PROMPT not in asked["data"].decode()


class Torn:
    """A body that gives one piece and breaks while another waits to be read."""

    def __init__(self) -> None:
        self._pieces = [b'{"images"']
        self._buffer = [b': ["the', b" first"]

    def is_eof(self) -> bool:
        return True

    def at_eof(self) -> bool:
        return False

    async def readany(self) -> bytes:
        if self._pieces:
            return self._pieces.pop()
        raise aiohttp.ClientPayloadError("torn")


async def test_what_came_together_with_the_break_is_kept_too() -> None:
    """As event loops may have it that read more than once a turn."""
    response = SimpleNamespace(
        content=Torn(), status=200, headers=CIMultiDict({"x-fal-request-id": "r-1"}), close=list
    )
    http = Http(Pool(), LoopClock(), ProxyRouter(None), max_answer_bytes=1000)
    with pytest.raises(BodyBrokenError) as caught:
        await http._read(response)
    assert caught.value.body == b'{"images": ["the first'
    assert caught.value.request_id == "r-1"
