"""The way into a journal's file: make it, or see that it is one, and that nobody else has it open.

Blocking; runs in the writer's thread. A file that is refused is not written to.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Final

import attrs

from fal_async.batch.journal import schema
from fal_async.batch.journal.records import State
from fal_async.batch.journal.trouble import explain, journal_error
from fal_async.errors import JournalError

__all__ = ["Opened", "leave", "open_file"]

_PATIENCE: Final = 0.5  # seconds to wait for whoever has it open
_HEADER: Final = 100  # bytes (https://sqlite.org/fileformat2.html)
_MAGIC: Final = b"SQLite format 3\0"

#: The files open in this process, by device and inode. SQLite's lock ends when any handle of this process
#: on the file is closed, so a file of ours that is open must not even be looked into.
_in_use: set[tuple[int, int]] = set()
_entrance = threading.Lock()


@attrs.frozen(kw_only=True)
class Opened:
    """An open journal, and what was found in it."""

    connection: sqlite3.Connection
    identity: tuple[int, int]
    counts: dict[State, int]
    run: int
    last: int


def open_file(path: Path, model: str, at: float) -> Opened:
    """Open the journal of ``model`` at ``path``, or make it.

    :param at: now, in Unix seconds.
    :raises JournalError: if it cannot be used.
    """
    identity = _enter(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, cached_statements=64
        )
        _take_hold(connection)
        _make_tables(connection, model, at)
        runs, known_to = _check(connection, path, model)
        counts = dict.fromkeys(State, 0)
        counts |= {State(state): count for state, count in connection.execute(schema.COUNT)}
        (last,) = connection.execute(schema.LAST).fetchone()
        _begin_run(
            connection, known_to, at
        )  # nothing is written before all of the above has gone well
    except Exception as failure:
        leave(connection, identity)
        raise explain(failure, path) from failure
    return Opened(connection=connection, identity=identity, counts=counts, run=runs + 1, last=last)


def leave(connection: sqlite3.Connection | None, identity: tuple[int, int]) -> None:
    """Close it, and let others in."""
    try:
        if connection is not None:
            connection.close()
    finally:
        with _entrance:
            _in_use.discard(identity)


def _enter(path: Path) -> tuple[int, int]:
    with _entrance:
        try:
            _make(path)
            found = path.stat()
            identity = (found.st_dev, found.st_ino)
            if identity in _in_use:
                raise journal_error(
                    path,
                    "this process has it open already",
                    "Give each batch a journal of its own, or run them one after the other.",
                )
            _look_at(path)
        except FileNotFoundError as failure:
            remedy = "Make it, or correct the path."
            raise journal_error(path, "its folder does not exist", remedy) from failure
        except OSError as failure:
            raise explain(failure, path) from failure
        _in_use.add(identity)
    return identity


def _make(path: Path) -> None:
    try:
        # answers are nobody else's business; SQLite gives the files beside it the same mode
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def _look_at(path: Path) -> None:
    """Refuse what is no journal of ours before SQLite has touched it."""
    if not os.access(path, os.W_OK):
        raise journal_error(
            path, "it may not be written", "Nothing is sent that cannot be journaled: give another."
        )
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if not header or Path(f"{path}-journal").exists():  # new, or its making was cut short
        return
    if not header.startswith(_MAGIC) or len(header) < _HEADER:
        raise _not_ours(path)
    application, user = header[68:72], header[60:64]
    _check_kind(path, int.from_bytes(application, "big"), int.from_bytes(user, "big"))


def _check_kind(path: Path, application: int, version: int) -> None:
    if application != schema.APPLICATION_ID:
        raise _not_ours(path)
    if version > schema.FORMAT:
        raise journal_error(
            path,
            f"its format is {version}, and this fal_async knows formats up to {schema.FORMAT}",
            "Use the fal_async that wrote it, or a newer one.",
        )


def _not_ours(path: Path) -> JournalError:
    return journal_error(
        path,
        "the file is no journal",
        "Give the path of a journal, or of a file that does not exist yet.",
    )


def _take_hold(connection: sqlite3.Connection) -> None:
    for setting in ("locking_mode = EXCLUSIVE", "synchronous = FULL", "cache_size = -8000"):
        connection.execute(f"PRAGMA {setting}")


def _make_tables(connection: sqlite3.Connection, model: str, at: float) -> None:
    """In one transaction of the main file, before there is a log beside it.

    Whoever looks into the file finds either nothing or what it is.
    """
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        connection.executescript(schema.TABLES)
        connection.execute(schema.INTRODUCE, (model, schema.FORMAT, at))
        connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path, model: str) -> tuple[int, int]:
    """How often it was opened, and up to which item keys are known."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _check_kind(path, application, version)
    whose, runs, known_to = connection.execute(schema.FOUND).fetchone()
    if whose != model:
        raise journal_error(
            path,
            f"it is the journal of {whose}, not of {model}",
            "Give each model a journal of its own.",
        )
    return runs, known_to


def _begin_run(connection: sqlite3.Connection, known_to: int, at: float) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages, of 4 KiB
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(schema.LEARN, (known_to,))
    connection.execute(schema.FIND_DOUBTS, (at,))
    connection.execute(schema.REOPEN)
    connection.execute("COMMIT")
