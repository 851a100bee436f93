"""Where a map's inputs come from: any iterable or async iterable, read one at a time and never ahead."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from fal_async.errors import InputError

__all__ = ["END", "Inputs", "Source"]

Inputs = Iterable[Any] | AsyncIterable[Any]
END: Final = object()
"""What :meth:`Source.next` gives when there is no more."""


class Source:
    """The inputs, one after the other.

    :raises InputError: for something that is no series of inputs: a single mapping or a string, too.
    """

    def __init__(self, inputs: Inputs) -> None:
        if isinstance(inputs, (str, bytes, Mapping)):
            raise InputError(
                f"inputs is a series of inputs; this is a single {type(inputs).__name__}: "
                "put it in a list, or use run"
            )
        self._at_once: Iterator[Any] | None = None
        self._later: AsyncIterator[Any] | None = None
        if isinstance(inputs, AsyncIterable):
            self._later = aiter(inputs)
        elif isinstance(inputs, Iterable):
            self._at_once = iter(inputs)
        else:
            raise InputError(
                f"inputs is an iterable or an async iterable, not {type(inputs).__name__}"
            )

    @property
    def may_wait(self) -> bool:
        """Whether the next input may take its time: it comes from an async iterable."""
        return self._later is not None

    async def next(self) -> Any:
        """The next input, or ``END``. Always asked for in the same task."""
        if self._at_once is not None:
            return next(self._at_once, END)
        return END if self._later is None else await anext(self._later, END)

    async def close(self) -> None:
        """No more is read: an async generator gets to run its ``finally``, here and now."""
        close: Callable[[], Any] | None = getattr(self._later, "aclose", None)
        if close is not None:
            await close()
