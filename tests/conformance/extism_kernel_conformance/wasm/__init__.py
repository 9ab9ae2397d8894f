"""What the suite reads of a module."""
