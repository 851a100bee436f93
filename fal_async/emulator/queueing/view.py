"""The queue as a test sees it: asked, never told."""

from __future__ import annotations

from collections.abc import Iterator

from fal_async.emulator.matching import matches
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.service import QueueService

__all__ = ["QueueView"]


class QueueView:
    """Every request that was accepted, in the order they came; ``len`` counts them.

    A model is named by its id, by its application (which covers its paths), or by a pattern such as
    ``"fal-ai/*"``.
    """

    def __init__(self, service: QueueService) -> None:
        self._service = service
        self._state = service.state

    def request(self, request_id: str) -> Job:
        """One request: its ``state``, ``attempts``, ``low`` priority, ``webhook``, ``result`` and more.

        :raises KeyError: if there is none of this id.
        """
        self._service.pump()
        job = self._state.find(request_id)
        if job is None:
            raise KeyError(request_id)
        return job

    def requests(self, model: str | None = None, *, state: str | None = None) -> list[Job]:
        """Those of a model, in a state (``IN_QUEUE``, ``IN_PROGRESS`` or ``COMPLETED``)."""
        self._service.pump()
        return [
            job for job in self._state if matches(model, job.model) and state in {None, job.state}
        ]

    def position(self, request_id: str) -> int | None:
        """How many requests are ahead of one in line, 0 for the next; None if it is not in line."""
        return self._state.position(self.request(request_id))

    def line(self, application: str) -> list[str]:
        """The ids of those in an application's line, the next one first."""
        self._service.pump()
        return [job.request_id for job in self._state.waiting(application)]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    def __bool__(self) -> bool:
        return True  # an empty queue is still one

    def __repr__(self) -> str:
        states = [job.state for job in self._state]
        said = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"<Queue: {said or 'empty'}>"
