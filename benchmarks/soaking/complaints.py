"""Whatever is complained of where nobody would see it: in the log, to the loop, as an object goes."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

__all__ = ["Complaints"]


class Complaints(logging.Handler):
    """Hears it from its making on, which is within a running loop.

    :param where: what each sentence begins with.
    :ivar wrong: the sentences.
    """

    def __init__(self, where: str = "") -> None:
        super().__init__(logging.ERROR)
        self.wrong: list[str] = []
        self._where = where
        logging.getLogger().addHandler(self)
        asyncio.get_running_loop().set_exception_handler(self._of_loop)
        sys.unraisablehook = lambda found: self.hear(
            f"unraisable: {found.exc_value!r} of {found.object!r:.200}"
        )

    def hear(self, sentence: str) -> None:
        """Something is wrong."""
        self.wrong.append(f"{self._where}{sentence}")

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(f"{record.name} says: {self.format(record)}")

    def _of_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.hear(f"the loop says: {context.get('message')}: {context!r:.500}")
