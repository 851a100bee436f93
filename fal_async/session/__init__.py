"""``AsyncFal``: one short method per thing a user does, over parts that are opened and closed together."""

from fal_async.session.client import AsyncFal

__all__ = ["AsyncFal"]
