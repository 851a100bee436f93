"""Keeping what was paid for and cannot be printed: raw bytes, put where they can be found again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fal_async.cli.naming import safe_stem
from fal_async.cli.saying import say
from fal_async.errors import Billing, FalError
from fal_async.transport.files import write_new

__all__ = ["keep", "keep_answer"]


def keep_answer(error: FalError, folder: Path | None) -> None:
    """Write the body of a billed failure to a file, and say where."""
    if error.billing is not Billing.BILLED or not error.body:
        return
    name = f"fal-{safe_stem(error.request_id or '', 'answer')}.body"
    path = keep(error.body, name, folder)
    if path is not None:
        say(f"the answer as it came is in {path} ({len(error.body):,} bytes)")


def keep(content: bytes, name: str, folder: Path | None) -> Path | None:
    """Write a new file into ``folder``, or where that fails, to where temporary files go.

    :param folder: None is where the user stands.
    :return: None if it could be written nowhere, which has been said.
    """
    for place in (folder or Path(), Path(tempfile.gettempdir())):
        try:
            return write_new(place, name, content)
        except OSError as error:
            say(f"not written to {place.absolute()}: {error.strerror}")
    return None
