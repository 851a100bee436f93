"""A queued request in the caller's hands: asked after, waited for, fetched, cancelled, carried elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import attrs

from fal_async.errors import InputError, SessionError
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.queue import CancelOutcome, QueueStatus
from fal_async.protocol.routes import check_request_id

if TYPE_CHECKING:
    from fal_async.features.following import Updates
    from fal_async.features.queue import Queue

__all__ = ["RequestHandle"]

T = TypeVar("T")


def _check_model(_: object, __: object, value: str) -> None:
    parse_model_id(value)


def _check_id(_: object, __: object, value: str) -> None:
    check_request_id(value)


def _check_url(_: object, attribute: attrs.Attribute[str | None], value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"{attribute.name} of a handle is a URL, not {type(value).__name__}")


@attrs.frozen(kw_only=True)
class RequestHandle:
    """One queued request. Its parts are plain: it pickles and turns into a dict, without key or session.

    :ivar model: what was called; its subpath does not matter after the submit.
    :ivar request_id: fal's id of the request.
    :ivar status_url: the URLs fal named; None where it named none, and they are built.
    """

    model: str = attrs.field(validator=_check_model)
    request_id: str = attrs.field(validator=_check_id)
    status_url: str | None = attrs.field(default=None, validator=_check_url)
    response_url: str | None = attrs.field(default=None, validator=_check_url)
    cancel_url: str | None = attrs.field(default=None, validator=_check_url)
    _queue: Queue | None = attrs.field(default=None, repr=False, eq=False)
    key: str | None = attrs.field(default=None, repr=False, eq=False)
    """The key it was submitted with, where that was another than the session's; goes nowhere with it."""
    submitted: float | None = attrs.field(default=None, repr=False, eq=False)
    """When this session submitted it, on the session's clock; None if that was elsewhere."""

    @property
    def application(self) -> str:
        """``owner/app``: what the request lives under."""
        return parse_model_id(self.model).application

    def to_dict(self) -> dict[str, str]:
        """The handle as plain JSON; ``fal.handle(...)`` takes it back, in any process."""
        parts = {
            "model": self.model,
            "request_id": self.request_id,
            "status_url": self.status_url,
            "response_url": self.response_url,
            "cancel_url": self.cancel_url,
        }
        return {name: value for name, value in parts.items() if value is not None}

    @classmethod
    def from_dict(cls, parts: Mapping[str, str]) -> RequestHandle:
        """A handle without a session; give it to ``fal.handle(...)`` to use it.

        :raises InputError: if there is no model or request id in it.
        """
        try:
            return cls(
                model=parts["model"],
                request_id=parts["request_id"],
                status_url=parts.get("status_url"),
                response_url=parts.get("response_url"),
                cancel_url=parts.get("cancel_url"),
            )
        except (AttributeError, KeyError, TypeError):
            raise InputError("a handle needs a model and a request_id") from None

    def __getstate__(self) -> dict[str, str]:
        return self.to_dict()

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a frozen class has no other way in

    def _bound(self) -> Queue:
        if self._queue is None:
            raise SessionError("this handle belongs to no AsyncFal: use fal.handle(handle)")
        return self._queue

    async def status(self, *, logs: bool = False) -> QueueStatus:
        """Ask once where the request stands (free; asked again if the answer is lost).

        :param logs: whether to bring what the runner wrote so far.
        :raises ResultGoneError: (a NotFoundError) fal knows no such request, or not any more.
        """
        return await self._bound().status(self, logs=logs)

    def updates(self, *, logs: bool = False) -> Updates:
        """Every change until the request has ended; the last one is ``Completed``.

        Streamed where fal streams, asked after where it does not. With ``logs``, each brings the lines that
        are new since the one before. To be iterated over with ``async for``; who may leave before the end
        says ``async with handle.updates() as updates:`` around it, which closes the stream at once.
        """
        return self._bound().updates(self, logs=logs)

    @overload
    async def result(self, *, result_type: None = None) -> Any: ...
    @overload
    async def result(self, *, result_type: type[T]) -> T: ...
    async def result(self, *, result_type: type[Any] | None = None) -> Any:
        """Wait for the end, and fetch the output (free; kept by fal for an hour at least, PROTOCOL 6.4).

        Large outputs, of 10 KB and more, may be kept for six minutes only.

        :raises StatusError: the model's own failure, as from a direct call.
        :raises AnswerError: the output is not what was asked for; it is in the error.
        :raises ResultGoneError: fal knows no such request, or keeps its result no longer.
        """
        output, _ = await self._bound().result(self, result_type=result_type)
        return output

    async def cancel(self) -> CancelOutcome:
        """Ask fal to stop it (free). Repeating it does no harm."""
        return await self._bound().cancel(self)
