"""Keeping what was paid for and cannot be printed: the raw bytes of a damaged answer."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fal_async.cli.media import safe_stem
from fal_async.cli.saving import write_new
from fal_async.cli.saying import say
from fal_async.errors import Billing, FalError

__all__ = ["keep_answer"]


def keep_answer(error: FalError, folder: Path | None) -> Path | None:
    """Write the body of a billed failure to a file, and say where; None if there is nothing to keep.

    :param folder: where to; None is where the user stands. If that cannot be written to, it goes where
        temporary files go.
    """
    if error.billing is not Billing.BILLED or not error.body:
        return None
    name = f"fal-{safe_stem(error.request_id or '', 'answer')}.body"
    for place in (folder or Path.cwd(), Path(tempfile.gettempdir())):
        try:
            path = write_new(place, name, error.body)
        except OSError:
            continue
        say(f"the answer as it came is in {path} ({len(error.body):,} bytes)")
        return path
    return None
