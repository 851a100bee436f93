"""What the type checkers infer of files up and down. Checked, never run."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from fal_async import AsyncFal, Downloaded, File, ImageOutput, InitialAcl, OnProgress, Uploadable


async def gives_bytes() -> AsyncIterator[bytes]:
    yield b""


async def up(fal: AsyncFal, anything: Uploadable, tell: OnProgress) -> None:
    assert_type(await fal.upload(Path("a"), expire="1d", acl=InitialAcl("hide")), File)
    assert_type(await fal.upload(b"x", on_progress=print), File)
    await fal.upload(gives_bytes(), on_progress=tell)
    await fal.upload(io.BytesIO())
    await fal.upload(anything)
    with open("a", "rb") as file:  # noqa: ASYNC230, PTH123 - never run
        await fal.upload(file)
    await fal.upload("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await fal.upload(io.StringIO())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def down(fal: AsyncFal, output: ImageOutput) -> None:
    assert_type(await fal.download("https://a/b", "b"), Downloaded)
    assert_type(await fal.download(output.images[0], Path("b")), Downloaded)
    assert_type(await fal.download(output, "folder"), list[Downloaded])
    assert_type(await fal.download(output.images, "folder"), list[Downloaded])
    assert_type(await fal.download("https://a/b", io.BytesIO()), int)
    assert_type(await fal.read(output.images[0]), bytes)
