"""Checks an adapter, not a kernel."""
