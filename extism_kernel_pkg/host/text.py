"""Text and bytes as they go into blocks. Python's text may hold lone surrogates, which UTF-8 has not."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can express a text: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def utf8_of(text: object) -> bytes:
    """Encode a text. Raises `TypeError` for anything else, `ValueError` for a lone surrogate."""
    if not isinstance(text, str):
        raise TypeError(f"text was expected, not `{type(text).__name__}`")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has a lone surrogate at {error.start}, which UTF-8 cannot express"
        ) from None


def bytes_of(value: object) -> bytes:
    """Copy bytes. Raises `TypeError` for anything else: `bytes(5)` would be five zero bytes."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes were expected, not `{type(value).__name__}`")
    return bytes(value)


def input_of(value: object) -> bytes:
    """Return bytes as they are and text as UTF-8. Raises `TypeError` or `ValueError`."""
    if isinstance(value, str):
        return utf8_of(value)
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes or text was expected, not `{type(value).__name__}`")
    return bytes(value)


def printable(text: str) -> str:
    """Escape what could forge a line or steer a terminal: controls, line ends, directions."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()
