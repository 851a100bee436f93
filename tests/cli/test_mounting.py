"""``fal-async emulator --app``: the user's own applications, from modules and from the folder they are in."""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from pathlib import Path

import click
import pytest

from fal_async.cli.mounting import mounted
from tests.cli.conftest import Shell

APP = """
import json

print("I am being imported")


class Apps:
    @staticmethod
    async def echo(scope, receive, send):
        if scope["type"] == "lifespan":
            print("I am starting")
            await receive()
            await send({"type": "lifespan.startup.%s", "message": "no disk"})
            await receive()
            print("I am ending")
            return await send({"type": "lifespan.shutdown.complete"})
        body = (await receive())["body"]
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": json.dumps(scope["path"]).encode()})


number = 7
"""


@pytest.fixture
def module(shell: Shell, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a module that is in the folder of whoever calls."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    name = f"own_{abs(hash(request.node.name))}"
    Path(f"{name}.py").write_text(APP % "complete", encoding="utf-8")
    return name


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
def test_it_is_served_beside_the_other_models_and_what_it_prints_does_not_come_before_the_url(
    shell: Shell, module: str
) -> None:
    options = f"--port 0 --app me/app={module}:Apps.echo --app me/other={module}:Apps.echo"
    with shell.start("emulator", *options.split()) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        request = urllib.request.Request(f"{url}/fal.run/me/other/sub", b"{}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = json.load(answer)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert said == "/sub"
    assert process.returncode == 0
    assert "I am being imported" in log
    assert "I am starting" in log
    assert "me/other" in log


def test_one_that_does_not_start_is_told_in_one_line(shell: Shell) -> None:
    Path("broken_app.py").write_text(APP % "failed", encoding="utf-8")
    result = shell.run("emulator", "--port", "0", "--app", "me/app=broken_app:Apps.echo")
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: the application of me/app did not start: no disk\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("me/app", "it is owner/app=package.module:attribute"),
        ("me/app={module}", "it is owner/app=package.module:attribute"),
        ("=:", "it is owner/app=package.module:attribute"),
        ("me/app=no_such_module:app", "No module named 'no_such_module'"),
        ("me/app={module}:nothing", "has no attribute 'nothing'"),
        ("me/app={module}:number", "an ASGI application is callable, which int is not"),
        ("me={module}:Apps.echo", "'me' is not a model id"),
    ],
)
def test_what_is_none_is_refused_with_what_is_wrong(module: str, given: str, said: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        mounted(given.format(module=module))
    assert refused.value.message.startswith(f"--app {given.format(module=module)}: ")
    assert said in refused.value.message
    assert "billed" not in refused.value.message


@pytest.mark.parametrize(
    "mistake", ["import no_such_module", "from json import gone", "None.gone", "len(5)"]
)
def test_a_mistake_within_its_module_is_shown_where_it_is(module: str, mistake: str) -> None:
    Path(f"{module}.py").write_text(f"{mistake}\n", encoding="utf-8")
    with pytest.raises((ImportError, AttributeError, TypeError)) as shown:
        mounted(f"me/app={module}:app")
    assert shown.traceback[-1].path == Path(f"{module}.py").resolve()
