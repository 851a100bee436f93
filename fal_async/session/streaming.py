"""A model's answer event by event."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from fal_async.features.spotting import has_files
from fal_async.session.parts import Parts

if TYPE_CHECKING:
    from fal_async.features.streaming import EventStream, Streamer, StreamOptions

__all__ = ["Streaming"]

T = TypeVar("T")


class Streaming(Parts):
    """Calls whose answers are read while they arrive."""

    @cached_property
    def _streamer(self) -> Streamer:
        from fal_async.features.streaming import Streamer  # noqa: PLC0415

        return Streamer(
            self._direct,
            self._stack.direct,
            self._stack.slots,
            self._converter,
            self._max_answer_bytes,
        )

    @overload
    def stream(
        self,
        model: str,
        input: Any,
        *,
        result_type: None = None,
        **options: Unpack[StreamOptions],
    ) -> EventStream[Any]: ...

    @overload
    def stream(
        self,
        model: str,
        input: Any,
        *,
        result_type: type[T],
        **options: Unpack[StreamOptions],
    ) -> EventStream[T]: ...

    def stream(
        self,
        model: str,
        input: Any,
        *,
        result_type: type[Any] | None = None,
        idle: float | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> EventStream[Any]:
        """Call a model that streams, and get its events as they come (PROTOCOL 8).

        ::

            async with fal.stream("fal-ai/any-llm", {"prompt": "a cat"}) as events:
                async for event in events:
                    print(event["output"])

        It is a direct call: it takes a place of the account's limit for as long as it lasts, and is charged
        in full even if it is left or lost; its result cannot be had later. Nothing is sent again once fal has
        answered. Leaving the block closes the connection at once.

        :param model: its id; ``/stream`` is added unless it ends in that.
        :param input: as in :meth:`run`.
        :param result_type: what to make of each event, as :meth:`run` makes of its output. None: plain JSON
            (bytes, where an event is none), and for a workflow the classes of
            :py:type:`~fal_async.WorkflowEvent`;
            ``bytes`` for each event's own bytes. An answer that is no stream of events comes as chunks of
            bytes; with a ``result_type``, as one event.
        :param timeout: seconds the whole stream may take, from its slot on, the consumer's time included.
        :param idle: seconds of silence after which a stream that has begun counts as lost; comments count as
            life. None: for ever.
        :param options: all others are those of :meth:`run`.
        :returns: the stream, to be entered. Entering raises what :meth:`run` raises.
        :raises InputError: for arguments that cannot be sent; nothing was.
        """
        call, own = self._preparing.call(headers=self._streamer.accepting(headers), **options)
        placing = None
        if has_files(input):
            placing = partial(
                self._placing.placed,
                input,
                inline_below=options.get("inline_below", 0),
                key=options.get("key"),
            )
        return self._streamer.prepare(model, input, own, call, result_type, idle, placing)
