"""Callers who move files: up, down, and in the inputs of calls."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Any, Final

from benchmarks.soaking.caller import Caller, caller
from benchmarks.soaking.models import content_of
from fal_async import File

__all__: list[str] = []

#: After which a transfer is given up, in seconds: one that stalls is tried again after a minute.
_PATIENCE: Final = 8.0
#: Bytes of what goes up in two parts and a bit.
_LARGE: Final = 21 * 1024 * 1024


def _file(c: Caller, size: int) -> bytes:
    return content_of(f"{c.chance.random()}", size)


async def _same(c: Caller, content: bytes, file: File) -> None:
    """See whether it is there, and is that."""
    found = await c.other.read(file)
    if found != content:
        c.book.wrong.append(
            f"a file of {len(content)} bytes came back with {len(found)}: {file.url}"
        )


@caller(weight=5, seconds=2 * _PATIENCE)
async def upload(c: Caller) -> None:
    content = _file(c, c.chance.choice([0, 1, 5_000, 200_000]))
    path = c.folder / "a file.bin"
    path.write_bytes(content)
    given: Any = c.chance.choice([content, path, None])
    with c.book.aside("an upload"):
        async with asyncio.timeout(_PATIENCE):
            if given is None:
                with path.open("rb") as opened:
                    file = await c.fal.upload(opened, expire="1h")
            else:
                file = await c.fal.upload(given, on_progress=lambda _, __: None)
            await _same(c, content, file)


@caller(weight=0.3, seconds=2 * _PATIENCE)
async def upload_in_parts(c: Caller) -> None:
    if not c.large:
        return
    content = _file(c, _LARGE)

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(content), 1 << 20):
            yield content[start : start + (1 << 20)]

    with c.book.aside("an upload in parts"):
        async with asyncio.timeout(_PATIENCE):
            await _same(c, content, await c.fal.upload(pieces(), file_name="large.bin"))


@caller(weight=4, seconds=3 * _PATIENCE)
async def download(c: Caller) -> None:
    size, durable = c.chance.choice([0, 500, 150_000]), c.chance.random() < 0.3
    story = c.book.open("run of what makes files", f"durable: {durable}")
    output: Any = None
    with c.book.telling(story):
        given = c.input(story, files=2, size=size)
        output = await c.fal.run("soak/files", given, durable=durable, timeout=3.0)
        c.book.compare(story, output)
    if not isinstance(output, dict) or "images" not in output:
        return
    with c.book.aside("a download"):
        async with asyncio.timeout(_PATIENCE):
            whole = c.chance.random() < 0.5
            found = await c.fal.download(output if whole else output["images"][0], c.folder / "in/")
            for number, saved in enumerate(found if isinstance(found, list) else [found]):
                content = saved.path.read_bytes()
                if content != content_of(f"{story.marker}.{number}", size):
                    what = f"another one, of {len(content)} bytes and not {size}: {content[:50]!r}"
                    c.book.wrong.append(f"{story}\n    its file {number} is {what}")


@caller(weight=5, seconds=3 * _PATIENCE)
async def file_in_input(c: Caller) -> None:
    """It goes up first, and the model finds it."""
    own = c.chance.random() < 0.5
    content = (
        _file(c, 3_000) if own else content_of(f"{c.book.prefix} {c.chance.randrange(5)}", 3_000)
    )
    path = c.folder / "picture.png"
    path.write_bytes(content)
    file: Any = c.chance.choice([path, File.local(content, content_type="image/png")])
    durable = c.chance.random() < 0.3
    story = c.book.open("run with a file", f"own: {own}, durable: {durable}", promised=False)
    with c.book.telling(story):
        sha256 = hashlib.sha256(content).hexdigest()
        given = c.input(story, file=file, sha256=sha256)
        inline = c.chance.choice([0, 0, 5_000])
        async with asyncio.timeout(2 * _PATIENCE):
            output = await c.fal.run(
                "soak/look", given, durable=durable, inline_below=inline, timeout=3.0
            )
        c.book.compare(story, output)
