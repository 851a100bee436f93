"""Saving the files of an output: streamed to disk, never with the key, never over what is there.

This fetches what models made, for the command line. It decides nothing about names: see ``media``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
import attrs

from fal_async._version import VERSION
from fal_async.cli.media import Media, decode_data_uri, extension_of, safe_stem
from fal_async.errors import InputError
from fal_async.protocol.hosts import is_loopback
from fal_async.transport.proxies import ProxyRouter

__all__ = ["Saved", "Saver", "SavingError", "write_new"]

_REDIRECTS: Final = 5
_CHUNK: Final = 256 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)


class SavingError(Exception):
    """A file that could not be saved; the text says which and why, and holds no URL."""


class _PassingError(Exception):
    """A failure that another try may get over: fetching costs nothing."""


@attrs.frozen(kw_only=True)
class Saved:
    """A file on disk: where it stood in the output, where it is, how large."""

    place: str
    path: Path
    size: int


class Saver:
    """Saves into one folder, which must exist. Use it as ``async with``.

    :param local: whether files may be fetched from this machine, as from an emulator's CDN. An output of
        the real fal has no business to make us ask our own services.
    :param pauses: seconds before each further try.
    """

    def __init__(self, folder: Path, *, local: bool, pauses: Sequence[float] = (0.5, 2.0)) -> None:
        self._folder = folder
        self._pauses = pauses
        self._local = local
        self._proxies = ProxyRouter("env")

    async def __aenter__(self) -> Self:
        # A session of its own: whatever the client's may know, nothing of it goes to a stranger.
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"fal-async/{VERSION}", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def save(self, media: Media, stem: str | None = None) -> Saved:
        """Save one file, under its own name or ``stem``; numbered where that is taken.

        :raises SavingError: if it cannot be had or written; nothing of it is left behind.
        """
        try:
            if media.url.startswith("data:"):
                return await self._save_inline(media, stem)
            return await self._save_remote(media, stem)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise SavingError(f"{media.place}: not written: {reason}") from error

    async def _save_inline(self, media: Media, stem: str | None) -> Saved:
        try:
            content, kind = decode_data_uri(media.url)
        except ValueError as error:
            raise SavingError(f"{media.place}: {error}") from None
        name = self._name(media, stem, kind)
        path = await asyncio.to_thread(write_new, self._folder, name, content)
        return Saved(place=media.place, path=path, size=len(content))

    async def _save_remote(self, media: Media, stem: str | None) -> Saved:
        for pause in self._pauses:
            try:
                return await self._fetch(media, stem)
            except _PassingError:
                await asyncio.sleep(pause)
        try:
            return await self._fetch(media, stem)
        except _PassingError as failure:
            raise SavingError(f"{media.place}: {failure}") from failure

    async def _fetch(self, media: Media, stem: str | None) -> Saved:
        try:
            async with self._get(media) as response:
                if response.status != 200:
                    raise _refusal(media, response.status)
                kind = response.headers.get("Content-Type", "")
                return await self._write(media, self._name(media, stem, kind), response.content)
        except aiohttp.InvalidURL:
            raise SavingError(f"{media.place}: its URL is none") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _PassingError(_problem(error)) from error

    @asynccontextmanager
    async def _get(self, media: Media) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer at the end of the redirects, each of them looked at before it is followed."""
        url = media.url
        for _ in range(_REDIRECTS):
            proxy = self._route(media, url)
            async with self._session.get(url, allow_redirects=False, proxy=proxy) as response:
                location = response.headers.get("Location")
                if not 300 <= response.status < 400 or location is None:
                    yield response
                    return
                target = _absolute(media, url, location)
                if url.startswith("https:") and not target.startswith("https:"):
                    raise SavingError(f"{media.place}: redirected from https to something else")
                url = target
        raise SavingError(f"{media.place}: redirected more than {_REDIRECTS} times")

    def _route(self, media: Media, url: str) -> str | None:
        """The proxy to go through, if the URL is one to go to at all."""
        try:
            parts = urlsplit(url)
            ours = is_loopback(url)
        except ValueError:
            raise SavingError(f"{media.place}: its URL is none") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SavingError(f"{media.place}: only http, https and data URLs can be fetched")
        if ours and not self._local:
            raise SavingError(f"{media.place}: its URL points at this machine")
        try:
            return self._proxies.proxy_of(url)
        except InputError as error:
            raise SavingError(f"{media.place}: {error.what}") from None

    async def _write(self, media: Media, name: str, content: aiohttp.StreamReader) -> Saved:
        part, size = _part(self._folder), 0
        try:
            with await asyncio.to_thread(part.open, "xb") as file:
                async for chunk in content.iter_chunked(_CHUNK):
                    await asyncio.to_thread(file.write, chunk)
                    size += len(chunk)
            path = await asyncio.to_thread(_publish, part, self._folder, name)
        finally:
            part.unlink(missing_ok=True)
        return Saved(place=media.place, path=path, size=size)

    def _name(self, media: Media, stem: str | None, served_as: str) -> str:
        kind = media.content_type or served_as
        fallback = safe_stem(media.place.replace("[", "-").replace("]", ""), "file")
        return (stem or safe_stem(media.name, fallback)) + extension_of(media.name, kind)


def _absolute(media: Media, url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise SavingError(f"{media.place}: redirected to something that is no URL") from None


def _refusal(media: Media, status: int) -> Exception:
    if status >= 500 or status == 429:
        return _PassingError(f"its server answered {status}")
    gone = " (expired, perhaps)" if status in {404, 410} else ""
    return SavingError(f"{media.place}: its server answered {status}{gone}")


def _problem(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host's name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection to its host"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "it broke off before its end"
    if isinstance(error, TimeoutError):
        return "its server fell silent"
    return "the connection to its server was lost"


def write_new(folder: Path, name: str, content: bytes) -> Path:
    """Write a file that was not there before, whole or not at all; numbered if ``name`` is taken.

    :raises OSError: if it cannot be written.
    """
    part = _part(folder)
    try:
        with part.open("xb") as file:
            file.write(content)
        return _publish(part, folder, name)
    finally:
        part.unlink(missing_ok=True)


def _part(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(8)}.part"


def _publish(part: Path, folder: Path, name: str) -> Path:
    """Give a finished file its name, or the first free one like it."""
    wanted = Path(name)
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{wanted.stem}-{number}{wanted.suffix}")
        try:
            os.link(part, path)
        except FileExistsError:
            number += 1
        except OSError:  # pragma: no cover - a file system without links
            if path.exists():
                number += 1
                continue
            part.rename(path)
            return path
        else:
            return path
