"""The account's history of requests: read, and asked what became of calls in doubt (PROTOCOL 14, 15).

Reading costs nothing. What the history says of a call in doubt is decided in ``protocol.reconciling``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Container, Sequence
from typing import Final

import attrs

from fal_async.errors import (
    AccessDeniedError,
    Billing,
    BodyTooLargeError,
    FalError,
    StatusError,
    TooManyRequestsError,
)
from fal_async.features.asking import Asker, Question, unreadable
from fal_async.features.handle import RequestHandle
from fal_async.policy.patience import AT_ONCE, Patience, patience_with_question
from fal_async.protocol import wire
from fal_async.protocol.history import (
    Ended,
    HistoryItem,
    HistoryPage,
    OutputGone,
    StillRunning,
    end_of,
    history_url,
    read_page,
)
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.platform import parse_drift, parse_reset, read_platform_error
from fal_async.protocol.reconciling import (
    Decision,
    Doubt,
    Doubtful,
    Reading,
    Terms,
    Unknown,
    match_in_doubt,
    read_from,
)
from fal_async.protocol.wording import brief
from fal_async.transport.base import Clock, Transport

__all__ = ["History"]

#: 10,000 requests; beyond that, a day's history of a busy account is read for hours.
_PAGES: Final = 100
#: A page may hold a hundred payloads of a megabyte each way.
_WITHIN: Final = 120.0
#: Between two looks, in seconds: at first, and in the end.
_PAUSE: Final = 5.0
_PAUSE_MAX: Final = 60.0
#: Doubts that other requests or time may end.
_MAY_PASS: Final = frozenset((Doubt.TOO_EARLY, Doubt.NO_LIMIT, Doubt.NO_WITNESS))


@attrs.frozen
class _Turned:
    """A page, and what was seen on the way to it."""

    page: HistoryPage
    drift: float


class History:
    """Past requests of the account that the key belongs to.

    :param transport: brings 2xx answers or raises; never a brake.
    :param base: of the platform API.
    :param unix: this machine's time, as Unix seconds.
    """

    def __init__(
        self, transport: Transport, base: str, clock: Clock, unix: Callable[[], float]
    ) -> None:
        self._asker = Asker(transport, clock)
        self._base = base
        self._clock = clock
        self._unix = unix

    # --- reading ------------------------------------------------------------------------------------

    async def since(
        self, endpoint_id: str, start: float, *, key: str | None = None
    ) -> AsyncIterator[HistoryItem]:
        """Every request of an endpoint from a Unix time on, with payloads, as fal orders them.

        :raises AccessDeniedError: the key may not read the history.
        :raises FalError: it could not be read, however often it was asked for.
        """
        async for turned in self._pages(endpoint_id, start, key, pages=None):
            for item in turned.page.items:
                yield item

    async def read(
        self, endpoint_id: str, start: float, *, key: str | None = None, pages: int = _PAGES
    ) -> Reading:
        """All that a decision needs to know of an endpoint's requests from a Unix time on.

        :param pages: as many are read at most; what is left makes it incomplete.
        :raises FalError: like :meth:`since`.
        """
        begun = self._unix()
        items: dict[str, HistoryItem] = {}
        drift, complete = 0.0, False
        whole = True
        async for turned in self._pages(endpoint_id, start, key, pages=pages):
            items.update((item.request_id, item) for item in turned.page.items)
            drift = max(drift, turned.drift)
            whole = whole and turned.page.whole
            complete = whole and turned.page.cursor is None
        return Reading(
            items=tuple(items.values()), since=start, begun=begun, complete=complete, drift=drift
        )

    async def item(
        self, endpoint_id: str, request_id: str, *, key: str | None = None
    ) -> HistoryItem | None:
        """One request; None if the history does not list it, or not yet.

        :raises FalError: like :meth:`since`.
        """
        url = history_url(self._base, endpoint_id, request_id=request_id)
        found = (await self._turn(url, endpoint_id, key)).page.items
        return next((item for item in found if item.request_id == request_id), None)

    async def end(
        self, endpoint_id: str, request_id: str, *, key: str | None = None, pause: float = _PAUSE
    ) -> Ended | OutputGone | None:
        """Wait for the end of a request that is listed; None if it no longer is.

        For direct calls, whose result is nowhere else. A queued one is better asked for in the queue.

        :raises FalError: like :meth:`since`.
        """
        while (item := await self.item(endpoint_id, request_id, key=key)) is not None:
            end = end_of(item)
            if not isinstance(end, StillRunning):
                return end
            await self._clock.sleep(pause)
            pause = min(2 * pause, _PAUSE_MAX)
        return None

    async def _pages(
        self, endpoint_id: str, start: float, key: str | None, *, pages: int | None
    ) -> AsyncIterator[_Turned]:
        cursor: str | None = None
        seen: set[str] = set()
        limit = wire.HISTORY_LIMIT_MAX
        while pages is None or pages > 0:
            url = history_url(self._base, endpoint_id, start=start, limit=limit, cursor=cursor)
            try:
                turned = await self._turn(url, endpoint_id, key)
            except BodyTooLargeError:
                if limit == 1:
                    raise
                limit //= 2
                continue
            yield turned
            cursor = turned.page.cursor
            if cursor is None or cursor in seen:  # one that comes again leads nowhere
                return
            seen.add(cursor)
            pages = None if pages is None else pages - 1

    async def _turn(self, url: str, endpoint_id: str, key: str | None) -> _Turned:
        asked = self._unix()

        def read(response: HttpResponse) -> _Turned:
            page = read_page(response.body)
            if page is None:
                raise unreadable(response, "the answer is no page of the history")
            return _Turned(page, parse_drift(response.headers, asked, self._unix()))

        def patience(error: FalError) -> Patience:
            nonlocal asked
            asked = self._unix()
            if isinstance(error, TooManyRequestsError):
                reset = parse_reset(error.headers, asked)
                error.retry_after = max(error.retry_after or 0.0, reset or 0.0) or None
            return AT_ONCE if error.status in _FINAL else patience_with_question(error)

        # In the name of no request: a question goes by the application and the key alone.
        about = RequestHandle(model=endpoint_id, request_id="history", key=key)
        question = Question(handle=about, url=url, read=read, within=_WITHIN)
        try:
            return await self._asker.ask(question, patience)
        except FalError as error:
            error.billing = Billing.NOT_BILLED  # to ask costs nothing
            if isinstance(error, StatusError):
                _explain(error)
            raise

    # --- calls in doubt -----------------------------------------------------------------------------

    async def settle(
        self,
        endpoint_id: str,
        doubtful: Sequence[Doubtful],
        *,
        known: Container[str],
        terms: Terms,
        wait: float = 0.0,
        pause: float = _PAUSE,
        key: str | None = None,
    ) -> list[Decision]:
        """What became of calls in doubt, in their order; looked for again where it may yet become clear.

        Nothing is decided bit by bit: a call made again meanwhile would be taken for one in doubt.

        :param known: ids of requests whose call is known; may grow meanwhile.
        :param wait: seconds after which the last look is taken, whatever is still unknown. Who waits until
            :func:`certain_at` leaves nothing in doubt for its time alone.
        :param pause: seconds between the first two looks; it doubles, up to a minute, and a look is taken as
            soon as one more is certain.
        :raises AccessDeniedError: the key may not read the history: all stay in doubt.
        :raises FalError: like :meth:`since`.
        """
        if not doubtful:
            return []
        reading: Reading | None = None
        over = self._clock.now() + wait
        while True:
            reading = await self._look(endpoint_id, doubtful, terms, reading, key)
            decisions = match_in_doubt(doubtful, reading, known=known, terms=terms)
            unknown = [d for d in decisions if isinstance(d, Unknown) and d.doubt in _MAY_PASS]
            left = over - self._clock.now()
            if not unknown or left <= 0:
                return decisions
            await self._clock.sleep(min(left, self._until(unknown, pause)))
            pause = min(2 * pause, _PAUSE_MAX)

    def _until(self, unknown: Collection[Unknown], pause: float) -> float:
        """Seconds until the next look."""
        now = self._unix()
        certain = [d.until - now for d in unknown if d.until is not None and d.until > now]
        return min([pause, *certain])

    async def _look(
        self,
        endpoint_id: str,
        doubtful: Sequence[Doubtful],
        terms: Terms,
        before: Reading | None,
        key: str | None,
    ) -> Reading:
        drift = 0.0 if before is None else before.drift
        reading = await self.read(endpoint_id, read_from(doubtful, terms, drift), key=key)
        if reading.drift > drift:  # fal's clock is another than was thought: look further back
            start = read_from(doubtful, terms, reading.drift)
            again = await self.read(endpoint_id, start, key=key)
            reading = again.with_earlier(reading)
        return reading.with_earlier(before)


#: A question that is wrong, or beyond what there is: the same answer each time.
_FINAL: Final = frozenset((400, 422, 501))


def _explain(error: StatusError) -> None:
    """Say what fal says, in the platform API's own form, and what it means here."""
    kind, message = read_platform_error(error.body or b"")
    error.error_type = error.error_type or kind or None
    what = f"the history of requests cannot be read: {error.what}"
    if isinstance(error, AccessDeniedError):
        what = (
            "this key may not read the account's history of requests: "
            "it needs the permission for it, which a key of the ADMIN scope has"
        )
    said = brief(message, HttpRequest(method="GET", url=""))
    error.args = (f"{what}: {said}" if said else what,)
