"""Calls whose end is unknown, looked for in the history of requests: found, certainly not there, or neither.

Pure. Decided here, beside the wire's values, since ``policy`` knows none of them. Where billing is
concerned, one conclusion is dangerous: that a call never ran. Everything below is about when it may be
drawn.

What fal says, and what follows (PROTOCOL 3, 6.6, 14, 15):

*When may it still arrive?* Not later than the process that sent it lived, and what the network then holds.
An intent is older than that: a call may have waited for a slot or a connection since. So time counts from
``left_by``, when the journal was taken over from its dead writer, and ``Terms.delivery`` is added.

*When may it still start?* A queue has no end: without a start timeout a request may wait for days, and
nobody sees it. With one, fal gives up that many seconds after its arrival, over all attempts: that is the
latest start.

*When is it listed?* Not documented: at its start or at its completion, perhaps late.
``Terms.listed_within`` counts from the start and is, unless told otherwise, an hour of running (the
platform's limit for apps that set none) and some minutes.

So a call is certain to be listed, if it is ever to run, from ``left_by + delivery + start_timeout +
listed_within`` on: see :func:`certain_at`. And only if the history shows what it should:

- all pages were read, from before the intent on, within the 30 days for which payloads are stored;
- its payload is stored: ``store_io=False`` is never found;
- it is listed under the endpoint that was called: where fal may serve a call from an equivalent one, which
  ``disable_fallback`` forbids, under which of the two it is listed is not documented;
- nothing else that could be it is listed: a request of that time without its payload, or with an input that
  resembles this one, as fal may have filled in defaults, written a number in another way or replaced a
  file;
- a *witness*: the history shows some request that is known to be of this batch, with its payload. Else it
  may be the history of another account (another key), of another endpoint, or without payloads or such
  calls at all.

All of it must be so for every call in doubt that has the same input: which of their requests is whose is not
known, and does not matter, as long as no more are called again than are missing. Everything else stays
unknown. To be found is harmless: nothing is called for it.

Other ways to recognise a lost submit were weighed. A webhook with a correlation id in its URL is delivered
to whoever can be reached from the internet, at the end of the request, and a killed process is not there.
Tags are for billing; nothing can be asked for by them. A unique value in the input changes the input: a
model may refuse it.
"""

from __future__ import annotations

import enum
import heapq
from collections import defaultdict
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence

import attrs

from fal_async.protocol import wire
from fal_async.protocol.history import HistoryItem
from fal_async.protocol.likeness import Lookalikes, exact_form

__all__ = [
    "Doubt",
    "Doubtful",
    "Found",
    "NotFound",
    "Reading",
    "Terms",
    "Unknown",
    "certain_at",
    "match_in_doubt",
    "read_from",
]


@attrs.frozen(kw_only=True)
class Doubtful:
    """A call that was about to be made, of which nothing more is known. Times are Unix seconds.

    :ivar key: whatever tells it from others.
    :ivar input: what was sent, as JSON in any spelling.
    :ivar intended_at: when its intent was written.
    :ivar left_by: when it can no longer have been sent: since then, whoever sent it is known to be dead.
        Worth keeping from the first time that it is found in doubt: a later one makes for a longer wait.
    :ivar start_timeout: that it was sent with; None if it had none.
    :ivar stored: False if it was sent with ``store_io=False``.
    """

    key: Hashable
    input: bytes = attrs.field(repr=False)
    intended_at: float
    left_by: float
    start_timeout: float | None = None
    stored: bool = True


@attrs.frozen(kw_only=True)
class Terms:
    """What a conclusion rests on; all in seconds.

    :param skew: by how much fal's clock and this machine's may differ, beside what an answer's date shows.
    :param delivery: how long what was handed to the network may take to arrive.
    :param listed_within: how long after its start, at the latest, a request is listed. An hour and five
        minutes; where it is known that requests are listed once they have started, a few seconds do.
    :param settled_after: your own word for all of these: so long after ``left_by`` it is listed, or will
        never run.
    :param witness: whether the history must show a request that is known to be of the batch.
    """

    skew: float = 60.0
    delivery: float = 120.0
    listed_within: float = 3900.0
    settled_after: float | None = None
    witness: bool = True


@attrs.frozen(kw_only=True)
class Reading:
    """What was read of the history of one endpoint. Times are Unix seconds of this machine.

    :ivar since: from when on it was asked for.
    :ivar begun: when the first question was put: what happened later may be missing.
    :ivar complete: whether all of it could be read.
    :ivar drift: by how much fal's clock was seen to differ from this machine's.
    """

    items: tuple[HistoryItem, ...]
    since: float
    begun: float
    complete: bool
    drift: float = 0.0

    def with_earlier(self, earlier: Reading | None) -> Reading:
        """With what only an earlier one saw: no item is lost that moved while pages were turned."""
        if earlier is None:
            return self
        seen = {item.request_id: item for item in (*earlier.items, *self.items)}
        drift = max(self.drift, earlier.drift)
        return attrs.evolve(self, items=tuple(seen.values()), drift=drift)


class Doubt(enum.StrEnum):
    """Why nothing can be said."""

    NOT_STORED = "not_stored"
    """Its payload is not stored, or no longer."""
    UNREADABLE = "unreadable"
    """Its input cannot be compared."""
    NO_LIMIT = "no_limit"
    """It was sent without a start timeout: it may start at any time."""
    TOO_EARLY = "too_early"
    """It may still start, or be listed."""
    INCOMPLETE = "incomplete"
    """The history was not read as a whole, or from too late on."""
    LOOKALIKE = "lookalike"
    """A request of that time could be it: it resembles it, or is listed without its payload."""
    NO_WITNESS = "no_witness"
    """Nothing shows that this history lists such requests of this account at all."""


@attrs.frozen
class Found:
    """It arrived: this is its request. Never to be called again because of its doubt."""

    doubtful: Doubtful
    item: HistoryItem


@attrs.frozen
class NotFound:
    """It never ran and never will, or failed before it did: it may be called again."""

    doubtful: Doubtful


@attrs.frozen
class Unknown:
    """It may have run, or yet run. It stays in doubt.

    :ivar until: when asking again may say more for certain; None if time alone will not help.
    """

    doubtful: Doubtful
    doubt: Doubt
    until: float | None = None


Decision = Found | NotFound | Unknown


def read_from(doubtful: Iterable[Doubtful], terms: Terms, drift: float = 0.0) -> float:
    """From when on the history must be read to decide about these."""
    return min(_window(one, terms, drift)[0] for one in doubtful)


def certain_at(doubtful: Doubtful, terms: Terms) -> float | None:
    """From when on a call that will ever run is listed; None: there is no such time."""
    left = max(doubtful.left_by, doubtful.intended_at)
    if terms.settled_after is not None:
        return left + terms.settled_after
    if doubtful.start_timeout is None:
        return None
    return left + terms.delivery + doubtful.start_timeout + terms.listed_within


def match_in_doubt(
    doubtful: Sequence[Doubtful],
    reading: Reading,
    *,
    known: Container[str],
    terms: Terms,
) -> list[Decision]:
    """What the history says of each of these, in their order.

    Each of its requests is used once; equal inputs pair in order of time, as many as can be. A request that
    failed unbilled (429, 5xx) is no answer while a later attempt of the same call may be under way; after
    that it is found, where nothing better is.

    :param known: ids of requests whose call is known, of this batch: none of them is anybody's in doubt.
        Those under way meanwhile belong to it, too; a call with an input equal to one in doubt should wait.
    """
    return _Matching(doubtful, reading, known, terms).decisions()


def _window(doubtful: Doubtful, terms: Terms, drift: float) -> tuple[float, float]:
    """From when to when fal may say that it was sent."""
    slack = terms.skew + drift
    first = min(doubtful.intended_at, doubtful.left_by)
    last = max(doubtful.intended_at, doubtful.left_by)
    return first - slack, last + terms.delivery + slack


class _Matching:
    """The state of one decision: who is found, and what is left over."""

    def __init__(
        self,
        doubtful: Sequence[Doubtful],
        reading: Reading,
        known: Container[str],
        terms: Terms,
    ) -> None:
        self._doubtful = doubtful
        self._reading = reading
        self._terms = terms
        self._windows = [_window(one, terms, reading.drift) for one in doubtful]
        self._forms = [exact_form(one.input) for one in doubtful]
        self._groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for i, form in enumerate(self._forms):
            self._groups[form].append(i)
        self._clear_at: dict[int, float | None] = {}
        self._found: dict[int, HistoryItem] = {}
        unclaimed = [item for item in reading.items if item.request_id not in known]
        left = self._pair(range(len(doubtful)), (i for i in unclaimed if not i.is_unbilled))
        free = [item for item in unclaimed if item.is_unbilled]
        self._lookalikes = Lookalikes(left)
        self._witnessed = (
            bool(self._found)
            or any(item.input is not None for item in reading.items if item.request_id in known)
            or not {exact_form(item.input) for item in free}.isdisjoint({*self._forms} - {None})
        )
        self._doubts = [self._doubt(i) for i in range(len(doubtful))]
        for form, group in self._groups.items():
            self._spread(group if form is not None else ())
        # What failed for nothing may have been followed by another attempt: it counts once all is certain.
        clear = [i for i, doubt in enumerate(self._doubts) if doubt is None]
        self._pair([i for i in clear if i not in self._found], free)

    def decisions(self) -> list[Decision]:
        return [self._decision(i) for i in range(len(self._doubtful))]

    def _decision(self, i: int) -> Decision:
        one, doubt = self._doubtful[i], self._doubts[i]
        if i in self._found:
            return Found(one, self._found[i])
        if doubt is None:
            return NotFound(one)
        return Unknown(one, doubt, self._clear_at.get(i) if doubt is Doubt.TOO_EARLY else None)

    def _spread(self, equals: Sequence[int]) -> None:
        """Whose request was found is not known among equals: one is missing only once all are clear."""
        first = next((doubt for i in equals if (doubt := self._doubts[i]) is not None), None)
        times = [certain_at(self._doubtful[i], self._terms) for i in equals]
        clear_at = max((at for at in times if at is not None), default=None)
        for i in equals:
            self._doubts[i] = self._doubts[i] or first
            self._clear_at[i] = clear_at

    def _doubt(self, i: int) -> Doubt | None:
        one, reading = self._doubtful[i], self._reading
        first, last = self._windows[i]
        if not one.stored or reading.begun - first > wire.PAYLOAD_KEPT:
            return Doubt.NOT_STORED
        if self._forms[i] is None:
            return Doubt.UNREADABLE
        certain = certain_at(one, self._terms)
        if certain is None:
            return Doubt.NO_LIMIT
        if reading.begun < certain:
            return Doubt.TOO_EARLY
        if not reading.complete or reading.since > first:
            return Doubt.INCOMPLETE
        alike = self._lookalikes.of(one.input)
        if any(item.sent_at is None or first <= item.sent_at <= last for item in alike):
            return Doubt.LOOKALIKE
        if self._terms.witness and not self._witnessed:
            return Doubt.NO_WITNESS
        return None

    # --- pairing ------------------------------------------------------------------------------------

    def _pair(self, some: Iterable[int], items: Iterable[HistoryItem]) -> list[HistoryItem]:
        """Pair equal inputs, as many as can be; the requests that are left."""
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for i in some:
            if self._doubtful[i].stored and self._forms[i] is not None:
                groups[self._forms[i]].append(i)
        alike: defaultdict[Hashable, list[HistoryItem]] = defaultdict(list)
        for item in items:
            form = exact_form(item.input)
            alike[form if form in groups else None].append(item)
        left = alike.pop(None, [])
        for form, equal in alike.items():
            left += self._pair_equal(groups[form], equal)
        return left

    def _pair_equal(self, group: list[int], items: list[HistoryItem]) -> list[HistoryItem]:
        """Each request goes to the one whose time ends first: so the most are paired."""
        coming = sorted(group, key=lambda i: self._windows[i][0], reverse=True)
        waiting: list[tuple[float, float, int]] = []
        left = []
        for at, item in sorted(_times(items), key=lambda pair: pair[0]):
            while coming and self._windows[coming[-1]][0] <= at:
                i = coming.pop()
                heapq.heappush(waiting, (self._windows[i][1], self._doubtful[i].intended_at, i))
            while waiting and waiting[0][0] < at:
                heapq.heappop(waiting)
            if waiting:
                self._found[heapq.heappop(waiting)[2]] = item
            else:
                left.append(item)
        # One that does not tell its time may be anybody's.
        others = (i for i in group if i not in self._found)
        timeless = [item for item in items if item.sent_at is None]
        for i, item in zip(others, timeless, strict=False):
            self._found[i] = item
        return left + [item for item in timeless if item not in self._found.values()]


def _times(items: Iterable[HistoryItem]) -> Iterator[tuple[float, HistoryItem]]:
    return ((item.sent_at, item) for item in items if item.sent_at is not None)
