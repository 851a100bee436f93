"""Uploads to the emulator in one piece, and what is there afterwards (PROTOCOL 11, A to C)."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator

import pytest

from fal_async.emulator import Emulator, StorageSettings
from fal_async.protocol import storage
from fal_async.protocol.lifecycle import InitialAcl, LifecyclePreference
from fal_async.protocol.upload_facts import UploadFacts
from tests.emulator.raw import ask, connected, listen, post
from tests.emulator.storage_caller import KEY, Caller, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")

FACTS = UploadFacts("image/png", "Bär 1.png", LifecyclePreference(60))


@pytest.fixture
async def me(emu: Emulator) -> AsyncIterator[Caller]:
    async with calling(emu) as caller:
        yield caller


@pytest.fixture
async def me_frozen(frozen: Emulator) -> AsyncIterator[Caller]:
    async with calling(frozen) as caller:
        yield caller


# --- A ------------------------------------------------------------------------------------------------


async def test_a_token_says_when_it_expires_and_what_it_is_for(me_frozen: Caller) -> None:
    emu = me_frozen.emu
    token = await me_frozen.token()
    assert token.base_url == f"{emu.url}/v3b.fal.media"
    assert token.expires_at == 1_767_225_600.0 + 3600.0
    assert (await me_frozen.token(seconds=60)).expires_at == 1_767_225_600.0 + 60.0
    emu.storage.settings = StorageSettings(token_lifetime=5.0)
    assert (await me_frozen.token()).expires_at == 1_767_225_600.0 + 5.0
    assert (emu.storage.tokens, emu.requests["token"]) == (3, 3)


async def test_a_token_is_good_until_it_expires_and_then_not(me_frozen: Caller) -> None:
    token = await me_frozen.token(seconds=60)
    await me_frozen.emu.advance(59.9)
    assert (await me_frozen.try_upload(b"a", token=token)).status == 200
    await me_frozen.emu.advance(0.1)
    refused = await me_frozen.try_upload(b"a", token=token)
    assert (refused.status, "expired" in refused.detail) == (401, True)
    assert len(me_frozen.emu.storage) == 1


async def test_tokens_may_expire_all_at_once(me: Caller) -> None:
    token = await me.token()
    me.emu.storage.expire_tokens()
    assert (await me.try_upload(b"a", token=token)).status == 401
    assert (await me.try_upload(b"a")).status == 200


@pytest.mark.parametrize("said", [None, "Bearer nobody", f"Key {KEY}", "Bearer"])
async def test_nothing_but_a_token_lets_anybody_upload(me: Caller, said: str | None) -> None:
    headers = {} if said is None else {"Authorization": said}
    got = await me.ask("POST", f"{me.emu.hosts.cdn}/files/upload", headers, b"a")
    assert got.status == 401
    assert len(me.emu.storage) == 0


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (None, 401),
        ("Key a:b", 401),
        ("Key nonsense", 401),
        ("Key locked:1", 403),
        ("Key me:1", 200),
    ],
)
async def test_a_token_and_a_presigned_url_are_for_keys_that_exist(
    said: str | None, status: int
) -> None:
    async with (
        Emulator(keys=["me:1"], locked={"locked:1": "Admin lock."}) as emu,
        calling(emu) as me,
    ):
        headers = {} if said is None else {"Authorization": said}
        rest = emu.hosts.rest
        assert (await me.ask("POST", f"{rest}/storage/auth/token", headers, b"{}")).status == status
        request = storage.initiate_request(rest, FACTS)
        got = await me.ask("POST", request.url, request.headers | headers, request.body)
        assert got.status == status


async def initiated_as_gcs(me: Caller, path: str) -> int:
    url = f"{me.emu.hosts.rest}/storage/{path}?storage_type=gcs"
    body = b'{"file_name":"a.png","content_type":"image/png"}'
    return (await me.ask("POST", url, me.keyed, body)).status


async def test_of_the_other_type_of_storage_there_are_presigned_urls_for_whole_files(
    me: Caller,
) -> None:
    assert await initiated_as_gcs(me, "upload/initiate") == 200
    for path in ("auth/token", "upload/initiate-multipart"):
        assert await initiated_as_gcs(me, path) == 400


async def test_the_other_type_of_storage_may_be_refused_as_fal_is_said_to_do(me: Caller) -> None:
    me.emu.storage.settings = StorageSettings(gcs=False)
    assert await initiated_as_gcs(me, "upload/initiate") == 400


# --- B ------------------------------------------------------------------------------------------------


async def test_a_file_is_kept_byte_for_byte_with_all_that_was_said_of_it(me_frozen: Caller) -> None:
    data = bytes(range(256)) * 1000
    url = await me_frozen.upload(data, FACTS)
    stored = me_frozen.emu.storage[url]
    assert stored.data == data
    assert (stored.size, stored.content_type, stored.name) == (256_000, "image/png", "Bär 1.png")
    assert (stored.lifecycle, stored.expires) == (LifecyclePreference(60), 60.0)
    assert (stored.acl, stored.owner, stored.came) == (None, "me", "direct")
    assert url.startswith(f"{me_frozen.emu.hosts.cdn}/files/b/")
    assert url.isascii()
    assert url.endswith("_1.png")
    got = await me_frozen.ask("GET", url)
    assert (got.status, got.body, got.headers["content-type"]) == (200, data, "image/png")


async def test_a_file_without_a_name_ends_as_its_type_does(me: Caller) -> None:
    url = await me.upload(b"", UploadFacts("image/webp"))
    assert url.endswith(".webp")
    assert (await me.ask("GET", url)).body == b""


async def test_of_any_name_nothing_but_harmless_letters_stands_in_the_url(me: Caller) -> None:
    url = await me.upload(b"a", UploadFacts("image/png", '../../etc/a "b"\r\n?#%41.png'))
    assert url.rpartition("/")[2].endswith("_a_b_41.png")
    assert me.emu.storage[url].name == 'a "b"\r\n?#%41.png'


async def test_the_same_uploads_get_the_same_urls() -> None:
    found = []
    for _ in range(2):
        async with Emulator(seed=7) as emu, calling(emu) as me:
            found.append((await me.upload(b"a", FACTS)).removeprefix(emu.url))
    assert found[0] == found[1]


async def test_a_body_of_unknown_length_is_taken_too(me: Caller) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc" * 1000

    assert me.emu.storage[await me.upload(pieces())].data == b"abc" * 3000


async def test_more_than_a_request_may_bring_is_refused_and_the_connection_goes_on() -> None:
    settings = StorageSettings(max_upload=1000)
    async with Emulator(storage=settings) as emu, calling(emu) as me:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 400

        assert (await me.try_upload(b"x" * 1001)).status == 413
        assert (await me.try_upload(pieces())).status == 413
        assert (await me.try_upload(b"x" * 1000)).status == 200
        assert len(emu.storage) == 1


async def test_a_caller_that_leaves_within_the_body_leaves_nothing(me: Caller) -> None:
    token = await me.token()
    headers = {"Authorization": token.authorization, "Content-Length": "1000"}
    request = post("/v3.fal.media/files/upload", b"x" * 500, headers=headers)
    async with connected(me.emu) as (_, writer):
        writer.write(request)
        await me.emu.until(lambda: me.emu.requests["upload"] == 1)
    assert (await me.try_upload(b"a")).status == 200
    assert len(me.emu.storage) == 1


async def test_a_caller_may_ask_first_whether_it_shall_send(me: Caller) -> None:
    token = await me.token()
    headers = {
        "Authorization": token.authorization,
        "Content-Length": "3",
        "Expect": "100-continue",
    }
    head = post("/v3.fal.media/files/upload", b"", headers=headers)
    async with connected(me.emu) as (reader, writer):
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await listen(reader)).status == 200


@pytest.mark.parametrize("host", ["v3.fal.media", "v3b.fal.media"])
async def test_by_host_header_the_urls_are_fals_own(me: Caller, host: str) -> None:
    token = await me.token()
    headers = {"Authorization": token.authorization, "Host": host}
    heard = await ask(me.emu, post("/files/upload", b"abc", headers=headers))
    url = heard.json["access_url"]
    assert url.startswith(f"https://{host}/files/b/")
    assert me.emu.storage[url].data == b"abc"
    path = url.removeprefix(f"https://{host}")
    assert (await ask(me.emu, post(path, b"", method="GET", headers={"Host": host}))).body == b"abc"
    rest = {"Host": "rest.fal.ai", "Authorization": f"Key {KEY}"}
    got = (await ask(me.emu, post("/storage/auth/token", b"{}", headers=rest))).json
    assert got["base_url"] == "https://v3b.fal.media"


async def test_the_other_methods_of_a_path_are_not_allowed(me: Caller) -> None:
    for url in (f"{me.emu.hosts.cdn}/files/upload", f"{me.emu.hosts.rest}/storage/auth/token"):
        assert (await me.ask("GET", url)).status == 405
    assert (await me.ask("POST", f"{me.emu.hosts.rest}/storage/other")).status == 404


# --- C ------------------------------------------------------------------------------------------------


async def test_bytes_go_to_a_presigned_url_without_any_credential(me_frozen: Caller) -> None:
    upload = await me_frozen.initiate(FACTS)
    assert (await me_frozen.ask("GET", upload.file_url)).status == 404
    assert len(me_frozen.emu.storage.unfinished) == 1
    got = await me_frozen.send(storage.put_request(upload.upload_url, "image/png"), b"abc")
    assert got.status == 200
    stored = me_frozen.emu.storage[upload.file_url]
    assert (stored.data, stored.name, stored.came) == (b"abc", "Bär 1.png", "put")
    assert (stored.owner, stored.expires) == ("me", 60.0)
    assert me_frozen.emu.storage.unfinished == ()
    assert (await me_frozen.ask("GET", upload.file_url)).body == b"abc"


async def test_they_may_come_again(me: Caller) -> None:
    upload = await me.initiate()
    for data in (b"a", b"b"):
        assert (
            await me.send(storage.put_request(upload.upload_url, "image/png"), data)
        ).status == 200
    assert me.emu.storage[upload.file_url].data == b"b"


@pytest.mark.parametrize("said", [f"Key {KEY}", "Bearer token"])
async def test_a_key_at_a_presigned_url_can_be_refused_for_it_would_be_given_away(
    me: Caller, said: str
) -> None:
    me.emu.storage.settings = StorageSettings(keyless_urls=True)
    upload = await me.initiate()
    headers = {"Content-Type": "image/png", "Authorization": said}
    got = await me.ask("PUT", upload.upload_url, headers, b"abc")
    assert (got.status, "gives a key away" in got.detail) == (400, True)
    assert len(me.emu.storage) == 0


async def test_a_key_at_a_presigned_url_is_not_looked_at(me: Caller) -> None:
    upload = await me.initiate()
    headers = {"Content-Type": "image/png", "Authorization": f"Key {KEY}"}
    assert (await me.ask("PUT", upload.upload_url, headers, b"abc")).status == 200
    assert me.emu.storage[upload.file_url].data == b"abc"


async def test_a_presigned_url_is_good_for_what_it_was_signed_for_and_not_for_ever(
    me_frozen: Caller,
) -> None:
    upload = await me_frozen.initiate()

    async def put(url: str, kind: str = "image/png") -> int:
        return (await me_frozen.send(storage.put_request(url, kind), b"abc")).status

    assert await put(upload.upload_url, "image/jpeg") == 403
    assert await put(upload.upload_url + "0") == 403
    assert await put(upload.upload_url.partition("?")[0]) == 403
    assert await put(f"{me_frozen.emu.hosts.cdn}/presigned/0123?signature=1") == 404
    await me_frozen.emu.advance(3600.0)
    assert await put(upload.upload_url) == 403
    assert len(me_frozen.emu.storage) == 0


@pytest.mark.parametrize("body", [b"", b"[]", b'{"file_name":"a"}'])
async def test_an_initiation_that_cannot_be_read_is_refused(me: Caller, body: bytes) -> None:
    url = f"{me.emu.hosts.rest}/storage/upload/initiate"
    assert (await me.ask("POST", url, me.keyed, body)).status == 422


# --- what is stored -----------------------------------------------------------------------------------


async def test_parts_of_an_upload_can_be_fetched_across_the_pieces_it_came_in(me: Caller) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(10):
            yield bytes([number]) * 100_000

    url = await me.upload(pieces())
    whole = me.emu.storage[url].data
    got = await me.ask("GET", url, {"Range": "bytes=99998-300001"})
    assert (got.status, got.body) == (206, whole[99_998:300_002])
    assert got.headers["content-range"] == "bytes 99998-300001/1000000"
    assert (await me.ask("GET", url, {"Range": "bytes=1000000-"})).status == 416
    head = await me.ask("HEAD", url)
    assert (head.body, head.headers["content-length"]) == (b"", "1000000")
    rest = {"Range": "bytes=-1", "If-Range": head.headers["etag"]}
    assert (await me.ask("GET", url, rest)).body == b"\x09"


async def test_a_fault_befalls_the_download_of_an_upload_too(me: Caller) -> None:
    url = await me.upload(io.BytesIO(b"x" * (2 << 20)))
    me.emu.faults.add("ingress_503", operation="download", times=1)
    assert (await me.ask("GET", url)).status == 503
    fault = me.emu.faults.add("slow", operation="download", times=1, seconds=0.0)
    assert (await me.ask("GET", url)).body == b"x" * (2 << 20)
    assert me.emu.faults.fired(fault) == 1


async def test_what_was_uploaded_can_be_given_to_a_model(me: Caller) -> None:
    url = await me.upload(b"abc", UploadFacts("image/png"))
    run = f"{me.emu.hosts.run}/emulator/echo"
    got = await me.ask("POST", run, me.keyed, json.dumps({"image_url": url}).encode())
    assert got.json["image_url"] == url
    assert me.emu.storage[got.json["image_url"]].data == b"abc"


async def test_the_storage_shows_what_models_made_beside_what_was_uploaded(me: Caller) -> None:
    url = await me.upload(b"abc")
    run = f"{me.emu.hosts.run}/fal-ai/fast-sdxl"
    made = (await me.ask("POST", run, me.keyed, b'{"prompt":"a"}')).json["images"][0]["url"]
    view = me.emu.storage
    assert [stored.came for stored in view] == ["direct", "model"]
    assert view.files("direct") == (view[url],)
    assert view[made].data.startswith(b"\xff\xd8")
    assert view[made].size == len(view[made].data)
    with pytest.raises(KeyError):
        view["/files/nothing"]


async def test_a_lifetime_begins_when_the_bytes_have_come(me_frozen: Caller) -> None:
    upload = await me_frozen.initiate(FACTS)
    await me_frozen.emu.advance(30.0)
    await me_frozen.send(storage.put_request(upload.upload_url, "image/png"), b"abc")
    await me_frozen.emu.advance(59.9)
    assert (await me_frozen.ask("GET", upload.file_url)).status == 200
    await me_frozen.emu.advance(0.1)
    assert (await me_frozen.ask("GET", upload.file_url)).status == 404
    assert len(me_frozen.emu.storage) == 0


async def test_access_may_be_said_of_an_upload(me: Caller) -> None:
    facts = UploadFacts("a/b", None, LifecyclePreference(initial_acl=InitialAcl("hide")))
    url = await me.upload(b"abc", facts)
    assert (await me.ask("GET", url)).status == 404
    assert me.emu.storage[url].acl == InitialAcl("hide")
