"""Many calls of one model."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from fal_async.errors import InputError
from fal_async.features.keywords import SubmitKeywords
from fal_async.session.parts import Parts

if TYPE_CHECKING:
    from fal_async.batch.grid import Grid
    from fal_async.batch.mapping import Outcomes
    from fal_async.batch.reconciling import Reconcile
    from fal_async.batch.resuming import InDoubt
    from fal_async.batch.source import Inputs
    from fal_async.features.history import History
    from fal_async.session.batches import Batches

__all__ = ["MapOptions", "Mapping"]

T = TypeVar("T")


class MapOptions(SubmitKeywords, total=False):
    """The keyword arguments of ``AsyncFal.map``, ``result_type`` apart; told in full there."""

    journal: str | os.PathLike[str] | None
    save: str | os.PathLike[str] | None
    in_doubt: InDoubt | Reconcile
    ordered: bool
    durable: bool
    coalesce: bool
    in_flight: int
    stop_after_errors: int | None
    raise_on_error: bool


class Mapping(Parts):
    """Calls by the thousand."""

    @cached_property
    def _history(self) -> History:
        from fal_async.features.history import History  # noqa: PLC0415

        return History(self._stack.free, self._hosts.api, self._clock, self._wall_time)

    @cached_property
    def _batches(self) -> Batches:
        from fal_async.batch.calling import Features  # noqa: PLC0415
        from fal_async.session.batches import Batches  # noqa: PLC0415

        return Batches(
            Features(
                direct=self._direct,
                queue=self._queue,
                subscriber=self._subscriber,
                preparing=self._preparing,
                slots=self._stack.slots,
            ),
            self._placing,
            self._clock.now,
            self._wall_time,
            downloader=lambda: self._downloader,
            history=lambda: self._history,
        )

    @overload
    def map(
        self, model: str, inputs: Inputs, *, result_type: None = None, **options: Unpack[MapOptions]
    ) -> Outcomes[Any]: ...

    @overload
    def map(
        self, model: str, inputs: Inputs, *, result_type: type[T], **options: Unpack[MapOptions]
    ) -> Outcomes[T]: ...

    def map(
        self,
        model: str,
        inputs: Inputs,
        *,
        result_type: type[Any] | None = None,
        ordered: bool = False,
        durable: bool = False,
        journal: str | os.PathLike[str] | None = None,
        save: str | os.PathLike[str] | None = None,
        in_doubt: InDoubt | Reconcile = "report",
        coalesce: bool = False,
        in_flight: int = 1000,
        stop_after_errors: int | None = None,
        raise_on_error: bool = False,
        **options: Any,
    ) -> Outcomes[Any]:
        """Call a model for each of many inputs, as many at once as the account lets through.

        ::

            async with fal.map("fal-ai/flux/dev", inputs) as outcomes:
                async for outcome in outcomes:
                    ...
            results = await fal.map("fal-ai/flux/dev", inputs).collect()

        One failure never stops the rest: an outcome carries its error. Inputs are taken one at a time, each
        when there is a slot for it, so that endless ones may be given and memory is bounded by what is in
        flight. Leaving the block cancels what is still in flight, and waits until it has ended.

        :param inputs: an iterable or async iterable of inputs as ``run`` takes them, or of :class:`Call`,
            which gives an input options of its own.
        :param result_type: what to make of every output, as in :meth:`run`.
        :param ordered: whether outcomes come in the order of the inputs rather than as they finish.
        :param durable: go through fal's queue, which keeps each result: takes the options of
            :meth:`subscribe` then. With a journal, requests that are left early stay in the queue for the
            next run to collect, unless ``cancel_on_exit=True``.
        :param journal: a file in which every call is written down before it is made, and every answer before
            it is handed out. Run the same again after a crash: what was answered comes from the file, and
            is not paid for twice.
        :param save: where to save the files of every output, such as ``"out/{index:05d}-{seed}.{ext}"``.
        :param in_doubt: what to do with calls that were about to be sent when an earlier run was killed:
            ``"report"`` them as :class:`InDoubtError`, ``"retry"`` them, which may pay twice, or
            ``"reconcile"`` them with fal's history of requests; :class:`Reconcile` says how.
        :param coalesce: let equal inputs with equal options share one call. Outcomes are kept in memory for
            it until the end.
        :param in_flight: never more calls under way than this; the limit of the session applies besides.
        :param stop_after_errors: after so many failures it stops, as :meth:`Outcomes.stop` does; None: never.
        :param raise_on_error: raise the error of the first failure instead of handing it out.
        :param options: those of :meth:`run`, for all calls.
        :returns: the outcomes, to be entered: :class:`Succeeded` or :class:`Failed`, one for each input.
        :raises InputError: for arguments that no call could be made with; nothing was sent.
        """
        _check_count("in_flight", in_flight)
        if stop_after_errors is not None:
            _check_count("stop_after_errors", stop_after_errors)
        if durable and journal is not None:
            # What is left in the queue is collected by the next run; cancelled, it might be lost and billed.
            options.setdefault("cancel_on_exit", False)
        calling = self._batches.calling(model, result_type, options, durable=durable)
        making = self._batches.making(
            model, calling, save, journal, in_doubt, coalesce=coalesce, key=options.get("key")
        )
        return self._batches.outcomes(
            inputs,
            calling,
            making,
            ordered=ordered,
            in_flight=in_flight,
            stop_after_errors=stop_after_errors,
            raise_on_error=raise_on_error,
        )

    @staticmethod
    def grid(**values: Any) -> Grid:
        """Inputs by combination: every value of the one with every value of the other.

        ``fal.grid(prompt=["a cat", "a dog"], seed=range(4))`` are eight inputs; the last name varies fastest.

        :param values: for each name an iterable of values, or one value that stays.
        :returns: a sequence of mappings, made when they are asked for.
        :raises InputError: for an iterable without an end.
        """
        from fal_async.batch.grid import grid  # noqa: PLC0415

        return grid(**values)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is a whole number of at least 1")
