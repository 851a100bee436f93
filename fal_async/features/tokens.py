"""Short-lived tokens, for whoever must not have the key (PROTOCOL 2.2)."""

from __future__ import annotations

from collections.abc import Iterable

from fal_async.errors import Billing, DecodeError
from fal_async.features.asking import HEADERS
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.messages import HttpRequest
from fal_async.protocol.tokens import Flavour, build_token_request, read_token, token_path
from fal_async.transport.base import Call, Transport

__all__ = ["Tokens"]


class Tokens:
    """Asks for tokens, over a transport that only ever brings a 2xx."""

    def __init__(self, transport: Transport, base: str) -> None:
        self._transport = transport
        self._base = base

    async def get(
        self, apps: str | Iterable[str], seconds: object, flavour: Flavour, call: Call
    ) -> str:
        """A token; asking for one costs nothing.

        :raises InputError: for what no token can be asked for.
        :raises DecodeError: if the answer holds none.
        """
        wanted, body = build_token_request(apps, seconds, flavour)
        request = HttpRequest(
            method="POST",
            url=f"{self._base}{token_path(wanted.flavour)}",
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                **HEADERS,
            },
            body=body,
        )
        response = await self._transport.send(request, call)
        try:
            return read_token(response.body)
        except Undecodable as error:
            # Its body is kept out of the error: half a token is a secret, too.
            failure = DecodeError(
                f"the answer is no token: {error}",
                billing=Billing.NOT_BILLED,
                status=response.status,
            )
        raise failure
