"""What is mounted, taken for what it is: an ASGI application, or one of fal's own framework.

fal is not imported: who has an application of its framework has it already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, cast

from fal_async.emulator.asgi.model import AsgiApp
from fal_async.emulator.runners import RunnerSettings

__all__ = ["application_of", "settings_of"]

#: Of fal's framework: makes the application that its server serves; and where a class keeps its settings.
_BUILD: Final = "_build_app"
_SETTINGS: Final = "host_kwargs"


def application_of(given: Any) -> AsgiApp:
    """The application itself.

    :raises TypeError: there is none.
    """
    if hasattr(given, _BUILD):
        given = getattr(_served(given), _BUILD)()
    if not callable(given):
        raise TypeError(f"an ASGI application is callable, which {type(given).__name__} is not")
    return cast("AsgiApp", given)


def _served(given: Any) -> Any:
    """What fal's own server does in a runner: it makes one of the class, and names it the current one.

    There is one runner in a process of fal's, and so one current application; here it is the first.
    """
    if not isinstance(given, type):
        return given
    make: Callable[..., Any] = given
    served = make(_allow_init=True)
    ref = sys.modules.get("fal.ref")
    if ref is not None and ref.get_current_app() is None:
        ref.set_current_app(served)
    return served


def settings_of(given: Any) -> dict[str, Any]:
    """What a class of fal's framework says itself of how it is to be served."""
    if not hasattr(given, _BUILD):
        return {}
    told: dict[str, Any] = getattr(given, _SETTINGS, {})
    found: dict[str, Any] = {"public": getattr(given, "app_auth", None) == "public"}
    if told.get("request_timeout") is not None:
        found["request_timeout"] = float(told["request_timeout"])
    if told.get("max_concurrency") is not None:
        each = told.get("max_multiplexing") or 1
        found["runners"] = RunnerSettings(count=told["max_concurrency"] * each)
    return found
