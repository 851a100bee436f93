"""What a batch is made of, put together for ``AsyncFal.map``; loaded with the first of a program."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from fal_async.batch.calling import Calling, DirectCalling, Features, QueueCalling
from fal_async.batch.journal.journal import Journal
from fal_async.batch.keeping import Keeping
from fal_async.batch.making import Making
from fal_async.batch.mapping import Outcomes
from fal_async.batch.reconciling import Reconcile, Reconciler
from fal_async.batch.resuming import check_in_doubt
from fal_async.batch.saving import Saver
from fal_async.batch.source import Inputs, Source
from fal_async.features.downloading import Downloader
from fal_async.features.history import History
from fal_async.features.placing import Placing

__all__ = ["Batches"]


class Batches:
    """Makes the parts of a batch from those of a session.

    :param now: seconds of a clock that never goes back; ``wall_time`` those since 1970.
    :param downloader: made when something is saved; ``history`` when something is reconciled.
    """

    def __init__(
        self,
        features: Features,
        placing: Placing,
        now: Callable[[], float],
        wall_time: Callable[[], float],
        *,
        downloader: Callable[[], Downloader],
        history: Callable[[], History],
    ) -> None:
        self._features = features
        self._placing = placing
        self._now = now
        self._wall_time = wall_time
        self._downloader = downloader
        self._history = history

    def calling(
        self, model: str, result_type: Any, options: dict[str, Any], *, durable: bool
    ) -> Calling[Any]:
        """How each call is made: directly, or through fal's queue."""
        way = QueueCalling if durable else DirectCalling
        return way(self._features, model, result_type, options)

    def making(
        self,
        model: str,
        calling: Calling[Any],
        save: str | os.PathLike[str] | None,
        journal: str | os.PathLike[str] | None,
        in_doubt: object,
        *,
        coalesce: bool,
        key: str | None,
    ) -> Making:
        """How an input becomes an outcome, and what is written down of it.

        :raises InputError: for what no batch can be made of.
        """
        saver = None if save is None else Saver(save, self._downloader())
        how = in_doubt if isinstance(in_doubt, Reconcile) else Reconcile()
        what = "reconcile" if isinstance(in_doubt, Reconcile) else check_in_doubt(in_doubt)
        if journal is None:
            return Making(model, calling, self._now, saver, self._placing, coalesce=coalesce)
        opening = partial(Journal.open, journal, model=model, now=self._wall_time)
        return Keeping(
            model,
            calling,
            self._now,
            saver,
            self._placing,
            coalesce=coalesce,
            opening=opening,
            in_doubt=what,
            reconciler=Reconciler(self._history(), model, how, key=key)
            if what == "reconcile"
            else None,
        )

    @staticmethod
    def outcomes(
        inputs: Inputs,
        calling: Calling[Any],
        making: Making,
        *,
        ordered: bool,
        in_flight: int,
        stop_after_errors: int | None,
        raise_on_error: bool,
    ) -> Outcomes[Any]:
        """The batch, to be entered."""
        return Outcomes(
            Source(inputs),
            calling,
            making,
            ordered=ordered,
            in_flight=in_flight,
            stop_after_errors=stop_after_errors,
            raise_on_error=raise_on_error,
        )
