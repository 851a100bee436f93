"""The edge: the only client code that touches network, clock and environment."""
