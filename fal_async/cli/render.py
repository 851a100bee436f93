"""How a model's answer looks: JSON for programs, and something readable for a terminal."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from pathlib import PurePath
from typing import Any, Final

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from fal_async.cli.saving import Saved
from fal_async.features.run import RunResult

__all__ = ["answer_document", "show_answer", "show_value", "to_json"]

_SHOWN: Final = 300
#: What JSON leaves as it is, and a terminal obeys.
_CONTROL: Final = {code: f"\\u{code:04x}" for code in (0x7F, *range(0x80, 0xA0))}


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """A model's JSON as JSON, losing nothing, as UTF-8. NaN and infinities appear by these names.

    A file of this machine in an input appears as it is typed: ``@photo.png``.
    """
    sys.set_int_max_str_digits(0)  # a long integer was paid for like all the rest
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_typed)
    try:
        return text.translate(_CONTROL).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can say
        return json.dumps(value, indent=indent, default=_typed).encode()


def _typed(value: Any) -> str:
    if isinstance(value, PurePath):
        return f"@{value}"
    raise TypeError(f"{type(value).__name__} is no JSON")


def answer_document(result: RunResult[Any], saved: list[Saved]) -> dict[str, Any]:
    """What ``--detailed`` prints: the output, and what came beside it."""
    output = result.output
    if isinstance(output, bytes):
        kind = result.headers.get("Content-Type")
        content = {} if saved else {"base64": b64encode(output).decode()}
        output = {"content_type": kind, "bytes": len(output), **content}
    units = result.billable_units
    return {
        "output": output,
        "request_id": result.request_id,
        "billable_units": None if units is None else f"{units:f}",  # exact, as fal writes it
        "elapsed": round(result.elapsed, 6),
        "attempts": result.attempts,
        "headers": dict(result.headers),
        "saved": [{"place": s.place, "path": str(s.path), "bytes": s.size} for s in saved],
    }


def show_answer(console: Console, result: RunResult[Any], *, detailed: bool = False) -> None:
    """The answer for a person: long texts are shortened, and a line says what it took."""
    output = result.output
    if isinstance(output, bytes):
        kind = result.headers.get("Content-Type", "unknown type")
        console.print(f"{len(output):,} bytes of {kind}: --save them, or pipe them", markup=False)
    else:
        show_value(console, output)
    console.print(Text(_facts(result), style="dim"), soft_wrap=True)
    if detailed:
        for name, value in result.headers.items():
            console.print(Text(f"{name}: {value}", style="dim"), soft_wrap=True)


def show_value(console: Console, value: Any) -> None:
    """A JSON value for a person: long texts are shortened."""
    text = Text(to_json(_shortened(value), indent=2).decode())
    JSONHighlighter().highlight(text)
    console.print(text, soft_wrap=True)


def _facts(result: RunResult[Any]) -> str:
    facts = [f"{result.elapsed:.2f} s"]
    if result.billable_units is not None:
        plural = "" if result.billable_units == 1 else "s"
        facts.append(f"{result.billable_units.normalize():f} billable unit{plural}")
    if result.attempts > 1:
        facts.append(f"sent {result.attempts} times")
    if result.request_id:
        facts.append(f"request {result.request_id}")
    return " · ".join(facts)


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else f"{value[:60]}… ({len(value):,} characters)"
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return value
