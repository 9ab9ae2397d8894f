"""Proves of a finished module, for every argument and state, what tests can only sample."""
