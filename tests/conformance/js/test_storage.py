"""Uploads by fal's JavaScript client: in one piece, and in parts above its threshold of 90 MiB."""

from __future__ import annotations

import hashlib

import pytest

from fal_async.emulator import Fault, ThreadedEmulator
from tests.conformance.js.node import Node

MIB = 1 << 20
#: A byte more than goes in one piece: nine whole parts, and one of a byte.
LARGE = 90 * MIB + 1
UPLOAD_LARGE = """
    const bytes = new Uint8Array(given.size);
    for (let i = 0; i < bytes.length; i += 4099) bytes[i] = i % 251;
    const digest = require("node:crypto").createHash("sha256").update(bytes).digest("hex");
    const file = new File([bytes], "film.mp4", { type: "video/mp4" });
    return [await fal.storage.upload(file), digest];
"""


def test_a_file_is_uploaded_in_one_piece(js: Node, emulator: ThreadedEmulator) -> None:
    url, again = js("""
        const file = new File(["hello, ", "wörld"], "a b.txt", { type: "text/plain" });
        const url = await fal.storage.upload(file);
        return [url, await (await fetch(url)).text()];
    """)
    assert again == "hello, wörld"
    stored = emulator.storage[url]
    assert (stored.data.decode(), stored.content_type) == (again, "text/plain")
    assert (stored.name, stored.came, stored.owner) == ("a b.txt", "put", "conformance")
    assert emulator.requests == {"initiate": 1, "put": 1, "download": 1}


def test_a_blob_is_named_by_the_client(js: Node, emulator: ThreadedEmulator) -> None:
    js('await fal.storage.upload(new Blob(["{}"], { type: "application/json" }))')
    js('await fal.storage.upload(new Blob(["?"]))')
    first, second = emulator.storage
    assert first.name is not None
    assert first.name.endswith(".json")
    assert second.content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("expires_in", "seconds"), [("immediate", 60), ("7d", 604_800), (90, 90), ("never", None)]
)
def test_a_file_lives_as_long_as_was_asked_for(
    js: Node, emulator: ThreadedEmulator, expires_in: str | int, seconds: int | None
) -> None:
    url = js(
        "return await fal.storage.upload(new Blob(['x']), {lifecycle: {expiresIn: given.in}})",
        **{"in": expires_in},
    )
    stored = emulator.storage[url]
    lives = None if stored.expires is None else round(stored.expires - stored.created)
    assert lives == seconds


def test_a_file_is_read_by_whom_the_owner_lets(js: Node, emulator: ThreadedEmulator) -> None:
    url, status = js("""
        const lifecycle = { initialAcl: { default: "hide", rules: [] } };
        const url = await fal.storage.upload(new Blob(["secret"]), { lifecycle });
        return [url, (await fetch(url)).status];
    """)
    acl = emulator.storage[url].acl
    assert acl is not None
    assert (acl.default, status) == ("hide", 404)


def test_a_large_file_is_uploaded_in_parts_and_one_that_fails_again(
    js: Node, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add(Fault("ingress_503", operation="part", nth=10))
    url, digest = js(UPLOAD_LARGE, size=LARGE)
    stored = emulator.storage[url]
    assert (stored.size, stored.came) == (LARGE, "presigned_parts")
    assert hashlib.sha256(stored.data).hexdigest() == digest
    assert (stored.name, stored.content_type) == ("film.mp4", "video/mp4")
    assert emulator.requests == {"initiate": 1, "part": 11, "complete": 1}


def test_a_key_that_nobody_has_uploads_nothing(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown("""
        const stranger = createFalClient({ credentials: "someone:else" });
        await stranger.storage.upload(new Blob(["x"]));
    """)
    assert (error["class"], error["status"]) == ("ApiError", 401)
    assert len(emulator.storage) == 0
