"""A local emulator of fal: ``async with Emulator() as emu:``, then point a client at ``emu.hosts``.

The names are looked up when they are asked for: importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fal_async.emulator.answers import Answer, MadeFile, StreamEvent
    from fal_async.emulator.asgi.lifespan import AppStartError
    from fal_async.emulator.asgi.mounting import asgi_model
    from fal_async.emulator.faults import Fault, FaultBook
    from fal_async.emulator.history import HistorySettings, RequestHistory
    from fal_async.emulator.ledger import Execution, Ledger
    from fal_async.emulator.model import Call, Model
    from fal_async.emulator.models import default_models
    from fal_async.emulator.objects import StoredObject
    from fal_async.emulator.openapi.serving import models_from_openapi
    from fal_async.emulator.queueing.job import Job
    from fal_async.emulator.queueing.requeueing import RequeueSettings
    from fal_async.emulator.queueing.view import QueueView
    from fal_async.emulator.raising import (
        AppError,
        CallCancelledError,
        GpuFaultError,
        InvalidInputError,
        RefusedError,
        RunnerError,
        UnhandledError,
    )
    from fal_async.emulator.realtime import Realtime
    from fal_async.emulator.runners import RunnerSettings
    from fal_async.emulator.samples import Replay
    from fal_async.emulator.scenario import Account
    from fal_async.emulator.server import Emulator
    from fal_async.emulator.storage.settings import StorageSettings
    from fal_async.emulator.storage.unfinished import Unfinished
    from fal_async.emulator.storage.view import StorageView
    from fal_async.emulator.threaded import ThreadedEmulator

__all__ = [
    "Account",
    "Answer",
    "AppError",
    "AppStartError",
    "Call",
    "CallCancelledError",
    "Emulator",
    "Execution",
    "Fault",
    "FaultBook",
    "GpuFaultError",
    "HistorySettings",
    "InvalidInputError",
    "Job",
    "Ledger",
    "MadeFile",
    "Model",
    "QueueView",
    "Realtime",
    "RefusedError",
    "Replay",
    "RequestHistory",
    "RequeueSettings",
    "RunnerError",
    "RunnerSettings",
    "StorageSettings",
    "StorageView",
    "StoredObject",
    "StreamEvent",
    "ThreadedEmulator",
    "Unfinished",
    "UnhandledError",
    "asgi_model",
    "default_models",
    "models_from_openapi",
]

_HOMES: Final = {
    "Account": "scenario",
    "Answer": "answers",
    "AppError": "raising",
    "AppStartError": "asgi.lifespan",
    "Call": "model",
    "CallCancelledError": "raising",
    "Emulator": "server",
    "Execution": "ledger",
    "Fault": "faults",
    "FaultBook": "faults",
    "GpuFaultError": "raising",
    "HistorySettings": "history",
    "InvalidInputError": "raising",
    "Job": "queueing.job",
    "Ledger": "ledger",
    "MadeFile": "answers",
    "Model": "model",
    "QueueView": "queueing.view",
    "Realtime": "realtime",
    "RefusedError": "raising",
    "Replay": "samples",
    "RequestHistory": "history",
    "RequeueSettings": "queueing.requeueing",
    "RunnerError": "raising",
    "RunnerSettings": "runners",
    "StreamEvent": "answers",
    "StorageSettings": "storage.settings",
    "StorageView": "storage.view",
    "StoredObject": "objects",
    "ThreadedEmulator": "threaded",
    "UnhandledError": "raising",
    "Unfinished": "storage.unfinished",
    "asgi_model": "asgi.mounting",
    "default_models": "models",
    "models_from_openapi": "openapi.serving",
}


if not TYPE_CHECKING:  # who reads types shall see the names above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
