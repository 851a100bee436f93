"""What a batch asks for, and what the model makes of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fal_async.emulator import Model, RefusedError
from fal_async.emulator.model import Call

__all__ = ["MODEL", "Input", "inputs_of", "killed_model", "name_of"]

MODEL: Final = "tests/killed"
Input = dict[str, Any]


def inputs_of(count: int) -> list[Input]:
    """So many inputs: some of them equal to others, near and far, and some that fail."""
    return list(_inputs(count))


def _inputs(count: int) -> Iterator[Input]:
    for index in range(count):
        if index % 12 == 5:
            yield {"prompt": "the same again", "n": index % 24}
        elif index % 10 == 7:
            yield {"prompt": "twice", "n": index - index % 20}
        elif index % 25 == 3:
            yield {"prompt": "refused", "n": index, "refused": "billed"}
        elif index % 25 == 11:
            yield {"prompt": "refused", "n": index, "refused": "free"}
        else:
            yield {"prompt": "once", "n": index}


def name_of(content: Input) -> str:
    """What equal inputs have in common."""
    return f"{content['prompt']} {content['n']}"


def killed_model(ran: dict[str, str]) -> Model:
    """A model that takes between 2 and 60 ms, and gives another output each time.

    :param ran: request id → the name of its input; filled.
    """

    def answer(content: Input, call: Call) -> Any:
        ran[call.request_id] = name_of(content)
        if "refused" in content:
            raise RefusedError("content_policy_violation", billed=content["refused"] == "billed")
        size = 200_000 if content["n"] % 50 == 1 else content["n"] % 7 * 400
        return {"n": content["n"], "nth": call.chance, "text": "x" * size}

    return Model(id=MODEL, function=answer, run_time=_seconds)


def _seconds(content: Input) -> float:
    return 0.002 + 0.0029 * float(content["n"] * 7 % 21)
