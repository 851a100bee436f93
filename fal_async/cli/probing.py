"""Asking a host whether it is there: one GET that costs nothing and carries no key."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import attrs

from fal_async._version import VERSION
from fal_async.errors import FalError, InputError
from fal_async.policy.retry import RetryPolicy
from fal_async.transport.base import Call
from fal_async.transport.http import translate
from fal_async.transport.proxies import ProxyRouter

__all__ = ["Probe", "probe", "skew_of"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, connect=10)
_BODY_MAX: Final = 64 * 1024


@attrs.define(kw_only=True)
class Probe:
    """How far one host was reached. Times are seconds from the start; None: not got so far."""

    url: str
    proxy: str | None = None
    resolved: float | None = None
    connected: float | None = None
    answered: float | None = None
    status: int | None = None
    skew: float | None = None
    """Seconds by which this machine's clock is ahead of the host's; the host's has whole seconds."""
    facts: dict[str, Any] | None = None
    """What an emulator's front page says of it."""
    problem: str | None = None


async def probe(url: str, proxies: ProxyRouter) -> Probe:
    """GET ``url`` and look no further than whether something answers. Never raises for the network."""
    found = Probe(url=url)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def resolved(*_: object) -> None:
        found.resolved = loop.time() - began

    async def connected(*_: object) -> None:
        found.connected = loop.time() - began

    trace = aiohttp.TraceConfig()
    trace.on_dns_resolvehost_end.append(resolved)
    trace.on_connection_create_end.append(connected)
    try:
        found.proxy = proxies.proxy_of(url)
        async with (
            aiohttp.ClientSession(
                timeout=_TIMEOUT,
                trace_configs=[trace],
                headers={"User-Agent": f"fal-async/{VERSION}", "Accept": "application/json"},
            ) as session,
            session.get(url, allow_redirects=False, proxy=found.proxy) as response,
        ):
            found.answered = loop.time() - began
            found.status = response.status
            found.skew = skew_of(response.headers.get("Date"), datetime.now(UTC))
            found.facts = _facts(await _beginning(response.content))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, InputError) as error:
        if found.status is None:
            found.problem = _problem(error)
    return found


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = b""
    while len(body) < _BODY_MAX and (chunk := await content.read(_BODY_MAX)):
        body += chunk
    return body


def _problem(error: Exception) -> str:
    if isinstance(error, FalError):
        return error.what
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return "no answer in time"
    return translate(error, Call(RetryPolicy.never())).what


def _facts(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def skew_of(date: str | None, now: datetime) -> float | None:
    """Seconds by which ``now`` is ahead of a ``Date`` header; None if that says nothing."""
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    if told.tzinfo is None:
        return None
    # The header has whole seconds: on average, half a second is cut off.
    return (now - told).total_seconds() - 0.5
