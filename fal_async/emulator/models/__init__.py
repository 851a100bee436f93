"""The models that come with the emulator: they make real things, and need nothing for it."""

from __future__ import annotations

from fal_async.emulator.model import Model
from fal_async.emulator.models.diagnostics import diagnostic_models
from fal_async.emulator.models.images import image_models
from fal_async.emulator.models.jobs import job_models
from fal_async.emulator.models.language import language_models
from fal_async.emulator.models.workflows import workflow_models

__all__ = ["default_models"]


def default_models() -> list[Model]:
    """A new list of all models the emulator serves unless told otherwise."""
    return [
        *image_models(),
        *language_models(),
        *workflow_models(),
        *job_models(),
        *diagnostic_models(),
    ]
