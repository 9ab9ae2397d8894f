"""Runs a campaign: which cases, on which adapters, against which known failures."""
