"""Other people's clients, unmodified, on the emulator: what they do there is what they do at fal."""
