"""The storage, as a test looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from fal_async.emulator.objects import Came, StoredObject
from fal_async.emulator.platform import Platform
from fal_async.emulator.storage.service import StorageService
from fal_async.emulator.storage.settings import StorageSettings
from fal_async.emulator.storage.unfinished import Unfinished
from fal_async.protocol import wire

__all__ = ["StorageView", "path_of"]


def path_of(url: str) -> str:
    """Where on the CDN a URL of it leads: ``/files/…``. Whatever is before that is not looked at."""
    _, prefix, rest = urlsplit(url).path.partition(wire.FILES_PREFIX)
    return prefix + rest


class StorageView:
    """What is on the CDN, and on its way there.

    Iterates over every file there is now, in the order of their creation: a :class:`StoredObject` each.
    """

    def __init__(self, platform: Platform, storage: StorageService) -> None:
        self._platform = platform
        self._storage = storage

    def __iter__(self) -> Iterator[StoredObject]:
        return self._platform.objects.all(self._platform.clock.now())

    def __len__(self) -> int:
        return len(self.files())

    def __getitem__(self, url: str) -> StoredObject:
        """The file of a URL, or of a path; ``KeyError`` if there is none (any more)."""
        stored = self._platform.objects.get(path_of(url), self._platform.clock.now())
        if stored is None:
            raise KeyError(url)
        return stored

    def files(self, came: Came | None = None) -> tuple[StoredObject, ...]:
        """All files, or those that came in this way, such as ``"parts"``."""
        return tuple(stored for stored in self if came is None or stored.came == came)

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        """Uploads that have begun and are not complete, the first one first."""
        begun = self._storage.unfinished.values()
        return tuple(upload for upload in begun if upload.completed is None)

    @property
    def tokens(self) -> int:
        """How many tokens were given out."""
        return self._storage.access.tokens.given

    def expire_tokens(self) -> None:
        """Every token given out so far is void."""
        self._storage.access.tokens.end_all()

    @property
    def settings(self) -> StorageSettings:
        """How uploads are taken; set it, and it holds for the next request."""
        return self._storage.settings

    @settings.setter
    def settings(self, value: StorageSettings) -> None:
        self._storage.settings = value
