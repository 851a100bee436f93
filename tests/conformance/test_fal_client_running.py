"""fal-client's direct calls and event streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import ThreadedEmulator
from tests.conformance.either import done, drained

fal_client = pytest.importorskip("fal_client", reason="fal-client is not installed")


async def test_a_picture_is_made_and_is_where_its_url_says(
    client: Any, emulator: ThreadedEmulator
) -> None:
    output = await done(client.run, "fal-ai/fast-sdxl", {"prompt": "a cat", "seed": 2**64 - 1})
    [image] = output["images"]
    assert image["url"].startswith("https://v3.fal.media/files/")
    assert output["seed"] == 2**64 - 1
    assert emulator.storage[image["url"]].content_type == "image/jpeg"
    assert emulator.ledger.billed("fal-ai/fast-sdxl") == 1


async def test_the_call_arrives_as_it_was_made(client: Any) -> None:
    sent = await done(
        client.run,
        "emulator/request",
        {"prompt": "a cat"},
        path="/sub/path",
        hint="warm",
        start_timeout=30,
        headers={"X-Fal-Store-IO": "0"},
    )
    assert (sent["method"], sent["path"]) == ("POST", "/sub/path")
    assert (sent["input"], sent["key_id"]) == ({"prompt": "a cat"}, "an-id")
    headers = sent["headers"]
    assert headers["x-fal-runner-hint"] == "warm"
    assert headers["x-fal-request-timeout"] == "30.0"
    assert headers["x-fal-store-io"] == "0"
    assert headers["user-agent"] == "fal-client/1.0.3 (python)"


async def test_a_get_brings_no_input(client: Any) -> None:
    sent = await done(client.run, "emulator/request", {"lost": True}, method="GET")
    assert (sent["method"], sent["input"]) == ("GET", {})


@pytest.mark.parametrize("id", ["workflows/emulator/described-picture", "fal-ai/flux/dev"])
async def test_models_of_any_length_of_name_are_found(client: Any, id: str) -> None:
    assert await done(client.run, id, {"prompt": "a cat"})


async def test_files_by_value_are_taken(
    client: Any, emulator: ThreadedEmulator, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a cat")
    encoded = [fal_client.encode("a cat", "text/plain"), fal_client.encode_file(tmp_path / "a.txt")]
    assert await done(client.run, "emulator/echo", {"files": encoded}) == {
        "files": ["data:text/plain;base64,YSBjYXQ="] * 2
    }


async def test_a_stream_gives_its_events(client: Any, emulator: ThreadedEmulator) -> None:
    events = await drained(client.stream, "fal-ai/any-llm", {"prompt": "hello"})
    assert len(events) > 1
    assert [event["partial"] for event in events[:-1]] == [True] * (len(events) - 1)
    assert events[-1]["partial"] is False
    assert events[-1]["output"].startswith(events[0]["output"])
    assert emulator.requests["stream"] == 1


async def test_a_workflow_streams_what_its_steps_do(client: Any) -> None:
    events = await drained(
        client.stream, "workflows/emulator/described-picture", {"prompt": "a cat"}
    )
    kinds = [event["type"] for event in events]
    assert {"submit", "completion", "output"} <= {*kinds}
    assert kinds[-1] == "output"
