"""What fal remembers of requests: when each came, started and ended, what went in and out (PROTOCOL 14).

Pure; times are Unix seconds and passed in. It is bounded: those that ended first are forgotten, so that a
million of them cost no more memory than the last few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from fal_async.protocol import wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["Entry", "HistorySettings", "RequestHistory"]


@attrs.frozen(kw_only=True)
class HistorySettings:
    """What the history shows, and to whom.

    :param readable: whether the account's keys may read it; if not, they get 403.
    :param listed: from when on a request is listed, which fal does not say (PROTOCOL 14, 19): once it was
        ``"accepted"``, once it has ``"started"``, or once it has ``"ended"``.
    :param delay: seconds by which all that it shows is late.
    :param payloads: whether the account stores payloads where a request does not say (``X-Fal-Store-IO``).
    :param kept: so many requests are remembered that have ended, the last ones.
    :param payload_bytes: so many bytes of input and output are remembered in all; the payloads of older
        requests go, the requests stay.
    """

    readable: bool = True
    listed: Literal["accepted", "started", "ended"] = "started"
    delay: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    payloads: bool = True
    kept: int = attrs.field(default=10_000, validator=attrs.validators.ge(0))
    payload_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=attrs.validators.ge(0))


@attrs.define(kw_only=True, eq=False)
class Entry:
    """One request, direct or queued. Times are Unix seconds."""

    number: int
    """The how-manieth accepted request it is."""
    request_id: str
    endpoint_id: str
    """The model id as it was called, subpath included."""
    sent: float
    """When it came in."""
    started: float | None = None
    """When a runner took it, the last time."""
    ended: float | None = None
    status: int | None = None
    stored: bool = True
    """Whether its payloads are."""
    inline: bool = False
    """Whether files stand in its output themselves, which is not stored then."""
    input: bytes | None = attrs.field(default=None, repr=False)
    output: bytes | None = attrs.field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Bytes of its payloads."""
        return len(self.input or b"") + len(self.output or b"")

    def at(self, moment: float) -> Entry:
        """What it was at an earlier time."""
        if self.ended is not None and self.ended > moment:
            return attrs.evolve(self, ended=None, status=None, output=None).at(moment)
        if self.started is not None and self.started > moment:
            return attrs.evolve(self, started=None)
        return self

    def is_listed(self, listed: str) -> bool:
        """Whether a history that lists requests from ``listed`` on shows it."""
        if self.ended is not None or listed == "accepted":
            return True
        return listed == "started" and self.started is not None


class RequestHistory:
    """Every request that was accepted, as far back as memory goes. Iterates from the oldest on.

    :ivar settings: may be set at any time.
    """

    def __init__(self, settings: HistorySettings | None = None) -> None:
        self.settings = settings or HistorySettings()
        self._entries: dict[str, Entry] = {}
        self._ended: deque[Entry] = deque()
        self._with_payload: dict[int, Entry] = {}
        self._bytes = 0
        self._accepted = 0

    def stores(self, headers: Mapping[str, str]) -> bool:
        """Whether the payloads of a request with these headers are stored (PROTOCOL 4)."""
        wish = headers.get(wire.STORE_IO)
        return self.settings.payloads if wish is None else wish != "0"

    # --- told ---------------------------------------------------------------------------------------

    def accept(
        self, request_id: str, endpoint_id: str, at: float, headers: Mapping[str, str], body: bytes
    ) -> None:
        """A request was let in."""
        self._accepted += 1
        entry = Entry(
            number=self._accepted,
            request_id=request_id,
            endpoint_id=endpoint_id,
            sent=at,
            stored=self.stores(headers),
        )
        self._entries[request_id] = entry
        if entry.stored:
            entry.input = body
            self._with_payload[entry.number] = entry
            self._bytes += len(body)
            self._shrink()

    def start(self, request_id: str, at: float) -> None:
        """A runner took it; once more, after a failure of another."""
        entry = self._entries.get(request_id)
        if entry is not None:
            entry.started = at

    def inline(self, request_id: str) -> None:
        """A file was put into its output as a data URI (PROTOCOL 11)."""
        entry = self._entries.get(request_id)
        if entry is not None:
            entry.inline = True

    def end(self, request_id: str, at: float, response: HttpResponse) -> None:
        """It is over, with this answer, whether or not that reaches anybody."""
        entry = self._entries.get(request_id)
        if entry is None:
            return
        entry.ended, entry.status = at, response.status
        # Larger results can be had for a short while only, which is to say that they are not stored.
        small = len(response.body) <= wire.PAYLOAD_MAX
        if entry.input is not None and small and not entry.inline:
            entry.output = response.body
            self._bytes += len(response.body)
        self._ended.append(entry)
        self._shrink()

    def clear(self) -> None:
        """Forget everything so far."""
        self._entries.clear()
        self._ended.clear()
        self._with_payload.clear()
        self._bytes = 0

    def _shrink(self) -> None:
        while len(self._ended) > self.settings.kept:
            first = self._ended.popleft()
            del self._entries[first.request_id]
            self._drop_payload(first)
        while self._bytes > self.settings.payload_bytes:
            self._drop_payload(next(iter(self._with_payload.values())))

    def _drop_payload(self, entry: Entry) -> None:
        if self._with_payload.pop(entry.number, None) is not None:
            self._bytes -= entry.size
            entry.input = entry.output = None

    # --- asked --------------------------------------------------------------------------------------

    def listed(self, at: float) -> list[Entry]:
        """What can be seen at a time, the oldest first."""
        moment = at - self.settings.delay
        seen = (entry.at(moment) for entry in self._entries.values() if entry.sent <= moment)
        return [entry for entry in seen if entry.is_listed(self.settings.listed)]

    def request(self, request_id: str) -> Entry:
        """One request, listed or not.

        :raises KeyError: if there is none of this id, or none any more.
        """
        return self._entries[request_id]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __bool__(self) -> bool:
        return True  # an empty history is still one

    def __repr__(self) -> str:
        return f"<RequestHistory: {len(self._entries)} of {self._accepted} requests>"
