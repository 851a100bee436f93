"""fal-client's uploads: in one piece, in parts, and by its second way."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import StorageSettings, ThreadedEmulator
from fal_async.protocol.lifecycle import AclRule, InitialAcl
from tests.conformance.conftest import KEY
from tests.conformance.either import done

fal_client = pytest.importorskip("fal_client", reason="fal-client is not installed")
httpx = fal_client.client.httpx

#: Its blocking form makes a client for each upload, and drops it without closing it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

#: More than this it sends in parts.
THRESHOLD = 100 << 20


async def test_bytes_become_a_file_with_type_and_name(
    client: Any, emulator: ThreadedEmulator
) -> None:
    url = await done(client.upload, b"a cat", "text/plain", "cat.txt")
    assert url.startswith("https://v3.fal.media/files/")
    stored = emulator.storage[url]
    assert (stored.data, stored.content_type, stored.name) == (b"a cat", "text/plain", "cat.txt")
    assert (stored.owner, stored.came, stored.expires) == ("an-id", "direct", None)


async def test_text_is_uploaded_too(client: Any, emulator: ThreadedEmulator) -> None:
    url = await done(client.upload, "ein Bär", "text/plain")
    assert emulator.storage[url].data == "ein Bär".encode()


async def test_what_was_uploaded_can_be_downloaded(client: Any, emulator: ThreadedEmulator) -> None:
    url = await done(client.upload, b"a cat", "text/plain", "cat.txt")
    async with httpx.AsyncClient() as http:
        answer = await http.get(url)
    assert (answer.status_code, answer.content) == (200, b"a cat")


async def test_a_file_has_its_own_name_and_the_type_of_its_ending(
    client: Any, emulator: ThreadedEmulator, tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(b"\x89PNG")
    stored = emulator.storage[await done(client.upload_file, path)]
    assert (stored.data, stored.name, stored.content_type) == (b"\x89PNG", "cat.png", "image/png")


async def test_an_image_is_uploaded_as_a_jpeg(client: Any, emulator: ThreadedEmulator) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    url = await done(client.upload_image, pillow.new("RGB", (4, 3)))
    stored = emulator.storage[url]
    assert stored.content_type == "image/jpeg"
    assert pillow.open(io.BytesIO(stored.data)).size == (4, 3)


async def test_a_lifetime_and_an_access_list_are_kept(
    client: Any, emulator: ThreadedEmulator
) -> None:
    lifecycle = fal_client.StorageSettings(
        expires_in="1h", initial_acl=fal_client.StorageACL(default="forbid")
    )
    before = emulator.time
    url = await done(client.upload, b"a cat", "text/plain", lifecycle=lifecycle)
    stored = emulator.storage[url]
    assert stored.expires is not None
    assert before + 3600 <= stored.expires <= emulator.time + 3600
    async with httpx.AsyncClient() as http:
        assert (await http.get(url)).status_code == 403


async def test_an_access_list_of_rules_alone_is_kept_too(
    client: Any, emulator: ThreadedEmulator
) -> None:
    emulator.wait(emulator.reset(keys=[KEY, "you:secret"]))
    rule = fal_client.StorageACLRule("you", "forbid")
    lifecycle = fal_client.StorageSettings(initial_acl=fal_client.StorageACL(rules=[rule]))
    url = await done(client.upload, b"a cat", "text/plain", lifecycle=lifecycle)
    assert emulator.storage[url].acl == InitialAcl("allow", (AclRule("you", "forbid"),))
    async with httpx.AsyncClient() as http:
        assert (await http.get(url)).status_code == 200


async def test_more_than_the_threshold_goes_up_in_parts(
    client: Any, emulator: ThreadedEmulator
) -> None:
    data = bytes(range(256)) * (THRESHOLD // 256) + b"the end"
    url = await done(client.upload, data, "video/mp4", "film.mp4")
    assert url.startswith("https://v3b.fal.media/files/b/")
    stored = emulator.storage[url]
    assert (stored.size, stored.came, stored.name) == (len(data), "parts", "film.mp4")
    assert hashlib.sha256(stored.data).digest() == hashlib.sha256(data).digest()
    assert emulator.requests["part"] == 11


async def test_a_large_file_goes_up_in_parts_that_are_read_one_by_one(
    client: Any, emulator: ThreadedEmulator, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    with path.open("wb") as file:
        file.truncate(THRESHOLD + 1)
    stored = emulator.storage[await done(client.upload_file, path)]
    assert (stored.size, stored.came, stored.content_type) == (THRESHOLD + 1, "parts", "video/mp4")
    assert emulator.requests["complete"] == 1


async def test_the_second_way_is_a_url_to_put_to(client: Any, emulator: ThreadedEmulator) -> None:
    url = await done(client.upload, b"a cat", "text/plain", "cat.txt", repository="fal")
    stored = emulator.storage[url]
    assert (stored.data, stored.name, stored.came) == (b"a cat", "cat.txt", "put")
    assert (emulator.requests["initiate"], emulator.requests["upload"]) == (1, 0)


async def test_where_the_first_way_fails_the_second_is_gone(
    client: Any, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add("answer", operation="upload", status=500, body=b"{}")
    url = await done(client.upload, b"a cat", "text/plain", "cat.txt")
    assert emulator.storage[url].came == "put"
    assert emulator.requests["upload"] == 1


async def test_where_both_ways_fail_the_second_says_why(
    client: Any, emulator: ThreadedEmulator
) -> None:
    await emulator.reset(storage=StorageSettings(gcs=False))
    emulator.faults.add("answer", operation="upload", status=500, body=b"{}")
    with pytest.raises(fal_client.FalClientHTTPError, match="no such storage type"):
        await done(client.upload, b"a cat", "text/plain")


async def test_a_token_for_files_is_fetched_once(client: Any, emulator: ThreadedEmulator) -> None:
    for _ in range(3):
        await done(client.upload, b"a cat", "text/plain")
    assert (emulator.requests["token"], emulator.requests["upload"]) == (1, 3)


async def test_a_token_that_has_ended_is_fetched_again(
    client: Any, emulator: ThreadedEmulator
) -> None:
    await emulator.reset(storage=StorageSettings(token_lifetime=-1.0))
    for _ in range(2):
        with pytest.raises(fal_client.FalClientHTTPError):
            await done(client.upload, b"a cat", "text/plain", fallback_repository="fal_v3")
    assert emulator.requests["token"] >= 2
