from __future__ import annotations

import io
import re
import struct
import sys
import zlib
from pathlib import Path

import pytest
from rich.console import Console

from fal_async.cli.commands.demo import Board, _status, summary
from fal_async.cli.demonstration import Demonstration, read_prompts
from fal_async.cli.saving import SavingError
from fal_async.errors import Billing, FalError, GatewayError
from tests.cli.conftest import CHECKOUT, Shell, on_a_terminal


def check_png(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG, each of whose chunks is sound and whose pixels are all there."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed, kinds = 8, b"", []
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + size]
        (crc,) = struct.unpack_from(">I", content, at + 8 + size)
        assert zlib.crc32(kind + data) == crc
        kinds.append(kind)
        packed += data if kind == b"IDAT" else b""
        at += 12 + size
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    width, height, depth, colour = struct.unpack_from(">IIBB", content, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    assert len(zlib.decompress(packed)) == height * (1 + (width * bits + 7) // 8)
    return width, height


def test_the_demo_finds_the_limit_and_saves_two_dozen_different_images(
    shell: Shell, tmp_path: Path
) -> None:
    result = shell.run("demo", "--seconds", "0.2", "--limit", "12")
    assert (result.exit_code, result.stderr) == (0, "")
    images = [path.read_bytes() for path in sorted((tmp_path / "out/demo").iterdir())]
    assert len(set(images)) == len(images) == 24
    assert {check_png(image) for image in images} == {(1024, 1024)}
    lines = dict(
        re.findall(r"^(calls|wall time|limit|billed|images) +(.*)$", result.stdout, re.MULTILINE)
    )
    assert lines["calls"] == "24, all answered"
    assert "0.40 s is the ideal" in lines["wall time"]
    assert lines["limit"].startswith("learned 12; ")
    assert lines["billed"] == "24 of 24 executions, 24 units (the emulator's ledger)"
    assert lines["images"].startswith("24 PNG files")
    assert "\x1b" not in result.stdout


def test_a_second_demo_leaves_the_first_ones_images_alone(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("# two\na cat\n\n日本\n", encoding="utf-8")
    for _ in range(2):
        assert shell.run("demo", "--seconds", "0", "--prompts", "few.txt").exit_code == 0
    names = [sorted(path.name for path in (tmp_path / "out" / d).iterdir()) for d in DEMOS]
    assert names == [["01-a-cat.png", "02-image.png"]] * 2


DEMOS = ("demo", "demo-2")


def test_the_users_own_settings_are_not_used(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.txt").write_text("a cat")
    monkeypatch.setenv("FAL_KEY", "broken\n")
    monkeypatch.setenv("FAL_RUN_HOST", "stranger.invalid")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    done = shell.run("demo", "--seconds", "0", "--prompts", "one.txt", "--out", "here")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "here/01-a-cat.png").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"# nothing\n", "no prompt in it"), (b"\xff\xfe", "can't decode")],
    ids=["empty", "no text"],
)
def test_a_file_without_prompts_is_refused(
    shell: Shell, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    result = shell.run("demo", "--prompts", "bad.txt")
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_folder_that_cannot_be_made_is_refused(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = shell.run("demo", "--out", "file/out")
    assert result.exit_code == 2
    assert "--out file/out" in result.stderr


async def test_what_failed_is_told_and_the_rest_is_saved(tmp_path: Path) -> None:
    prompts = ["one", "two", "three"]
    async with Demonstration(prompts, limit=3, seconds=0, folder=tmp_path) as demo:
        demo.emulator.faults.add("ingress_502", nth=2)
        report = await demo.run()
    (failure,) = report.failures
    assert isinstance(failure, GatewayError)
    assert (report.answered, report.images, len(demo.saved)) == (2, 2, 2)
    assert summary(report)["calls"] == "3, 2 answered"


async def test_an_image_that_is_none_is_told(tmp_path: Path) -> None:
    async with Demonstration(["one"], limit=1, seconds=0, folder=tmp_path / "gone") as demo:
        report = await demo.run()
    (failure,) = report.failures
    assert "could not be written" in str(failure)


async def test_the_board_shows_where_it_stands(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    async with Demonstration(["one", "two"], limit=1, seconds=0, folder=tmp_path) as demo:
        console.print(Board(demo))
        await demo.run()
        console.print(Board(demo))
    assert isinstance(console.file, io.StringIO)
    before, after = console.file.getvalue().split("saved", 1)
    assert "0/2" in before
    assert "2/2" in after
    assert "limit" in after


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ((), 0),
        ((GatewayError("x", billing=Billing.UNKNOWN), SavingError("y")), 6),
        ((SavingError("y"), GatewayError("x")), 8),
    ],
    ids=["none", "a call", "a file"],
)
async def test_the_first_failure_decides_the_status(
    tmp_path: Path, failures: tuple[FalError | SavingError, ...], status: int
) -> None:
    async with Demonstration(["one"], limit=1, seconds=0, folder=tmp_path) as demo:
        demo.failures.extend(failures)
        assert _status(await demo.run()) == status


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_sees_it_happen(shell: Shell) -> None:
    shown = on_a_terminal(shell, "demo", "--seconds", "0.2", "--limit", "12")
    assert "in flight" in shown
    assert "24/24" in shown
    assert shown.rstrip().splitlines()[-1].startswith("images     24 PNG files")


def test_there_are_two_dozen_different_prompts_kept_once() -> None:
    prompts = read_prompts(None)
    assert len(set(prompts)) == 24
    assert prompts == read_prompts(CHECKOUT / "examples" / "prompts.txt")
    link = CHECKOUT / "fal_async" / "cli" / "prompts.txt"
    assert link.samefile(CHECKOUT / "examples" / "prompts.txt")
