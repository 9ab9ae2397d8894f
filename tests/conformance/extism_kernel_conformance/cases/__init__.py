"""Cases and their steps, as values."""
