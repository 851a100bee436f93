"""Journals for tests: keys, answers, and an open one that closes itself."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import Answer
from fal_async.errors import Billing

MODEL = "fal-ai/fast-sdxl"
NOW = 1_700_000_000.0


def key(name: object) -> bytes:
    return hashlib.blake2b(str(name).encode(), digest_size=16).digest()


def answer(body: bytes = b"{}", *, succeeded: bool = True) -> Answer:
    return Answer(
        succeeded=succeeded,
        status=200 if succeeded else 422,
        headers={"x-fal-request-id": "r-1"},
        body=body,
        request_id="r-1",
        attempts=2,
        elapsed=1.5,
        billing=Billing.BILLED if succeeded else Billing.UNKNOWN,
        billable_units="0.25",
        error=None if succeeded else {"class": "ModelError", "what": "no", "billing": "unknown"},
    )


@contextlib.asynccontextmanager
async def opened(path: Path, *, model: str = MODEL, now: float = NOW) -> AsyncIterator[Journal]:
    journal = await Journal.open(path, model=model, now=lambda: now)
    try:
        yield journal
    finally:
        await journal.close()
