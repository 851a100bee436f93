"""Who may read which file: tokens, signed URLs, access lists (PROTOCOL 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from fal_async.emulator.objects import StoredObject, decide
from fal_async.emulator.platform import Platform
from fal_async.emulator.storage.grants import Grants
from fal_async.protocol import wire
from fal_async.protocol.lifecycle import Decision, InitialAcl

__all__ = ["Access"]

_SCHEME: Final = f"{wire.CDN_TOKEN_TYPE} "


class Access:
    """The door to the CDN."""

    def __init__(self, platform: Platform) -> None:
        self.tokens = Grants(platform.chance, "cdn token")
        self.identities = Grants(platform.chance, "identity")
        self._platform = platform

    def holder(self, headers: Mapping[str, str]) -> str | None:
        """The key id of whom the request's token was given to; None without a token that is good."""
        token = self._token(headers)
        return None if token is None else self.tokens.subject(token, self._platform.clock.now())

    def end_token(self, headers: Mapping[str, str]) -> None:
        """The token that a request carries is over."""
        self.tokens.end(self._token(headers) or "")

    def _token(self, headers: Mapping[str, str]) -> str | None:
        said = headers.get(wire.AUTHORIZATION, "")
        return said[len(_SCHEME) :].strip() if said.startswith(_SCHEME) else None

    def is_void(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries a token that is none, or none any more."""
        return self._token(headers) is not None and self.holder(headers) is None

    def decide(
        self, stored: StoredObject, headers: Mapping[str, str], identity: str | None
    ) -> Decision:
        """What somebody gets who asks for a file.

        :param identity: of a signed URL, by which the access list does not count.
        """
        now = self._platform.clock.now()
        if identity is not None and self.identities.subject(identity, now) == stored.path:
            return "allow"
        return decide(stored, self.holder(headers))

    def sign(self, stored: StoredObject, seconds: float) -> str:
        """The query of a URL by which anybody may read the file for so long."""
        secret = self.identities.give(stored.path, self._platform.clock.now() + seconds)
        return f"?{wire.IDENTITY_PARAMETER}={secret}"

    def applied(self, acl: InitialAcl) -> InitialAcl:
        """The access list without rules for users that do not exist, where it is known who does."""
        keys = self._platform.account.keys
        if keys is None:
            return acl
        users = {key.partition(":")[0] for key in keys}
        return attrs.evolve(acl, rules=tuple(rule for rule in acl.rules if rule.user in users))
