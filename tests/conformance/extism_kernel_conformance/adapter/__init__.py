"""Finds, starts and speaks with adapters."""
