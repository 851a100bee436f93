"""The models of the far end. Each notes the marker of every call that it runs."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import AsyncGenerator, Callable, Mapping
from random import Random
from typing import Any

from fal_async.emulator import (
    AppError,
    Call,
    GpuFaultError,
    MadeFile,
    Model,
    Realtime,
    RefusedError,
    RunnerError,
    RunnerSettings,
    UnhandledError,
)

__all__ = ["FAILURES", "Notes", "content_of", "models"]

#: How a model may fail, as its input asks for.
FAILURES: dict[str, Callable[[], Exception]] = {
    "refused": lambda: RefusedError("content_policy_violation"),
    "refused, units untold": lambda: RefusedError("content_policy_violation", tell_units=False),
    "refused, not billed": lambda: RefusedError("content_policy_violation", billed=False),
    "refused, 500": lambda: RefusedError("internal_server_error", status=500),
    "declared": lambda: AppError(400, "it cannot be done"),
    "declared, billed": lambda: AppError(400, "it cannot be done", billed=True),
    "declared, 503": lambda: AppError(503, "not now"),
    "gpu": GpuFaultError,
    "unhandled": UnhandledError,
    "disconnected": lambda: RunnerError("runner_disconnected"),
    "disconnected, again": lambda: RunnerError("runner_disconnected", needs_retry=True),
    "disconnected, not again": lambda: RunnerError("runner_disconnected", needs_retry=False),
    "internal": lambda: RunnerError("internal_error", needs_retry=True),
}


class Notes:
    """Whose each execution was.

    A model is asked for the length of a run, and a realtime one is called, right after the ledger began an
    execution: so the markers stand in the order of the ledger, one for each execution.

    :ivar wrong: what models found that should not be.
    """

    def __init__(self) -> None:
        self.markers: list[str] = []
        self.wrong: list[str] = []

    def take(self, content: Any) -> str:
        marker = str(content.get("marker", "?")) if isinstance(content, dict) else "?"
        self.markers.append(marker)
        return marker

    def seconds(self, content: Any) -> float:
        """How long the run lasts. Called once for each execution."""
        self.take(content)
        return float(content.get("seconds", 0.0)) if isinstance(content, dict) else 0.0


def content_of(marker: str, size: int) -> bytes:
    """The content of a file that belongs to a call: both ends can make it."""
    block = hashlib.sha256(marker.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {"marker": content["marker"], "made": 1, "padding": "x" * content.get("padding", 0)}


def _failing(content: dict[str, Any]) -> Any:
    failure = FAILURES[content["how"]]()
    raise failure


def _files(content: dict[str, Any]) -> dict[str, Any]:
    marker, size = content["marker"], content["size"]
    made = [
        MadeFile(content_of(f"{marker}.{n}", size), "image/png", "png")
        for n in range(content["files"])
    ]
    return {"marker": marker, "images": made}


async def _words(content: dict[str, Any], call: Call) -> AsyncGenerator[dict[str, Any]]:
    events = content["events"]
    for n in range(events):
        await call.sleep(call.seconds / events)
        if n == content.get("breaks_at"):
            raise UnhandledError
        yield {"marker": content["marker"], "word": n}


async def _job(content: dict[str, Any], call: Call) -> dict[str, Any]:
    for step in range(3):
        call.log(f"step {step}")
    if call.attempt <= content.get("fails_first", 0):
        raise GpuFaultError
    return _plain(content)


def models(notes: Notes, chance: Random, stored: Callable[[str], bytes | None]) -> list[Model]:
    """All of them, with as many runners as ``chance`` has it.

    :param stored: the content of a file on the CDN, if it is there.
    """

    def look(content: dict[str, Any]) -> dict[str, Any]:
        found = _read(content["file"])
        if found is None or hashlib.sha256(found).hexdigest() != content["sha256"]:
            what = "not there" if found is None else f"another one, of {len(found)} bytes"
            notes.wrong.append(f"{content['marker']}: the file of the input is {what}")
        return _plain(content)

    def _read(url: str | Mapping[str, Any]) -> bytes | None:
        if not isinstance(url, str):
            url = str(url["url"])
        if url.startswith("data:"):
            return b64decode(url.partition(",")[2])
        return stored(url)

    def live(content: Any) -> Any:
        notes.take(content)
        return content

    few = RunnerSettings(count=chance.choice([1, 2, 3]), cold_start=chance.choice([0.0, 0.05]))
    many = RunnerSettings(count=chance.choice([None, 8, 16]), keep_warm=0.5)
    common: dict[str, Any] = {"run_time": notes.seconds}
    return [
        Model(id="soak/plain", function=_plain, runners=many, **common),
        Model(id="soak/hot", function=_plain, **common),
        Model(id="soak/few", function=_plain, runners=few, **common),
        Model(id="soak/threaded", function=_plain, thread=True, **common),
        Model(id="soak/failing", function=_failing, **common),
        Model(id="soak/files", function=_files, **common),
        Model(id="soak/look", function=look, **common),
        Model(id="soak/words", function=_words, **common),
        Model(id="soak/job", function=_job, runners=few, **common),
        Model(id="soak/halting", function=_job, cancellable=True, **common),
        Model(
            id="soak/live",
            function=live,
            realtime=Realtime(function=live, idle_timeout=1.0, timings=chance.random() < 0.5),
            **common,
        ),
    ]
