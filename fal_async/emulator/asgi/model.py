"""A model that is somebody's own application: what is mounted, and under which id.

Pure values; who calls the application stands in ``running``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from decimal import Decimal
from typing import Any, Final, cast

import attrs

from fal_async.emulator.model import Model
from fal_async.emulator.runners import RunnerSettings

__all__ = ["AsgiApp", "AsgiModel", "Message", "Receive", "Send", "asgi_model"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Of fal's framework: makes the application that its server serves.
_BUILD: Final = "_build_app"
_METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))


@attrs.frozen(kw_only=True)
class AsgiModel(Model):
    """A model whose calls go to an application as they came, and whose answers are the application's own."""

    app: AsgiApp = attrs.field(repr=False)


def asgi_model(
    id: str,
    app: Any,
    *,
    unit: str = "request",
    units: Decimal | float = 1,
    run_time: float = 0.0,
    request_timeout: float = 3600.0,
    runners: RunnerSettings | None = None,
    public: bool = False,
    own: bool = True,
) -> Model:
    """A model that is an ASGI application: Starlette's, FastAPI's or the like, or a subclass of fal.App.

    It gets every call under its id, whatever the method and the path behind the id, with the headers that the
    platform adds (PROTOCOL 3.1); what it answers is passed on, streamed as it comes. All calls of it run in
    this process, on the emulator's loop. It is started with the emulator, and ended with it.

    :param id: ``owner/app``.
    :param unit: what is charged by, as on the pricing page.
    :param units: what a call costs that does not say so itself, in ``x-fal-billable-units``. Answers of 5xx
        cost nothing (PROTOCOL 3.2).
    :param run_time: seconds that a call lasts at least.
    :param request_timeout: seconds after which the platform cuts a call off (PROTOCOL 3).
    :param runners: how many calls it takes at once, and the like; None is the emulator's own.
    :param public: whether it may be called without a key (PROTOCOL 2).
    :param own: whether it is the caller's own, and so exempt from the account's limit (PROTOCOL 3.3).
    :raises TypeError: if ``app`` is none of these.
    """
    return AsgiModel(
        id=id,
        app=_application(app),
        function=_passed_on,
        unit=unit,
        units=units,
        run_time=run_time,
        request_timeout=request_timeout,
        runners=runners,
        public=public,
        own=own,
        methods=_METHODS,
        takes_any=True,
        subpaths=True,
    )


def _passed_on(content: Any) -> Any:
    raise NotImplementedError("calls of an application are passed on")


def _application(given: Any) -> AsgiApp:
    """The application itself. fal is not imported: who has a class of its has it already."""
    if hasattr(given, _BUILD):
        given = getattr(_served(given), _BUILD)()
    if not callable(given):
        raise TypeError(f"an ASGI application is callable, which {type(given).__name__} is not")
    return cast("AsgiApp", given)


def _served(given: Any) -> Any:
    """What fal's own server does in a runner: it makes one of the class, and names it the current one."""
    if not isinstance(given, type):
        return given
    make: Callable[..., Any] = given
    served = make(_allow_init=True)
    ref = sys.modules.get("fal.ref")
    if ref is not None:
        ref.set_current_app(served)
    return served
