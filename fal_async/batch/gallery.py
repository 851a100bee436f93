"""A page to look at a batch with: ``gallery.html``, beside the files that were saved.

One page that needs nothing else and asks the network for nothing: its policy forbids it, whatever is in
it. It carries the items as JSON; ``gallery.js`` shows those on the screen, and as text only. What is here
collects them, counts them, and writes the page; what an item says is ``gallery_item.py``'s. Blocking file
I/O: call :meth:`Gallery.write` from a thread.
"""

from __future__ import annotations

import json
import math
import os
import threading
from array import array
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import cache
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import Path, PurePath
from statistics import median
from typing import Any, Final
from urllib.parse import quote

import attrs

from fal_async.batch.gallery_item import (
    GalleryItem,
    gallery_item,
    kind_of,
    link_to,
    without_data,
)
from fal_async.batch.outcome import Outcome, SavedFile
from fal_async.errors import Billing

__all__ = ["Gallery", "GalleryItem", "GalleryNumbers", "gallery_item"]


@attrs.frozen(kw_only=True)
class GalleryNumbers:
    """What the gallery cannot count itself.

    :ivar written: when; shown in the time zone of whoever looks.
    :ivar in_doubt: inputs that may have been called for and paid, with nothing known of the outcome.
    :ivar expected: how many inputs there are; None if that is not known, or not yet.
    :ivar seconds: how long the batch has taken so far, from its start.
    :ivar finished: False while more is to come.
    """

    written: datetime | None = None
    in_doubt: int = 0
    expected: int | None = None
    seconds: float | None = None
    finished: bool = True


class Gallery:
    """The page of one batch: :meth:`add` what came, :meth:`write` it as often as you like.

    An item takes some 250 bytes of memory besides its words, of which no more than 4,000 characters are
    kept. One thread may write while another adds.

    :param path: where the page is to be; links to saved files are relative to its folder.
    :param model: what was called.
    :param title: the page's heading; None for the model.
    """

    def __init__(self, path: Path, *, model: str, title: str | None = None) -> None:
        self._path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
        self._model = model
        self._title = model if title is None else title
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._tally = _Tally()

    @property
    def path(self) -> Path:
        """Where the page is written to, absolute."""
        return self._path

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, outcome: Outcome[Any]) -> None:
        """Put an outcome on the page. Cheap: no file is touched."""
        self.add_item(gallery_item(outcome))

    def add_item(self, item: GalleryItem) -> None:
        """Put on the page what need not have come from an outcome."""
        line = _line(item, self._path.parent)
        with self._lock:
            self._lines.append(line)
            self._tally.count(item)

    def write(self, numbers: GalleryNumbers | None = None) -> Path:
        """Write the page anew, with all that was added. Whoever looks sees the old one or the new one.

        :raises OSError: if it cannot be written; a page that was there before is then still there.
        """
        with self._lock:
            lines = tuple(self._lines)
            batch = self._tally.told(numbers or GalleryNumbers())
        batch |= {"title": self._title, "model": self._model}
        unfinished = self._path.with_name(f".{self._path.name}.part")
        try:
            with unfinished.open("wb") as file:
                file.writelines(_page(self._title, batch, lines))
            unfinished.replace(self._path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
        return self._path


class _Tally:
    """The numbers on top of the page that follow from its items."""

    def __init__(self) -> None:
        self.failed = 0
        self.called = 0
        self.units = Decimal(0)
        self.unknown = 0
        self.elapsed = array("d")
        self._paid: set[int] = set()  # hashes of request ids: they need an eighth of the room

    def count(self, item: GalleryItem) -> None:
        self.failed += item.error is not None
        self.called += not item.replayed
        self.unknown += item.billing is Billing.UNKNOWN
        if math.isfinite(item.elapsed) and item.elapsed > 0:
            self.elapsed.append(item.elapsed)
        if item.units and item.billing is Billing.BILLED and self._is_new(item.request_id):
            self.units += Decimal(item.units)

    def _is_new(self, request_id: str | None) -> bool:
        """Equal inputs may share one call, which was paid once."""
        if request_id is None:
            return True
        before = len(self._paid)
        self._paid.add(hash(request_id))
        return len(self._paid) > before

    def told(self, numbers: GalleryNumbers) -> dict[str, Any]:
        return {
            "failed": self.failed,
            "in_doubt": numbers.in_doubt,
            "expected": numbers.expected,
            "units": format(self.units, "f"),
            "unknown": self.unknown,
            "elapsed": _seconds(math.fsum(self.elapsed)),
            "median": _seconds(median(self.elapsed)) if self.elapsed else None,
            "seconds": None if numbers.seconds is None else _seconds(numbers.seconds),
            "rate": self.called / numbers.seconds if numbers.seconds else None,
            "written": None if numbers.written is None else numbers.written.isoformat(),
            "finished": numbers.finished,
        }


# --- an item as JSON ------------------------------------------------------------------------------------


def _line(item: GalleryItem, folder: Path) -> bytes:
    fields = {
        "index": item.index,
        "prompt": _checked(item.prompt),
        "text": _checked(item.text),
        # Of up to 64 bits: a number of JavaScript would round it.
        "seed": None if item.seed is None else str(item.seed),
        "time": _seconds(item.elapsed),
        "units": item.units,
        "id": item.request_id,
        "files": [_file(file, folder) for file in item.files],
        "error": _checked(item.error),
        "class": item.error_class,
        "billing": None if item.billing is Billing.BILLED else item.billing.value,
        "attempts": item.attempts if item.attempts > 1 else None,
        "replayed": item.replayed or None,
    }
    return _script_json({key: value for key, value in fields.items() if value not in (None, [])})


def _file(file: SavedFile, folder: Path) -> dict[str, str]:
    told: dict[str, str | None] = {"kind": kind_of(file)}
    if file.path is not None:
        told["src"] = _relative(file.path, folder)
    else:
        told["url"] = link_to(file.url)
        told["why"] = None if file.error is None else without_data(file.error.what)
    return {key: value for key, value in told.items() if value is not None}


def _relative(path: Path, folder: Path) -> str:
    """A reference that works wherever page and files are moved to together."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.absolute().as_uri()
    # Every byte of a name but those that stand for themselves; the colon too, lest it ends a scheme.
    return quote(os.fsencode(PurePath(relative).as_posix()), safe="/")


def _checked(text: str | None) -> str | None:
    return None if text is None else without_data(text)


def _seconds(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _script_json(value: Any) -> bytes:
    """JSON that can stand in a script element: no ``</script`` and no ``<!--``, for want of a ``<``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace").replace(b"<", b"\\u003c")


# --- the page -------------------------------------------------------------------------------------------


def _page(title: str, batch: dict[str, Any], lines: tuple[bytes, ...]) -> Iterator[bytes]:
    before, between, after = _frame()
    yield before
    yield escape(title).encode("utf-8", "replace")
    yield between
    yield b'{"batch":' + _script_json(batch) + b',"items":[\n'
    for number, line in enumerate(lines):
        yield b",\n" + line if number else line
    yield b"\n]}"
    yield after


#: Nothing from anywhere but the page's own place, and no script or style but the page's own two.
#: Firefox takes 'self' not to hold for files, hence `file:`.
_POLICY: Final = (
    "default-src 'none'; img-src 'self' file:; media-src 'self' file:; script-src '{script}'; "
    "style-src '{style}'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@cache
def _frame() -> tuple[bytes, bytes, bytes]:
    """The page around its title and its data."""
    page, style, script = (_asset(f"gallery.{kind}") for kind in ("html", "css", "js"))
    policy = _POLICY.format(script=_fingerprint(script), style=_fingerprint(style))
    page = page.replace("{policy}", policy).replace("{style}", style).replace("{script}", script)
    before, _, rest = page.partition("{title}")
    between, _, after = rest.partition("{data}")
    return before.encode(), between.encode(), after.encode()


def _asset(name: str) -> str:
    return (resources.files("fal_async.batch") / name).read_text(encoding="utf-8")


def _fingerprint(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
