"""curl, told of nothing but the environment."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import ThreadedEmulator

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
    pytest.mark.usefixtures("emulator"),
]

AUTHORIZED = ("-H", "Authorization: Key an-id:a-secret")
JSON = ("-H", "Content-Type: application/json")


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ("curl", "--silent", "--show-error", "--max-time", "20", *arguments)
    return subprocess.run(command, capture_output=True, check=False)


def said(*arguments: str) -> Any:
    done = curl("--fail", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def test_the_documented_call_is_answered(emulator: ThreadedEmulator) -> None:
    output = said(
        "--request",
        "POST",
        *("--url", "https://fal.run/fal-ai/fast-sdxl"),
        *AUTHORIZED,
        *("--data", '{"prompt": "a cat"}'),  # as a form, says curl: fal minds as little
    )
    done = curl("--fail", output["images"][0]["url"])
    assert done.stdout.startswith(b"\xff\xd8\xff")
    assert emulator.ledger.billed() == 1


def test_the_queue_is_followed_by_its_links() -> None:
    url = "https://queue.fal.run/emulator/echo"
    submitted = said(*AUTHORIZED, *JSON, "--data", '{"i": 1}', url)
    status = {"status": ""}
    while status["status"] != "COMPLETED":
        status = said(*AUTHORIZED, submitted["status_url"] + "?logs=1")
    assert said(*AUTHORIZED, submitted["response_url"]) == {"i": 1}


def test_a_stream_of_statuses_ends_with_the_request() -> None:
    url = "https://queue.fal.run/emulator/echo"
    submitted = said(*AUTHORIZED, *JSON, "--data", '{"i": 1}', url)
    done = curl("--no-buffer", *AUTHORIZED, submitted["status_url"] + "/stream")
    last = done.stdout.decode().strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["status"] == "COMPLETED"


def test_a_large_file_goes_up_and_comes_down(tmp_path: Path) -> None:
    token = said(*AUTHORIZED, *JSON, "--data", "{}", "https://rest.fal.ai/storage/auth/token")
    file, copy = tmp_path / "a.bin", tmp_path / "b.bin"
    file.write_bytes(bytes(range(256)) * (20 << 12))
    uploaded = said(
        *("-H", f"Authorization: {token['token_type']} {token['token']}"),
        *("-H", "Content-Type: application/octet-stream"),
        *("--data-binary", f"@{file}"),
        "https://v3.fal.media/files/upload",
    )
    assert curl("--fail", "--output", str(copy), uploaded["access_url"]).returncode == 0
    assert copy.read_bytes() == file.read_bytes()


def test_one_connection_serves_several_urls(emulator: ThreadedEmulator) -> None:
    url = "https://fal.run/emulator/request"
    done = curl("--verbose", *AUTHORIZED, *JSON, "--data", "{}", url, url, url)
    assert emulator.requests["run"] == 3
    assert done.stderr.count(b"CONNECT fal.run:443 HTTP/1.1\r\n") == 1


def test_no_other_host_is_reached() -> None:
    done = curl("--verbose", "https://example.com/")
    assert done.returncode == 56
    assert b"< HTTP/1.1 403 Forbidden" in done.stderr


def test_without_the_authority_nothing_is_sent(
    emulator: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name)
    assert curl("https://fal.run/emulator/echo", "--data", "{}").returncode == 60
    assert emulator.received == 0
