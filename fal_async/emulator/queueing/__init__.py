"""The emulator's queue: its state, which is pure, and what makes it happen on the emulator's clock."""
