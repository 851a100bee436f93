"""The folder of a batch: its journal, what came of it, the files, the gallery.

::

    journal.sqlite    what makes it possible to go on
    results.jsonl     a line for each answer
    errors.jsonl      a line for each failure, and for each row that is none
    files/            what models made
    gallery.html      all of it, to look at
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import click

from fal_async.protocol.codec import Undecodable, decode_json

__all__ = ["Folder", "Sheets"]


class Folder:
    """Where a batch lives. Nothing is made before :meth:`make`."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    @property
    def journal(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def results(self) -> Path:
        return self.path / "results.jsonl"

    @property
    def errors(self) -> Path:
        return self.path / "errors.jsonl"

    @property
    def files(self) -> Path:
        return self.path / "files"

    @property
    def gallery(self) -> Path:
        return self.path / "gallery.html"

    def template(self, name: str) -> str:
        """Where files are saved, whatever characters the folder's own name has."""
        return f"{self.files.absolute()}".replace("{", "{{").replace("}", "}}") + f"/{name}"

    def check(self, *, resume: bool) -> None:
        """See that a new batch may begin here, or an old one go on.

        :raises click.UsageError: if not. Nothing was changed.
        """
        if resume:
            if not self.journal.exists():
                raise click.UsageError(
                    f"there is nothing to resume: {self.journal} does not exist. "
                    "Leave --resume out to begin, or give the --out of the batch to go on with."
                )
            return
        for path in (self.journal, self.results, self.errors):
            if path.exists():
                raise click.UsageError(
                    f"--out {self.path} already holds {path.name}: "
                    "say --resume to go on with that batch, or give another --out"
                )

    def make(self) -> None:
        """Make it, if it is not there.

        :raises click.UsageError: if nothing can be written there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"--out {self.path}: {error.strerror}") from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise click.UsageError(f"--out {self.path}: not writable")


class Sheets:
    """``results.jsonl`` and ``errors.jsonl``, written anew.

    Where there are such files already they stay until the end: whoever is killed before that still has them.

    :ivar complete: to be set once nothing is missing any more. If it never is, what was there before and is
        not there now is kept.
    """

    def __init__(self, folder: Folder) -> None:
        self.complete = False
        self._broken = False
        self._results = _Sheet(folder.results)
        try:
            self._errors = _Sheet(folder.errors)
        except BaseException:
            self._results.close()
            raise

    def write(self, text: bytes, *, ok: bool) -> None:
        """Add a line where it belongs. It is in the file when this returns.

        :param text: a JSON object, as ``documents`` makes them.
        :param ok: whether it is an answer.
        :raises OSError: if it cannot be written; then nothing of the new files takes the place of the old.
        """
        try:
            (self._results if ok else self._errors).write(text)
        except OSError:
            self._broken = True
            raise

    def close(self) -> None:
        """Put them in their places.

        :raises OSError: if that cannot be written; what was there before is then still there.
        """
        sheets = (self._results, self._errors)
        try:
            if self._broken:
                return
            if not self.complete:
                here = {place for sheet in sheets for place in sheet.places()}
                for sheet in sheets:
                    sheet.keep_but(here)
            for sheet in sheets:
                sheet.publish()
        finally:
            for sheet in sheets:
                sheet.close()


class _Sheet:
    """A file of JSON lines, and the one that it will take the place of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.exists()
        self._draft = path.with_name(f".{path.name}.part") if self._before else path
        self._file: IO[bytes] = self._draft.open("wb")

    def write(self, text: bytes) -> None:
        self._file.write(text + b"\n")
        self._file.flush()

    def places(self) -> Iterator[str]:
        """Which inputs and rows it tells of, if that matters."""
        if self._before:
            with self._draft.open("rb") as lines:
                yield from filter(None, map(_place, lines))

    def keep_but(self, here: Set[str]) -> None:
        """Take over the lines from before that are about something else."""
        if self._before:
            with self._path.open("rb") as lines:
                for line in lines:
                    place = _place(line)
                    if place is not None and place not in here:
                        self._file.write(line)

    def publish(self) -> None:
        self._file.close()
        if self._before:
            self._draft.replace(self._path)

    def close(self) -> None:
        """Whatever has not been published is gone."""
        with suppress(OSError):
            self._file.close()
        if self._before:
            with suppress(OSError):
                self._draft.unlink()


def _place(line: bytes) -> str | None:
    """Which input or row a line is about; None if it breaks off, or is no line of ours."""
    try:
        document = decode_json(line)
        index, row = document.get("index"), document["line"]
    except (Undecodable, AttributeError, KeyError, TypeError):
        return None
    return f"row {row}" if index is None else f"input {index}"
