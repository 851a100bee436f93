"""What the queue tells of a job, with the URLs under which this caller finds it (PROTOCOL 1.2, 6)."""

from __future__ import annotations

from typing import Any

from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.service import QueueService
from fal_async.protocol.queue import Submission, build_status
from fal_async.protocol.routes import cancel_url, result_url, status_url

__all__ = ["status_content", "urls_of"]


def urls_of(job: Job, base: str, position: int | None = None) -> Submission:
    """Where a job is found: without the model's subpath, as fal has it (PROTOCOL 1.2)."""
    where = (base, job.application, job.request_id)
    return Submission(
        request_id=job.request_id,
        response_url=result_url(*where),
        status_url=status_url(*where),
        cancel_url=cancel_url(*where),
        queue_position=position,
    )


def status_content(
    queue: QueueService, job: Job, base: str, *, logs: bool, after: int = 0
) -> dict[str, Any]:
    """The status object.

    :param after: how many log lines the caller has had already.
    """
    status = job.status(queue.state.position(job), after=after)
    return build_status(status, urls_of(job, base), logs=logs)
