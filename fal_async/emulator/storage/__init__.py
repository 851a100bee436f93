"""Files that callers bring: tokens, uploads whole and in parts, and who may read them (PROTOCOL 11)."""
