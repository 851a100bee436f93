"""Serving models from their OpenAPI documents."""

from __future__ import annotations

from fal_async.emulator.openapi.serving import models_from_openapi

__all__ = ["models_from_openapi"]
