"""The bars of files that are on their way."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fal_async.cli.transferring import Bars


def test_a_person_sees_a_bar_for_each_file_on_its_way_below_what_is_said() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, color_system=None)
    with Bars(["cat[b].png", "\x1bdog.png", "x" * 60], done="uploaded", console=console) as bars:
        for number, size in enumerate((1_500_000, 3_000_000, 100)):
            bars.watch(number)(500_000, size)
        bars.say("dog.png: something\x1b happens", head="error:")
        bars.failed += 1
        bars.end(2)
    text = shown.getvalue()
    last = text[text.rindex("0 of 3 files uploaded, 1 failed") :]
    assert "error: dog.png: something\ufffd happens" in text
    assert "cat[b].png" in last
    assert "0.5/1.5 MB" in last
    assert "\ufffddog.png" in last
    assert "xxx" not in last


def test_where_nobody_looks_only_sentences_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(["cat.png"], done="uploaded") as bars:
        bars.watch(0)(1, 2)
        bars.say("it is gone", head="error:")
        bars.end(0)
    assert capsys.readouterr().err == "error: it is gone\n"
