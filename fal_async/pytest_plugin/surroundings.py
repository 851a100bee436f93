"""What code under test finds around it: an environment, and a fal-client, that lead to the emulator."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

import pytest

from fal_async.protocol import wire
from fal_async.pytest_plugin.importing import WhenImported

__all__ = ["KEY", "surroundings"]

#: The key that is in the environment, unless the emulator is told which keys there are.
KEY: Final = "test-key-id:test-key-secret"

#: Where fal-client keeps its URLs: made of the environment when it is imported, and always https.
_CLIENT: Final = "fal_client.client"
#: Behind its functions stand two clients that last as long as the process.
_LASTING: Final = ("sync_client", "async_client")


@contextmanager
def surroundings(url: str, key: str = KEY) -> Iterator[None]:
    """Lead ``AsyncFal()`` and fal-client to an emulator, as long as this lasts."""
    run = os.environ.get(wire.ENV_RUN_HOST, wire.RUN_HOST)
    queue = os.environ.get(wire.ENV_QUEUE_HOST, f"queue.{run}")
    with pytest.MonkeyPatch.context() as patch:
        place = url.partition("://")[2]
        patch.setenv(wire.ENV_EMULATOR_URL, url)
        # For what goes by these two, in this process or another: better a refusal than fal itself.
        patch.setenv(wire.ENV_RUN_HOST, place)
        patch.setenv(wire.ENV_QUEUE_HOST, place)
        patch.setenv(wire.ENV_KEY, key)
        patch.delenv(wire.ENV_KEY_ID, raising=False)
        patch.delenv(wire.ENV_KEY_SECRET, raising=False)
        for name in ("NO_PROXY", "no_proxy"):  # this machine is reached directly
            patch.setenv(name, "127.0.0.1", prepend=",")
        with _led_to(url, _real_urls(run, queue), patch), _clients_as_new():
            yield


@contextmanager
def _led_to(url: str, real: Mapping[str, str], patch: pytest.MonkeyPatch) -> Iterator[None]:
    def lead(client: ModuleType) -> None:
        for name, value in _emulated_urls(url).items():
            patch.setattr(client, name, value, raising=False)

    def lead_new(client: ModuleType) -> None:
        vars(client).update(real)  # it has just read the environment above
        lead(client)

    imported = sys.modules.get(_CLIENT)
    if imported is not None:
        lead(imported)
        yield
        return
    finder = WhenImported(_CLIENT, lead_new)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _clients_as_new() -> Iterator[None]:
    """Have fal-client's functions begin with nothing, and end with what they had before.

    What they keep is of one account, one emulator and one event loop: its key, a token, connections.
    """
    before = {name: _taken(client) for name, client in _lasting_clients()}
    try:
        yield
    finally:
        for name, client in _lasting_clients():
            close = getattr(_taken(client).get("_client"), "close", None)
            if close is not None:  # what the other one has is bound to its loop
                close()
            vars(client).update(before.get(name, {}))


def _lasting_clients() -> Iterator[tuple[str, object]]:
    """Those that there are by now."""
    package = sys.modules.get(_CLIENT.partition(".")[0])
    return ((name, vars(package)[name]) for name in _LASTING if package and name in vars(package))


def _taken(client: object) -> dict[str, Any]:
    """What a client has made, besides its settings; from now on it has made nothing."""
    made = vars(client)
    return {name: made.pop(name) for name in list(made) if name.startswith("_")}


def _real_urls(run: str, queue: str) -> dict[str, str]:
    return {
        "RUN_URL_FORMAT": f"https://{run}/",
        "QUEUE_URL_FORMAT": f"https://{queue}/",
        "REALTIME_URL_FORMAT": f"wss://{run}/",
    }


def _emulated_urls(url: str) -> dict[str, str]:
    socket = url.replace("http", "ws", 1)
    return {
        "RUN_URL_FORMAT": f"{url}/{wire.RUN_HOST}/",
        "QUEUE_URL_FORMAT": f"{url}/{wire.QUEUE_HOST}/",
        "REALTIME_URL_FORMAT": f"{socket}/{wire.RUN_HOST}/",
        "REST_URL": f"{url}/{wire.REST_HOST}",
        "CDN_URL": f"{url}/{wire.CDN_HOST}",
    }
