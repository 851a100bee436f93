"""Callers of ``run``, ``run_detailed`` and ``stream``."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from benchmarks.soaking.caller import Caller, caller
from benchmarks.soaking.models import FAILURES
from fal_async import Resend, RetryPolicy

__all__ = ["Fitting"]

#: Beyond a call's own ``timeout``, in seconds: what ends late ends all the same.
_SLACK = 5.0


@attrs.frozen
class Fitting:
    """What a model's output is."""

    marker: str
    made: int


@attrs.frozen
class Misfit:
    """What it is not."""

    marker: int


@caller(weight=20, seconds=4 + _SLACK)
async def plain_run(c: Caller) -> None:
    model = c.model()
    story = c.book.open("run", model)
    with c.book.telling(story):
        padding = c.chance.choice([0, 0, 0, 10_000])
        given = c.input(story, padding=padding)
        c.book.compare(story, await c.fal.run(model, given, **c.options()))


@caller(weight=6, seconds=4 + _SLACK)
async def typed_run(c: Caller) -> None:
    story = c.book.open("run, typed", "soak/plain")
    kind: Any = c.chance.choice([Fitting, Fitting, Misfit, bytes])
    with c.book.telling(story):
        output = await c.fal.run("soak/plain", c.input(story), result_type=kind, **c.options())
        if isinstance(output, Fitting):
            c.book.compare(story, attrs.asdict(output))


@caller(weight=4, seconds=4 + _SLACK)
async def detailed_run(c: Caller) -> None:
    model = c.model()
    story = c.book.open("run_detailed", model)
    with c.book.telling(story):
        result = await c.fal.run_detailed(model, c.input(story), **c.options())
        c.book.compare(story, result.output)
        story.succeeded(result.request_id)


@caller(weight=6, seconds=4 + _SLACK)
async def failing_run(c: Caller) -> None:
    how = c.chance.choice(sorted(FAILURES))
    durable = c.chance.random() < 0.4
    story = c.book.open("run of what fails", f"{how}, durable: {durable}")
    with c.book.telling(story):
        given = c.input(story, how=how)
        await c.fal.run("soak/failing", given, durable=durable, **c.options())


@caller(weight=4, seconds=4 + _SLACK)
async def reckless_run(c: Caller) -> None:
    """Who would rather pay twice than not have it."""
    policy = RetryPolicy(resend=frozenset(Resend), backoff=0.05, sends=3)
    story = c.book.open("run, sent again if lost", "soak/plain", most=3)
    with c.book.telling(story):
        options = {**c.options(), "retry": policy}
        c.book.compare(story, await c.fal.run("soak/plain", c.input(story), **options))


@caller(weight=3, seconds=4 + _SLACK)
async def single_run(c: Caller) -> None:
    """Who takes what comes, a 429 too."""
    story = c.book.open("run, sent once", "soak/hot")
    with c.book.telling(story):
        options = {**c.options(), "retry": RetryPolicy.never()}
        await c.fal.run("soak/hot", c.input(story), **options)


@caller(weight=8, seconds=6 + _SLACK)
async def stream(c: Caller) -> None:
    events = c.chance.choice([1, 3, 8])
    given: dict[str, Any] = {"events": events}
    if c.chance.random() < 0.1:
        given["breaks_at"] = c.chance.randrange(events)
    leaves_after = c.chance.choice([None, None, 0, 1, 2])
    story = c.book.open("stream", f"{given}, left after {leaves_after}")
    with c.book.telling(story):
        options = {**c.options(), "idle": c.chance.choice([None, 1.0])}
        async with c.fal.stream("soak/words", c.input(story, **given), **options) as found:
            story.promised = False
            while leaves_after is None or found.count < leaves_after:
                event = await anext(found, None)
                if event is None:
                    if "breaks_at" in given:  # it failed behind an end that a fault made
                        story.dropped()
                    break
                c.book.compare(story, event)
            else:
                story.dropped()
            story.request_id = found.request_id


@caller(weight=2, seconds=8 + _SLACK)
async def session_of_its_own(c: Caller) -> None:
    """Opened, used by many, and closed while they wait."""
    closes_after = c.chance.choice([None, 0.0, 0.02, 0.1])
    fal = c.new_session(limit=c.chance.choice(["auto", 3, None]), timeout=3.0)
    stories = [c.book.open("run, of a closed session", f"{n}") for n in range(6)]

    async def one(number: int) -> None:
        with c.book.telling(stories[number]):
            given = c.input(stories[number])
            durable = number % 3 == 2
            c.book.compare(stories[number], await fal.run("soak/plain", given, durable=durable))

    async with fal:
        tasks = [asyncio.create_task(one(number)) for number in range(len(stories))]
        try:
            if closes_after is None:
                await asyncio.wait(tasks)
            else:
                await asyncio.sleep(closes_after)
            await fal.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for story in stories:
                if story.end == "open":  # cancelled before it had begun
                    story.dropped("not_billed")
