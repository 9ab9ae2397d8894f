"""Plays one case on one adapter."""
