"""What the emulated storage is told to be, as a value. Pure."""

from __future__ import annotations

import attrs

from fal_async.protocol import wire

__all__ = ["StorageSettings"]


@attrs.frozen(kw_only=True)
class StorageSettings:
    """How uploads are taken. Only the third number is known of fal.

    :param token_lifetime: seconds for which a token of the CDN is good, where its request does not say.
    :param upload_lifetime: seconds for which a presigned URL takes bytes.
    :param max_upload: bytes that one request may bring, be it a file or a part; more is refused with 413.
    :param sorted_parts: whether the parts of an upload must be listed in their order. Whether fal minds is
        not known; some clients do not sort.
    """

    token_lifetime: float = 3600.0
    upload_lifetime: float = 3600.0
    max_upload: int = wire.MULTIPART_ABOVE
    sorted_parts: bool = True
