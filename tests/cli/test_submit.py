from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fal_async.emulator import Emulator
from fal_async.features.handle import RequestHandle
from tests.cli.conftest import Shell, on_a_terminal


def test_a_handle_is_printed_when_piped_and_leads_to_the_request(
    shell: Shell, emulator: Emulator
) -> None:
    result = shell.run("submit", "emulator/echo/deep", "--input", "-", "a=1", stdin='{"b": 2}')
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    handle = RequestHandle.from_dict(json.loads(result.stdout))
    assert handle.status_url is not None
    assert handle.status_url.startswith(emulator.url)
    fetched = shell.run("result", handle.model, handle.request_id)
    assert json.loads(fetched.stdout) == {"b": 2, "a": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_gets_the_id(shell: Shell, emulator: Emulator) -> None:
    shown = on_a_terminal(shell, "submit", "emulator/echo", "a=1")
    (job,) = emulator.queue
    assert shown == f"{job.request_id}\r\n"


def test_options_reach_the_wire(shell: Shell, emulator: Emulator) -> None:
    options = "--expire 2h --start-timeout 30 --hint h1 --tag team=art --priority low --no-retry"
    request_id = shell.submit("emulator/request", *options.split())
    seen = json.loads(shell.run("result", "emulator/request", request_id).stdout)
    wanted = {
        "x-fal-object-lifecycle-preference": '{"expiration_duration_seconds":7200}',
        "x-fal-request-timeout": "30",
        "x-fal-runner-hint": "h1",
        "x-fal-tags": "team=art",
        "x-fal-queue-priority": "low",
        "x-fal-no-retry": "1",
    }
    assert {name: seen["headers"].get(name) for name in wanted} == wanted


def test_it_may_ask_to_be_told_of_the_end(shell: Shell, emulator: Emulator) -> None:
    hook = "https://example.com/hook?of=mine"
    request_id = shell.submit("emulator/echo", "--webhook", hook)
    assert emulator.queue.request(request_id).webhook == hook


def test_a_queue_that_is_too_long_is_refused_for_nothing(shell: Shell, emulator: Emulator) -> None:
    emulator.limit = 0  # so that they wait
    shell.submit("emulator/echo")
    result = shell.run("submit", "emulator/echo", "--max-queue-length", "0")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "Not billed." in result.stderr
    assert len(emulator.queue) == 1


def test_a_submit_whose_answer_is_lost_is_not_sent_again(shell: Shell, emulator: Emulator) -> None:
    emulator.faults.add("close", operation="submit")
    result = shell.run("submit", "emulator/echo", "a=1")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "It may have been billed." in result.stderr
    assert emulator.requests["submit"] == 1


def test_a_file_of_the_input_goes_up_and_its_url_is_sent(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    request_id = shell.submit("emulator/echo", "image_url=@photo.png", "--inline-below", "2")
    sent = json.loads(shell.run("result", "emulator/echo", request_id).stdout)
    assert emulator.storage[sent["image_url"]].data == b"a photo"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nope",), "is not a model id"),
        (("emulator/echo", "a"), "is no name=value"),
        (("emulator/echo", "--webhook", "here"), "webhook_url is an absolute URL"),
        (("emulator/echo", "--priority", "high"), "--priority"),
    ],
)
def test_what_cannot_be_sent_is_told_before_anything_is(
    shell: Shell, emulator: Emulator, words: tuple[str, ...], says: str
) -> None:
    result = shell.run("submit", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert emulator.requests["submit"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to be had")
def test_a_request_whose_handle_cannot_be_printed_can_still_be_found(
    shell: Shell, emulator: Emulator
) -> None:
    with (
        Path("/dev/full").open("w") as full,
        shell.start("submit", "emulator/echo", stdout=full) as process,
    ):
        said = process.communicate()[1]
    assert process.returncode == 6
    assert "its handle cannot be printed: No space left on device" in said
    [request] = emulator.queue.requests()
    assert f"fal-async status emulator/echo {request.request_id} --follow" in said
    assert "Traceback" not in said
