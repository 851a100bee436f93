"""What the CDN keeps: objects with a lifetime and readers (PROTOCOL 4, 11). Pure; time is passed in."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

import attrs

from fal_async.protocol.lifecycle import Decision, InitialAcl, LifecyclePreference

__all__ = ["ObjectStore", "StoredObject", "decide"]

#: Of several rules that apply, the most permissive wins.
_MOST_PERMISSIVE_FIRST: Final[tuple[Decision, ...]] = ("allow", "forbid", "hide")


@attrs.frozen
class StoredObject:
    """One object. ``content`` may be a function that makes it, the same each time."""

    content: bytes | Callable[[], bytes] = attrs.field(repr=False)
    content_type: str
    created: float
    expires: float | None = None
    acl: InitialAcl | None = None
    owner: str = ""


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
    """Objects by name. An object is gone the instant its lifetime ends."""

    def __init__(self) -> None:
        self._objects: dict[str, StoredObject] = {}
        self._expiring: list[tuple[float, str]] = []

    def put(
        self,
        name: str,
        content: bytes | Callable[[], bytes],
        content_type: str,
        now: float,
        *,
        lifecycle: LifecyclePreference | None = None,
        owner: str = "",
    ) -> StoredObject:
        """Keep an object; the seconds of ``lifecycle`` count from now."""
        self._sweep(now)
        wish = lifecycle or LifecyclePreference()
        expires = None if wish.expire is None else now + wish.expire
        stored = StoredObject(content, content_type, now, expires, wish.initial_acl, owner)
        self._objects[name] = stored
        if expires is not None:
            heapq.heappush(self._expiring, (expires, name))
        return stored

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
