"""The CDN's tokens of one key: fetched once for all that upload, renewed before they expire (PROTOCOL 11)."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from fal_async.errors import FalError, UploadError
from fal_async.features.progress import Progress
from fal_async.features.storing import Storing
from fal_async.protocol.messages import BodyStream, HttpResponse
from fal_async.protocol.storage import CdnToken, StorageRequest, parse_token, token_request
from fal_async.transport.base import Clock

__all__ = ["Cdn"]

#: A token is renewed so many seconds before its end, or after nine tenths of its life if that is later.
_MARGIN: Final = 60.0


class Cdn:
    """Sends requests with a token of one key.

    :param rest: the base URL that gives tokens.
    :param base: the base URL of the CDN.
    :param key: whose tokens; None for the session's.
    """

    def __init__(
        self,
        storing: Storing,
        clock: Clock,
        wall_time: Callable[[], float],
        *,
        rest: str,
        base: str,
        key: str | None,
    ) -> None:
        self._storing = storing
        self._clock = clock
        self._wall_time = wall_time
        self._rest = rest
        self._key = key
        self._token: CdnToken | None = None
        self._until = 0.0
        self._fetching = asyncio.Lock()
        self._failure: FalError | None = None
        self._failures = 0
        self._waiting = 0
        self.base = base

    async def send(
        self,
        build: Callable[[CdnToken], StorageRequest],
        what: str,
        *,
        body: BodyStream | None = None,
        progress: Progress | None = None,
        check: Callable[[HttpResponse], object] | None = None,
    ) -> HttpResponse:
        """Like :meth:`Storing.send`; a token that is no longer taken is renewed, once."""
        token, renewed = await self._get(), False
        while True:
            request = build(token)
            if not (token.is_for(request.url) or request.url.startswith(f"{self.base}/")):
                raise UploadError(f"{what} is to go to a place that may not be given the token")
            try:
                return await self._storing.send(
                    request, what, body=body, progress=progress, check=check
                )
            except UploadError as error:
                if error.status != 401 or renewed:
                    raise
            token, renewed = await self._get(refused=token), True

    async def _get(self, *, refused: CdnToken | None = None) -> CdnToken:
        """A token that holds.

        :param refused: one that does not, though it should.
        """
        token = self._good(refused)
        if token is not None:
            return token
        failures = self._failures
        self._waiting += 1
        try:
            async with self._fetching:
                token = self._good(refused)
                if token is not None:
                    return token
                if self._failures != failures and self._failure is not None:
                    # Whoever waited for it has waited for this.
                    raise copy.copy(self._failure)
                try:
                    return await self._fetch()
                except FalError as error:
                    self._failure = error
                    self._failures += 1
                    raise
        finally:
            self._waiting -= 1
            if not self._waiting:  # an error keeps alive all that it came through
                self._failure = None

    def _good(self, refused: CdnToken | None) -> CdnToken | None:
        if self._token is refused or self._clock.now() >= self._until:
            return None
        return self._token

    async def _fetch(self) -> CdnToken:
        begun = self._clock.now()
        response = await self._storing.send(
            token_request(self._rest),
            "the request for a CDN token",
            key=self._key,
            signed=True,
            check=self._parse,
        )
        token, now = self._parse(response), self._server_time(response)
        life = token.expires_at - now
        # One that has expired on arrival says more of the clocks than of itself: the CDN will tell.
        margin = min(_MARGIN, life / 10)
        self._until = math.inf if life <= 0 else begun + life - margin
        self._token = token
        return token

    def _parse(self, response: HttpResponse) -> CdnToken:
        return parse_token(response.body, now=self._server_time(response), cdn=self.base)

    def _server_time(self, response: HttpResponse) -> float:
        """What time it is for fal: when it expires is said by fal's clock, and ours may be wrong."""
        try:
            return parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        except (IndexError, OverflowError, TypeError, ValueError):
            return self._wall_time()
