"""The services of fal that the emulator is, by the names of their hosts. Pure."""

from __future__ import annotations

from typing import Final

from fal_async.protocol import wire

__all__ = ["SERVICES"]

#: host → the service it is: a backup domain is its original's (PROTOCOL 1).
SERVICES: Final = {
    host: host
    for host in (
        wire.RUN_HOST,
        wire.QUEUE_HOST,
        wire.WS_HOST,
        wire.REST_HOST,
        wire.CDN_HOST,
        wire.API_HOST,
    )
} | {
    **{backup: host for host, backup in wire.BACKUP_HOSTS.items()},
    wire.REST_HOST_OLD: wire.REST_HOST,
    wire.CDN_HOST_B: wire.CDN_HOST,
}
