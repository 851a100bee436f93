"""Async client for fal, and a local emulator of the service.

::

    from fal_async import AsyncFal

    async with AsyncFal() as fal:
        output = await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})

The names are looked up when they are asked for: importing this package alone costs next to nothing.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from fal_async.batch.call import Call
    from fal_async.batch.mapping import Outcomes
    from fal_async.batch.outcome import Failed, Outcome, SavedFile, Succeeded
    from fal_async.batch.reconciling import Reconcile
    from fal_async.errors import (
        AccessDeniedError,
        AccountLockedError,
        AnswerError,
        AuthenticationError,
        BadRequestError,
        Billing,
        BodyBrokenError,
        BodyTooLargeError,
        CallTimeoutError,
        ConnectError,
        ConnectionLostError,
        ConnectTimeoutError,
        DecodeError,
        DownloadError,
        ErrorDetail,
        FalError,
        GatewayError,
        InDoubtError,
        InputError,
        InterruptedCallError,
        JournalError,
        MissingKeyError,
        ModelError,
        NotFoundError,
        RedirectError,
        RequestCancelledError,
        ResultGoneError,
        ServerError,
        ServerTimeoutError,
        SessionError,
        StartTimeoutError,
        StatusError,
        StreamLostError,
        StructureError,
        TooManyRequestsError,
        TransportError,
        UploadError,
        Verdict,
    )
    from fal_async.features.downloading import Downloaded
    from fal_async.features.given import Uploadable
    from fal_async.features.handle import RequestHandle
    from fal_async.features.progress import OnProgress
    from fal_async.features.realtime import RealtimeConnection, RealtimeEvent, Reconnected
    from fal_async.features.run import RunResult
    from fal_async.features.streaming import EventStream
    from fal_async.features.websocket import SocketOutputs, WebSocketConnection
    from fal_async.policy.concurrency import ApplicationLimits, Limits
    from fal_async.policy.retry import Resend, RetryPolicy
    from fal_async.protocol.hosts import Hosts
    from fal_async.protocol.lifecycle import AclRule, Expire, InitialAcl, LifecyclePreference
    from fal_async.protocol.queue import (
        CancelOutcome,
        Completed,
        InProgress,
        InQueue,
        LogLine,
        QueueStatus,
    )
    from fal_async.protocol.realtime import Timings, UnknownControl
    from fal_async.protocol.structuring import default_converter
    from fal_async.protocol.workflow import (
        WorkflowCompletion,
        WorkflowEvent,
        WorkflowFailure,
        WorkflowOutput,
        WorkflowSubmit,
    )
    from fal_async.session import AsyncFal
    from fal_async.transport.authorizing import KeySource
    from fal_async.transport.limiting import Limit
    from fal_async.transport.proxies import Proxies
    from fal_async.types import (
        Audio,
        AudioOutput,
        File,
        Image,
        ImageOutput,
        LocalFile,
        TextOutput,
        Video,
        VideoOutput,
    )

__all__ = [  # noqa: RUF022 - a table of contents, in groups
    # the client
    "ApplicationLimits",
    "AsyncFal",
    "Hosts",
    "Limits",
    "RetryPolicy",
    "Resend",
    "RunResult",
    "default_converter",
    # what its arguments may be
    "Expire",
    "KeySource",
    "Limit",
    "Proxies",
    "OnProgress",
    "Uploadable",
    # the queue
    "CancelOutcome",
    "Completed",
    "InProgress",
    "InQueue",
    "LogLine",
    "QueueStatus",
    "RequestHandle",
    # many calls
    "Call",
    "Failed",
    "Outcome",
    "Outcomes",
    "Reconcile",
    "SavedFile",
    "Succeeded",
    # sockets
    "RealtimeConnection",
    "RealtimeEvent",
    "Reconnected",
    "SocketOutputs",
    "Timings",
    "UnknownControl",
    "WebSocketConnection",
    # streams
    "EventStream",
    "WorkflowCompletion",
    "WorkflowEvent",
    "WorkflowFailure",
    "WorkflowOutput",
    "WorkflowSubmit",
    # files
    "Downloaded",
    # how long outputs live, and for whom
    "AclRule",
    "InitialAcl",
    "LifecyclePreference",
    # outputs
    "Audio",
    "AudioOutput",
    "File",
    "Image",
    "ImageOutput",
    "LocalFile",
    "TextOutput",
    "Video",
    "VideoOutput",
    # what a failure cost
    "Billing",
    "ErrorDetail",
    "Verdict",
    # errors
    "AccessDeniedError",
    "AccountLockedError",
    "AnswerError",
    "AuthenticationError",
    "BadRequestError",
    "BodyBrokenError",
    "BodyTooLargeError",
    "CallTimeoutError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "DecodeError",
    "DownloadError",
    "FalError",
    "GatewayError",
    "InDoubtError",
    "InputError",
    "InterruptedCallError",
    "JournalError",
    "MissingKeyError",
    "ModelError",
    "NotFoundError",
    "RedirectError",
    "RequestCancelledError",
    "ResultGoneError",
    "ServerError",
    "ServerTimeoutError",
    "SessionError",
    "StartTimeoutError",
    "StatusError",
    "StreamLostError",
    "StructureError",
    "TooManyRequestsError",
    "TransportError",
    "UploadError",
]

#: module → what of it stands in ``__all__``
_NAMES: typing.Final = {
    "batch.call": ("Call",),
    "batch.mapping": ("Outcomes",),
    "batch.outcome": ("Failed", "Outcome", "SavedFile", "Succeeded"),
    "batch.reconciling": ("Reconcile",),
    "errors": (
        "AccessDeniedError",
        "AccountLockedError",
        "AnswerError",
        "AuthenticationError",
        "BadRequestError",
        "Billing",
        "BodyBrokenError",
        "BodyTooLargeError",
        "CallTimeoutError",
        "ConnectError",
        "ConnectionLostError",
        "ConnectTimeoutError",
        "DecodeError",
        "DownloadError",
        "ErrorDetail",
        "FalError",
        "GatewayError",
        "InDoubtError",
        "InputError",
        "InterruptedCallError",
        "JournalError",
        "MissingKeyError",
        "ModelError",
        "NotFoundError",
        "RedirectError",
        "RequestCancelledError",
        "ResultGoneError",
        "ServerError",
        "ServerTimeoutError",
        "SessionError",
        "StartTimeoutError",
        "StatusError",
        "StreamLostError",
        "StructureError",
        "TooManyRequestsError",
        "TransportError",
        "UploadError",
        "Verdict",
    ),
    "features.downloading": ("Downloaded",),
    "features.given": ("Uploadable",),
    "features.handle": ("RequestHandle",),
    "features.progress": ("OnProgress",),
    "features.realtime": ("RealtimeConnection", "RealtimeEvent", "Reconnected"),
    "features.run": ("RunResult",),
    "features.streaming": ("EventStream",),
    "features.websocket": ("SocketOutputs", "WebSocketConnection"),
    "policy.concurrency": ("ApplicationLimits", "Limits"),
    "policy.retry": ("Resend", "RetryPolicy"),
    "protocol.hosts": ("Hosts",),
    "protocol.lifecycle": ("AclRule", "Expire", "InitialAcl", "LifecyclePreference"),
    "protocol.queue": (
        "CancelOutcome",
        "Completed",
        "InProgress",
        "InQueue",
        "LogLine",
        "QueueStatus",
    ),
    "protocol.realtime": ("Timings", "UnknownControl"),
    "protocol.structuring": ("default_converter",),
    "protocol.workflow": (
        "WorkflowCompletion",
        "WorkflowEvent",
        "WorkflowFailure",
        "WorkflowOutput",
        "WorkflowSubmit",
    ),
    "session": ("AsyncFal",),
    "transport.authorizing": ("KeySource",),
    "transport.limiting": ("Limit",),
    "transport.proxies": ("Proxies",),
    "types": (
        "Audio",
        "AudioOutput",
        "File",
        "Image",
        "ImageOutput",
        "LocalFile",
        "TextOutput",
        "Video",
        "VideoOutput",
    ),
}
_HOMES: typing.Final = {name: module for module, names in _NAMES.items() for name in names}

if not typing.TYPE_CHECKING:  # who reads types shall see the names above, and no others

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
