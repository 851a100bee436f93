"""Async client for fal, and a local emulator of the service."""

__all__: list[str] = []
