"""Which ack, which fill, whose bucket: configuration as questions."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tierproxy.config.sections import BucketSection, Config, PolicySection
from tierproxy.model import Ack, FillPolicy, ObjectName, OnAltDown


@dataclass(frozen=True, slots=True)
class WritePolicy:
    ack: Ack
    on_alt_down: OnAltDown


class Policies:
    """Looks from the most particular to the most general: request, key pattern, bucket, ``[write]`` / ``[fill]``."""

    def __init__(self, config: Config) -> None:
        self.reload(config)

    def reload(self, config: Config) -> None:
        self._write = config.write
        self.fill_settings = config.fill
        self._buckets = {bucket.name: bucket for bucket in config.bucket}
        self._dynamic = BucketSection(name="")

    def bucket(self, name: str) -> BucketSection:
        """The bucket's section; buckets made by clients have the defaults and are exclusive."""
        return self._buckets.get(name, self._dynamic)

    @property
    def multipart_expiry(self) -> float:
        """Seconds after which an unfinished multipart upload is removed."""
        return self._write.multipart_expiry

    def configured(self) -> list[str]:
        return list(self._buckets)

    def write(self, name: ObjectName, asked: Ack | None) -> WritePolicy:
        bucket = self.bucket(name.bucket)
        pattern = self._pattern(bucket, name.key, "ack")
        ack = asked or (pattern.ack if pattern else None) or bucket.ack or self._write.ack
        return WritePolicy(ack, bucket.on_alt_down or self._write.on_alt_down)

    def fill(self, name: ObjectName) -> FillPolicy:
        bucket = self.bucket(name.bucket)
        pattern = self._pattern(bucket, name.key, "fill")
        return (pattern.fill if pattern else None) or bucket.fill or self.fill_settings.policy

    @staticmethod
    def _pattern(bucket: BucketSection, key: str, what: str) -> PolicySection | None:
        for policy in bucket.policy:
            if getattr(policy, what) is not None and fnmatchcase(key, policy.key):
                return policy
        return None
