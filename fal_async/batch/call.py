"""An input with options of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Call"]


class Call:
    """An input of ``AsyncFal.map`` that carries its own options; they win over those of the map.

    ::

        Call({"prompt": "a cat"}, hint="cats", timeout=60)

    :param input: what ``run`` takes as its input.
    :param options: keyword arguments of ``AsyncFal.run``, or, of a durable map, of ``AsyncFal.subscribe``.
        They are checked when the call's turn comes; what cannot be sent fails this input alone.
    """

    __slots__ = ("input", "options")

    def __init__(self, input: Any, /, **options: Any) -> None:
        self.input: Final[Any] = input
        self.options: Final[Mapping[str, Any]] = options

    def __repr__(self) -> str:  # the input is nobody's business
        return f"Call({', '.join(['…', *(f'{name}=…' for name in self.options)])})"
