"""The URLs that fal names are used, and the key goes with none that leads to a stranger."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from fal_async import AsyncFal, CancelOutcome, Completed, Hosts, InputError, RequestHandle
from tests.support.queue_script import DONE, QUEUED, REFUSED, polled, streamed
from tests.support.scripted_server import MODEL, REQUEST_ID, Script, answer
from tests.support.secrets import KEY
from tests.support.virtual_time import in_virtual_time

OUTPUT = {"ok": True}


def places(base: str) -> dict[str, str]:
    return {
        "status_url": f"{base}/where/status?token=1",
        "response_url": f"{base}/the/result",
        "cancel_url": f"{base}/stop/it",
    }


@in_virtual_time
async def test_the_urls_that_fal_names_are_the_ones_that_are_asked() -> None:
    async with Script(answer()) as server:
        named = {"request_id": REQUEST_ID, **places(server.hosts.queue)}
        server._acts[:] = [
            answer(content=named),
            streamed(QUEUED),
            polled(QUEUED),
            streamed(DONE),
            answer(),
            answer(200, {"status": "OK"}),
        ]
        async with AsyncFal(KEY, hosts=server.hosts) as fal:
            handle = await fal.submit("owner/app/path", {})
            assert await handle.result() == OUTPUT
            assert await handle.cancel() is CancelOutcome.REMOVED
        assert [request.line.split()[:2] for request in server.requests] == [
            ["POST", "/queue.fal.run/owner/app/path"],
            ["GET", "/queue.fal.run/where/status/stream?token=1&logs=0"],
            ["GET", "/queue.fal.run/where/status?token=1&logs=0"],
            ["GET", "/queue.fal.run/where/status/stream?token=1&logs=0"],
            ["GET", "/queue.fal.run/the/result"],
            ["PUT", "/queue.fal.run/stop/it"],
        ]
        assert {r.headers["authorization"] for r in server.requests} == {f"Key {KEY}"}


@in_virtual_time
async def test_without_them_they_are_built_of_the_application_alone() -> None:
    acts = [REFUSED, polled(DONE), answer(), answer(200, {"status": "OK"})]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        handle = fal.handle("workflows/me/mine/sub/path", REQUEST_ID)
        await handle.result()
        await handle.cancel()
        base = f"/queue.fal.run/workflows/me/mine/requests/{REQUEST_ID}"
        assert [request.line.split()[:2] for request in server.requests] == [
            ["GET", f"{base}/status/stream?logs=0"],
            ["GET", f"{base}/status?logs=0"],
            ["GET", base],
            ["PUT", f"{base}/cancel"],
        ]


@in_virtual_time
async def test_a_stranger_gets_no_key_whatever_he_is_asked() -> None:
    strange = [REFUSED, polled(DONE), answer(), polled(DONE), answer(200, {"status": "OK"})]
    async with Script(*strange) as stranger, Script(answer()) as server:
        named = {"request_id": REQUEST_ID, **places(stranger.url)}
        server._acts[:] = [answer(content=named)]
        async with AsyncFal(KEY, hosts=server.hosts) as fal:
            handle = await fal.submit(MODEL, {}, key="another:key")
            assert await handle.result() == OUTPUT
            assert isinstance(await handle.status(), Completed)
            await handle.cancel()
        assert server.requests[0].headers["authorization"] == "Key another:key"
        assert len(stranger.requests) == 5
        for request in stranger.requests:
            assert "authorization" not in request.headers
            assert KEY not in repr(request)


@in_virtual_time
async def test_nor_does_he_through_a_handle_from_elsewhere() -> None:
    async with Script(polled(DONE)) as stranger, Script(answer()) as server:
        parts = {"model": MODEL, "request_id": REQUEST_ID, **places(stranger.url)}
        async with AsyncFal(KEY, hosts=server.hosts) as fal:
            await fal.handle(parts).status()
        assert "authorization" not in stranger.requests[0].headers


@pytest.mark.parametrize(
    "url",
    [
        "{queue}@stranger/status",
        "{queue}/../../../elsewhere/status",
        "{other}/queue.fal.run/x/status",
        "http://localhost:{port}/queue.fal.run/x/status",
    ],
)
@in_virtual_time
async def test_what_only_looks_like_fal_s_own_gets_none(url: str) -> None:
    async with Script(polled(DONE)) as other, Script(polled(DONE)) as server:
        where = url.format(queue=server.hosts.queue, other=other.url, port=server.port)
        handle = RequestHandle(model=MODEL, request_id=REQUEST_ID, status_url=where)
        async with AsyncFal(KEY, hosts=server.hosts) as fal:
            with contextlib.suppress(InputError):
                await fal.handle(handle).status()
        for request in (*other.requests, *server.requests):
            assert "authorization" not in request.headers


async def test_with_a_key_of_fal_s_own_a_stranger_is_asked_without_it_too() -> None:
    """On fal's own hosts the same: the CDN takes other tokens, and is no place for the key."""
    hosts = Hosts()
    assert not hosts.trusts("https://v3.fal.media/files/x/status")
    assert hosts.trusts("https://queue.fal.run/owner/app/requests/r-1/status?logs=0")
    assert hosts.trusts("https://queue.falrun.com/owner/app/requests/r-1")


async def test_no_request_is_redirected_with_the_key() -> None:
    async with Script(answer()) as other:
        away: Any = answer(307, headers={"Location": other.url})
        async with Script(away) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
            for ask in (fal.handle(MODEL, "r-1").status, fal.handle(MODEL, "r-1").cancel):
                with pytest.raises(Exception, match="307"):
                    await ask()
        assert other.begun == 0
