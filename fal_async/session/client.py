"""``AsyncFal``: opens, joins and closes the parts, and offers one short method per thing a user does."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Final, Self

import aiohttp
import cattrs

from fal_async.errors import InputError
from fal_async.features.preparing import Preparing
from fal_async.features.run import Direct
from fal_async.policy.concurrency import Limits
from fal_async.policy.pacing import check_rate
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.auth import key_from_environment
from fal_async.protocol.hosts import Hosts, hosts_from_environment
from fal_async.session.files import Files
from fal_async.session.live import Live
from fal_async.session.mapping import Mapping
from fal_async.session.queueing import Queueing
from fal_async.session.running import Running
from fal_async.session.streaming import Streaming
from fal_async.transport.authorizing import KeySource
from fal_async.transport.clock import LoopClock
from fal_async.transport.limiting import Limit
from fal_async.transport.proxies import Proxies
from fal_async.transport.stack import Stack

__all__ = ["AsyncFal"]

#: 256 MiB: a few dozen images by value (``sync_mode``); beyond it, something is wrong.
_ANSWER_MAX: Final = 256 * 1024 * 1024


class AsyncFal(Live, Running, Queueing, Mapping, Files, Streaming):
    """A client of fal. One object serves a whole program: it owns the connections and the brake.

    Use it as ``async with AsyncFal() as fal``, or lazily with ``await fal.close()`` at the end.

    :param key: the API key, or a callable (plain or async) asked for one per request. None: the
        environment's ``FAL_KEY``, or ``FAL_KEY_ID`` and ``FAL_KEY_SECRET``. Against a local emulator none is
        needed.
    :param hosts: where the services live; None: as the environment says (``FAL_EMULATOR_URL``,
        ``FAL_RUN_HOST``, ``FAL_QUEUE_RUN_HOST``), else fal's own.
    :param timeout: seconds a call may take from the moment it has its first slot, for all calls that give
        none of their own. None, the default: no limit, since a model may think for minutes.
    :param retry: what is sent again, how often and when; the default never pays twice.
    :param limit: how many direct calls are in flight at once: ``"auto"`` finds the account's limit, an int is
        a ceiling below which it still learns, None is no brake.
    :param converter: a cattrs converter for inputs and outputs; None: one with strict scalars
        (``fal_async.default_converter()`` makes another like it to add hooks to).
    :param http_session: an aiohttp session to send with; it stays yours and is never closed here. Its own
        connection limit (100 unless you said otherwise) then bounds the calls in flight.
    :param proxies: ``"env"``: the environment's; a URL; a mapping from scheme to URL; None: no proxy.
    :param max_answer_bytes: largest answer read, in bytes.
    :param poll_rate: status polls a second, of all queued requests that are waited for together, where their
        status cannot be streamed.
    :param allow_plain_http: permit ``http://`` and ``ws://`` hosts beyond this machine, where the key would
        travel readable.
    :raises InputError: for settings that cannot work. Nothing is opened or sent before the first call.
    """

    def __init__(
        self,
        key: KeySource = None,
        *,
        hosts: Hosts | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        limit: Limit = "auto",
        converter: cattrs.BaseConverter | None = None,
        http_session: aiohttp.ClientSession | None = None,
        proxies: Proxies = "env",
        max_answer_bytes: int = _ANSWER_MAX,
        poll_rate: float = 300.0,
        allow_plain_http: bool = False,
    ) -> None:
        self._hosts = hosts_from_environment(os.environ) if hosts is None else hosts
        if not isinstance(self._hosts, Hosts):
            raise InputError(f"hosts is a Hosts, not {type(hosts).__name__}")
        if not allow_plain_http and self._hosts.insecure():
            raise InputError(
                f"the key would travel readable to {', '.join(self._hosts.insecure())}: "
                "use https, or say allow_plain_http=True"
            )
        if key is None:
            key = key_from_environment(os.environ)
        self._preparing = Preparing(timeout, retry)
        self._clock, self._wall_time = LoopClock(), time.time
        self._stack = Stack(
            self._clock,
            self._hosts,
            key=key,
            limit=limit,
            http_session=http_session,
            proxies=proxies,
            max_answer_bytes=max_answer_bytes,
        )
        self._pool, self._brake = self._stack.pool, self._stack.brake
        self._converter, self._max_answer_bytes = converter, max_answer_bytes
        self._direct = Direct(
            self._stack.direct, self._hosts.run, converter, self._clock, max_answer_bytes
        )
        self._poll_rate = check_rate(poll_rate)

    # --- life -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._pool.session()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; a second close does nothing.

        Calls that wait or are in flight end at once, each with a :class:`SessionError` that tells its
        ``billing``.

        :raises SessionError: in another event loop than the one it was used in, if that is still open.
        """
        self._pool.check_loop()
        if "_queue" in vars(self):  # made when it is first asked for
            await self._subscriber.close()
        await self._stack.close()

    def __repr__(self) -> str:
        state = "closed" if self._pool.closed else "open"
        return f"<AsyncFal {self._hosts.run} {state}>"

    @property
    def hosts(self) -> Hosts:
        """Where the services live."""
        return self._hosts

    @property
    def limits(self) -> Limits | None:
        """What the brake has learned of the limit of the key used last; None before the first call."""
        return self._brake.snapshot()
