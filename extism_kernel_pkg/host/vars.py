"""The vars of a plug-in, with their size at hand."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping


class Vars(MutableMapping[str, bytes]):
    """A mapping of names to bytes that knows how many bytes it holds, names in UTF-8 included."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self.size = 0
        """Bytes of all names and values."""

    def size_with(self, name: str, value: bytes) -> int:
        """Return what `size` would be with this var."""
        return self.size - self._size_of(name) + len(name.encode()) + len(value)

    def _size_of(self, name: str) -> int:
        return len(name.encode()) + len(self._values[name]) if name in self._values else 0

    def __getitem__(self, name: str) -> bytes:
        return self._values[name]

    def __setitem__(self, name: str, value: bytes) -> None:
        self.size = self.size_with(name, value)
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        size = self._size_of(name)
        del self._values[name]
        self.size -= size

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)
