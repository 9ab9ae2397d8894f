"""What the bytes of a module say."""
