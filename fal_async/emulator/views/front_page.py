"""The emulator's own page at ``/``: for people, and for whoever asks whether it is one."""

from __future__ import annotations

from html import escape

from aiohttp import web

from fal_async._version import VERSION
from fal_async.emulator.platform import Platform
from fal_async.emulator.views.answering import respond
from fal_async.protocol import failures
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["front_page"]


def front_page(platform: Platform, request: web.BaseRequest) -> web.StreamResponse:
    """HTML for a browser, JSON for everybody else."""
    facts = _facts(platform)
    if "text/html" not in request.headers.get("Accept", ""):
        return respond(failures.json_answer(200, facts))
    rows = "".join(f"<tr><th>{escape(k)}<td>{escape(str(v))}" for k, v in facts.items())
    page = f"<!doctype html><title>fal emulator</title><h1>A local fal</h1><table>{rows}</table>"
    return respond(HttpResponse(200, Headers({"Content-Type": "text/html"}), page.encode()))


def _facts(platform: Platform) -> dict[str, object]:
    concurrency = platform.concurrency
    return {
        "service": "fal-async emulator",
        "version": VERSION,
        "limit": concurrency.limit,
        "in_flight": concurrency.in_flight,
        "peak_in_flight": concurrency.peak,
        "received": platform.received,
        "refused": concurrency.refused,
        "requests": dict(platform.requests),
        "executed": len(platform.ledger),
        "billed": platform.ledger.billed(),
        "models": sorted(platform.models),
    }
