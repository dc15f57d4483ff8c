"""What an access key may do: patterns of buckets and prefixes, for reading or for reading and writing.

A pattern is ``*`` (everything), ``bucket``, ``bucket/prefix`` or ``bucket/prefix*``. A prefix without ``*`` ends at a
slash: ``mail/ann`` covers ``ann`` and ``ann/inbox`` but not ``anna/inbox``, because the next user's name must not be
reachable by accident. ``mail/ann*`` covers all three.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern. ``bucket`` None: ``*``. ``prefix`` None: the whole bucket. ``open_end``: it ended in ``*``."""

    bucket: str | None
    prefix: str | None = None
    open_end: bool = False

    def covers(self, bucket: str, key: str) -> bool:
        """Whether the key lies within. The empty key stands for the bucket itself."""
        if self.bucket is None:
            return True
        if self.bucket != bucket:
            return False
        if self.prefix is None:
            return True
        if self.open_end or self.prefix.endswith("/"):
            return key.startswith(self.prefix)
        return key == self.prefix or key.startswith(self.prefix + "/")

    def covers_listing(self, bucket: str, prefix: str) -> bool:
        """Whether every key below the listing's prefix lies within. ``ann`` as a prefix also lists ``anna``."""
        if self.prefix is None or self.open_end:
            return self.covers(bucket, prefix)
        return self.bucket == bucket and prefix.startswith(self.prefix.removesuffix("/") + "/")


def parse_pattern(text: str) -> Pattern:
    """``mail/ann`` -> Pattern. Any text is a pattern; an empty one covers nothing."""
    if text == "*":
        return Pattern(None)
    bucket, slash, prefix = text.partition("/")
    if not slash or prefix in {"", "*"}:
        return Pattern(bucket)
    return Pattern(bucket, prefix.removesuffix("*"), prefix.endswith("*"))


@dataclass(frozen=True, slots=True)
class Grants:
    """What one key may do. ``write`` includes reading."""

    patterns: tuple[Pattern, ...]
    write: bool

    @classmethod
    def of(cls, buckets: Iterable[str], access: str) -> Grants:
        """From the options ``buckets`` and ``access`` ("read" or "write") of a ``[[key]]``."""
        return cls(tuple(parse_pattern(text) for text in buckets), access == "write")

    def allows(self, bucket: str, key: str, *, write: bool) -> bool:
        """Whether an object may be read or changed. With the key "": whether the bucket as a whole may be."""
        return (self.write or not write) and any(pattern.covers(bucket, key) for pattern in self.patterns)

    def lists(self, bucket: str, prefix: str) -> bool:
        """Whether a listing with this prefix shows nothing but what the key may read."""
        return any(pattern.covers_listing(bucket, prefix) for pattern in self.patterns)

    def sees(self, bucket: str) -> bool:
        """Whether any of the bucket may be read: HeadBucket, GetBucketLocation, and a line in ListBuckets."""
        return any(pattern.bucket is None or pattern.bucket == bucket for pattern in self.patterns)


EVERYTHING = Grants((Pattern(None),), write=True)
