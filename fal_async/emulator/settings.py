"""What an emulator is made with, as a value, and what is made of it: all that it knows and remembers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal

import attrs

from fal_async.emulator.chance import Chance
from fal_async.emulator.faults import Fault, FaultBook
from fal_async.emulator.history import HistorySettings
from fal_async.emulator.model import Model
from fal_async.emulator.models import default_models
from fal_async.emulator.platform import Platform
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.runners import RunnerSettings
from fal_async.emulator.scenario import Account
from fal_async.emulator.storage.service import StorageService
from fal_async.emulator.storage.settings import StorageSettings

__all__ = ["Made", "Settings"]


def _models(models: Iterable[Model] | None) -> tuple[Model, ...] | None:
    return None if models is None else tuple(models)


def _faults(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(faults)


@attrs.frozen(kw_only=True)
class Settings:
    """The arguments of ``Emulator``, where it listens aside."""

    keys: Collection[str] | Account | None = attrs.field(repr=False)
    locked: Mapping[str, str] | None = attrs.field(repr=False)
    limit: int | None
    name_limit: bool
    latency: float
    run_time: float | Callable[[Any], float]
    runners: RunnerSettings | None
    models: Iterable[Model] | None = attrs.field(converter=_models)
    faults: Iterable[Fault] = attrs.field(converter=_faults)
    clock: Literal["real", "virtual"]
    requeue: RequeueSettings | None
    history: HistorySettings | None
    storage: StorageSettings | None
    seed: int

    def make(self) -> Made:
        """All of it anew.

        :raises TypeError: if keys, locks and limits are said twice.
        """
        chance = Chance(self.seed)
        faults = FaultBook(chance)
        for fault in self.faults:
            faults.add(fault)
        platform = Platform(
            self._account(),
            chance,
            faults,
            latency=self.latency,
            run_time=self.run_time,
            runners=self.runners,
        )
        platform.register(default_models() if self.models is None else self.models)
        if self.history is not None:
            platform.history.settings = self.history
        return Made(
            platform=platform,
            faults=faults,
            storage=StorageService(platform, self.storage or StorageSettings()),
            requeue=self.requeue or RequeueSettings(),
            clock=self.clock,
        )

    def _account(self) -> Account:
        if not isinstance(self.keys, Account):
            return Account(
                keys=self.keys, locked=self.locked, limit=self.limit, name_limit=self.name_limit
            )
        if self.locked is not None or self.limit is not None or not self.name_limit:
            raise TypeError("an Account says itself what is locked, and what its limit is")
        return self.keys


@attrs.frozen(kw_only=True)
class Made:
    """What there is until the next reset."""

    platform: Platform
    faults: FaultBook
    storage: StorageService
    requeue: RequeueSettings
    clock: Literal["real", "virtual"]
