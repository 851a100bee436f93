"""Fetching files: whole or not at all, whatever server, disk and caller do; and without the key."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fal_async import AsyncFal, Billing, DownloadError
from fal_async.emulator import Emulator, MadeFile
from fal_async.features.landing import disk_error
from fal_async.policy.patience import Patience
from tests.support.downloads import (
    CONTENT,
    ETAG,
    KEY,
    cut,
    downloader,
    files,
    redirect,
    rest,
    served,
    whole,
)
from tests.support.fakes import VirtualClock
from tests.support.scripted_server import Act, Script, head, message, say_and, silence
from tests.support.virtual_time import in_virtual_time, turns


async def saved_from(*acts: Act, to: Path, clock: Any = None) -> list[dict[str, str]]:
    """Save over these acts to ``to / "cat.png"``; the headers of each request."""
    async with Script(*acts) as server, downloader(clock or VirtualClock()) as fetches:
        done = await fetches.save(f"{server.url}/files/cat.png", to / "cat.png")
        assert done.path == to / "cat.png"
        assert done.size == len(CONTENT)
        assert done.path.read_bytes() == CONTENT
        assert files(to) == ["cat.png"]
        return [request.headers for request in server.requests]


async def failure_of(*acts: Act, to: Path, clock: Any = None, path: str = "/a") -> DownloadError:
    async with Script(*acts) as server, downloader(clock or VirtualClock()) as fetches:
        with pytest.raises(DownloadError) as raised:
            await fetches.save(f"{server.url}{path}?signature=secret", to / "cat.png")
    assert files(to) == []
    assert raised.value.billing is Billing.NOT_BILLED
    assert "secret" not in str(raised.value)
    return raised.value


def content_of(path: Path) -> str:
    return path.read_text()


# --- what is fetched ------------------------------------------------------------------------------------


async def test_a_file_is_saved_whole_and_no_key_goes_along(tmp_path: Path) -> None:
    [headers] = await saved_from(served(), to=tmp_path)
    assert not {"authorization", "cookie", "range"} & headers.keys()
    assert headers["accept-encoding"] == "identity"


async def test_what_the_server_calls_it_decides_the_name_where_that_is_asked(
    tmp_path: Path,
) -> None:
    async with Script(served(Content_Type="Image/PNG; x=y")) as server, downloader() as fetches:
        done = await fetches.save(
            server.url, lambda kind: tmp_path / (kind or "").replace("/", ".")
        )
    assert (done.path.name, done.content_type) == ("image.png", "image/png")


async def test_a_file_of_no_bytes_is_a_file(tmp_path: Path) -> None:
    async with Script(served(b"")) as server, downloader() as fetches:
        done = await fetches.save(server.url, tmp_path / "a")
    assert (done.size, done.path.read_bytes()) == (0, b"")


async def test_a_body_without_a_length_ends_with_its_connection(tmp_path: Path) -> None:
    act = say_and(head(200, {"Content-Type": "image/png"}) + b"abc", "finish")
    async with Script(act) as server, downloader() as fetches:
        assert (await fetches.save(server.url, tmp_path / "a")).size == 3


async def test_data_uris_are_files_too(tmp_path: Path) -> None:
    async with downloader() as fetches:
        done = await fetches.save("data:Image/webp;base64,AAEC", tmp_path / "a.webp")
        assert await fetches.read("data:,x") == b"x"
        with pytest.raises(DownloadError, match="larger than 1 bytes"):
            await fetches.read("data:,xy", most=1)
        with pytest.raises(DownloadError, match="base64 is damaged"):
            await fetches.save("data:;base64,A", tmp_path / "b")
    assert (done.path.read_bytes(), done.content_type) == (b"\x00\x01\x02", "image/webp")
    assert files(tmp_path) == ["a.webp"]


async def test_a_file_may_be_read_into_memory_up_to_a_size() -> None:
    open_ended = say_and(head(200, {}) + b"x" * 2000, "finish")
    async with Script(cut(10_000), served()) as server, downloader(VirtualClock()) as fetches:
        assert await fetches.read(server.url) == CONTENT
        with pytest.raises(DownloadError, match="larger than 1000 bytes"):
            await fetches.read(server.url, most=1000)
    async with Script(open_ended) as server, downloader() as fetches:
        with pytest.raises(DownloadError, match="larger than 1000 bytes"):
            await fetches.read(server.url, most=1000)


# --- what breaks and is got over ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        cut(300_000, ETag="W/weak"),
        cut(300_000, "reset", Accept_Ranges="none"),
        say_and(b"", "finish"),
        say_and(message(503), "go_on"),
        say_and(message(429), "go_on"),
        say_and(b"nonsense\r\n\r\n", "finish"),
    ],
    ids=["closed within", "reset within", "closed", "503", "429", "no http"],
)
async def test_a_passing_failure_is_got_over_and_leaves_nothing_behind(
    tmp_path: Path, broken: Act
) -> None:
    sent = await saved_from(broken, broken, served(), to=tmp_path)
    assert [headers.get("range") for headers in sent] == [None, None, None]


@pytest.mark.parametrize("then", ["finish", "reset"])
async def test_after_a_break_only_the_rest_is_fetched(tmp_path: Path, then: str) -> None:
    # How much of it arrives before a reset is the kernel's choice.
    acts = cut(300_000, then), rest_as_asked()
    _, second = await saved_from(*acts, to=tmp_path)
    assert second["if-range"] == ETAG
    assert then == "reset" or second["range"] == "bytes=300000-"


def rest_as_asked() -> Act:
    async def act(wire: Any) -> bool:
        received = await wire.request()
        start = int(received.headers["range"].removeprefix("bytes=").removesuffix("-"))
        where = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        await wire.say(whole(CONTENT[start:], 206, Content_Range=where))
        return True

    return act


async def test_the_date_of_a_file_serves_where_it_has_no_tag(tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    acts = cut(1000, ETag="W/weak", Last_Modified=date), rest(1000)
    _, second = await saved_from(*acts, to=tmp_path)
    assert (second["range"], second["if-range"]) == ("bytes=1000-", date)


@pytest.mark.parametrize(
    "answer",
    [
        served(),  # another version, or a server that knows no ranges
        say_and(message(416, body=b""), "go_on"),
        rest(999),
        rest(1000, total=7),
        say_and(whole(CONTENT[1000:], 206), "go_on"),
        say_and(whole(b"x", 206, Content_Range="bytes x"), "go_on"),
        say_and(
            whole(
                gzip.compress(CONTENT[1000:]),
                206,
                Content_Range=f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}",
                Content_Encoding="gzip",
            ),
            "go_on",
        ),
    ],
    ids=["whole", "416", "another part", "another size", "no range", "nonsense", "compressed"],
)
async def test_what_is_not_the_rest_is_not_put_behind_the_start(
    tmp_path: Path, answer: Act
) -> None:
    sent = await saved_from(cut(1000), answer, served(), to=tmp_path)
    assert sent[1]["range"] == "bytes=1000-"
    assert all("range" not in headers for headers in sent[2:])


async def test_the_rest_of_a_file_of_unknown_size_is_taken_too(tmp_path: Path) -> None:
    start = b"%x\r\n%b\r\n" % (1000, CONTENT[:1000])
    chunked = head(200, {"ETag": ETAG, "Transfer-Encoding": "chunked"}) + start
    where = f"bytes 1000-{len(CONTENT) - 1}/*"
    last = say_and(whole(CONTENT[1000:], 206, Content_Range=where), "go_on")
    _, second = await saved_from(say_and(chunked, "finish"), last, to=tmp_path)
    assert second["range"] == "bytes=1000-"


async def test_a_part_of_the_rest_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    where = f"bytes 1000-1999/{len(CONTENT)}"
    some = say_and(whole(CONTENT[1000:2000], 206, Content_Range=where), "go_on")
    sent = await saved_from(cut(1000), some, rest(2000), to=tmp_path)
    assert sent[2]["range"] == "bytes=2000-"


async def test_as_long_as_it_gets_on_it_is_not_given_up(tmp_path: Path) -> None:
    blocks = range(0, len(CONTENT), 256 * 1024)
    cuts = []
    for start in blocks:
        part = CONTENT[start : start + 256 * 1024]
        where = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        length = str(len(CONTENT) - start)
        said = head(
            206 if start else 200, {"ETag": ETAG, "Content-Range": where, "Content-Length": length}
        )
        cuts.append(say_and(said + part, "finish" if start + len(part) < len(CONTENT) else "go_on"))
    clock = VirtualClock()
    async with (
        Script(*cuts) as server,
        downloader(clock, patience=Patience(tries=2, budget=1)) as fetches,
    ):
        done = await fetches.save(server.url, tmp_path / "a")
    assert done.path.read_bytes() == CONTENT
    assert len(clock.slept) == len(blocks) - 1


async def test_between_tries_it_waits_longer_and_longer_or_as_it_is_told(tmp_path: Path) -> None:
    clock = VirtualClock(chance=1.0)
    told = say_and(message(429, headers={"Retry-After": "7"}), "go_on")
    broken = say_and(message(500), "go_on")
    await saved_from(broken, broken, told, served(), to=tmp_path, clock=clock)
    assert clock.slept == [0.5, 1.0, 7.0]


async def test_what_never_gets_better_is_told(tmp_path: Path) -> None:
    error = await failure_of(cut(1000, ETag="W/weak"), to=tmp_path)
    assert error.what == "the file did not arrive: the stream broke off"
    assert (error.retryable, error.attempts) == (True, 5)


@in_virtual_time
async def test_a_server_that_falls_silent_is_left() -> None:
    async with Script(silence(), served()) as server, downloader(idle=30) as fetches:
        assert await fetches.read(server.url) == CONTENT
        assert asyncio.get_running_loop().time() > 1030


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "127.0.0.1 answered 404: the file is hidden, expired or was never there"),
        (403, "answered 403: not everybody may read"),
        (410, "the file is gone"),
        (206, "answered 206"),
        (204, "answered 204"),
        (304, "answered 304"),
        (400, "answered 400"),
    ],
)
async def test_a_refusal_is_told_and_not_asked_twice(
    tmp_path: Path, status: int, words: str
) -> None:
    clock = VirtualClock()
    error = await failure_of(say_and(message(status, body=b""), "go_on"), to=tmp_path, clock=clock)
    assert words in error.what
    assert (error.status, clock.slept) == (status, [])


async def test_what_comes_compressed_is_not_taken_for_the_file(tmp_path: Path) -> None:
    error = await failure_of(served(Content_Encoding="gzip"), to=tmp_path)
    assert "compressed" in error.what


async def test_redirects_are_followed_without_anything_more_than_before(tmp_path: Path) -> None:
    async with Script(served()) as stranger:
        first, *_ = await saved_from(redirect("/b", 307), redirect(stranger.url), to=tmp_path)
        assert [request.line for request in stranger.requests] == ["GET / HTTP/1.1"]
        assert "authorization" not in stranger.requests[0].headers
    assert "authorization" not in first


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/again", "redirected more than 5 times"),
        ("file:///etc/passwd", "only http, https and data"),
        ("data:text/plain,x", "only http, https and data"),
        ("http://[broken", "something that is no URL"),
        ("http://:80/", "URL is none"),
    ],
)
async def test_a_redirect_to_anything_but_a_file_is_not_followed(
    tmp_path: Path, location: str, words: str
) -> None:
    assert words in (await failure_of(redirect(location), to=tmp_path)).what


@pytest.mark.parametrize(
    "url",
    [
        "https://[broken",
        "https:///a.png",
        "https://x.test:port/a",
        "http://x.test:0/",
        "ftp://x/a",
        "cat.png",
    ],
)
async def test_what_is_no_url_is_not_asked_for(tmp_path: Path, url: str) -> None:
    async with downloader() as fetches:
        with pytest.raises(DownloadError, match="URL"):
            await fetches.save(url, tmp_path / "a")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "a.localhost.",
        "[::1]",
        "127.1",
        "0x7f.1",
        "2130706433",
        "10.0.0.1",
        "169.254.169.254",
        "[fe80::1%25eth0]",
    ],
)
async def test_an_output_of_the_real_fal_cannot_make_us_ask_our_own_network(host: str) -> None:
    async with downloader(local=False) as fetches:
        with pytest.raises(DownloadError, match="this machine, or into a private network"):
            await fetches.read(f"http://{host}/a")


async def test_a_host_that_is_not_there_is_told_without_the_url(tmp_path: Path) -> None:
    async with Script(served()) as server:
        gone = f"{server.url}/a?signature=secret"
    async with downloader(VirtualClock()) as fetches:
        with pytest.raises(DownloadError, match="no connection to the host") as raised:
            await fetches.save(gone, tmp_path / "a")
    assert "secret" not in str(raised.value)


async def test_a_proxy_is_used_and_is_not_given_the_key_either(tmp_path: Path) -> None:
    async with Script(served()) as proxy, downloader(proxies=proxy.url) as fetches:
        await fetches.save("http://files.example/a.png", tmp_path / "a.png")
        [request] = proxy.requests
    assert request.line == "GET http://files.example/a.png HTTP/1.1"
    assert "authorization" not in request.headers


# --- the disk -------------------------------------------------------------------------------------------


async def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("mine")
    (tmp_path / "cat (2).png").symlink_to(tmp_path / "nowhere")
    async with Script(served()) as server, downloader() as fetches:
        done = await fetches.save(server.url, tmp_path / "cat.png")
    assert done.path.name == "cat (3).png"
    assert (tmp_path / "cat.png").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


async def test_many_at_once_to_one_name_get_a_name_each(tmp_path: Path) -> None:
    async with downloader() as fetches, asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(fetches.save(f"data:,{number}", tmp_path / "a.txt"))
    found = [content_of(tmp_path / name) for name in files(tmp_path)]
    assert sorted(found) == sorted(map(str, range(40)))


@pytest.mark.parametrize("url", ["data:,x", None])
async def test_a_folder_is_made_if_that_is_asked_and_else_missed(
    tmp_path: Path, url: str | None
) -> None:
    async with Script(served()) as server, downloader() as fetches:
        with pytest.raises(DownloadError, match="there is no such folder") as raised:
            await fetches.save(url or server.url, tmp_path / "a" / "b")
        assert isinstance(raised.value.__cause__, FileNotFoundError)
        done = await fetches.save(url or server.url, tmp_path / "c" / "d" / "e", make_folder=True)
        with pytest.raises(DownloadError, match="what should be a folder is a file"):
            await fetches.save(url or server.url, done.path / "f", make_folder=True)
    assert files(tmp_path) == ["c"]


async def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    async with Script(served()) as server, downloader() as fetches:
        with pytest.raises(DownloadError, match="the name is too long"):
            await fetches.save(server.url, tmp_path / ("x" * 300))
    assert files(tmp_path) == []


def test_what_a_disk_says_is_told_in_words_and_without_a_name() -> None:
    error = disk_error(OSError(errno.ENOSPC, "No space left on device", "a-secret-prompt.png"))
    assert error.what == "a file could not be written: the disk is full"
    assert disk_error(OSError("odd")).what == "a file could not be written: OSError"


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
async def test_a_write_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415 - Windows has none

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Script(served()) as server, downloader() as fetches:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
        try:
            with pytest.raises(DownloadError, match="no file that large"):
                await fetches.save(server.url, tmp_path / "a")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == []


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("nothing is forbidden")
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


async def test_a_folder_that_may_not_be_written_to_is_told(forbidden: Path) -> None:
    async with downloader() as fetches:
        with pytest.raises(DownloadError, match="may not be written to"):
            await fetches.save("data:,x", forbidden / "a")


async def test_who_cancels_finds_nothing_left_behind(tmp_path: Path) -> None:
    async with Script(cut(600_000, "hold")) as server, downloader() as fetches:
        task = asyncio.create_task(fetches.save(server.url, tmp_path / "a"))
        while not files(tmp_path):
            await turns(1)
        task.cancel()
        await turns(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert files(tmp_path) == []


# --- at size, and against the emulator ------------------------------------------------------------------


async def test_the_loop_goes_on_while_a_large_file_is_written(tmp_path: Path) -> None:
    size = 100 * 1024 * 1024
    piece = bytes(1024 * 1024)

    async def large(wire: Any) -> bool:
        await wire.request()
        await wire.say(head(200, {"Content-Length": str(size)}))
        for _ in range(size // len(piece)):
            await wire.say(piece)
        return True

    loop = asyncio.get_running_loop()
    longest, last = 0.0, loop.time()

    def tick() -> None:
        nonlocal longest, last, timer
        now = loop.time()
        longest, last = max(longest, now - last), now
        timer = loop.call_later(0.005, tick)

    async with Script(large) as server, downloader() as fetches:
        timer = loop.call_later(0.005, tick)
        done = await fetches.save(server.url, tmp_path / "large")
        timer.cancel()
    assert done.path.stat().st_size == size
    assert longest < 0.25  # a write of 100 MB, or an fsync of it, takes longer


@pytest.mark.parametrize(
    "kind", ["half_body", "reset_in_body", "half_head", "close", "ingress_503"]
)
async def test_the_emulators_cdn_gives_the_rest(tmp_path: Path, kind: str) -> None:
    async with Emulator() as emu, downloader(VirtualClock()) as fetches:

        @emu.model("me/large")
        def large(_: object) -> object:
            return MadeFile(CONTENT, "audio/wav", "wav")

        emu.faults.add(kind, operation="download", nth=1)
        async with AsyncFal(KEY, hosts=emu.hosts) as fal:
            made: Any = await fal.run("me/large", {})
        done = await fetches.save(made["url"], tmp_path / "a.wav")
        assert done.path.read_bytes() == CONTENT
        assert emu.requests["download"] == 2
