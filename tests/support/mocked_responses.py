"""aioresponses on the aiohttp of today.

aioresponses 0.7.9 builds a ``ClientResponse`` without the ``stream_writer`` that aiohttp 3.14 asks for.
"""

from __future__ import annotations

import inspect
from typing import Any
from unittest.mock import Mock

from aiohttp import ClientResponse
from aioresponses import aioresponses

_WANTED = "stream_writer" in inspect.signature(ClientResponse.__init__).parameters


class _Response(ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _WANTED:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


class MockedResponses(aioresponses):  # type: ignore[misc]
    """Use like ``aioresponses``."""

    def add(self, url: Any, **kwargs: Any) -> None:  # type: ignore[override]
        kwargs.setdefault("response_class", _Response)
        super().add(url, **kwargs)
