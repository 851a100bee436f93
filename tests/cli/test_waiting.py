from __future__ import annotations

import io

import pytest
from rich.console import Console

from fal_async.cli.waiting import Waiting
from fal_async.protocol.queue import InProgress, InQueue, LogLine


def terminal() -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(file=shown, force_terminal=True, width=80, color_system=None), shown


def test_a_person_sees_where_a_request_stands_below_what_is_said_and_logged() -> None:
    console, shown = terminal()
    with Waiting("a/b", console) as waiting:
        assert waiting.is_seen
        waiting.say("something\x1b happens", head="interrupted:")
        waiting.show(InQueue(request_id="id-1", queue_position=3))
        waiting.show(InProgress(request_id="id-1", logs=(LogLine(message="[b]step[/b] 1"),)))
    text = shown.getvalue()
    assert "interrupted: something\ufffd happens" in text
    assert "  [b]step[/b] 1" in text
    assert text.index("a/b: running") > text.index("something")


def test_where_nobody_looks_only_sentences_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("a/b") as waiting:
        assert not waiting.is_seen
        waiting.show(InProgress(request_id="id-1"))
        waiting.say("request id-1")
    assert capsys.readouterr().err == "request id-1\n"
