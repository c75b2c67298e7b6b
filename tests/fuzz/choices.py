"""A fuzzer's bytes as a supply of choices; when they run out, every choice is the first one."""

import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["Choices"]


class Choices:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        """So many bytes, padded with zeros."""
        found = self.data[self.at : self.at + count]
        self.at += count
        return found.ljust(count, b"\0")

    def rest(self) -> bytes:
        found, self.at = self.data[self.at :], len(self.data)
        return found

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(1 if below <= 256 else 4), "little") % below

    def pick(self, options: Sequence) -> Any:
        return options[self.number(len(options))]

    def text(self) -> str:
        return self.take(self.number(24)).decode("utf-8", "replace").replace("\0", "~") or "~"

    def float(self) -> float:
        return struct.unpack("<d", self.take(8))[0]
