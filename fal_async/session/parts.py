"""What every part of a session has in hand: the features, and what holds for all calls."""

from __future__ import annotations

from fal_async.features.placing import Placing
from fal_async.features.preparing import Preparing
from fal_async.features.queue import Queue
from fal_async.features.run import Direct
from fal_async.features.subscribe import Subscriber

__all__ = ["Parts"]


class Parts:
    """Made by ``AsyncFal``; what its methods are built on."""

    _direct: Direct
    _queue: Queue
    _subscriber: Subscriber
    _preparing: Preparing
    _placing: Placing
