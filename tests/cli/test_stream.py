from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from fal_async.cli.telling import Told, text_of
from fal_async.emulator import Emulator, Model
from tests.cli.conftest import Shell, on_a_terminal

LLM = "fal-ai/any-llm"


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_event_is_a_line_of_json_when_piped(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("stream", LLM, "prompt=why?")
    assert (result.exit_code, result.stderr) == (0, "")
    events = lines(result.stdout)
    assert len(events) > 5
    assert [event["partial"] for event in events[-2:]] == [True, False]
    assert events[-1]["output"].startswith(events[0]["output"])
    assert emulator.ledger.billed(LLM) == 1


def test_a_persons_text_grows_as_it_comes(shell: Shell, emulator: Emulator) -> None:
    shown = on_a_terminal(shell, "stream", LLM, "prompt=why?")
    whole = lines(shell.run("stream", LLM, "prompt=why?").stdout)[-1]["output"]
    assert shown.replace("\r\n", "\n") == f"{whole}\n"


def test_events_that_are_no_text_are_shown_one_after_the_other(
    shell: Shell, emulator: Emulator
) -> None:
    shown = on_a_terminal(shell, "stream", "fal-ai/flux/dev", "prompt=a cat")
    assert shown.index('"progress"') < shown.index('"images"')


def test_a_workflows_events_are_printed_as_fal_says_them(shell: Shell, emulator: Emulator) -> None:
    model = "workflows/emulator/described-picture"
    events = lines(shell.run("stream", model, "prompt=a cat").stdout)
    assert [event["type"] for event in events] == [
        *("submit", "completion", "submit", "completion", "output")
    ]
    shown = on_a_terminal(shell, "stream", model, "prompt=a cat")
    assert shown.index('"submit"') < shown.index('"completion"') < shown.index('"images"')


def test_a_workflow_that_fails_is_printed_and_then_fails(shell: Shell, emulator: Emulator) -> None:
    result = shell.run(
        "stream", "workflows/emulator/described-picture", "prompt=a cat", "image_size=vast"
    )
    assert result.exit_code == 4
    assert lines(result.stdout)[-1]["type"] == "error"
    assert "the workflow's node picture failed" in result.stderr


def test_what_is_no_json_is_a_json_string(shell: Shell, emulator: Emulator) -> None:
    @emulator.model("test/odd", stream_type="text/event-stream; charset=utf-8")
    async def odd(content: Any) -> Any:
        yield b"data: [DONE\n\n"
        yield b'data: {"a":\ndata: 1}\n\n'

    assert lines(shell.run("stream", "test/odd", "a=1").stdout) == ["[DONE", {"a": 1}]
    shown = on_a_terminal(shell, "stream", "test/odd", "a=1")
    assert "[DONE" in shown


async def sound(content: Any) -> Any:
    yield b"\x00\x01"
    yield b"\x02\n"


def test_an_answer_of_another_type_is_passed_on_and_saved_from_a_terminal(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.register(Model(id="test/sound", function=sound, stream_type="audio/mpeg"))
    assert shell.run("stream", "test/sound", "a=1").stdout_bytes == b"\x00\x01\x02\n"
    assert on_a_terminal(shell, "stream", "test/sound", "a=1") == ""
    [path] = tmp_path.iterdir()
    assert (path.suffix, path.read_bytes()) == (".mp3", b"\x00\x01\x02\n")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ((LLM,), 4, "prompt"),
        (("nope", "prompt=x"), 2, "is not a model id"),
        (("emulator/raw", "a=1"), 4, "404"),
        ((LLM, "prompt=x", "--idle", "0"), 2, "idle"),
    ],
)
def test_a_failure_is_told_and_ends_with_its_status(
    shell: Shell, emulator: Emulator, words: tuple[str, ...], status: int, says: str
) -> None:
    result = shell.run("stream", *words)
    assert result.exit_code == status
    assert says in result.stderr
    assert result.stdout == ""


def test_a_stream_that_breaks_leaves_what_came_and_says_how_far_it_came(
    shell: Shell, emulator: Emulator
) -> None:
    emulator.faults.add("stream_cut", events=3)
    result = shell.run("stream", LLM, "prompt=x")
    assert (result.exit_code, len(lines(result.stdout))) == (6, 3)
    assert "the stream broke off after 3 events" in result.stderr


def test_a_models_own_word_that_it_failed_is_a_failure(shell: Shell, emulator: Emulator) -> None:
    emulator.faults.add("stream_error", body=b'{"error":"out of memory"}')
    result = shell.run("stream", LLM, "prompt=x")
    assert result.exit_code == 6
    assert "the model says: out of memory" in result.stderr


def test_silence_is_a_loss_if_asked_for(shell: Shell, emulator: Emulator) -> None:
    emulator.faults.add("stream_stalls", events=2)
    result = shell.run("stream", LLM, "prompt=x", "--idle", "0.2")
    assert result.exit_code == 6
    assert "fell silent after 2 events" in result.stderr


def test_ctrl_c_ends_it_and_says_that_it_is_billed(shell: Shell, emulator: Emulator) -> None:
    emulator.faults.add("stream_stalls", events=1)
    with shell.start("stream", LLM, "prompt=x") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["partial"] is True
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted: after 1 event; the call is billed in full" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to be had")
def test_a_disk_that_is_full_ends_it_and_it_says_what_that_cost(
    shell: Shell, emulator: Emulator
) -> None:
    words = "stream", LLM, "prompt=a cat"
    with Path("/dev/full").open("w") as full, shell.start(*words, stdout=full) as process:
        said = process.communicate()[1]
    assert process.returncode == 7
    assert "cannot be printed: No space left on device" in said
    assert "billed in full" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", ("a", False)),
        ({"output": "a", "partial": True}, ("a", False)),
        ({"choices": [{"delta": {"content": "a"}}]}, ("a", True)),
        ({"choices": [{"delta": {"role": "assistant"}}]}, ("", True)),
        ({"output": {"a": 1}}, (None, False)),
        ([1], (None, False)),
    ],
)
def test_the_text_of_an_event_is_found_where_models_put_it(value: Any, text: Any) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    "texts",
    [["Hel", "Hello", "Hello, you"], ["Hel", "lo", ", you"]],
    ids=["all so far", "what is new"],
)
def test_a_text_is_told_once_however_a_model_streams_it(
    texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told()
    for text in texts:
        told.tell({"output": text}, b"")
    told.end()
    assert capsys.readouterr().out == "Hello, you\n"


def test_a_terminal_gets_nothing_to_obey(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told()
    told.tell("a\x1b[2Jb\n", b"")
    told.end()
    assert capsys.readouterr().out == "a\ufffd[2Jb\n"
