"""A real browser without a screen: started once, spoken to over the DevTools protocol.

It can reach nothing beyond loopback: every name is unknown to it. What it would have asked for is
recorded all the same.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whoever asks a person whether a page may speak to loopback gets no answer here.
    "--disable-features=LocalNetworkAccessChecks",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--window-size=1440,1000",
)


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def dumped_dom(binary: str, profile: Path, url: str) -> str:
    """What the page is after it was loaded, as HTML."""
    command = [binary, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@contextmanager
def running_chromium(binary: str, profile: Path) -> Iterator[str]:
    """The address its DevTools are at."""
    command = [binary, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    log = profile.with_suffix(".log")
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [*command, "about:blank"], stdin=subprocess.DEVNULL, stderr=said
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(300):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("DevTools listening on ws://"):
                return "http://" + line.split("://")[1].split("/")[0]
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"no browser: {log.read_text(errors='replace')[-2000:]}")


@attrs.define
class Tab:
    """A page in a window of its own, and what it did."""

    socket: aiohttp.ClientWebSocketResponse
    requests: list[str] = attrs.Factory(list)
    #: What stood in the console but was not asked for by the test: errors, warnings, refusals.
    complaints: list[str] = attrs.Factory(list)
    dialogs: list[str] = attrs.Factory(list)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))
    _answers: dict[int, asyncio.Future[Any]] = attrs.Factory(dict)
    _loaded: asyncio.Event = attrs.Factory(asyncio.Event)

    async def listen(self) -> None:
        async for message in self.socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            else:
                self._note(told["method"], told["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["message"])
            case "Page.loadEventFired":
                self._loaded.set()
            case _:
                pass

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(20):
            told = await answer
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def open(self, url: str) -> None:
        self._loaded.clear()
        await self.ask("Page.navigate", url=url)
        async with asyncio.timeout(20):
            await self._loaded.wait()

    async def see(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited if a promise; as if by a user's hand."""
        how = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        told = await self.ask("Runtime.evaluate", expression=script, **how)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Frame by frame, until the expression is true."""
        loop = f"new Promise((r) => {{ const f = () => ({script}) ? r() : requestAnimationFrame(f); f(); }})"
        await self.see(loop)

    async def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            spoken = {"text": text} if text and kind == "keyDown" else {}
            await self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, **_CODES[key] | spoken
            )


_CODES = {
    "/": {"windowsVirtualKeyCode": 191},
    "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
    "Escape": {"windowsVirtualKeyCode": 27},
    "End": {"windowsVirtualKeyCode": 35},
    "Home": {"windowsVirtualKeyCode": 36},
    "ArrowLeft": {"windowsVirtualKeyCode": 37},
    "ArrowRight": {"windowsVirtualKeyCode": 39},
    "ArrowDown": {"windowsVirtualKeyCode": 40},
}


@asynccontextmanager
async def tab_of(address: str) -> AsyncIterator[Tab]:
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{address}/json/new?about:blank") as response:
            target = await response.json()
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            listening = asyncio.create_task(tab.listen())
            try:
                for domain in ("Page", "Runtime", "Network", "Log"):
                    await tab.ask(f"{domain}.enable")
                yield tab
            finally:
                listening.cancel()
                await asyncio.wait([listening])
        async with session.get(f"{address}/json/close/{target['id']}"):
            pass
