"""What SQLite and the file system say, as a :class:`JournalError` that tells what to do about it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from fal_async.errors import JournalError

__all__ = ["explain", "journal_error"]

_RESUME: Final = "then run the same batch again: it goes on where it stopped."

#: By the beginning of SQLite's own name for it (https://sqlite.org/rescode.html).
_MEANINGS: Final = {
    "SQLITE_FULL": ("the disk that holds it is full", f"Make room, {_RESUME}"),
    "SQLITE_IOERR": (
        "the disk that holds it does not let it be read or written",
        f"Look for a full disk, a quota, a limit on the size of files, or a broken disk, {_RESUME}",
    ),
    "SQLITE_BUSY": (
        "it is in use",
        "Wait for the run that uses it to end, or give this one a journal of its own.",
    ),
    "SQLITE_CORRUPT": (
        "it is damaged: what it holds makes no sense",
        "Keep it: `sqlite3 FILE .recover` may save what it holds. A new one knows nothing of what is paid.",
    ),
    "SQLITE_NOTADB": (
        "the file is no journal",
        "Give the path of a journal, or of a file that does not exist yet.",
    ),
    "SQLITE_READONLY": (
        "it may not be written",
        "Give a file, in a folder, that may be written: nothing is sent that cannot be journaled.",
    ),
    "SQLITE_CANTOPEN": (
        "it cannot be opened",
        "Give a file, in a folder, that exists and may be written.",
    ),
}


#: What comes of values that nobody wrote there.
_NONSENSE: Final = (TypeError, ValueError, LookupError, AttributeError)


def journal_error(path: Path, what: str, remedy: str) -> JournalError:
    """An error about the journal at ``path``."""
    error = JournalError(f"the journal {path} cannot be used: {what}")
    error.remedy = remedy
    return error


def explain(failure: BaseException, path: Path) -> JournalError:
    """What made the journal at ``path`` unusable."""
    if isinstance(failure, JournalError):
        return failure
    name = getattr(failure, "sqlite_errorname", None) or ""
    if isinstance(failure, _NONSENSE):
        name = "SQLITE_CORRUPT"
    for beginning, (what, remedy) in _MEANINGS.items():
        if name.startswith(beginning):
            error = journal_error(path, f"{what} ({name})", remedy)
            break
    else:
        error = journal_error(path, _said(failure), f"Put that right, {_RESUME}")
    error.__cause__ = failure
    return error


def _said(failure: BaseException) -> str:
    if isinstance(failure, OSError):
        return failure.strerror or type(failure).__name__
    if isinstance(failure, sqlite3.Error):
        return f"SQLite says {failure}"
    return type(failure).__name__
