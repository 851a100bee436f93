"""requests and httpx by themselves, as programs without any client of fal's use them."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.emulator import ThreadedEmulator

HEADERS = {"Authorization": "Key an-id:a-secret"}


@pytest.mark.parametrize("name", ["requests", "httpx"])
def test_a_call_is_answered_and_its_picture_downloaded(
    emulator: ThreadedEmulator, name: str
) -> None:
    library: Any = pytest.importorskip(name, reason=f"{name} is not installed")
    url = "https://fal.run/fal-ai/fast-sdxl"
    answer = library.post(url, json={"prompt": "a cat"}, headers=HEADERS)
    assert answer.status_code == 200
    picture = library.get(answer.json()["images"][0]["url"])
    assert picture.content.startswith(b"\xff\xd8\xff")
    assert emulator.ledger.billed() == 1


@pytest.mark.parametrize("name", ["requests", "httpx"])
def test_no_other_host_is_reached(emulator: ThreadedEmulator, name: str) -> None:
    library: Any = pytest.importorskip(name, reason=f"{name} is not installed")
    errors = library.exceptions.ProxyError if name == "requests" else library.ProxyError
    with pytest.raises(errors, match="403"):
        library.get("https://example.com/")
    assert emulator.received == 0
