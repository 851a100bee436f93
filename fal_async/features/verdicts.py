"""What becomes of a verdict whose cancellation another one replaces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keeping_verdict"]


@contextmanager
def keeping_verdict(exc: BaseException | None) -> Iterator[None]:
    """Within, whoever is cancelled again while he leaves a block keeps the verdict of the first time.

    :param exc: what the block ended with.
    """
    try:
        yield
    except asyncio.CancelledError as again:
        if isinstance(exc, asyncio.CancelledError) and hasattr(exc, "verdict"):
            again.verdict = exc.verdict  # type: ignore[attr-defined]
        raise
