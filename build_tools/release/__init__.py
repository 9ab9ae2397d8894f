"""Distributions, their records, and publishing."""
