"""How a Node program is led to an emulator: by a file that it loads first."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from fal_async.emulator import ThreadedEmulator
from fal_async.emulator.tls.environment import NODE_PRELOAD, node_options
from tests.conformance.js.node import Node, the_node

MODULE = """
import { get } from "node:https";
import { connect } from "node:tls";

const response = await new Promise((resolve) => get("https://fal.run/emulator/request", resolve));
response.destroy();
const socket = connect(443, "queue.fal.run");
await new Promise((resolve) => socket.once("secureConnect", resolve));
console.log(response.statusCode, socket.authorized);
socket.destroy();
"""


def run(
    *arguments: str, env: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    node, _ = the_node()
    return subprocess.run(
        [node, *arguments], env=env, input=text, capture_output=True, text=True, check=False
    )


def test_what_does_not_use_fetch_is_led_there_too(emulator: ThreadedEmulator) -> None:
    done = run("--input-type=module", env=emulator.environment(), text=MODULE)
    assert done.stdout == "401 true\n", done.stderr


def test_a_worker_is_led_there_too(emulator: ThreadedEmulator) -> None:
    code = """
        const { Worker } = require("node:worker_threads");
        const code = `
            fetch("https://fal.run/emulator/nothing", { method: "POST" }).then((response) =>
                console.log(response.status));
        `;
        new Worker(code, { eval: true });
    """
    done = run("-e", code, env=emulator.environment())
    assert done.stdout == "401\n", done.stderr
    assert emulator.received == 1


@pytest.mark.parametrize("host", ["fal.media", "v2.fal.media", "fal.ai", "auth.fal.ai"])
def test_a_host_of_fal_that_it_does_not_answer_for_is_not_called(js: Node, host: str) -> None:
    said = js(
        "return await fetch(`https://${given.host}/`).catch((error) => error.cause.message)",
        host=host,
    )
    assert said.startswith("Hostname/IP does not match certificate's altnames")


def test_other_servers_are_reached_as_ever(js: Node) -> None:
    with ThreadedEmulator() as other:
        said = js(
            """
            const init = { method: "POST", body: '{"a": 1}' };
            const url = `${given.url}/fal.run/emulator/echo`;
            return [
                await (await fetch(url, init)).json(),
                await (await fetch(url.replace("127.0.0.1", "localhost"), init)).json(),
            ];
            """,
            url=other.url,
        )
        assert said == [{"a": 1}] * 2
        assert other.received == 2


def test_without_an_emulator_nothing_runs() -> None:
    done = run(
        "-e", "console.log('it runs')", env={"NODE_OPTIONS": node_options(str(NODE_PRELOAD))}
    )
    assert done.returncode != 0
    assert "HTTPS_PROXY is not set: it says where the emulator of fal is" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["plain", "two words", 'a "quoted" one', "back\\slash"])
def test_the_file_may_be_anywhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "first.cjs").write_text("console.log('first')", encoding="utf-8")
    options = node_options(str(folder / "first.cjs"))
    assert run("-e", "0", env={"NODE_OPTIONS": options}).stdout == "first\n"
