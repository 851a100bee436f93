"""Secrets that stand for something until a moment: the CDN's tokens, signed URLs. Pure; time is passed in."""

from __future__ import annotations

import attrs

from fal_async.emulator.chance import Chance

__all__ = ["Grants"]


@attrs.frozen
class _Grant:
    subject: str
    expires: float


class Grants:
    """Secrets of one kind.

    :ivar given: how many there ever were.
    """

    def __init__(self, chance: Chance, kind: str) -> None:
        self.given = 0
        self._chance = chance
        self._kind = kind
        self._grants: dict[str, _Grant] = {}

    def give(self, subject: str, expires: float) -> str:
        """A new secret for somebody or something; it is void from ``expires`` on."""
        self.given += 1
        secret = self._chance.uuid(self._kind, self.given).replace("-", "")
        self._grants[secret] = _Grant(subject, expires)
        return secret

    def subject(self, secret: str, now: float) -> str | None:
        """Whom or what it stands for; None if nobody gave it, or its time is over."""
        grant = self._grants.get(secret)
        if grant is None or grant.expires <= now:
            self._grants.pop(secret, None)
            return None
        return grant.subject

    def end(self, secret: str) -> None:
        """Make it void."""
        self._grants.pop(secret, None)

    def end_all(self) -> None:
        """Make all of them void."""
        self._grants.clear()
