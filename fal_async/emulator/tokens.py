"""Short-lived tokens: who was given one, for which applications, until when (PROTOCOL 2.2). Pure.

They look like JSON Web Tokens, since clients may look into them, and mean nothing: what counts is the book.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

import attrs
import msgspec

from fal_async.emulator.chance import Chance
from fal_async.protocol.model import ModelId
from fal_async.protocol.tokens import TokenRequest, covers

__all__ = ["Token", "TokenBook"]


@attrs.frozen(kw_only=True)
class Token:
    """One that was given.

    :ivar until: on the emulator's clock.
    """

    wanted: TokenRequest
    key_id: str
    until: float


class TokenBook:
    """Gives tokens, and knows them again. Expired ones are not forgotten, so that they can be told apart.

    :ivar issued: how many there were.
    """

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._given: dict[str, Token] = {}

    @property
    def issued(self) -> int:
        return len(self._given)

    def issue(self, wanted: TokenRequest, key_id: str, now: float, epoch: float) -> str:
        """A new one, from ``now`` on the emulator's clock; ``epoch`` is where that clock began."""
        until = now + wanted.seconds
        content = {"apps": list(wanted.allowed), "exp": int(epoch + until)}
        signature = self._chance.uuid("token", len(self._given)).replace("-", "")
        text = ".".join((_part({"alg": "none", "typ": "JWT"}), _part(content), signature))
        self._given[text] = Token(wanted=wanted, key_id=key_id, until=until)
        return text

    def find(self, text: str, model_id: ModelId, now: float) -> Token | None:
        """The token, if it opens a connection to this model now."""
        token = self._given.get(text)
        if token is None or now >= token.until or not covers(token.wanted, model_id):
            return None
        return token


def _part(content: object) -> str:
    return urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()
