"""What can go wrong with uploads: each kind of fault, before and after it had its effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from fal_async.emulator import Emulator, Fault
from fal_async.protocol import multipart, storage
from fal_async.protocol.multipart import Part
from fal_async.protocol.upload_facts import UploadFacts
from tests.emulator.raw import ask, connected, post
from tests.emulator.storage_caller import Caller, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")


@pytest.fixture
async def me(emu: Emulator) -> AsyncIterator[Caller]:
    async with calling(emu) as caller:
        yield caller


async def go_through(me: Caller) -> None:
    """Each operation once."""
    token = await me.token()
    url = await me.upload(b"abc", UploadFacts("a/b", "one.bin"), token)
    await me.send(storage.sign_request(url, token))
    upload = await me.initiate()
    await me.send(storage.put_request(upload.upload_url, "image/png"), b"abc")
    created = await me.create(token)
    part = await me.part(created, 1, b"abc", token)
    await me.send(multipart.complete_request(created, [part], token))
    await me.ask("GET", created.access_url)


OPERATIONS = ("token", "upload", "sign", "initiate", "put", "create", "part", "complete")


async def test_each_operation_is_counted_by_its_name(me: Caller) -> None:
    await go_through(me)
    assert me.emu.requests == dict.fromkeys((*OPERATIONS, "download"), 1)
    assert len(me.emu.storage) == 3


async def test_a_rule_for_storage_is_one_for_each_of_them_and_for_no_other(me: Caller) -> None:
    fault = me.emu.faults.add("slow", operation="storage", seconds=0.0)
    other = me.emu.faults.add("ingress_503", operation="any")
    await go_through(me)
    assert (me.emu.faults.fired(fault), me.emu.faults.fired(other)) == (8, 0)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_each_can_fail_once_before_it_had_an_effect(me: Caller, operation: str) -> None:
    fault = me.emu.faults.add("ingress_502", operation=operation, times=1)
    with suppress(AssertionError):
        await go_through(me)
    assert (me.emu.faults.fired(fault), len(me.emu.storage) < 3) == (1, operation != "sign")
    await go_through(me)
    assert me.emu.faults.fired(fault) == 1


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("reset_on_arrival", 0),
        ("close_on_arrival", 0),
        ("reset_midway", 0),
        ("reset", 1),
        ("close", 1),
        ("half_head", 1),
    ],
)
async def test_an_answer_that_is_lost_may_be_lost_before_or_after(
    me: Caller, kind: str, kept: int
) -> None:
    token = await me.token()
    me.emu.faults.add(kind, operation="upload", times=1)
    with pytest.raises(aiohttp.ClientError):
        await me.upload(b"x" * 100_000, token=token)
    assert len(me.emu.storage) == kept
    await me.upload(b"abc", token=token)


async def test_a_rule_may_say_that_it_came_before(me: Caller) -> None:
    token = await me.token()
    me.emu.faults.add("close", operation="upload", times=1, ran=False)
    with pytest.raises(aiohttp.ClientError):
        await me.upload(b"abc", token=token)
    assert len(me.emu.storage) == 0


async def test_too_many_requests_are_told_when_to_come_again(me: Caller) -> None:
    token = await me.token()
    me.emu.faults.add("too_many_requests", operation="upload", times=1, retry_after=2.0)
    got = await me.try_upload(b"abc", token=token)
    assert (got.status, got.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize("kind", ["stall", "stall_midway"])
async def test_an_upload_may_stall_until_its_caller_leaves(me: Caller, kind: str) -> None:
    token = await me.token()
    fault = me.emu.faults.add(kind, operation="upload", times=1)
    headers = {"Authorization": token.authorization}
    async with connected(me.emu) as (_, writer):
        writer.write(post("/v3.fal.media/files/upload", b"x" * 1000, headers=headers))
        await me.emu.until(lambda: me.emu.faults.fired(fault) == 1)
    assert await me.upload(b"abc", token=token)


async def test_half_of_a_body_that_does_not_tell_its_length_is_nothing(me: Caller) -> None:
    me.emu.faults.add("reset_midway", operation="upload", times=1)
    headers = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    request = post("/v3.fal.media/files/upload", b"", headers=headers)
    head = request.replace(b"Content-Length: \r\n", b"")
    assert (await ask(me.emu, head)).end == "reset"


async def test_a_body_that_ends_before_its_half_is_noticed(me: Caller) -> None:
    me.emu.faults.add("reset_midway", operation="upload", times=1)
    async with connected(me.emu) as (_, writer):
        writer.write(post("/v3.fal.media/files/upload", b"x", headers={"Content-Length": "1000"}))
        await me.emu.until(lambda: me.emu.requests["upload"] == 1)
    assert len(me.emu.storage) == 0


async def test_a_token_expires_of_a_sudden_and_another_one_helps(me: Caller) -> None:
    token = await me.token()
    me.emu.faults.add("token_expired", operation="upload", times=1)
    for _ in range(2):
        assert (await me.try_upload(b"abc", token=token)).status == 401
    assert (await me.try_upload(b"abc")).status == 200


async def test_an_etag_may_be_missing(me: Caller) -> None:
    token = await me.token()
    me.emu.faults.add("no_etag", times=1)
    upload = await me.create(token)
    got = await me.send(multipart.part_request(upload, 1, token), b"abc")
    assert (got.status, multipart.parse_etag(got.headers, got.body)) == (200, None)
    signed = await me.initiate(in_parts=True)
    me.emu.faults.add("no_etag", times=1)
    got = await me.send(multipart.presigned_part_request(signed, 1), b"abc")
    assert (got.status, multipart.parse_etag(got.headers, got.body)) == (200, None)


async def test_a_fault_may_be_one_of_a_single_part_or_file(me: Caller) -> None:
    token = await me.token()
    third = me.emu.faults.add("internal_error", operation="part", model="*/3", times=1)
    named = me.emu.faults.add("internal_error", operation="upload", model="*.png")
    upload = await me.create(token)
    for number in (1, 2):
        await me.part(upload, number, b"abc", token)
    got = await me.send(multipart.part_request(upload, 3, token), b"abc")
    assert got.status == 500
    assert isinstance(await me.part(upload, 3, b"abc", token), Part)
    await me.upload(b"abc", UploadFacts("a/b", "a.jpg"), token)
    assert (await me.try_upload(b"abc", UploadFacts("a/b", "a.png"), token)).status == 500
    assert (me.emu.faults.fired(third), me.emu.faults.fired(named)) == (1, 1)


async def test_a_fault_after_an_effect_that_was_refused_did_not_happen(me: Caller) -> None:
    fault = me.emu.faults.add("close", operation="upload")
    got = await me.ask("POST", f"{me.emu.hosts.cdn}/files/upload", {}, b"abc")
    assert (got.status, me.emu.faults.fired(fault)) == (401, 0)


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        ("no_etag", "upload"),
        ("token_expired", "put"),
        ("stall_midway", "create"),
        ("no_logs", "part"),
    ],
)
def test_kinds_are_of_the_operations_that_know_them(kind: str, operation: str) -> None:
    with pytest.raises(ValueError, match="no fault of kind"):
        Fault(kind, operation=operation)  # type: ignore[arg-type]


def test_a_kind_of_uploads_alone_is_meant_for_storage() -> None:
    assert Fault("token_expired").operation == "storage"
    with pytest.raises(ValueError, match="no fault of kind"):
        Fault("no_logs", operation="storage")
