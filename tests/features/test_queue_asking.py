"""A question by itself: how often it is put, how long it is waited for, what its answer is taken for."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from fal_async import (
    AnswerError,
    AsyncFal,
    Completed,
    ConnectTimeoutError,
    FalError,
    InProgress,
    MissingKeyError,
    RequestHandle,
)
from fal_async.features.asking import ONCE, TWICE, Asker, Question, read_content
from fal_async.transport.base import Call
from fal_async.transport.retrying import Retrying
from tests.support.fakes import FakeTransport, VirtualClock, respond
from tests.support.queue_script import DONE
from tests.support.scripted_server import MODEL, Script, answer
from tests.support.virtual_time import in_virtual_time

HANDLE = RequestHandle(model=MODEL, request_id="r-1")
QUESTION = Question(handle=HANDLE, url="https://queue.fal.run/x", read=read_content)


async def put(*outcomes: Any, policy: Any = TWICE) -> tuple[Any, int]:
    """What comes of putting a question once, and how often it was sent for that."""
    transport, clock = FakeTransport(outcomes), VirtualClock()
    try:
        got: Any = await Asker(Retrying(transport, clock), clock).put(QUESTION, policy=policy)
    except FalError as error:
        got = error
    return got, len(transport.sent)


async def test_where_no_connection_is_made_it_is_sent_once_more_to_the_backup_domain() -> None:
    failure = ConnectTimeoutError("no connection in time")
    assert await put(failure, respond(body=b"[1]")) == ([1], 2)
    got, sent = await put(failure)
    assert isinstance(got, ConnectTimeoutError)
    assert sent == 2
    got, sent = await put(failure, policy=ONCE)
    assert isinstance(got, ConnectTimeoutError)
    assert sent == 1


async def test_each_question_has_an_account_of_its_own() -> None:
    calls: list[Call] = []

    def note(_: Any, call: Call) -> Any:
        calls.append(call)
        return respond()

    transport, clock = FakeTransport([note]), VirtualClock()
    asker = Asker(transport, clock)
    for _ in range(2):
        await asker.put(QUESTION)
    first, second = calls
    assert first is not second
    assert first.free
    assert transport.sent[0].headers is not transport.sent[1].headers


STRANGE = {
    "no JSON": answer(body=b"<html>Welcome to the hotel</html>"),
    "nothing": answer(body=b""),
    "a list": answer(content=[]),
    "no status": answer(content={"detail": "hm"}),
    "a status of another kind": answer(content={"status": 7}),
    "gzip that is none": answer(body=b"what?", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("what", STRANGE)
@in_virtual_time
async def test_an_answer_that_is_no_status_is_a_lost_one(what: str) -> None:
    async with Script(*[STRANGE[what]] * 3, answer(content=DONE)) as server:
        async with AsyncFal(hosts=server.hosts) as fal:
            assert isinstance(await fal.handle(HANDLE).status(), Completed)
        assert server.begun == 4


@in_virtual_time
async def test_what_stays_strange_is_an_error_that_holds_it() -> None:
    async with Script(STRANGE["no status"]) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(AnswerError, match="no status of a request") as raised:
            await fal.handle(HANDLE).status()
    assert raised.value.body == b'{"detail": "hm"}'
    assert raised.value.handle == HANDLE


async def test_a_compressed_status_is_read_though_it_was_not_asked_for() -> None:
    packed = gzip.compress(b'{"status": "IN_PROGRESS"}')
    act = answer(body=packed, headers={"Content-Encoding": "gzip"})
    async with Script(act) as server, AsyncFal(hosts=server.hosts) as fal:
        assert isinstance(await fal.handle(HANDLE).status(), InProgress)
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.requests[0].headers["user-agent"].startswith("fal-async/")


@pytest.mark.parametrize("how", ["status", "result", "cancel"])
async def test_a_key_that_cannot_be_had_is_told_at_once_with_the_handle(how: str) -> None:
    def no_key() -> str:
        raise LookupError

    async with Script(answer()) as server, AsyncFal(no_key, hosts=server.hosts) as fal:
        with pytest.raises(MissingKeyError) as raised:
            await getattr(fal.handle(HANDLE), how)()
        assert server.begun == 0
    assert raised.value.handle == HANDLE


@in_virtual_time
async def test_a_large_result_on_a_slow_line_is_given_longer_each_time() -> None:
    """A minute, then two, then four: no result is too large to be had in the end."""

    def after(seconds: float) -> Any:
        go = asyncio.Event()

        async def act(wire: Any) -> Any:
            asyncio.get_running_loop().call_later(seconds, go.set)
            return await answer(go=go)(wire)

        return act

    acts = [answer(405), answer(content=DONE), *(after(200) for _ in range(3))]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await fal.handle(HANDLE).result() == {"ok": True}
        assert 60 + 120 + 200 < loop.time() - begun < 60 + 120 + 200 + 3
