"""All parsers, and all that is printed."""
