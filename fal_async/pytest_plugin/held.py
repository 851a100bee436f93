"""The emulator that the fixtures give, and the one that is shared; imported for the first test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from fal_async.emulator.faults import Fault
from fal_async.emulator.history import HistorySettings
from fal_async.emulator.model import Model
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.runners import RunnerSettings
from fal_async.emulator.samples import Replay
from fal_async.emulator.scenario import Account
from fal_async.emulator.storage.settings import StorageSettings
from fal_async.emulator.threaded import ThreadedEmulator
from fal_async.pytest_plugin.settings import told, wrong
from fal_async.pytest_plugin.surroundings import KEY, surroundings

__all__ = ["HeldEmulator", "Shared", "key_of", "made_for"]


_CLASSES: Final[dict[str, type]] = {
    "runners": RunnerSettings,
    "requeue": RequeueSettings,
    "history": HistorySettings,
    "storage": StorageSettings,
}


class HeldEmulator(ThreadedEmulator):
    """The emulator of a test.

    :ivar folder: where the test stands: what ``replay`` is given is looked for there.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder = folder
        self._replays: list[Replay] = []

    def replay(self, samples: str | os.PathLike[str]) -> Replay:
        """As :meth:`Emulator.replay`, from a path beside the test; a call without a sample fails the test."""
        replay = super().replay(self.folder / samples)
        self._replays.append(replay)
        return replay

    async def reset(self, **settings: Any) -> None:
        self._replays.clear()
        await super().reset(**settings)

    def complain(self) -> None:
        """Fail the test if calls were made that there were no samples for."""
        missed = [sentence for replay in self._replays for sentence in replay.missed]
        self._replays.clear()
        if missed:
            pytest.fail("\n".join(missed), pytrace=False)

    def describe(self) -> str:
        """What happened, for the report of a test that failed."""
        counted = ", ".join(f"{name} {times}" for name, times in sorted(self.requests.items()))
        lines = [str(self.ledger), f"requests: {counted or 'none'}"]
        if self.refused:
            lines.append(f"refused for a limit: {self.refused}")
        lines += [f"{_shown(rule)}: met {self.faults.fired(rule)} times" for rule in self.faults]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<fal_emulator {self.url}>"


def _shown(fault: Fault) -> str:
    """A rule with what is not usual for its kind."""
    usual = attrs.asdict(Fault(fault.kind))
    told = {name: value for name, value in attrs.asdict(fault).items() if value != usual[name]}
    return ", ".join([f"fault {fault.kind!r}", *(f"{name}={told[name]!r}" for name in told)])


def emulator_settings(item: pytest.Item) -> dict[str, Any]:
    """What the emulator of a test is made with, as its markers say."""
    settings = told(item)
    for name, kind in _CLASSES.items():
        value = settings.get(name)
        if not (value is None or isinstance(value, kind)):
            wrong(f"{name} is a fal_async.emulator.{kind.__name__}, not {value!r}")
    if "faults" in settings:
        settings["faults"] = _faults(settings["faults"])
    if settings.get("models") is not None:
        settings["models"] = _models(settings["models"])
    return settings


def _faults(given: Any) -> tuple[Fault, ...]:
    many = (given,) if isinstance(given, str | Fault) else given
    if not isinstance(many, Iterable):
        wrong(f"faults are kinds, such as 'reset', or fal_async.emulator.Fault, not {given!r}")
    try:
        found = tuple(Fault(fault) if isinstance(fault, str) else fault for fault in many)
    except (TypeError, ValueError) as error:
        wrong(f"faults: {error}")
    if not all(isinstance(fault, Fault) for fault in found):
        wrong(f"faults are kinds, such as 'reset', or fal_async.emulator.Fault, not {given!r}")
    return found


def _models(given: Any) -> tuple[Model, ...]:
    many = (given,) if isinstance(given, Model) else given
    if not isinstance(many, Iterable) or not all(isinstance(model, Model) for model in many):
        wrong(f"models are fal_async.emulator.Model, not {given!r}")
    return tuple(many)


def made_for(item: pytest.Item) -> HeldEmulator:
    """An emulator as a test's markers say; it does not run yet."""
    settings = emulator_settings(item)
    try:
        return HeldEmulator(item.path.parent, **settings)
    except (TypeError, ValueError) as error:
        wrong(str(error))


def key_of(item: pytest.Item) -> str:
    """A key that the emulator of a test knows."""
    keys = emulator_settings(item).get("keys")
    known = keys.keys if isinstance(keys, Account) else keys
    return min(known) if known else KEY


class Shared:
    """The emulator of the session: as new for each test that uses it, nowhere to be found for the others."""

    def __init__(self, emulator: HeldEmulator) -> None:
        self.emulator = emulator
        self._around = ExitStack()

    def begin(self, item: pytest.Item) -> None:
        """A test begins that uses it."""
        emulator = self.emulator
        emulator.folder = item.path.parent
        try:
            emulator.wait(emulator.reset(**emulator_settings(item)))
        except (TypeError, ValueError) as error:
            wrong(str(error))
        self._around.enter_context(surroundings(emulator.url, key_of(item)))

    def end(self) -> None:
        """That test has ended."""
        self._around.close()
