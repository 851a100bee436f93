"""What we decide, and nothing of how it is done: pure, with time and chance as arguments."""
