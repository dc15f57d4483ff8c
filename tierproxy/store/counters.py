"""What the store counts. Every counter is either counted in one place or defined by a formula here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Since the start of the node. A get is a read that got past its conditions."""

    memory_hits: int = 0  #: gets served from the memory tier
    disk_hits: int = 0  #: gets served from a blob
    fills: int = 0  #: gets that started a flight that copies to disk
    passes: int = 0  #: gets served from alt without a copy
    joins: int = 0  #: gets that shared a flight another get had started
    errors: int = 0  #: gets that failed before their first byte, "not found" excepted
    puts: int = 0  #: acknowledged writes
    queued_puts: int = 0  #: acknowledged while only the disk had them
    deletes: int = 0  #: acknowledged deletes
    uploads: int = 0  #: jobs done by the upload queue
    upload_failures: int = 0  #: tries of the upload queue that failed
    repairs: int = 0  #: blobs found damaged and dropped
    stale_fills: int = 0  #: fills thrown away because the object changed meanwhile

    @property
    def hits(self) -> int:
        return self.memory_hits + self.disk_hits

    @property
    def misses(self) -> int:
        return self.fills + self.passes + self.joins

    @property
    def gets(self) -> int:
        return self.hits + self.misses + self.errors

    def as_dict(self) -> Mapping[str, int]:
        return {**asdict(self), "hits": self.hits, "misses": self.misses, "gets": self.gets}
