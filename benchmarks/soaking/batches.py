"""Callers of ``map``: in any order and in the inputs' own, with a journal, with files that are saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.soaking.caller import Caller, caller
from benchmarks.soaking.models import content_of
from benchmarks.soaking.story import Book, Story, told
from fal_async import FalError, InterruptedCallError, Outcome, Succeeded

__all__: list[str] = []

#: After which a map is left, in seconds: a file that is fetched may stall for a minute.
_PATIENCE = 10.0


class _Inputs:
    """Inputs that are told of when they are taken."""

    def __init__(self, c: Caller, kind: str, count: int, **more: Any) -> None:
        self._caller = c
        self._kind = kind
        self._count = count
        self._more = more
        self.taken: list[Story] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self._count):
            story = self._caller.book.open(self._kind, f"input {number}", promised=False)
            self.taken.append(story)
            yield self._caller.input(story, **self._more)

    def settle(self, book: Book, sent: int) -> None:
        """What has no outcome must be nothing that was sent."""
        for number, story in enumerate(self.taken):
            if story.end != "open":
                continue
            story.dropped("not_billed" if number >= sent else None)
            if number < sent:
                book.wrong.append(f"{story}\n    has no outcome")


def _tell(book: Book, outcome: Outcome[Any]) -> None:
    story = book.stories[outcome.input["marker"]]
    if isinstance(outcome, Succeeded):
        story.succeeded(outcome.request_id)
        book.compare(story, outcome.output)
    else:
        story.failed(outcome.error)
        if outcome.billing != outcome.error.billing and not outcome.replayed:
            book.wrong.append(f"{story}\n    its outcome says {outcome.billing}")


async def _mapped(
    c: Caller,
    inputs: _Inputs,
    model: str,
    look: Callable[[Outcome[Any]], None] = lambda _: None,
    **options: Any,
) -> None:
    """A map that may be left, by whoever reads it or by whoever waits for that.

    :param look: what else is to be seen about an outcome.
    """
    leaves_after = c.chance.choice([None, None, 0, 1, 4])
    outcomes = c.fal.map(model, inputs, **options)
    got = 0
    try:
        async with asyncio.timeout(_PATIENCE), outcomes:
            while leaves_after is None or got < leaves_after:
                outcome = await anext(outcomes, None)
                if outcome is None:
                    break
                got += 1
                _tell(c.book, outcome)
                look(outcome)
    except FalError as error:
        if not options.get("raise_on_error"):  # else its outcome is in ``leftover``
            c.book.wrong.append(f"a map raised {told(error)}")
    except TimeoutError:
        pass
    finally:
        for outcome in outcomes.leftover:
            _tell(c.book, outcome)
        inputs.settle(c.book, outcomes.taken)


@caller(weight=3, seconds=30)
async def map_of_runs(c: Caller) -> None:
    inputs = _Inputs(c, "map", c.chance.choice([1, 6, 20]))
    await _mapped(
        c,
        inputs,
        c.model(),
        ordered=c.chance.random() < 0.5,
        in_flight=c.chance.choice([2, 1000]),
        stop_after_errors=c.chance.choice([None, None, 2]),
        raise_on_error=c.chance.random() < 0.1,
        timeout=2.0,
    )


@caller(weight=1.5, seconds=30)
async def map_of_requests(c: Caller) -> None:
    inputs = _Inputs(c, "durable map", c.chance.choice([1, 6, 12]))
    ordered = c.chance.random() < 0.5
    await _mapped(c, inputs, "soak/job", ordered=ordered, durable=True, timeout=3.0)


@caller(weight=1, seconds=30)
async def map_of_equal_inputs(c: Caller) -> None:
    story = c.book.open("map, coalesced", "4 equal inputs", promised=False)
    with c.book.telling(story):
        given = c.input(story)
        async with c.fal.map("soak/plain", [given] * 4, coalesce=True, timeout=2.0) as outcomes:
            found = [outcome async for outcome in outcomes]
        _tell(c.book, next(outcome for outcome in found if not outcome.replayed))
        if any(outcome.ok is not found[0].ok for outcome in found) or len(found) != 4:
            c.book.wrong.append(f"{story}\n    equal inputs, and other outcomes")


@caller(weight=2, seconds=40)
async def map_with_journal(c: Caller) -> None:
    """Left in the middle, and run again."""
    book, journal = c.book, c.folder / "journal.db"
    again: Any = c.chance.choice(["report", "retry"])
    stories = [
        book.open("map, journal", f"input {n}, in doubt: {again}", promised=False) for n in range(8)
    ]
    inputs = [c.input(story) for story in stories]
    options: dict[str, Any] = {"journal": journal, "timeout": 2.0}
    options["durable"] = c.chance.random() < 0.4
    try:
        outcomes = c.fal.map("soak/plain", inputs, **options)
        async with asyncio.timeout(_PATIENCE), outcomes:
            for _ in range(c.chance.randrange(4)):
                await anext(outcomes, None)
        for outcome in outcomes.leftover:
            # What is queued is collected; what is in doubt is called for once more, if that is wanted.
            cut_off = not outcome.ok and isinstance(outcome.error, InterruptedCallError)
            collected = options["durable"] and outcome.request_id is not None
            if cut_off and outcome.billing != "not_billed" and again == "retry" and not collected:
                stories[outcome.index].before = 1
        async with asyncio.timeout(_PATIENCE):
            rest = await c.other.map("soak/plain", inputs, in_doubt=again, **options).collect()
        for outcome in rest:
            _tell(book, outcome)
    except TimeoutError:
        pass
    except FalError as error:
        book.wrong.append(f"a map with a journal raised {told(error)}")
    finally:
        for story in stories:
            if story.end == "open":
                story.dropped()


@caller(weight=2, seconds=40)
async def map_with_files(c: Caller) -> None:
    """Each output's files are saved, and are what the model made."""
    size = c.chance.choice([0, 100, 70_000])

    def look(outcome: Outcome[Any]) -> None:
        marker = outcome.input["marker"]
        for number, file in enumerate(outcome.files):
            if file.path is None:
                if file.error is None:
                    c.book.wrong.append(f"{marker}: a file was not saved, and nobody says why")
            elif file.path.read_bytes() != content_of(f"{marker}.{number}", size):
                c.book.wrong.append(f"{marker}: what was saved is another file")

    inputs = _Inputs(c, "map, saved", 3, files=2, size=size)
    name = str(c.folder / "{index}-{n}.{ext}")
    await _mapped(c, inputs, "soak/files", look, save=name, timeout=2.0)
