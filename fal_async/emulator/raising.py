"""How a model fails: what a model's function raises, each kind of failure that PROTOCOL 5 has.

These never reach a caller of the client; they become answers (see ``settling``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from fal_async.errors import ErrorDetail
from fal_async.protocol import wire

__all__ = [
    "AppError",
    "CallCancelledError",
    "GpuFaultError",
    "InvalidInputError",
    "ModelFailure",
    "RefusedError",
    "RunnerError",
    "UnhandledError",
]


class ModelFailure(Exception):  # noqa: N818  # the root of the kinds below
    """A failure that a model has on purpose."""


class InvalidInputError(ModelFailure):
    """422 of the framework's validation: found at once, nothing charged.

    :param entries: what is wrong, each with the part of the input that is.
    """

    def __init__(self, entries: Iterable[tuple[ErrorDetail, Any]]) -> None:
        self.entries = tuple(entries)
        super().__init__(f"{len(self.entries)} things wrong with the input")


class RefusedError(ModelFailure):
    """A model error (PROTOCOL 5.1), raised after the GPU has worked.

    :param error_type: such as ``content_policy_violation``; its status is the sheet's unless given.
    :param billed: whether it was charged for. Never for 5xx, whatever this says (PROTOCOL 3.2).
    :param units: what was charged; None is what the model's success would have cost.
    :param tell_units: whether the answer says so in ``x-fal-billable-units``.
    """

    def __init__(
        self,
        error_type: str,
        msg: str = "The model could not do this",
        *,
        loc: Iterable[str | int] = ("body",),
        ctx: Mapping[str, Any] | None = None,
        status: int | None = None,
        retryable: bool | None = False,
        billed: bool = True,
        units: Decimal | None = None,
        tell_units: bool = True,
    ) -> None:
        super().__init__(error_type)
        url = f"{wire.ERROR_PAGE}{error_type}" if error_type in wire.MODEL_ERRORS else None
        self.detail = ErrorDetail(
            loc=tuple(loc), msg=msg, type=error_type, ctx=dict(ctx or {}), url=url
        )
        self.status = status
        self.retryable = retryable
        self.billed = billed
        self.units = units
        self.tell_units = tell_units


class AppError(ModelFailure):
    """An error that the application declares: a status and a sentence."""

    def __init__(self, status: int, message: str, *, billed: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.billed = billed


class CallCancelledError(ModelFailure):
    """499: the caller wanted it to stop, and the application did (PROTOCOL 5.1, 6.5).

    :param billed: whether what it did until then was charged for; what fal does is not known.
    """

    def __init__(self, message: str = "Request was cancelled", *, billed: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.billed = billed


class GpuFaultError(ModelFailure):
    """503: the GPU failed, and the runner with it."""


class UnhandledError(ModelFailure):
    """500: as if the model had raised something it did not handle; but it is not logged."""


class RunnerError(ModelFailure):
    """The platform lost the runner, or failed itself (PROTOCOL 5.2).

    :param error_type: such as ``runner_disconnected``.
    :param needs_retry: what ``X-Fal-Needs-Retry`` says; None leaves it out.
    """

    def __init__(self, error_type: str, *, needs_retry: bool | None = None) -> None:
        super().__init__(error_type)
        self.error_type = error_type
        self.needs_retry = needs_retry
