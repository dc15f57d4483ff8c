"""The body of a request on its way in."""

from __future__ import annotations

from typing import Protocol


class BodyCheck(Protocol):
    """Hashes a body as it passes (in a worker thread) and compares it with what the client declared."""

    def update(self, data: bytes | bytearray | memoryview) -> None: ...

    def verify(self, size: int) -> None:
        """After the last byte. Raises BadBody (length, Content-MD5, checksum, trailer, signature)."""
        ...

    def etag(self) -> str:
        """Hex MD5 of the body: its S3 ETag."""
        ...

    def checksums(self) -> dict[str, str]:
        """Algorithm to base64 value, of every checksum the client declared."""
        ...
