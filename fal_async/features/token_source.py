"""Where the token of a realtime connection comes from, and when a new one is due."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Final, cast

from fal_async.errors import FalError, InputError
from fal_async.transport.base import Clock

__all__ = ["TokenArgument", "TokenSource", "check_token"]

TokenArgument = bool | str | Callable[[], str | Awaitable[str]] | None
"""None or False: the key, in the header; True: tokens asked of fal; a token; or a callable that gives one."""

#: Of its life, the part after which the next one is asked for.
_FRESH: Final = 0.8


def check_token(value: object) -> TokenArgument:
    """The caller's ``token``.

    :raises InputError: for what is none.
    """
    good = value is None or isinstance(value, bool) or callable(value)
    if not good and not (isinstance(value, str) and value.strip()):
        raise InputError("token is True, a token, a callable that gives one, or None")
    return cast("TokenArgument", value)


class TokenSource:
    """Gives a token that is still good, and gets the next one before this one is over.

    :param ask: gets a new one.
    :param lifetime: seconds a token is good for; None: asked for each time.
    """

    def __init__(
        self, ask: Callable[[], str | Awaitable[str]], clock: Clock, lifetime: float | None
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lifetime = lifetime
        self._token: str | None = None
        self._until = 0.0

    async def token(self) -> str:
        """One to open a connection with.

        :raises FalError: whatever fal says to the question.
        :raises InputError: if the caller's own callable fails, or gives none.
        """
        token = self._token
        if token is None or self._clock.now() >= self._until:
            return await self._renew()
        return token

    def drop(self) -> None:
        """It was refused."""
        self._token = None

    async def _renew(self) -> str:
        asked = self._clock.now()
        try:
            token = self._ask()
            if inspect.isawaitable(token):
                token = await token
        except FalError:
            raise
        except Exception as error:  # whatever the caller's own code raises
            raise InputError(f"the token callable failed with {type(error).__name__}") from error
        if not isinstance(token, str) or not token.strip():
            raise InputError("the token callable gave no token")
        if self._lifetime is not None:
            self._token, self._until = token, asked + _FRESH * self._lifetime
        return token

    async def keep_fresh(self) -> None:
        """Renew in the background, for ever: so that a lost connection is made again without delay."""
        while self._lifetime is not None:
            wait = (
                self._until - self._clock.now() if self._token is not None else self._lifetime / 4
            )
            await self._clock.sleep(max(wait, self._lifetime / 10))
            try:
                await self.token()
            except FalError:
                self.drop()  # asked again, and told, when it is needed
