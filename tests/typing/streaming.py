"""What the type checkers infer of a stream. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

import attrs

from fal_async import (
    AsyncFal,
    EventStream,
    StreamLostError,
    WorkflowCompletion,
    WorkflowEvent,
    WorkflowFailure,
    WorkflowOutput,
    WorkflowSubmit,
)


@attrs.frozen
class Words:
    output: str


async def the_events_of_a_stream(fal: AsyncFal) -> None:
    async with fal.stream("fal-ai/any-llm", {"prompt": "why?"}) as plain:
        assert_type(plain, EventStream[Any])
        async for event in plain:
            assert_type(event, Any)
    async with fal.stream("fal-ai/any-llm", {}, result_type=Words, idle=30, expire="1h") as typed:
        assert_type(typed, EventStream[Words])
        async for words in typed:
            assert_type(words, Words)
        assert_type(await anext(typed), Words)
        assert_type(typed.final, Words)
        assert_type(typed.request_id, str | None)
        assert_type(typed.name, str)
        assert_type(typed.count, int)
    async with fal.stream("fal-ai/any-llm", {}, result_type=bytes) as raw:
        assert_type([piece async for piece in raw], list[bytes])


def what_is_refused(fal: AsyncFal) -> None:
    fal.stream("fal-ai/any-llm", {}, durable=True)  # type: ignore[call-overload]
    fal.stream("fal-ai/any-llm", {}, idle="x")  # type: ignore[call-overload]


def a_workflow_says_one_of_four_things(event: WorkflowEvent) -> Any:
    match event:
        case WorkflowSubmit():
            return event.app_id
        case WorkflowCompletion() | WorkflowOutput():
            return event.output
        case WorkflowFailure():
            return event.status


def how_far_it_came(error: StreamLostError) -> int:
    return error.events
