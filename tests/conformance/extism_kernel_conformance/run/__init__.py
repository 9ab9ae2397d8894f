"""Runs the suite: which cases, on which adapters, against which known failures."""
