"""Files go up, whatever they are given as; and the key goes nowhere that it does not belong."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fal_async import (
    AclRule,
    AsyncFal,
    AuthenticationError,
    File,
    InitialAcl,
    InputError,
    LifecyclePreference,
    MissingKeyError,
    SessionError,
)
from fal_async.transport.clock import LoopClock
from tests.support.storage_server import Storage
from tests.support.uploads import CONTENT, KEY, PART, uploader

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


async def in_pieces(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


class OnlyReads:
    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 7000))


class ReadsAsync:
    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    async def read(self, size: int) -> bytes:
        return self._file.read(size)


def in_steps(content: bytes) -> memoryview:
    twice = bytearray(2 * len(content))
    twice[::2] = content
    return memoryview(twice)[::2]


FORMS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "not contiguous": in_steps,
    "BytesIO": io.BytesIO,
    "a reader": OnlyReads,
    "an async reader": ReadsAsync,
    "async iterator": in_pieces,
    "in one piece": lambda content: in_pieces(content, 1 << 20),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, len(CONTENT)])
async def test_whatever_form_it_has_the_same_bytes_arrive(form: str, size: int) -> None:
    content = CONTENT[len(CONTENT) - size :]
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        file = await uploads.upload(FORMS[form](content), content_type="x/y", file_name="a b.bin")
    assert storage.files[file.url] == content
    assert (file.content_type, file.file_name, file.file_size) == ("x/y", "a b.bin", size)
    assert ("create" in storage.count()) == (size > PART)
    assert storage.completed in ([], [list(range(1, -(-size // PART) + 1))])


@pytest.mark.parametrize("size", [0, PART, len(CONTENT), 3 * 1024 * 1024 + 5])
async def test_files_go_up_from_a_path_and_opened(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(CONTENT[:size] + bytes(max(0, size - len(CONTENT))))
    async with Storage() as storage, uploader(storage.hosts, part_size=1 << 20) as uploads:
        file = await uploads.upload(path)
        assert storage.files[file.url] == path.read_bytes()
        assert (file.content_type, file.file_name, file.file_size) == ("image/png", "cat.png", size)
        with path.open("rb") as opened:
            opened.seek(size // 2)
            file = await uploads.upload(opened)
            assert not opened.closed
        assert storage.files[file.url] == path.read_bytes()[size // 2 :]
        with tempfile.NamedTemporaryFile() as temporary:
            temporary.write(b"abc")  # still in its buffer
            temporary.seek(1)
            file = await uploads.upload(temporary)  # type: ignore[arg-type]
        assert storage.files[file.url] == b"bc"
        with tempfile.SpooledTemporaryFile() as spooled:
            spooled.write(b"abc")
            spooled.seek(1)
            file = await uploads.upload(spooled)
        assert storage.files[file.url] == b"bc"


async def test_the_content_type_is_that_of_the_name_or_of_the_first_bytes(tmp_path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        kinds = [
            (await uploads.upload(PNG)).content_type,
            (await uploads.upload(PNG, file_name="a.webp")).content_type,
            (await uploads.upload(PNG, file_name="a.webp", content_type="image/x")).content_type,
            (await uploads.upload(in_pieces(PNG, 3))).content_type,
            (await uploads.upload(b"who knows")).content_type,
        ]
        named = await uploads.upload(PNG)
    assert kinds == [
        "image/png",
        "image/webp",
        "image/x",
        "image/png",
        "application/octet-stream",
    ]
    assert named.file_name == "file.png"


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a cat.png", "a cat.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\boot.ini", "boot.ini"),
        ("Kätzchen 猫.png", "K%C3%A4tzchen %E7%8C%AB.png"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
    ],
)
async def test_names_of_any_kind_are_names_and_nothing_more(name: str, sent: str) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        await uploads.upload(b"x", file_name=name)
    [facts] = storage.facts.values()
    assert facts["X-Fal-File-Name"] == sent
    assert "X-Evil" not in facts


async def test_lifetime_and_readers_are_said_in_every_way_of_uploading() -> None:
    acl = InitialAcl("hide", [AclRule("a", "allow")])
    said = (
        '{"expiration_duration_seconds":3600,"initial_acl":'
        '{"default":"hide","rules":[{"user":"a","decision":"allow"}]}}'
    )
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        await uploads.upload(b"x", expire="1h", acl=acl)
        await uploads.upload(CONTENT, expire=LifecyclePreference(3600, acl))
        storage.faults["token"] = [503] * 9
        await uploads.upload(b"x", expire=3600, acl=acl, key="another")
    for facts in storage.facts.values():
        assert facts["X-Fal-Object-Lifecycle-Preference"] == said
        assert facts["X-Fal-Object-Lifecycle"] == said
    assert len(storage.facts) == 3
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        await uploads.upload(b"x", acl=acl)
        await uploads.upload(b"x")
    private, plain = storage.facts.values()
    assert "expiration" not in private["X-Fal-Object-Lifecycle"]
    assert "X-Fal-Object-Lifecycle" not in plain


class Picture:
    """What Pillow's look like from outside."""

    mode = "RGB"

    def save(self, fp: Any, format: str | None = None) -> None:
        if format == "GIF":
            raise OSError("cannot write mode")
        fp.write(f"{format} of a cat".encode())


Picture.__module__ = "PIL.Image"


async def test_a_pillow_image_becomes_a_png_or_what_is_asked_for() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        png = await uploads.upload(Picture())
        jpeg = await uploads.upload(Picture(), file_name="a.jpg")
        webp = await uploads.upload(Picture(), content_type="image/webp")
        assert [storage.files[file.url] for file in (png, jpeg, webp)] == [
            b"PNG of a cat",
            b"JPEG of a cat",
            b"WEBP of a cat",
        ]
        assert (png.content_type, png.file_name) == ("image/png", "file.png")
        with pytest.raises(InputError, match="cannot save the image"):
            await uploads.upload(Picture(), content_type="image/gif")
        with pytest.raises(InputError, match="is uploaded as one of"):
            await uploads.upload(Picture(), content_type="image/heic")


class BytesPath(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"cat.png"


# --- what cannot be uploaded ----------------------------------------------------------------------------


async def test_what_cannot_be_uploaded_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    closed = io.BytesIO()
    closed.close()
    (tmp_path / "file").write_bytes(b"")
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (str(tmp_path / "file"), {}, "never taken for a path"),
        (BytesPath(), {}, "text, not bytes"),
        (7, {}, "upload takes"),
        ([b"x"], {}, "upload takes"),
        (tmp_path, {}, "folder"),
        (tmp_path / "none", {}, "'none': there is no such file"),
        (tmp_path / "file" / "x", {}, "no such file"),
        (tmp_path / ("x" * 300), {}, "too long a name"),
        (tmp_path / "a\0b", {}, "is no path"),
        (tmp_path / "pipe", {}, "no regular file"),
        (io.StringIO("x"), {}, "'rb'"),
        (closed, {}, "closed"),
        (b"x", {"content_type": "a\nb"}, "media type"),
        (b"x", {"file_name": 7}, "file_name"),
        (b"x", {"expire": 0}, "for ever"),
        (b"x", {"acl": "me"}, "initial_acl"),
        (b"x", {"on_progress": 7}, "on_progress"),
        (b"x", {"key": ""}, "key"),
        (
            b"x",
            {"acl": InitialAcl("hide"), "expire": LifecyclePreference(9, InitialAcl("hide"))},
            "given twice",
        ),
    ]
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        for data, more, said in cases:
            with pytest.raises(InputError, match=said):
                await uploads.upload(data, **more)
    assert storage.asked == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        with pytest.raises(InputError, match="may not be read"):
            await uploads.upload(path)


async def test_a_stream_of_anything_but_bytes_is_refused() -> None:
    async def texts() -> AsyncIterator[Any]:
        yield "x"

    class NotReady:
        def read(self, size: int) -> None:
            return None

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        with pytest.raises(InputError, match="gives str, not bytes"):
            await uploads.upload(texts())
        with pytest.raises(InputError, match="non-blocking"):
            await uploads.upload(NotReady())  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [1000, PART * 3])
async def test_what_a_stream_raises_is_raised_and_ends_the_upload(before: int) -> None:
    closed = []

    async def breaks() -> AsyncIterator[bytes]:
        try:
            yield CONTENT[:before]
            raise ZeroDivisionError
        finally:
            closed.append(True)

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        with pytest.raises(ZeroDivisionError):
            await uploads.upload(breaks())
    assert closed == [True]
    assert storage.files == {}


# --- the key --------------------------------------------------------------------------------------------


async def test_the_key_goes_to_fal_alone_and_never_to_a_presigned_host() -> None:
    async with Storage() as strangers:
        async with (
            Storage(presigned_at=f"{strangers.url}/bucket") as storage,
            uploader(storage.hosts) as uploads,
        ):
            storage.faults["token"] = [503] * 4
            small = await uploads.upload(b"small")
            large = await uploads.upload(CONTENT)
        assert (small.url, large.url) == tuple(
            f"{storage.url}/v3.fal.media/files/{name}" for name in storage.facts
        )
        for asked in storage.asked:
            assert asked.headers["authorization"] == f"Key {KEY}"
        strangers.parts["n1"] = {}
    sent = [asked.what for asked in strangers.asked]
    assert sent[0] == "put"
    assert all(not {"authorization", "cookie"} & asked.headers.keys() for asked in strangers.asked)
    assert strangers.asked[0].headers["content-type"] == "application/octet-stream"
    assert not any("secret" in str(asked.headers) for asked in strangers.asked)


async def test_the_cdn_gets_a_token_and_never_the_key() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        await uploads.upload(b"small")
        await uploads.upload(CONTENT)
    by_cdn = [asked for asked in storage.asked if asked.what != "token"]
    assert len(by_cdn) == 10
    assert {asked.headers["authorization"] for asked in by_cdn} == {"Bearer t1"}


async def test_a_key_of_its_own_gets_a_token_of_its_own() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        await uploads.upload(b"a")
        await uploads.upload(b"b", key="other:key")
        storage.good.add("Bearer t1")
        await uploads.upload(b"c", key="other:key")
        await uploads.upload(b"d")
    keys = [asked.headers["authorization"] for asked in storage.asked if asked.what == "token"]
    assert keys == [f"Key {KEY}", "Key other:key"]


async def test_a_bad_key_is_told_as_everywhere_else() -> None:
    async with Storage() as storage, uploader(storage.hosts, key="bad") as uploads:
        with pytest.raises(AuthenticationError):
            await uploads.upload(b"x")
    assert storage.count() == {"token": 1}


async def test_without_a_key_nothing_is_sent_to_fal() -> None:
    async with AsyncFal(proxies=None) as fal:
        with pytest.raises(MissingKeyError):
            await fal.upload(b"x")


# --- progress -------------------------------------------------------------------------------------------


async def test_progress_only_grows_and_ends_with_everything() -> None:
    told: list[tuple[int, int | None]] = []

    async def note(sent: int, total: int | None) -> None:
        told.append((sent, total))
        await asyncio.sleep(0)  # noqa: TID251 - no time passes

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["part 2"] = [503, "late reset"]
        await uploads.upload(CONTENT, on_progress=note)
        assert told == sorted(told)
        assert told[-1] == (len(CONTENT), len(CONTENT))
        assert len({sent for sent, _ in told}) == len(told)
        told.clear()
        await uploads.upload(in_pieces(CONTENT), on_progress=lambda *at: told.append(at))
        assert {total for _, total in told[:-1]} == {None}
        assert told[-1] == (len(CONTENT), len(CONTENT))
        told.clear()
        await uploads.upload(b"", on_progress=lambda *at: told.append(at))
        assert told == [(0, 0)]


@pytest.mark.parametrize("content", [b"small", CONTENT])
async def test_what_the_progress_callback_raises_ends_the_upload(content: bytes) -> None:
    def stop(sent: int, total: int | None) -> None:
        raise TimeoutError("enough")

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        with pytest.raises(TimeoutError, match="enough"):
            await uploads.upload(content, on_progress=stop)
    assert storage.completed == []


# --- a session's ----------------------------------------------------------------------------------------


async def test_many_files_at_once_share_one_token_and_the_connections() -> None:
    async with Storage() as storage, AsyncFal(KEY, hosts=storage.hosts) as fal:
        files = await asyncio.gather(*(fal.upload(b"%d" % n) for n in range(300)))
        assert [storage.files[file.url] for file in files] == [b"%d" % n for n in range(300)]
        assert storage.count() == {"token": 1, "direct": 300}
        assert storage.most_in_flight <= 64
        assert fal._pool.sockets.made <= 65


async def test_closing_the_session_ends_uploads() -> None:
    async with Storage() as storage, AsyncFal(KEY, hosts=storage.hosts) as fal:
        storage.faults["direct"] = ["silence"]
        upload = asyncio.ensure_future(fal.upload(b"x"))
        await storage.arrival("direct")
        await fal.close()
        with pytest.raises(SessionError):
            await upload
        with pytest.raises(SessionError):
            await fal.upload(b"x")


async def test_one_uploader_serves_one_loop_after_another(tmp_path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts, LoopClock()) as uploads:
        await uploads.upload(b"x")
        uploads._loop = None  # as another loop sees it
        await uploads.upload(b"x")
    assert storage.count() == {"token": 2, "direct": 2}


async def test_an_uploaded_file_stands_for_its_url_in_an_input() -> None:
    file = File(url="https://v3.fal.media/files/a/cat.png", content_type="image/png")
    assert str(file) == f"{file}" == file.url
