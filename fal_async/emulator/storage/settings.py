"""What the emulated storage is told to be, as a value. Pure."""

from __future__ import annotations

import attrs

from fal_async.protocol import wire

__all__ = ["StorageSettings"]


@attrs.frozen(kw_only=True)
class StorageSettings:
    """How uploads are taken: of itself so that official clients get along. The third number is known.

    :param token_lifetime: seconds for which a token of the CDN is good, where its request does not say.
    :param upload_lifetime: seconds for which a presigned URL takes bytes.
    :param max_upload: bytes that one request may bring, be it a file or a part; more is refused with 413.
    :param sorted_parts: whether the parts of an upload must be listed in their order. fal's Python client
        lists them as they were done.
    :param gcs: whether an upload by presigned URL may ask for the storage type ``gcs``, as fal's Python
        client does; fal is reported to refuse it lately.
    :param keyless_urls: whether a presigned URL refuses an ``Authorization`` header, which it has no use for:
        a key would be given away. fal's Python client sends one.
    """

    token_lifetime: float = 3600.0
    upload_lifetime: float = 3600.0
    max_upload: int = wire.MULTIPART_ABOVE
    sorted_parts: bool = False
    gcs: bool = True
    keyless_urls: bool = False
