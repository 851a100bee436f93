"""One file a command: its options, and what it does with them. ``group`` lists them."""
