"""What fal's wire says: pure, shared by the client and the emulator."""
