"""Applications of others as models: what an ASGI server does, between the platform and an application."""
