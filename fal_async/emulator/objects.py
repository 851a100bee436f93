"""What the CDN keeps: objects with a lifetime and readers (PROTOCOL 4, 11). Pure; time is passed in."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Final, Literal

import attrs

from fal_async.emulator.pieces import Pieces
from fal_async.protocol.lifecycle import Decision, InitialAcl, LifecyclePreference

__all__ = ["Came", "ObjectStore", "StoredObject", "decide"]

Came = Literal["model", "direct", "put", "parts", "presigned_parts"]
"""How a file came: made by a model, or by one of the uploads B, C, D, E (PROTOCOL 11)."""

#: Of several rules that apply, the most permissive wins.
_MOST_PERMISSIVE_FIRST: Final[tuple[Decision, ...]] = ("allow", "forbid", "hide")


@attrs.frozen
class StoredObject:
    """One file on the CDN.

    :ivar content: its bytes; or a function that makes them, the same each time; or the pieces in which they
        came. :attr:`data` is them in any case.
    :ivar created: when, in seconds since the emulator started.
    :ivar expires: when it is gone, or None.
    :ivar acl: who may read it; None is everybody.
    :ivar owner: the key id of whom it belongs to.
    :ivar path: where it is: ``/files/…``.
    :ivar name: that it was uploaded under, as it was said; None if it was not.
    :ivar came: how: from a ``model``, as upload in one piece with a token (``direct``) or to a presigned URL
        (``put``), in parts with a token (``parts``) or to a presigned URL (``presigned_parts``).
    :ivar lifecycle: what was asked for, which the account's settings may have added to; None if nothing.
    """

    content: bytes | Callable[[], bytes] | Pieces = attrs.field(repr=False)
    content_type: str
    created: float
    expires: float | None = None
    acl: InitialAcl | None = None
    owner: str = ""
    path: str = ""
    name: str | None = None
    came: Came = "model"
    lifecycle: LifecyclePreference | None = None

    @property
    def data(self) -> bytes:
        """All of its bytes, in one piece."""
        content = self.content
        return content() if callable(content) else bytes(content)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.content.size if isinstance(self.content, Pieces) else len(self.data)


def decide(stored: StoredObject, reader: str | None) -> Decision:
    """What a reader gets: the object, 403 or 404.

    :param reader: the nickname of who asks; None is somebody unknown. The owner always may.
    """
    if stored.acl is None or (reader is not None and reader == stored.owner):
        return "allow"
    named = {rule.decision for rule in stored.acl.rules if rule.user == reader}
    for decision in _MOST_PERMISSIVE_FIRST:
        if decision in named:
            return decision
    return stored.acl.default


class ObjectStore:
    """Objects by name. An object is gone the instant its lifetime ends.

    :ivar defaults: the account's settings: what holds where an object's maker does not say (PROTOCOL 11).
    """

    def __init__(self) -> None:
        self.defaults = LifecyclePreference()
        self._objects: dict[str, StoredObject] = {}
        self._expiring: list[tuple[float, str]] = []

    def put(
        self,
        path: str,
        content: bytes | Callable[[], bytes] | Pieces,
        content_type: str,
        now: float,
        *,
        lifecycle: LifecyclePreference | None = None,
        owner: str = "",
        name: str | None = None,
        came: Came = "model",
    ) -> StoredObject:
        """Keep an object; the seconds of ``lifecycle`` count from now."""
        self._sweep(now)
        wish = lifecycle or LifecyclePreference()
        seconds = self.defaults.expire if wish.expire is None else wish.expire
        expires = None if seconds is None else now + seconds
        acl = self.defaults.initial_acl if wish.initial_acl is None else wish.initial_acl
        stored = StoredObject(
            content, content_type, now, expires, acl, owner, path, name, came, lifecycle
        )
        self._objects[path] = stored
        if expires is not None:
            heapq.heappush(self._expiring, (expires, path))
        return stored

    def set_acl(self, path: str, acl: InitialAcl) -> None:
        """Let others read an object that there is."""
        self._objects[path] = attrs.evolve(self._objects[path], acl=acl)

    def all(self, now: float) -> Iterator[StoredObject]:
        """Every object there is, in the order of their creation."""
        self._sweep(now)
        return iter(list(self._objects.values()))

    def get(self, name: str, now: float) -> StoredObject | None:
        """The object, or None if there is none (any more)."""
        self._sweep(now)
        return self._objects.get(name)

    def _sweep(self, now: float) -> None:
        while self._expiring and self._expiring[0][0] <= now:
            at, name = heapq.heappop(self._expiring)
            stored = self._objects.get(name)
            if stored is not None and stored.expires == at:
                del self._objects[name]

    def __len__(self) -> int:
        return len(self._objects)
