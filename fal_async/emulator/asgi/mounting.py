"""Making a model of an application."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from fal_async.emulator.asgi.adopting import application_of, settings_of
from fal_async.emulator.asgi.model import AsgiModel
from fal_async.emulator.model import Model
from fal_async.emulator.runners import RunnerSettings

__all__ = ["asgi_model"]

_METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))


def asgi_model(
    id: str,
    app: Any,
    *,
    unit: str = "request",
    units: Decimal | float = 1,
    run_time: float = 0.0,
    request_timeout: float | None = None,
    runners: RunnerSettings | None = None,
    public: bool | None = None,
    own: bool = True,
    prints: bool = False,
) -> Model:
    """A model that is an ASGI application: Starlette's, FastAPI's or the like, or a subclass of fal.App.

    It gets every call under its id, whatever the method and the path behind the id, with the headers that the
    platform adds (PROTOCOL 3.1); what it answers is passed on, streamed as it comes. All calls of it run in
    this process, on the emulator's loop. It is started with the emulator, and ended with it: it has 10
    seconds to shut down.

    Of a subclass of fal.App its own ``request_timeout``, ``max_concurrency``, ``max_multiplexing`` and
    ``app_auth`` hold, unless something else is said here.

    :param id: ``owner/app``.
    :param unit: what is charged by, as on the pricing page.
    :param units: what a call costs that does not say so itself, in ``x-fal-billable-units``. Answers of 5xx
        cost nothing (PROTOCOL 3.2).
    :param run_time: seconds that a call lasts at least.
    :param request_timeout: seconds after which the platform cuts a call off (PROTOCOL 3); None is 3,600.
    :param runners: how many calls it takes at once, and the like; None is the emulator's own.
    :param public: whether it may be called without a key (PROTOCOL 2).
    :param own: whether it is the caller's own, and so exempt from the account's limit (PROTOCOL 3.3).
    :param prints: whether what it prints while it works on a queued request is in the request's logs, as at
        fal. For that ``sys.stdout`` and ``sys.stderr`` are replaced, from its first call to the end.
    :raises TypeError: if ``app`` is none of these.
    """
    said = {"request_timeout": request_timeout, "runners": runners, "public": public}
    settings = {
        **settings_of(app),
        **{name: value for name, value in said.items() if value is not None},
    }
    return AsgiModel(
        id=id,
        function=application_of(app),
        unit=unit,
        units=units,
        run_time=run_time,
        own=own,
        prints=prints,
        methods=_METHODS,
        takes_any=True,
        subpaths=True,
        **settings,
    )
