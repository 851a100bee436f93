from __future__ import annotations

import io
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from fal_async.cli.render import show_answer, to_json
from fal_async.features.run import RunResult
from fal_async.protocol.codec import decode_json
from fal_async.protocol.messages import Headers


def shown(output: Any, *, detailed: bool = False) -> str:
    result = RunResult[Any](
        output=output,
        request_id="id-1",
        billable_units=Decimal("0.02500000"),
        headers=Headers({"Content-Type": "image/png", "X-Other": "x"}),
        elapsed=1.234,
        attempts=2,
    )
    console = Console(file=io.StringIO(), width=80)
    show_answer(console, result, detailed=detailed)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "value",
    ["köttbullar \u2028", "\ud800", "\x9b31m", 10**5000, 2**64 + 1, {"a": [1.5, None, True]}],
    ids=["text", "surrogate", "control", "long", "exact", "nested"],
)
def test_nothing_of_an_answer_is_lost_on_its_way_out(value: object) -> None:
    text = to_json(value)
    assert decode_json(text) == value
    assert b"\x9b" not in text


def test_what_json_cannot_say_is_said_all_the_same() -> None:
    assert math.isnan(json.loads(to_json(math.nan)))


def test_an_answer_is_followed_by_what_it_took() -> None:
    text = shown({"seed": 7})
    assert json.loads(text[: text.index("1.23 s")]) == {"seed": 7}
    assert "1.23 s · 0.025 billable units · sent 2 times · request id-1" in text
    assert "x-other" not in text


def test_headers_are_shown_when_asked_for() -> None:
    assert "x-other: x" in shown({}, detailed=True)


def test_long_texts_are_shortened_on_a_terminal_and_markup_is_text() -> None:
    text = shown({"url": "data:," + "A" * 500, "deep": [{"note": "[red]plain[/red]"}]})
    assert "A" * 80 not in text
    assert "506 characters" in text
    assert "[red]plain[/red]" in text


def test_bytes_are_not_poured_into_a_terminal() -> None:
    assert "3 bytes of image/png" in shown(b"\x00\x01\x02")
