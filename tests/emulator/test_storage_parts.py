"""Uploads to the emulator in parts, with a token and by a presigned URL (PROTOCOL 11, D and E)."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from fal_async.emulator import Emulator, StorageSettings
from fal_async.emulator.pieces import Pieces
from fal_async.protocol import multipart
from fal_async.protocol.lifecycle import LifecyclePreference
from fal_async.protocol.multipart import Created, Part
from fal_async.protocol.upload_facts import UploadFacts
from tests.emulator.storage_caller import Caller, Got, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")

FACTS = UploadFacts("video/mp4", "film.mp4", LifecyclePreference(60))
PIECES = (b"a" * 1000, b"b" * 1000, b"c")


@pytest.fixture
async def me(frozen: Emulator) -> AsyncIterator[Caller]:
    async with calling(frozen) as caller:
        yield caller


async def begun(me: Caller) -> tuple[Created, list[Part]]:
    token = await me.token()
    upload = await me.create(token, FACTS)
    return upload, [await me.part(upload, n, data, token) for n, data in enumerate(PIECES, 1)]


async def complete(me: Caller, upload: Created, parts: Sequence[Part]) -> Got:
    """As listed, which the client's own builder would not do."""
    request = multipart.complete_request(upload, [], await me.token())
    content = {"parts": [multipart.build_part(part) for part in parts]}
    return await me.ask("POST", request.url, request.headers, json.dumps(content).encode())


async def test_parts_make_a_file_in_whatever_order_they_come(me: Caller) -> None:
    token = await me.token()
    upload = await me.create(token, FACTS)
    assert upload.access_url.startswith(f"{me.emu.url}/v3b.fal.media/files/b/")
    parts = await asyncio.gather(
        *(me.part(upload, n, data, token) for n, data in reversed([*enumerate(PIECES, 1)]))
    )
    assert (await me.ask("GET", upload.access_url)).status == 404
    got = await me.send(multipart.complete_request(upload, parts, token))
    assert (got.status, got.json) == (200, {"access_url": upload.access_url})
    stored = me.emu.storage[upload.access_url]
    assert stored.data == b"".join(PIECES)
    assert (stored.name, stored.content_type, stored.came) == ("film.mp4", "video/mp4", "parts")
    assert (stored.owner, stored.expires) == ("me", 60.0)
    whole = await me.ask("GET", upload.access_url, {"Range": "bytes=999-2000"})
    assert whole.body == b"a" + b"b" * 1000 + b"c"
    assert me.emu.requests["part"] == 3


async def test_what_is_not_complete_is_nobodys_to_read(me: Caller) -> None:
    upload, _ = await begun(me)
    assert (await me.ask("GET", upload.access_url)).status == 404
    [unfinished] = me.emu.storage.unfinished
    assert sorted(unfinished.parts) == [1, 2, 3]
    assert len(me.emu.storage) == 0


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([], "no parts"),
        ([2, 1, 3], "ascending"),
        ([1, 2, 2, 3], "twice"),
        ([1, 2], "Part 3 is missing"),
        ([1, 3], "Part 2 is missing"),
        ([1, 2, 3, 4], "Part 4 was not uploaded"),
        ([0, 1, 2, 3], "Part 0 was not uploaded"),
    ],
)
async def test_a_list_that_is_not_that_of_the_parts_is_refused(
    me: Caller, listed: list[int], said: str
) -> None:
    me.emu.storage.settings = StorageSettings(sorted_parts=True)
    upload, parts = await begun(me)
    etags = {part.number: part.etag for part in parts}
    got = await complete(me, upload, [Part(n, etags.get(n, '"x"')) for n in listed])
    assert (got.status, said in got.detail) == (400, True), got.detail
    assert len(me.emu.storage) == 0
    assert (await complete(me, upload, parts)).status == 200


async def test_an_etag_that_is_not_verbatim_is_refused(me: Caller) -> None:
    upload, [first, *rest] = await begun(me)
    for etag in (first.etag.strip('"'), '"other"'):
        got = await complete(me, upload, [Part(1, etag), *rest])
        assert (got.status, got.detail) == (400, "The ETag of part 1 is another")


async def test_parts_are_listed_in_any_order(me: Caller) -> None:
    upload, parts = await begun(me)
    assert (await complete(me, upload, parts[::-1])).status == 200
    assert me.emu.storage[upload.access_url].data == b"".join(PIECES)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parts":[1]}'])
async def test_a_list_that_cannot_be_read_is_refused(me: Caller, body: bytes) -> None:
    upload, _ = await begun(me)
    request = multipart.complete_request(upload, [], await me.token())
    assert (await me.ask("POST", request.url, request.headers, body)).status == 422


async def test_a_part_that_comes_again_takes_the_place_of_the_first(me: Caller) -> None:
    token = await me.token()
    upload = await me.create(token)
    await me.part(upload, 1, b"old", token)
    part = await me.part(upload, 1, b"new", token)
    assert (await complete(me, upload, [part])).status == 200
    assert me.emu.storage[upload.access_url].data == b"new"


async def test_to_complete_again_is_harmless_and_to_do_anything_else_afterwards_is_refused(
    me: Caller,
) -> None:
    upload, parts = await begun(me)
    for _ in range(2):
        assert (await complete(me, upload, parts)).status == 200
    assert (await complete(me, upload, parts[:1])).status == 409
    token = await me.token()
    assert (await me.send(multipart.part_request(upload, 1, token), b"x")).status == 404
    assert len(me.emu.storage) == 1


async def test_parts_of_nothing_and_of_somebody_else_are_refused(me: Caller) -> None:
    upload, parts = await begun(me)
    token = await me.token()
    unknown = Created(upload.access_url, "0123")
    elsewhere = Created(f"{upload.access_url}x", upload.upload_id)
    for where in (unknown, elsewhere):
        assert (await me.send(multipart.part_request(where, 1, token), b"x")).status == 404
        assert (await complete(me, where, parts)).status == 404
    for number in (0, 10_001):
        assert (await me.send(multipart.part_request(upload, number, token), b"x")).status == 400
    friend = Caller(me.emu, me.http, "friend:secret")
    request = multipart.part_request(upload, 1, await friend.token())
    assert (await friend.send(request, b"x")).status == 403
    assert (await complete(friend, upload, parts)).status == 403


async def test_a_token_that_expires_on_the_way_can_be_renewed(me: Caller) -> None:
    short = await me.token(seconds=10)
    upload = await me.create(short)
    first = await me.part(upload, 1, b"a", short)
    await me.emu.advance(10.0)
    request = multipart.part_request(upload, 2, short)
    assert (await me.send(request, b"b")).status == 401
    second = await me.part(upload, 2, b"b", await me.token())
    assert (await complete(me, upload, [first, second])).status == 200
    assert me.emu.storage[upload.access_url].data == b"ab"


async def test_a_part_larger_than_a_request_may_be_is_refused(me: Caller) -> None:
    me.emu.storage.settings = StorageSettings(max_upload=10)
    token = await me.token()
    upload = await me.create(token)
    assert (await me.send(multipart.part_request(upload, 1, token), b"x" * 11)).status == 413


# --- E ------------------------------------------------------------------------------------------------


async def test_parts_go_to_a_presigned_url_without_any_credential(me: Caller) -> None:
    upload = await me.initiate(FACTS, in_parts=True)
    parts = []
    for number, data in enumerate(PIECES, 1):
        got = await me.send(multipart.presigned_part_request(upload, number), data)
        etag = multipart.parse_etag(got.headers)
        assert got.json == {"partNumber": number, "etag": etag}
        parts.append(Part(number, etag or ""))
    assert (await me.ask("GET", upload.file_url)).status == 404
    got = await me.send(multipart.presigned_complete_request(upload, parts))
    assert got.status == 200
    stored = me.emu.storage[upload.file_url]
    assert (stored.data, stored.came) == (b"".join(PIECES), "presigned_parts")
    assert (stored.name, stored.owner, stored.expires) == ("film.mp4", "me", 60.0)


async def test_a_key_there_is_refused_too_and_one_kind_of_url_is_not_the_other(me: Caller) -> None:
    me.emu.storage.settings = StorageSettings(keyless_urls=True)
    upload = await me.initiate(FACTS, in_parts=True)
    part = multipart.presigned_part_request(upload, 1)
    done = multipart.presigned_complete_request(upload, [])
    for request in (part, done):
        assert (await me.send(request, b"{}", key=True)).status == 400
    assert (await me.ask("PUT", upload.upload_url, {"Content-Type": "video/mp4"})).status == 404
    whole = await me.initiate(FACTS)
    assert (await me.send(multipart.presigned_part_request(whole, 1), b"x")).status == 404


# --- size ---------------------------------------------------------------------------------------------


async def test_what_came_in_parts_is_held_once(me: Caller) -> None:
    token = await me.token()
    upload = await me.create(token)
    data = bytes(range(256)) * 40_000
    parts = [await me.part(upload, n, io.BytesIO(data), token) for n in (1, 2)]
    [unfinished] = me.emu.storage.unfinished
    assert (await complete(me, upload, parts)).status == 200
    assert unfinished.parts == {}
    got = await me.ask("GET", upload.access_url)
    assert got.body == data + data
    assert got.headers["content-length"] == str(2 * len(data))


def test_pieces_are_one_file_or_a_part_of_it_without_being_copied() -> None:
    first, second = Pieces([b"abc", b"def"]), Pieces([b"ghi"])
    whole = Pieces.in_a_row([first, second])
    assert (bytes(whole), whole.size) == (b"abcdefghi", 9)
    assert b"".join(whole.within(2, 7)) == b"cdefg"
    assert [bytes(piece) for piece in whole.within(3, 6)] == [b"def"]
    assert list(whole.within(4, 4)) == []
    assert first.etag == Pieces([b"abcdef"]).etag != Pieces([b"abcdeg"]).etag
    assert whole.etag != Pieces.in_a_row([second, first]).etag
