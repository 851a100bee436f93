"""What a model does on realtime connections, and its buffer of inputs (PROTOCOL 10). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from fal_async.protocol import wire

__all__ = ["Inbox", "Realtime"]


def _check_path(_: object, __: object, value: str) -> None:
    if not value.startswith("/") or value.endswith("/"):
        raise ValueError("path begins with a slash, and does not end in one")


@attrs.frozen(kw_only=True)
class Realtime:
    """A model's realtime endpoint, of the kind that answers inputs.

    :param function: gets an input as MessagePack or JSON said it, and gives a result: anything MessagePack
        can say. May be async. With a ``batch`` above 1 it gets a list of inputs and gives as many results.
    :param path: behind the model's id.
    :param buffering: inputs kept while it works; when there are more, the oldest is dropped. A caller may say
        otherwise (``max_buffering``). None: all are kept.
    :param batch: how many of the inputs that wait are taken at once.
    :param run_time: seconds that each run lasts at least.
    :param idle_timeout: seconds without an input after which it ends the session; None: never.
    :param timings: whether each result is followed by a message that tells how long it took.
    :param says_unauthorized: whether a token that is not accepted is told so over an open connection; else
        the handshake is refused with 401 (PROTOCOL 18).
    :param token_cuts: whether a token that expires ends the connection that it opened; what fal does is not
        known.
    """

    function: Callable[..., Any] = attrs.field(repr=False)
    path: str = attrs.field(default=wire.REALTIME_PATH, validator=_check_path)
    buffering: int | None = None
    batch: int = 1
    run_time: float = 0.0
    idle_timeout: float | None = None
    timings: bool = True
    says_unauthorized: bool = False
    token_cuts: bool = False


class Inbox:
    """Inputs that wait for a model; when it is full, the oldest goes.

    :ivar dropped: how many have gone so.
    """

    def __init__(self, size: int | None) -> None:
        self._inputs: deque[Any] = deque()
        self._size = size
        self.dropped = 0

    def put(self, content: Any) -> None:
        """Another one."""
        self._inputs.append(content)
        if self._size is not None and len(self._inputs) > self._size:
            self._inputs.popleft()
            self.dropped += 1

    def take(self, most: int) -> list[Any]:
        """The oldest ones, as many as there are, up to ``most``."""
        return [self._inputs.popleft() for _ in range(min(most, len(self._inputs)))]

    def __len__(self) -> int:
        return len(self._inputs)
