from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from fal_async.cli.commands.emulator import _serve, command
from fal_async.cli.following import CallLog, closing_account
from fal_async.emulator import Emulator
from fal_async.session import AsyncFal
from tests.cli.conftest import Shell
from tests.support.virtual_time import turns

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")


def test_its_url_is_the_first_line_and_it_serves_until_it_is_told_to_stop(shell: Shell) -> None:
    options = "--port 0 --limit 3 --run-time 0.01 --key id:secret --unnamed-limit --fault slow:0"
    with shell.start("emulator", *options.split()) as process:
        assert process.stdout is not None
        url, _, _, export, _ = (process.stdout.readline().strip() for _ in range(5))
        with urllib.request.urlopen(url, timeout=10) as page:
            facts = json.load(page)
        with shell.start("run", "fal-ai/fast-sdxl", "prompt=x", env=pointed(url)) as call:
            answer, _ = call.communicate(timeout=20)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert (facts["service"], facts["limit"]) == ("fal-async emulator", 3)
    assert "images" in json.loads(answer)
    assert process.returncode == 0
    assert export == f"export FAL_EMULATOR_URL={url}"
    assert "received: run 1; ran: 1, billed: 1 (1 units)" in log


def pointed(url: str) -> dict[str, str]:
    path = str(Path(__file__).parents[2])
    return {"FAL_EMULATOR_URL": url, "FAL_KEY": "id:secret", "PYTHONPATH": path}


def test_sigterm_ends_it_in_order_too(shell: Shell) -> None:
    with shell.start("emulator", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert log == "received: nothing; ran: 0, billed: 0 (0 units); refused over the limit: 0\n"


async def test_all_that_ended_is_logged_before_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    emulator = Emulator()
    serving = asyncio.create_task(_serve(emulator, "here", quiet=False))
    while emulator.url.endswith(":0"):
        await turns()
    async with AsyncFal(hosts=emulator.hosts) as fal:
        await fal.run("emulator/echo", {})
    serving.cancel()
    await serving
    said = capsys.readouterr()
    assert said.out.startswith(f"{emulator.url}\n")
    first, last = said.err.splitlines()
    assert "emulator/echo" in first
    assert last.startswith("received: run 1; ran: 1")


def test_a_port_that_is_taken_is_told_in_one_line(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = shell.run("emulator", "--port", str(port))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "--port 0 takes any free port\n"
    )


@pytest.mark.parametrize("fault", ["nonsense", "slow:often"])
def test_a_fault_that_is_none_is_refused(shell: Shell, fault: str) -> None:
    result = shell.run("emulator", "--fault", fault)
    assert result.exit_code == 2
    assert f"--fault {fault}" in result.stderr


def test_an_address_that_is_none_of_this_machine_is_told_as_what_it_is(shell: Shell) -> None:
    result = shell.run("emulator", "--port", "0", "--host", "999.1.1.1")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: cannot listen on 999.1.1.1:0: ")
    assert "Unknown error" not in result.stderr
    assert "any free port" not in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--latency", "nan"], "'--latency': nan is no number of seconds"),
        (["--run-time", "inf"], "'--run-time': inf is no number of seconds"),
        (["--key", "me"], "--key: a key is key_id:key_secret"),
        (["--key", "me:"], "--key: a key is key_id:key_secret"),
        (["--fault", "reset:2"], "--fault reset:2: a probability is from 0 to 1"),
        (["--fault", "reset:nan"], "--fault reset:nan: a probability is from 0 to 1"),
    ],
)
def test_what_an_option_cannot_mean_is_refused(shell: Shell, options: list[str], said: str) -> None:
    result = shell.run("emulator", "--port", "0", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_its_port_is_the_same_each_time_unless_told_otherwise() -> None:
    port = next(option for option in command.params if option.name == "port")
    assert port.default == 8765


async def test_each_call_is_logged_once_when_it_has_ended() -> None:
    async with Emulator(limit=1) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        log = CallLog(emulator)
        assert log.news() == []
        await fal.run("fal-ai/fast-sdxl", {"prompt": "a secret wish"})
        await fal.run("emulator/echo", {})
        first, second = log.news()
        assert first.split()[:2] == ["fal-ai/fast-sdxl", "200"]
        assert "billed 1" in first
        assert "wish" not in first
        assert second.startswith("emulator/echo")
        assert log.news() == []


async def test_calls_of_every_kind_are_in_the_account_at_the_end() -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        await fal.run("emulator/echo", {})
        await fal.run("emulator/echo", {}, durable=True)
        async with fal.websocket("emulator/echo") as connection:
            await connection.run({})
        assert closing_account(emulator) == (
            "received: run 1, submit 1, websocket 1; ran: 3, billed: 3 (3 units); "
            "refused over the limit: 0"
        )


async def test_refusals_are_logged_with_the_limit() -> None:
    async with Emulator(limit=1) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        log, refused = CallLog(emulator), []

        async def ask(_: object) -> None:
            refused.extend(log.news())

        emulator.model("test/asker")(ask)
        emulator.limit = 0
        emulator.model("test/own", own=True)(ask)
        call = fal.run("test/asker", {}, timeout=0.05)
        with pytest.raises(TimeoutError):
            await call
        await fal.run("test/own", {})
    assert refused[0].endswith("refused (429): over the limit of 0")
