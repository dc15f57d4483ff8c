"""Where in alt a client's object lies: alt's bucket, prefix and hash prefix."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from tierproxy.config.sections import BucketSection, DynamicBucketsSection
from tierproxy.errors import ConfigError, NoSuchBucket
from tierproxy.model import ObjectName


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket's objects lie in alt."""

    bucket: str
    prefix: str = ""
    hashed: bool = False

    def key(self, key: str) -> str:
        """Alt's key for the client's ``key``."""
        return f"{self.prefix}{hash_prefix(key)}{key}" if self.hashed else self.prefix + key

    def client_key(self, alt_key: str) -> str | None:
        """The reverse; None for a key of alt that is not one of this place."""
        if not alt_key.startswith(self.prefix):
            return None
        rest = alt_key[len(self.prefix) :]
        key = rest[5:] if self.hashed else rest
        return key if key and self.key(key) == alt_key else None


def hash_prefix(key: str) -> str:
    """Four hex digits of XXH3-64 of the key's UTF-8, and a slash. Part of the format of alt: never changes."""
    return xxhash.xxh3_64_hexdigest(key.encode())[:4] + "/"


class BucketMap:
    """The buckets of the configuration, and those that clients make when ``dynamic`` allows it.

    Raises ConfigError when two of them would share keys in alt.
    """

    def __init__(self, buckets: Sequence[BucketSection], dynamic: DynamicBucketsSection | None = None) -> None:
        self._places = {
            section.name: Place(section.alt_bucket or section.name, section.alt_prefix, section.hash_prefix)
            for section in buckets
        }
        self._dynamic = dynamic if dynamic is not None and dynamic.enabled else None
        self._check_overlaps()

    def __repr__(self) -> str:
        return f"<BucketMap {', '.join(self._places)}{' and dynamic ones' if self._dynamic else ''}>"

    def place(self, bucket: str) -> Place:
        """Raises NoSuchBucket."""
        if (place := self._places.get(bucket)) is not None:
            return place
        if self._dynamic is None or not bucket or "/" in bucket:
            raise NoSuchBucket(f"the bucket {bucket} does not exist")
        return Place(self._dynamic.alt_bucket, f"{self._dynamic.alt_prefix}{bucket}/")

    def locate(self, name: ObjectName) -> tuple[str, str]:
        """Alt's bucket and key. Raises NoSuchBucket."""
        place = self.place(name.bucket)
        return place.bucket, place.key(name.key)

    def places(self) -> list[Place]:
        """Every place, that of dynamic buckets as a whole: what the start check looks at."""
        whole = [Place(self._dynamic.alt_bucket, self._dynamic.alt_prefix)] if self._dynamic else []
        return [*self._places.values(), *whole]

    def _check_overlaps(self) -> None:
        if self._dynamic is not None and not self._dynamic.alt_bucket:
            raise ConfigError("[dynamic_buckets] is enabled but names no alt_bucket")
        places = sorted(self.places(), key=lambda place: (place.bucket, place.prefix))
        for one, next_one in itertools.pairwise(places):
            if one.bucket == next_one.bucket and next_one.prefix.startswith(one.prefix):
                raise ConfigError(
                    f"two buckets share keys in alt's bucket {one.bucket}: {one.prefix!r} and {next_one.prefix!r}",
                    hint="give each bucket an alt_bucket or an alt_prefix of its own",
                )
