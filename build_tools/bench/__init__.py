"""Counts what calls of the kernel cost."""
