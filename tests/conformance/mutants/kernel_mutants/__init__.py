"""Proves the suite: breaks a kernel in many small ways and counts how many of them the cases notice."""
