"""HTTP requests and responses as values: what the features build and the transport carries.

No I/O and no wire knowledge of fal; only the shape of one exchange.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Protocol

import attrs

__all__ = ["BodyStream", "Headers", "HttpRequest", "HttpResponse"]


class BodyStream(Protocol):
    """A body that is read while it is sent, from its start each time: a request with it may be repeated."""

    @property
    def size(self) -> int:
        """How many bytes it has, known before the first is read."""
        ...

    def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        """All of it. A piece may change as soon as the next one is asked for, and not before."""
        ...


class Headers(Mapping[str, str]):
    """The headers of an answer: an immutable mapping whose names compare case-insensitively.

    Iterates over lower-case names. Repeated headers are joined by ``", "`` (RFC 9110, 5.3).
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Mapping[str, str] | None = None) -> None:
        values: dict[str, str] = {}
        # A multi-valued mapping's items() yields a name once for each of its values.
        for name, value in (pairs or {}).items():
            lower = name.lower()
            values[lower] = f"{values[lower]}, {value}" if lower in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


@attrs.define(kw_only=True)
class HttpRequest:
    """One request. ``headers`` belongs to it alone: the transports on its way add theirs."""

    method: str
    url: str
    headers: dict[str, str] = attrs.field(factory=dict, repr=False)  # may hold the key
    body: bytes = attrs.field(default=b"", repr=False)  # holds the prompt
    stream: BodyStream | None = attrs.field(default=None, repr=False)
    """In place of ``body``, for what is too large to be held."""
    application: str = ""
    """``owner/app`` of the model called: what a limit of the model's own is counted by."""


@attrs.define
class HttpResponse:
    """One complete answer, whatever its status.

    ``headers`` is a case-insensitive mapping, as the transport received it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
